"""The power fails between a receiver's accepting an event and its reply."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time

import pytest

import device_suite

PROGRAM = """
import asyncio, sys
from fieldpost.node import Node
node = Node(sys.argv[1], sys.argv[2])
async def main():
    running = asyncio.create_task(node.run())
    await asyncio.sleep(0.3)
    if sys.argv[3] == "emit":
        node.bus.emit("device_down", "tank", "virtual")
    if sys.argv[3] == "values":
        for value in (1, 2, 3):
            node.points[1].update(value)
    await running
asyncio.run(main())
"""


class Receiver(threading.Thread):
    """Takes requests; replies from the second one on. ``ids`` are their webhook ids, ``bodies``
    what was posted."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.ids = []
        self.bodies = []
        self.connections = []

    def run(self):
        """Until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(4096)
                head, _, body = head.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                (size,) = [int(line[16:]) for line in lines if line.startswith("Content-Length")]
                while len(body) < size:
                    body += connection.recv(4096)
                self.bodies.append(json.loads(body))
                self.ids += [line[12:] for line in lines if line.startswith("webhook-id: ")]
                if len(self.ids) > 1:
                    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                    connection.close()

    def close(self):
        """End it."""
        self.listener.close()
        for connection in self.connections:
            connection.close()


def wait(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextlib.contextmanager
def running(config, data, what, umqtt_path):
    paths = f"{device_suite.SDK}:{umqtt_path}"
    command = [sys.executable, "-c", PROGRAM, str(config), str(data), what]
    with subprocess.Popen(command, env={"PYTHONPATH": paths}) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def receiver():
    made = Receiver()
    made.start()
    yield made
    made.close()


def killed_and_restarted(receiver, tmp_path, umqtt_path, what, **keys):
    """The node is killed before the reply; what the receiver got in this life and two more."""
    url = f"http://127.0.0.1:{receiver.listener.getsockname()[1]}/"
    config = tmp_path / "config.json"
    device = {"id": "tank", "driver": "virtual", "points": [{"id": 1, "name": "level"}]}
    # What happens is only what the program lets happen.
    device["enabled"] = False
    endpoint = {"name": "a", "url": url, "timeout_ms": 60000, **keys}
    made = {"node": "gw-1", "devices": [device], "webhooks": {"endpoints": [endpoint]}}
    config.write_text(json.dumps(made), encoding="utf-8")
    segments = tmp_path / "data" / "webhooks" / "seg"
    with running(config, tmp_path / "data", what, umqtt_path):
        wait(lambda: receiver.ids)
        wait(lambda: segments.exists() and list(segments.iterdir()))
    with running(config, tmp_path / "data", "nothing", umqtt_path):
        wait(lambda: len(receiver.ids) == 2)
        wait(lambda: not list(segments.iterdir()))
    with running(config, tmp_path / "data", "nothing", umqtt_path):
        time.sleep(1.2)
    assert len(receiver.ids) == 2
    assert receiver.ids[0] == receiver.ids[1]
    assert receiver.bodies[0] == receiver.bodies[1]


def test_an_event_is_delivered_again_under_its_id(receiver, tmp_path, umqtt_path):
    killed_and_restarted(receiver, tmp_path, umqtt_path, "emit")
    assert receiver.bodies[0]["event"] == "device_down"


def test_a_batch_is_delivered_again_as_it_was(receiver, tmp_path, umqtt_path):
    keys = {"provider": "datastream", "value_changed": True, "batch": 20, "batch_ms": 1200}
    killed_and_restarted(receiver, tmp_path, umqtt_path, "values", **keys)
    assert [one["payload"] for one in receiver.bodies[0]] == [1, 2, 3]
