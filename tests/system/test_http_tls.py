"""The HTTP client against Python's own servers, plain and by TLS, from both interpreters."""

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from certificates import Certificates

PROBE = Path(__file__).parent / "http_probe.py"
MARK = "#outcomes "
HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.authority("ca")
    made.authority("other")
    made.sign("server", "ca", "subjectAltName=DNS:hook.test,DNS:localhost")
    return made


class Handler(http.server.BaseHTTPRequestHandler):
    """Says how many requests its connection has had, and how long the body was."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.count = getattr(self, "count", 0) + 1
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.server.pause_s)
        body = f"{self.count} {size}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.path == "/once"

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """``url``, and ``most``: how many connections there were at a time. ``context`` makes it TLS;
    then the handshake takes place in the connection's own thread."""

    daemon_threads = True

    def __init__(self, context=None, pause_s=0):
        super().__init__((HOST, 0), Handler)
        self.context = context
        self.pause_s = pause_s
        self.open = self.most = self.accepted = 0
        self.lock = threading.Lock()
        scheme, host = ("https", "localhost") if context else ("http", HOST)
        self.url = f"{scheme}://{host}:{self.server_port}/"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def finish_request(self, request, client_address):
        if self.context:
            request = self.context.wrap_socket(request, server_side=True)
        with self.lock:
            self.accepted += 1
            self.open += 1
            self.most = max(self.most, self.open)
        try:
            super().finish_request(request, client_address)
        finally:
            with self.lock:
                self.open -= 1
            request.close()

    def handle_error(self, request, client_address):
        pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def tls_server(certificates, pause_s=0):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.path("server.pem"), certificates.path("server.key"))
    return Server(context, pause_s)


class Mute:
    """Accepts; says nothing, or resets each connection at once, or after some bytes of it."""

    def __init__(self, reset_after=None):
        self.reset_after = reset_after
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.connections = []
        self.thread = threading.Thread(target=self._accept, daemon=True)

    def _accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections.append(connection)
            if self.reset_after is not None:
                connection.recv(self.reset_after)
                # No lingering: closing sends a reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            connection.close()


class Full:
    """Takes no connection any more: those before wait to be accepted."""

    def __init__(self):
        self.listener = socket.create_server((HOST, 0), backlog=0)
        self.port = self.listener.getsockname()[1]
        self.connections = []

    def __enter__(self):
        for _ in range(4):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex((HOST, self.port))
            self.connections.append(connection)
        return self

    def __exit__(self, *_):
        for one in [self.listener, *self.connections]:
            one.close()


@pytest.fixture(params=["cpython", "micropython"])
def probe(request, tmp_path):
    """Calls the probe with settings and calls, returns the dict of outcomes."""
    if request.param == "cpython":
        command = [sys.executable, PROBE]
        environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    else:
        executable = request.getfixturevalue("micropython")
        folder = request.getfixturevalue("compiled")
        command = [executable, "-X", "heapsize=512k", PROBE]
        environment = {"MICROPYPATH": f"{folder}:.frozen"}

    def run(settings, **calls):
        # Listed, as MicroPython's dicts have no order.
        job = {"settings": settings, "calls": list(calls.items())}
        (tmp_path / "job").write_text(json.dumps(job))
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
        return json.loads(lines[0][len(MARK) :])

    run.interpreter = request.param
    return run


def test_verification(probe, certificates):
    ca, other = certificates.path("ca.pem"), certificates.path("other.pem")
    with tls_server(certificates) as server, Server() as plain:
        url, numeric = server.url, server.url.replace("localhost", HOST)
        found = probe(
            {},
            right={"url": url, "tls": {"ca": ca}},
            again={"url": url, "tls": {"ca": ca}},
            named={"url": numeric, "tls": {"ca": ca, "server_name": "hook.test"}},
            unverified={"url": numeric, "tls": {"verify": False}},
            wrong_ca={"url": url, "tls": {"ca": other}},
            wrong_name={"url": numeric, "tls": {"ca": ca}},
            no_ca={"url": url},
            no_tls={"url": plain.url.replace("http:", "https:"), "tls": {"ca": ca}},
            not_tls={"url": url.replace("https:", "http:")},
        )
    assert found["right"] == [200, "1 3000"]
    assert found["again"] == [200, "2 3000"]
    # Connections made with other settings are not taken.
    assert found["named"] == found["unverified"] == [200, "1 3000"]
    for name in ("wrong_ca", "wrong_name", "no_ca"):
        assert str(found[name]).startswith("tls: "), found
    for name in ("no_tls", "not_tls"):
        assert isinstance(found[name], str), found


def test_silent_and_resetting(probe, certificates):
    tls = {"ca": certificates.path("ca.pem")}
    limits = {"connect_ms": 400, "tls_ms": 400, "write_ms": 400, "response_ms": 400}
    with Mute() as silent, Mute(0) as resetting, Mute(1) as later, Full() as full:
        found = probe(
            limits,
            full={"url": f"http://{HOST}:{full.port}/"},
            silent={"url": f"http://{HOST}:{silent.port}/"},
            silent_tls={"url": f"https://{HOST}:{silent.port}/", "tls": tls},
            reset={"url": f"http://{HOST}:{resetting.port}/"},
            reset_tls={"url": f"https://{HOST}:{resetting.port}/", "tls": tls},
            later={"url": f"http://{HOST}:{later.port}/"},
            later_tls={"url": f"https://{HOST}:{later.port}/", "tls": tls},
        )
    assert found["full"] == "timeout: connect"
    assert found["silent"] == "timeout: response"
    step = "tls" if probe.interpreter == "micropython" else "connect"
    assert found["silent_tls"] == f"timeout: {step}"
    assert found["reset"] == found["later"] == "closed"
    assert isinstance(found["reset_tls"], str)
    assert isinstance(found["later_tls"], str)
    assert found["idle"] == 0


def test_one_tls_session_at_a_time(probe, certificates):
    tls = {"ca": certificates.path("ca.pem")}
    for one, most in ((True, 1), (False, 3)):
        with tls_server(certificates, 0.1) as first, tls_server(certificates) as second:
            found = probe(
                {"one_tls": one, "tls": tls},
                three={"url": first.url, "parallel": 3},
                elsewhere={"url": second.url},
                back={"url": first.url},
            )
            assert first.most == most
            last = "3 3000" if one else "1 3000"
            assert sorted(found["three"])[-1] == [200, last]
            assert found["elsewhere"] == [200, "1 3000"]
            # The idle session was ended for the one elsewhere.
            assert found["back"] == [200, "1 3000" if one else "2 3000"]
            assert found["idle"] == (1 if one else 2)


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "all_proxy"])
def test_proxies_are_not_asked(probe, certificates, monkeypatch, name):
    tls = {"ca": certificates.path("ca.pem")}
    with tls_server(certificates) as server, Server() as plain, Mute() as proxy:
        for variable in (name, name.upper()):
            monkeypatch.setenv(variable, f"http://{HOST}:{proxy.port}")
        found = probe(
            {"response_ms": 3000},
            plain={"url": plain.url},
            secure={"url": server.url, "tls": tls},
        )
    assert found["plain"] == found["secure"] == [200, "1 3000"]
    assert not proxy.connections


def test_closed_between_requests(probe, certificates):
    tls = {"ca": certificates.path("ca.pem")}
    with tls_server(certificates) as server:
        once, url = server.url + "once", server.url
        found = probe(
            {"tls": tls},
            first={"url": once},
            second={"url": url, "pause_ms": 100, "repeat": True},
            third={"url": once},
            fourth={"url": url, "pause_ms": 100},
        )
        assert found["second"] == [200, "1 3000"]
        assert found["third"] == [200, "2 3000"]
        assert isinstance(found["fourth"], str), "only with repeat it is made again"
        assert server.accepted == 2
