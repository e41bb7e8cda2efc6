"""Ingest rate of the collector: packed flushes through a broker into SQLite, acknowledged.

A process of its own plays the nodes: each keeps 20 flushes of 100 records in flight and sends the
next when one is acknowledged, as a node does. Run it against any broker::

    python tests/benchmarks/bench_collect.py HOST PORT SECONDS
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("sdk", "host_tools", "tests")]

import flush_wire  # noqa: E402 - found by the line above
from fieldpost_tools.collect import Collector  # noqa: E402
from fieldpost_tools.store import Store  # noqa: E402

NODES = 4
PARALLEL = 20
RECORDS = 100


def collector_records_per_s(mosquitto_host, port, seconds):
    """The same into a SQLite file of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder, "bench.db"), create=True) as store,
    ):
        return ingest_records_per_s(mosquitto_host, port, store, seconds)


def ingest_records_per_s(mosquitto_host, port, store, seconds):
    """Records/s committed and acknowledged over ``seconds``, after a second of warm-up."""
    feeder = subprocess.Popen([sys.executable, __file__, "feed", mosquitto_host, str(port)])
    try:
        rate = _collect(f"mqtt://{mosquitto_host}:{port}", store, seconds)
        if feeder.poll() is not None:
            raise RuntimeError("the process that plays the nodes has ended")
        return rate
    finally:
        feeder.kill()
        feeder.wait()


def _collect(url, store, seconds):
    with Collector(url, store) as collector:
        _step_for(collector, 1.0)
        before, started = collector.counters.records, time.monotonic()
        _step_for(collector, seconds)
        rate = (collector.counters.records - before) / (time.monotonic() - started)
        _require_whole(collector.counters, store.totals())
    return rate


def _step_for(collector, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        collector.step()


def _require_whole(counters, totals):
    if counters.malformed or totals.missing or totals.records != counters.records:
        raise RuntimeError(f"records are missing: {counters} {totals}")


class _Node:
    """Steady numeric records of ten points, one a millisecond."""

    def __init__(self, number, client):
        self.topic = f"fieldpost/nodes/bench-{number}/flush/collector"
        self._client = client
        self._flush = 0
        self._body = b"".join(flush_wire.record(n % 10, 1, n / 8) for n in range(RECORDS))

    def send(self):
        """Publish the next flush."""
        seq = self._flush * RECORDS
        chunk = flush_wire.seal(1, seq, 1_700_000_000_000 + seq, self._body, RECORDS)
        self._flush += 1
        self._client.publish(self.topic, flush_wire.packed(self._flush, [chunk]), qos=1)


def _feed(host, port):
    client = Client(CallbackAPIVersion.VERSION2, "bench-feeder")
    client.max_inflight_messages_set(NODES * PARALLEL)
    nodes = {f"bench-{number}": _Node(number, client) for number in range(NODES)}

    def start(*_):
        client.subscribe("fieldpost/nodes/+/api/loggers/ackSubscribe", qos=1)
        for node in nodes.values():
            for _ in range(PARALLEL):
                node.send()

    def on_ack(_client, _userdata, message):
        if "flush" in json.loads(message.payload):
            nodes[message.topic.split("/")[2]].send()

    client.on_connect, client.on_message = start, on_ack
    # The collector's session must be there before the first flush.
    time.sleep(0.5)
    client.connect(host, port)
    client.loop_forever()


if __name__ == "__main__":
    if sys.argv[1] == "feed":
        _feed(sys.argv[2], int(sys.argv[3]))
    else:
        rate = collector_records_per_s(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
        print(f"collector_records_per_s {rate:.0f}")
