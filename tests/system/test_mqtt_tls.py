"""The MQTT link over TLS, to mosquitto, on CPython and on MicroPython."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mqtt_peer import CONFIG

import servers
from certificates import Certificates

PROBE = Path(__file__).parent / "mqtt_tls_probe.py"
MARK = "#outcomes "


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.authority("ca")
    made.authority("other")
    made.sign("broker", "ca", "subjectAltName=DNS:broker.test,DNS:localhost")
    made.sign("node", "ca", "basicConstraints=CA:FALSE")
    both = Path(made.path("other.pem")).read_text() + Path(made.path("ca.pem")).read_text()
    (made.folder / "bundle.pem").write_text("Two authorities\n" + both)
    (made.folder / "not.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END-----\n")
    der = ("x509", "-in", made.path("ca.pem"), "-outform", "der", "-out", made.path("ca.der"))
    made.run(*der)
    return made


def broker(folder, certificates, *lines):
    folder.mkdir()
    return servers.Mosquitto(
        folder,
        f"cafile {certificates.path('ca.pem')}",
        f"certfile {certificates.path('broker.pem')}",
        f"keyfile {certificates.path('broker.key')}",
        *lines,
    )


@pytest.fixture(params=["cpython", "micropython"])
def probe(request, tmp_path):
    """Calls the probe with a dict of cases, returns the dict of outcomes."""
    if request.param == "cpython":
        command = [sys.executable, PROBE]
        environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    else:
        executable = request.getfixturevalue("micropython")
        folder = request.getfixturevalue("compiled")
        command = [executable, "-X", "heapsize=512k", PROBE]
        environment = {"MICROPYPATH": f"{folder}:.frozen"}

    def run(cases):
        (tmp_path / "cases").write_text(json.dumps(cases))
        process = subprocess.run(
            [*command, "cases"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        lines = [line for line in process.stdout.splitlines() if line.startswith(MARK)]
        assert lines, process.stdout + process.stderr
        return json.loads(lines[0][len(MARK) :])

    run.interpreter = request.param
    return run


def case(server, name, **tls):
    """Configuration of one case; without ``tls`` a plain connection."""
    return dict(
        CONFIG,
        host="localhost",
        port=server.port,
        client_id=name,
        timeout_ms=5000,
        tls=tls or None,
    )


def test_verification(probe, certificates, tmp_path):
    ca, other = certificates.path("ca.pem"), certificates.path("other.pem")
    with broker(tmp_path / "tls", certificates) as server:
        outcomes = probe(
            {
                "right ca": case(server, "a", ca=ca),
                "der": case(server, "b", ca=certificates.path("ca.der")),
                "bundle": case(server, "c", ca=certificates.path("bundle.pem")),
                "server name": case(server, "d", ca=ca, server_name="broker.test"),
                "not verified": case(server, "e", verify=False),
                "wrong ca": case(server, "f", ca=other),
                "wrong name": case(server, "g", ca=ca, server_name="elsewhere.test"),
                "no ca": case(server, "h", ca=None),
                "no such file": case(server, "i", ca=str(tmp_path / "missing.pem")),
                "no certificate": case(server, "j", ca=certificates.path("not.pem")),
                "plain": case(server, "k"),
            }
        )
    for name in ("right ca", "der", "bundle", "server name", "not verified"):
        assert outcomes.pop(name) == "up", name
    assert outcomes.pop("plain") in ("closed", "timeout")
    assert "up" not in outcomes.values()
    assert all(reason.startswith("tls: ") for reason in outcomes.values()), outcomes
    signer = "not correctly signed" if probe.interpreter == "micropython" else "verify failed"
    assert signer in outcomes["wrong ca"]
    named = "CN" if probe.interpreter == "micropython" else "Hostname mismatch"
    assert named in outcomes["wrong name"]
    if probe.interpreter == "micropython":
        assert outcomes["no ca"] == "tls: verification needs a ca file"


def test_certificate_of_the_client(probe, certificates, tmp_path):
    ca = certificates.path("ca.pem")
    pair = {"cert": certificates.path("node.pem"), "key": certificates.path("node.key")}
    with broker(tmp_path / "mutual", certificates, "require_certificate true") as server:
        outcomes = probe(
            {"with": case(server, "a", ca=ca, **pair), "without": case(server, "b", ca=ca)}
        )
    assert outcomes["with"] == "up"
    assert outcomes["without"] != "up"


def test_broker_without_tls(probe, certificates, mosquitto):
    outcomes = probe({"tls": case(mosquitto, "a", ca=certificates.path("ca.pem"))})
    assert outcomes["tls"] != "up"
