"""The embedded MQTT 3.1.1 broker: amqtt in a process of its own, on 127.0.0.1, open to all.

::

    with Broker() as broker:
        connect("127.0.0.1", broker.port)
        broker.restart()            # the same port; sessions and retained messages are gone

A process of its own can be killed like a real broker and never stalls the program that started
it. It ends when that program ends, however it ends. Retained messages, wills and sessions with
clean_session off work while the process lives; nothing is stored on disk. What it lacks: see
``broker_process``. It is for demos and trials; production uses an existing broker.
"""

import random
import select
import socket
import subprocess
import sys
import time

from fieldpost_tools.errors import ToolError

HOST = "127.0.0.1"
# Below the range the kernel takes clients' ports from: a client that reconnects to a stopped
# broker could meet itself there, and another client could occupy the port.
PORTS = range(12000, 32000)
READY = b"ready\n"

# The child imports what this program would, wherever that is installed.
PROGRAM = """
import sys
sys.path[:] = {path!r}
from fieldpost_tools.sim.broker_process import main
main({host!r}, {port})
"""


class EmbeddedBrokerError(ToolError):
    """The broker does not start: its port is taken, or amqtt is not installed."""


class Broker:
    """A broker on ``port`` (0: a free one, kept over restarts); works as a context manager."""

    START_TIMEOUT_S = 20
    STOP_TIMEOUT_S = 5
    host = HOST

    def __init__(self, port=0):
        self.port = port or free_port()
        self._process = None

    def start(self):
        """Start it; returns when it accepts connections. Harmless while it runs."""
        if not self.running:
            self.stop()
            code = PROGRAM.format(path=sys.path, host=self.host, port=self.port)
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,  # its end tells the child that this program is gone
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            self._wait_ready()
        return self

    def _wait_ready(self):
        said = b""
        deadline = time.monotonic() + self.START_TIMEOUT_S
        output = self._process.stdout
        while not said.endswith(READY):
            ready, _, _ = select.select([output], [], [], max(0, deadline - time.monotonic()))
            data = output.read1() if ready else b""
            said += data
            if not data:
                self.kill()
                words = said.decode(errors="replace").strip().splitlines() or ["no answer"]
                raise EmbeddedBrokerError(f"broker on port {self.port}: {words[-1]}")

    def stop(self):
        """End it and wait until it is gone. Harmless when repeated."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(self.STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._reap()

    def kill(self):
        """End it by SIGKILL, as a crash would."""
        if self._process:
            self._process.kill()
            self._reap()

    def _reap(self):
        self._process.wait(self.STOP_TIMEOUT_S)
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None

    def restart(self):
        """Stop and start on the same port."""
        self.stop()
        self.start()

    @property
    def running(self):
        """Does its process live?"""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        """Its process id, or None."""
        return self._process.pid if self.running else None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.stop()


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
