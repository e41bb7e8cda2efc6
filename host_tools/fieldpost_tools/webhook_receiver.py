"""A receiver of webhooks on 127.0.0.1, for demos and trials: it verifies what arrives.

::

    with Receiver("secret") as receiver:
        webhooks = {"endpoints": [receiver.endpoint("local")]}     # of a node's configuration
        ...
        receiver.arrivals

A node that does not hear the answer sends a webhook again, under the same id; it is taken once.
"""

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from fieldpost_tools.sim.broker import HOST

SIGNATURE_HEADER = "X-OpenCrate-Signature"
ID_HEADER = "webhook-id"


class Arrival(NamedTuple):
    """A webhook whose signature is right: its ``id`` and its JSON ``body``, parsed."""

    id: str
    body: object


def verified(secret, body, signature):
    """Is ``sha256=<hex>`` (or None: no header) the HMAC-SHA256 of ``body`` with this secret?"""
    code = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={code}".encode(), (signature or "").encode())


class Receiver:
    """A server on a free port; works as a context manager.

    Readable at any time: ``arrivals``, the oldest first, each id once; ``again``, how many came
    once more; ``refused``, how many were answered with 401 because their signature is wrong.
    """

    def __init__(self, secret):
        self._secret = secret
        self._ids = set()
        self._lock = threading.Lock()
        self._server = None
        self.arrivals = []
        self.again = self.refused = 0

    @property
    def url(self):
        """Where it listens."""
        return f"http://{HOST}:{self._server.server_port}/webhooks"

    def endpoint(self, name):
        """The row of a node's configuration that sends everything here, signed."""
        row = {"name": name, "url": self.url, "secret": self._secret}
        return {**row, "signature": "hmac", "signature_header": SIGNATURE_HEADER}

    def take(self, id, body, signature):
        """Judge a request; returns the HTTP status to answer with."""
        with self._lock:
            if not verified(self._secret, body, signature):
                self.refused += 1
                return 401
            if id in self._ids:
                self.again += 1
                return 200
            try:
                self.arrivals.append(Arrival(id, json.loads(body)))
            except ValueError:
                return 400
            self._ids.add(id)
            return 200

    def __enter__(self):
        self._server = _Server((HOST, 0), _Handler)
        self._server.receiver = self
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing: nodes lose their power in the middle of a request."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    #: Seconds that an idle connection is kept.
    timeout = 60
    MAX_BYTES = 65536

    def do_POST(self):
        length = self.headers["Content-Length"] or ""
        if not length.isdecimal() or int(length) > self.MAX_BYTES:
            self.close_connection = True
            self._answer(413 if length.isdecimal() else 411)
            return
        body = self.rfile.read(int(length))
        names = self.headers[ID_HEADER], body, self.headers[SIGNATURE_HEADER]
        self._answer(self.server.receiver.take(*names))

    def _answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        """Say nothing."""
