"""A node that reads sensors from a mosquitto, on CPython and on MicroPython from .mpy."""

import json
import os
import queue
import subprocess
import sys
import time

import paho.mqtt.client as paho
import pytest

import device_suite

RUN = "import asyncio\nfrom fieldpost.node import Node\nasyncio.run(Node('config.json').run())\n"
DEADLINE_S = 30
MESSAGES = 150


class Site:
    """A client of the broker that plays sensors and hears what the node has recorded of them."""

    def __init__(self, broker):
        self.records = queue.Queue()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="site")
        self.client.on_message = self._on_message
        self.client.on_connect = self._on_connect
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()

    def _on_connect(self, client, *_):
        client.subscribe("fieldpost/nodes/gw/flush/#", 1)

    def _on_message(self, _client, _user, message):
        for _, address, value in json.loads(message.payload)["value"]:
            self.records.put((address, value))

    def send(self, topic, payload, retain=False):
        self.client.publish(topic, payload, 1, retain)

    def until(self, wanted):
        """Records up to one of (address, value)."""
        found = []
        while not found or found[-1] != wanted:
            found.append(self.records.get(timeout=DEADLINE_S))
        return found

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def configuration(broker):
    link = {"host": broker.host, "port": broker.port}
    points = [
        {"id": 1, "name": "hello", "topic": "hello", "log": "on_update"},
        {"id": 2, "name": "t", "topic": "zigbee/+/state", "path": "$.env.t", "log": "on_update"},
        {"id": 3, "name": "t-cov", "topic": "zigbee/+/state", "path": "$.env.t"},
        {"id": 4, "name": "door", "topic": "zigbee/+/state", "path": "$.io[1]", "type": "bool"},
        {"id": 5, "name": "end", "topic": "end", "type": "text"},
    ]
    points[2]["log"] = "on_cov 10"
    points[3]["log"] = "on_update"
    return {
        "node": "gw",
        "mqtt": [{**link, "backoff_min_ms": 50, "backoff_max_ms": 200}],
        "devices": [{"id": "zb", "driver": "mqtt", "interval": 100, **link, "points": points}],
        "subscriptions": [
            {"id": "default", "store": {"disk": False}, "ring_bytes": 32768, "flush": {}}
        ],
        "subscribers": [{"subscriber": "c", "ack": False}],
    }


@pytest.fixture
def site(mosquitto):
    made = Site(mosquitto)
    yield made
    made.close()


@pytest.fixture(params=["cpython", "micropython"])
def node(request, mosquitto, tmp_path):
    """A running node; its output is in ``node.log``."""
    environment = dict(os.environ)
    if request.param == "cpython":
        environment["PYTHONPATH"] = os.pathsep.join([str(device_suite.SDK), *sys.path])
        command = [sys.executable]
    else:
        environment["MICROPYPATH"] = f"{request.getfixturevalue('compiled')}:.frozen"
        command = [request.getfixturevalue("micropython"), "-X", "heapsize=384k"]
    (tmp_path / "config.json").write_text(json.dumps(configuration(mosquitto)), encoding="utf-8")
    with (tmp_path / "node.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-c", RUN], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
        yield process
        running = process.poll() is None
        process.kill()
        process.wait()
    assert running, (tmp_path / "node.log").read_text(encoding="utf-8")


def message(number):
    return json.dumps({"env": {"t": number / 10}, "io": [None, number % 50 < 25], "pad": "x" * 99})


def test_every_update_is_recorded(mosquitto, site, node):
    site.send("hello", "1", retain=True)
    assert site.until((1, 1)) == [(1, 1)]
    for number in range(MESSAGES):
        site.send(f"zigbee/{number % 3}/state", message(number))
    site.send("zigbee/0/state", '{"env": ')
    site.send("end", "of it")
    found = site.until((5, "of it"))
    by_point = {
        address: [value for one, value in found if one == address] for address in (2, 3, 4)
    }
    assert by_point[2] == [number / 10 for number in range(MESSAGES)]
    assert by_point[3] == [0, 10]
    assert by_point[4] == [True, False, True, False, True, False]


def test_a_broker_that_restarts(mosquitto, site, node):
    site.send("hello", "1", retain=True)
    site.until((1, 1))
    mosquitto.restart()
    # The sensor repeats itself, as sensors do, until the node is back.
    deadline = time.monotonic() + DEADLINE_S
    found = None
    while found != (1, 2) and time.monotonic() < deadline:
        site.send("hello", "2")
        try:
            found = site.records.get(timeout=0.3)
        except queue.Empty:
            continue
    assert found == (1, 2)
