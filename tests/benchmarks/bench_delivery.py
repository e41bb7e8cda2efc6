"""Acknowledged delivery over 50 ms of round trip, against what umqtt.simple does there.

Every device side is a real 64-bit MicroPython that reaches mosquitto through ``delay_proxy``:

``umqtt``   umqtt.simple 1.3.4, blocking QoS 1 messages: messages/s
``link``    the SDK's ``Link``: QoS 1 messages of one value each, kept until acknowledged, window
            20: messages/s that got their PUBACK
``json``, ``packed``  a whole ``Node`` whose log is appended to as fast as it has room and whose
            subscriber sends flushes in that format: records/s whose flush was confirmed by the
            collector (which sits at the broker, on the near side of the delay)

Rounds of all four follow one another; a ratio is against the same round's umqtt.simple, and the
figure is the median of the rounds. ``minimal_acker`` has the records/s when a program that stores
nothing confirms the flushes, which leaves the node more of the computer.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import rig

import servers
from fieldpost_tools.build import build_mpy
from fieldpost_tools.store import Store

DELAY_MS = 25
WARM_UP_S = 1
HEAP = "512k"
PAYLOAD = json.dumps(
    {
        "node_id": "dev/point",
        "value": 21.375,
        "value_type": "float",
        "timestamp_ms": 1732233600123,
    },
    separators=(",", ":"),
)
LINK = {
    "name": "main",
    "host": rig.HOST,
    "client_id": "bench-link",
    "user": None,
    "password": None,
    "clean_session": True,
    "keepalive_s": 30,
    "timeout_ms": 10000,
    "window": 20,
    "queue_bytes": 16384,
    "keep_bytes": 8192,
    "receive_max_bytes": 4096,
    "backoff_min_ms": 1000,
    "backoff_max_ms": 60000,
    "tls": None,
    "will": None,
}
#: Enough log for what is under way in 50 ms; a flush is due when it fills a JSON message.
SUBSCRIPTION = {
    "id": "default",
    "ring_bytes": 65536,
    "flush": {
        "maxEntries": 500,
        "maxBytes": 4096,
        "onEntries": 160,
        "minDelay": 0,
        "maxDelay": 100,
        "parallel": 50,
    },
}


def measure(seconds=5, rounds=3):
    """The three ratios; ``delivery`` has every rate, the round trip as measured, the settings."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-delivery-") as folder:
        build_mpy(folder)
        broker_folder = Path(folder, "broker")
        broker_folder.mkdir()
        with (
            servers.Mosquitto(broker_folder) as broker,
            rig.distance(broker.port, DELAY_MS) as port,
        ):
            bench = _Bench(folder, broker, port, seconds)
            trip = rig.round_trip_ms(port)
            runs = [bench.round() for _ in range(rounds)]
            minimal = {form: bench.flow(form, "minimal") for form in ("json", "packed")}
    return {
        "acked_json_ratio": _ratio(runs, "json"),
        "acked_packed_ratio": _ratio(runs, "packed"),
        "messages_ratio": _ratio(runs, "link"),
        "delivery": {
            "round_trip_ms": round(trip, 2),
            "heap": HEAP,
            "subscription": SUBSCRIPTION,
            "rounds": runs,
            "minimal_acker": minimal,
        },
    }


def _ratio(runs, name):
    return round(statistics.median(run[name] / run["umqtt"] for run in runs), 1)


class _Bench:
    """One broker near by, and the same broker far away on ``port``."""

    def __init__(self, folder, broker, port, seconds):
        self._folder = folder
        self._broker = broker
        self._port = port
        self._seconds = seconds
        self._runs = 0

    def round(self):
        """Rates per second of all four."""
        return {
            "umqtt": self._rate("baseline", port=self._port, payload=PAYLOAD),
            "link": self._rate("messages", link={**LINK, "port": self._port}, payload=PAYLOAD),
            "json": self.flow("json"),
            "packed": self.flow("packed"),
        }

    def flow(self, form, acker="collector"):
        """Acknowledged records/s of a node that sends flushes in this form."""
        self._runs += 1
        store = Path(self._folder, f"bench-{self._runs}.db")
        config = {
            "node": f"bench-{self._runs}",
            "mqtt": [{"host": rig.HOST, "port": self._port}],
            "subscriptions": [SUBSCRIPTION],
            "subscribers": [{"subscriber": "collector", "format": form}],
        }
        with self._acker(acker, store):
            rate = self._rate("flow", config=config, folder=f"data-{self._runs}")
        if acker == "collector":
            _require_whole(store)
        return rate

    def _rate(self, script, **job):
        job |= {"seconds": self._seconds, "warm_up": WARM_UP_S}
        seconds = self._seconds + WARM_UP_S
        told = rig.micropython(self._folder, script, job, HEAP, seconds)
        if told.get("errors") or told.get("dropped") or told.get("resent"):
            raise RuntimeError(f"{script} did not run undisturbed: {told}")
        return round(told["count"] * 1000 / told["ms"], 1)

    @contextmanager
    def _acker(self, kind, store):
        command = [sys.executable, rig.HERE / "acker.py", kind, rig.HOST, str(self._broker.port)]
        command += [store] if kind == "collector" else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            process.stdout.readline()
            yield
            # What is under way when the node ends may still be written.
            time.sleep(0.5)
        finally:
            process.terminate()
            process.communicate()


def _require_whole(path):
    with Store(path) as store:
        totals = store.totals()
    if totals.missing:
        raise RuntimeError(f"records are missing: {totals}")
