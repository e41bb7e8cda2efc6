"""Webhooks of a node over TLS, to servers of Python: right CA, wrong CA, wrong name, tokens."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from certificates import Certificates

HOST = "127.0.0.1"
PROBE = Path(__file__).parent / "webhook_probe.py"
MARK = "#outcomes "
SECRET = base64.b64encode(b"k" * 24).decode()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps ``(path, headers, body)`` in its server's ``taken``; gives tokens at ``/token``."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers, body))
        reply = b'{"access_token":"t1"}' if self.path == "/token" else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Keeps what came in ``taken``; the handshake takes place in the connection's own thread."""

    daemon_threads = True

    def __init__(self, certificates):
        super().__init__((HOST, 0), Receiver)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(
            certificates.path("server.pem"), certificates.path("server.key")
        )
        self.url = f"https://localhost:{self.server_port}/"
        self.taken = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def finish_request(self, request, client_address):
        with self.context.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request, client_address):
        pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.authority("ca")
    made.authority("other")
    made.sign("server", "ca", "subjectAltName=DNS:hook.test,DNS:localhost")
    return made


@pytest.fixture(params=["cpython", "micropython"])
def deliver(request, tmp_path, umqtt_path):
    """Calls the probe with endpoints and keys of the section; ``{endpoint: [status, error]}``."""
    if request.param == "cpython":
        command = [sys.executable, PROBE]
        environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    else:
        executable = request.getfixturevalue("micropython")
        folder = request.getfixturevalue("compiled")
        command = [executable, "-X", "heapsize=1m", PROBE]
        environment = {"MICROPYPATH": f"{folder}:.frozen"}

    def run(*endpoints, **keys):
        (tmp_path / "job").write_text(json.dumps({"endpoints": endpoints, "keys": keys}))
        process = subprocess.run(
            [*command, "job"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        lines = [line for line in process.stdout.splitlines() if line.startswith(MARK)]
        assert lines, process.stdout + process.stderr
        return {name: [status, error] for name, status, error in json.loads(lines[0][len(MARK) :])}

    return run


def test_delivery_over_tls(deliver, certificates):
    ca, other = certificates.path("ca.pem"), certificates.path("other.pem")
    with Server(certificates) as server:
        numeric = server.url.replace("localhost", HOST)
        token = {"token_url": server.url + "token", "client_id": "me", "client_secret": "k3y"}
        found = deliver(
            {"name": "right", "url": server.url + "a", "signature": "standard", "secret": SECRET},
            {"name": "own", "url": numeric + "b", "tls": {"ca": ca, "server_name": "hook.test"}},
            {"name": "tokens", "url": server.url + "c", "auth": "oauth2", **token},
            {"name": "wrong_ca", "url": server.url, "tls": {"ca": other}},
            {"name": "wrong_name", "url": numeric},
            {"name": "no_verify", "url": numeric + "d", "tls": {"verify": False}},
            tls={"ca": ca},
        )
    for name in ("right", "own", "tokens", "no_verify"):
        assert found[name] == ["success", None], found
    for name in ("wrong_ca", "wrong_name"):
        status, error = found[name]
        assert status == "retrying"
        assert error.startswith("tls: "), found
    taken = {path: (headers, body) for path, headers, body in server.taken}
    assert sorted(taken) == ["/a", "/b", "/c", "/d", "/token"]
    assert taken["/c"][0]["Authorization"] == "Bearer t1"
    headers, body = taken["/a"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    code = hmac.new(b"k" * 24, signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(code).decode()
    assert json.loads(body)["event"] == "device_down"


def test_without_a_ca_nothing_is_trusted(deliver, certificates):
    with Server(certificates) as server:
        found = deliver({"name": "a", "url": server.url})
    status, error = found["a"]
    assert status == "retrying"
    assert error.startswith("tls: ")
    assert not server.taken
