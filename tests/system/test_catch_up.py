"""A node with hours of records on its flash meets its broker again: it catches up at the pace it
was given, and what happens meanwhile is not kept waiting."""

import json
import os
import subprocess
import time

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

import device_suite
from fieldpost_tools.collect import Collector
from fieldpost_tools.sim.broker import HOST
from fieldpost_tools.store import Store

BACKLOG, BATCH, CATCH_UP_MS, INTERVAL_MS = 12_000, 100, 40, 50
DEADLINE_S = 60
#: How much later than others a value may be, on a busy machine; draining takes 5 s.
LATE_MS = 500
NODE = """
import asyncio, json, sys
from fieldpost.node import Node
job = json.load(sys.stdin)
node = Node(job["config"], "data")
ring = node.subscriptions["default"].ring
for number in range(job["backlog"]):
    ring.append(1, number)
    if number % 50 == 0:
        ring.tend()
assert len(ring.segments) > 10 and not ring.dropped
asyncio.run(node.run())
"""


def config(port):
    """One point is recorded and published live."""
    point = {"id": 1, "name": "count", "kind": "counter", "value": 1_000_000}
    return {
        "node": "gw-1",
        "mqtt": [{"host": HOST, "port": port}],
        "devices": [
            {"id": "dev", "driver": "virtual", "interval": INTERVAL_MS, "points": [point]}
        ],
        "subscriptions": [{"id": "default", "flush": {"catchUp": CATCH_UP_MS}}],
        "subscribers": [{"subscriber": "collector", "format": "packed"}],
        "publish": {"value": [{"topic": "live/{node_id}"}]},
    }


@pytest.fixture
def live(mosquitto):
    """``[(arrived, made)]`` in Unix ms of what was published live."""
    heard = []

    def on_message(_client, _data, message):
        heard.append((time.time() * 1000, json.loads(message.payload)["timestamp_ms"]))

    client = Client(CallbackAPIVersion.VERSION2, "live")
    client.on_message = on_message
    client.connect(HOST, mosquitto.port)
    client.subscribe("live/#")
    client.loop_start()
    yield heard
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def node(mosquitto, micropython, umqtt_path, tmp_path):
    path = [device_suite.ROOT / "sdk", umqtt_path, ".frozen"]
    process = subprocess.Popen(
        [micropython, "-X", "heapsize=1m", "-c", NODE],
        stdin=subprocess.PIPE,
        env={**os.environ, "MICROPYPATH": ":".join(map(str, path))},
        cwd=tmp_path,
    )
    job = {"config": config(mosquitto.port), "backlog": BACKLOG}
    process.stdin.write(json.dumps(job).encode())
    process.stdin.close()
    yield process
    process.kill()
    process.wait()


def collect(collector, node, records):
    """Collect until there are so many."""
    deadline = time.monotonic() + DEADLINE_S
    while collector.counters.records < records:
        collector.step()
        assert time.monotonic() < deadline, collector.counters
        assert node.poll() is None


def test_live_values_do_not_wait_for_the_backlog(mosquitto, tmp_path, live, node):
    url = f"mqtt://{HOST}:{mosquitto.port}"
    with Store(tmp_path / "db", create=True) as store, Collector(url, store) as collector:
        collect(collector, node, 1)
        began, first = time.time() * 1000, collector.counters.records
        collect(collector, node, BACKLOG)
        ended = time.time() * 1000
        time.sleep(0.2)
        batches = (BACKLOG - first) // BATCH
        assert ended - began > 0.7 * batches * CATCH_UP_MS, "it was in a hurry"
        values = "SELECT value FROM records WHERE value < 1000000 ORDER BY stream, seq"
        assert [row[0] for row in store.read(values)] == list(range(BACKLOG))
        assert store.totals().missing == 0
    meanwhile = [(arrived, made) for arrived, made in live if began <= arrived <= ended]
    assert len(meanwhile) > 0.6 * (ended - began) / INTERVAL_MS
    # The node's clock is right to the second only.
    delays = [arrived - made for arrived, made in meanwhile]
    assert max(delays) - min(delays) < LATE_MS
