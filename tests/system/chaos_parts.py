"""The parts of a chaos run: boards, broker and collectors that are started and killed.

Each has a ``name``, a ``kind``, ``start()``, ``kill()``, ``ripe()`` (does it its work in this
life?) and ``words()`` (what it said last). Boards and collectors reach the broker by a ``proxy``.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter

import servers
from fieldpost_tools import build, data
from fieldpost_tools.sim.board import Board
from fieldpost_tools.sim.broker import HOST
from fieldpost_tools.store import Store

HEAP = "256k"
STOP_TIMEOUT_S = 20
_WORDS = 400

#: A collector as a program of one's own makes it, which leaves a silent broker soon.
LIBRARY = """
import json, sys, time
from fieldpost_tools import broker
from fieldpost_tools.collect import Collector
from fieldpost_tools.store import Store

broker.Link.KEEPALIVE_S = 2
broker.Link.BACKOFF_S = 0.1, 1.0
url, path, subscriber, share = sys.argv[1:]
with Store(path) as store, Collector(url, store, ["+"], subscriber, share) as collector:
    told = 0
    while True:
        collector.step(0.2)
        if time.monotonic() - told > 1:
            told = time.monotonic()
            print(json.dumps(vars(collector.counters)), flush=True)
"""


def configuration(name, port, latency_ms, enabled):
    """A node's: seven points, two subscribers, everything stored within ``latency_ms``."""
    broker = {
        "host": HOST,
        "port": port,
        "keepalive_s": 3,
        "timeout_ms": 2000,
        "backoff_min_ms": 100,
        "backoff_max_ms": 1000,
    }
    fast = [
        {"id": 1, "name": "counter", "kind": "counter"},
        {"name": "sine", "kind": "sine", "amplitude": 10, "period": 20000},
        {"name": "walk", "kind": "walk", "value": 50, "step": 2, "decimals": 4},
    ]
    slow = [
        {"name": "toggle", "kind": "toggle", "period": 1000},
        {"name": "big", "kind": "counter", "value": 2**53},
        {"name": "words", "kind": "constant", "value": "ein kurzer Text – 23 °C"},
        {"name": "fixed", "kind": "constant", "value": 21.5, "log": "on_cov 0 0 1000"},
    ]
    shape = {"driver": "virtual", "enabled": enabled}
    return {
        "node": name,
        "state_interval": 1000,
        "mqtt": [broker],
        "devices": [
            {"id": "fast", "interval": 50, "points": fast, **shape},
            {"id": "slow", "interval": 100, "points": slow, **shape},
        ],
        "subscriptions": [
            {
                "id": "default",
                "ring_bytes": 8192,
                "store": {"disk": True, "durable": True, "maxLatency": latency_ms},
                "flush": {"maxBytes": 1024, "parallel": 8, "ackTimeout": 1000},
            }
        ],
        "subscribers": [
            {"subscriber": "main", "format": "packed"},
            {"subscriber": "second", "format": "json"},
        ],
    }


class BoardPart:
    """A board with the real firmware; ``kill`` cuts its power and asks the ledger."""

    kind = "board"
    #: Point that counts its own readings.
    COUNTER = 1

    def __init__(self, name, folder, image, proxy, latency_ms, ledger):
        self.name, self.proxy = name, proxy
        self._ledger, self._latency_ms = ledger, latency_ms
        self._flash = folder / name
        self._flash.mkdir()
        for file in build.FIRMWARE_FILES:
            shutil.copy(data.firmware_folder() / file, self._flash)
        self._log = self._flash / "data" / "logs" / "default"
        self._board = Board(self._flash, HEAP, romfs=image)
        self._since = 0

    def configure(self, enabled):
        """Give it a configuration: with its devices, or without."""
        made = configuration(self.name, self.proxy.port, self._latency_ms, enabled)
        (self._flash / "config.json").write_text(json.dumps(made), encoding="utf-8")

    def begin(self):
        """Make it, and switch it on for the first time."""
        self.configure(enabled=True)
        self._board.start()

    def start(self):
        """Switch it on."""
        self._since = time.time_ns()
        self._board.power_on()

    def ripe(self):
        """Has it written or deleted a segment in this life?"""
        self._board.check()
        segments = self._log / "seg"
        return segments.is_dir() and segments.stat().st_mtime_ns > self._since

    def kill(self):
        """Cut its power; returns how many records it has on flash."""
        self._board.kill()
        error = self._flash / "last_error.txt"
        if error.exists():
            self._ledger.problems.append(f"{self.name} has ended: {error.read_text()}")
            error.unlink()
        return self._ledger.power_cut(self.name, self._log)

    def stop(self):
        """Take it away."""
        self._board.stop()

    def words(self):
        """What it said last."""
        return self._board.output[-_WORDS:]


class BrokerPart(servers.Mosquitto):
    """A mosquitto."""

    kind = name = "broker"

    def ripe(self):
        """``start`` has waited until it accepts."""
        return True

    def words(self):
        """What it said last."""
        return self.log[-_WORDS:]


class CollectorPart:
    """A collector process, of the command or of the library; writes ``<name>.log``.

    Its database is at ``path``. ``share``: the group of its shared subscription.
    """

    kind = "collector"

    def __init__(self, name, folder, path, proxy, subscriber, library=False, share=None):
        self.name, self.proxy = name, proxy
        url = f"mqtt://{HOST}:{proxy.port}"
        if library:
            self._command = [sys.executable, "-c", LIBRARY, url, str(path), subscriber, share]
        else:
            self._command = [sys.executable, "-m", "fieldpost_tools", "collect", "--json"]
            self._command += ["--mqtt", url, "--db", str(path), "--subscriber", subscriber]
            self._command += ["--share", share] if share else []
        self._store = Store(path, create=True)
        self._transaction = None
        self._log = folder / f"{name}.log"
        self._log.touch()
        self._process = None
        self._lives = []  # where each life begins in the log

    def start(self):
        """Start it."""
        self._lives.append(self._log.stat().st_size)
        paths = os.pathsep.join(filter(None, sys.path))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, "PYTHONPATH": paths},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ripe(self):
        """Has it told its counters in this life?"""
        return b"}" in self._log.read_bytes()[self._lives[-1] :]

    def kill(self):
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def lock(self):
        """Take the database's write lock: commits wait for it."""
        self._transaction = self._store._transaction()
        self._transaction.__enter__()

    def unlock(self):
        """Give the lock back."""
        transaction, self._transaction = self._transaction, None
        if transaction:
            transaction.__exit__(None, None, None)

    def stop(self):
        """End it as a person would, and close what it has open here."""
        self.unlock()
        self._store.close()
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def counters(self):
        """Sums over its lives of what it told last; before a kill, a second is missing."""
        total = Counter()
        written = self._log.read_bytes()
        for start, end in zip(self._lives, [*self._lives[1:], None], strict=False):
            told = [line for line in written[start:end].splitlines() if line.endswith(b"}")]
            counts = json.loads(told[-1]) if told else {}
            total.update({name: n for name, n in counts.items() if type(n) is int})
        return total

    def words(self):
        """What it said last."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-_WORDS:]
