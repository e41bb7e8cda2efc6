"""Runs the demo: starts the parts, lets them work, breaks the broker, closes the account."""

import contextlib
import importlib.util
import json
import logging
import re
import secrets
import time
from pathlib import Path

from fieldpost_tools import boards
from fieldpost_tools.collect import Collector
from fieldpost_tools.demo import audit, site
from fieldpost_tools.demo.picture import Picture
from fieldpost_tools.errors import InputError, ToolError
from fieldpost_tools.provision import link
from fieldpost_tools.provision.rom import RomJob
from fieldpost_tools.sim.board import Board
from fieldpost_tools.sim.broker import Broker
from fieldpost_tools.sim.modbus_server import AhuServer
from fieldpost_tools.store import Store
from fieldpost_tools.webhook_receiver import Receiver

DATABASE, CSV, CONSOLE = "demo.db", "demo.csv", "console.txt"
NEEDED = ("amqtt", "micropython_run", "pymodbus", "pypi_simple")


class DemoError(ToolError):
    """The demo cannot go on. ``details`` is what the board said last, to be shown as well."""

    def __init__(self, reason, details=""):
        super().__init__(reason)
        self.details = details


def run(seconds, heap, folder, show):
    """Run the demo for ``seconds`` of sampling (10 or more) and return its account, a dict.

    ``heap`` is the board's; ``folder`` gets database, CSV and the board's flash, and must not
    hold those of an earlier run. ``show(picture)`` is called ten times a second. ``problems``
    of the account says what is wrong; it is empty if everything arrived exactly once. Nothing
    but the files stays behind, whatever happens. Raises ``DemoError`` and other ``ToolError``.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoError(f"{', '.join(missing)} not installed: pip install fieldpost[sim]")
    folder = Path(folder)
    if (folder / DATABASE).exists():
        raise InputError("folder", str(folder), "one without the files of an earlier run")
    try:
        with contextlib.ExitStack() as parts:
            return _Session(seconds, heap, folder, show, parts).run()
    except OSError as error:
        raise DemoError(str(error)) from error


class _WatchedStore(Store):
    """A store that tells ``watch`` what it has committed."""

    def __init__(self, path, watch):
        super().__init__(path, create=True)
        self._watch = watch

    def write(self, flushes=(), points=(), states=(), happened=()):
        written = super().write(flushes, points, states, happened)
        self._watch(flushes, points, states, written)
        return written


class _Session:
    ROUND_S = 0.1
    BOOT_TIMEOUT_S = 30
    DRAIN_TIMEOUT_S = 30
    CLOSE_TIMEOUT_S = 20
    #: The collector is back soon after the broker: seconds of its first and longest pause.
    BACKOFF_S = (0.2, 0.5)
    #: What the board prints once its node has ended: main.py, or the REPL after it.
    ENDED = re.compile(rb"\nrestart in |\n>>> ")

    def __init__(self, seconds, heap, folder, show, parts):
        self._heap, self._folder, self._show, self._parts = heap, folder, show, parts
        self._picture = Picture(seconds)
        self._console, self._read = b"", 0
        self._boots = self._outages = 0

    def run(self):
        self._prepare()
        provisioned = self._provision()
        self._boot()
        begin, end = site.outage(self._picture.seconds)
        self._collect("sampling", lambda: self._picture.elapsed >= begin)
        outage = self._outage(end)
        self._collect("sampling", lambda: self._picture.elapsed >= self._picture.seconds)
        return {**self._close(), **outage, **provisioned}

    # Parts

    def _prepare(self):
        self._say("starting the servers")
        # It logs, at length, that the node is gone.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        plant = self._parts.enter_context(AhuServer())
        self._broker = self._parts.enter_context(Broker())
        self._picture.broker = True
        self._receiver = self._parts.enter_context(Receiver(secrets.token_hex(16)))
        if site.has_webhook(self._heap):
            self._picture.receiver = self._receiver
        self._config = site.configuration(self._broker, plant, self._receiver, self._heap)
        self._store = _WatchedStore(self._folder / DATABASE, self._picture.committed)
        self._parts.enter_context(self._store)
        url = f"mqtt://{self._broker.host}:{self._broker.port}"
        self._collector = self._parts.enter_context(
            Collector(url, self._store, [site.NODE], site.SUBSCRIBER)
        )
        self._collector.link.BACKOFF_S = self.BACKOFF_S
        self._board = Board(self._folder / "flash", self._heap, romfs=True)
        self._parts.callback(self._end_board)

    def _end_board(self):
        self._board.stop()
        (self._folder / CONSOLE).write_text(self._board.output, encoding="utf-8")

    # Phases

    def _provision(self):
        """Bring the empty board what it needs over its serial line, as ``fieldpost provision``."""
        self._say("building its files")
        self._board.start()
        with link.open(self._board.path) as board:
            job = RomJob(board, boards.load(site.BOARD), "romfs")
            job.look()
            self._say("provisioning")
            report = job.run(self._config)
            self._boots = self._board.boots + 1
            self._read = self._board.printed
            job.reset()
        return {"provision_bytes": report.bytes, "provision_seconds": round(report.seconds, 1)}

    def _boot(self):
        picture = self._picture
        self._collect(
            "booting the board",
            lambda: picture.stored and picture.states,
            self.BOOT_TIMEOUT_S,
            "the node does not deliver records",
        )
        picture.begun = time.monotonic()

    def _outage(self, end):
        """Kill the broker until second ``end``, bring it back, wait until the backlog is gone."""
        picture = self._picture
        began = time.monotonic()
        self._broker.kill()
        self._outages += 1
        picture.broker = picture.online = False
        self._collect("broker killed", lambda: picture.elapsed >= end)
        self._broker.start()
        picture.broker = True
        back = time.monotonic()
        seen = picture.states
        self._collect(
            "waiting for the node",
            lambda: picture.states > seen,
            self.DRAIN_TIMEOUT_S,
            "the node does not come back after the outage",
        )
        backlog = picture.log["subscribers"][site.SUBSCRIBER]["unacked"]
        cut = audit.cut(picture.log)
        self._collect(
            "backlog drains",
            lambda: audit.covered(self._store, cut),
            self.DRAIN_TIMEOUT_S,
            "the backlog does not arrive after the outage",
        )
        return {
            "broker_outages": self._outages,
            "outage_seconds": round(back - began, 1),
            "backlog": backlog,
            "drain_seconds": round(time.monotonic() - back, 1),
        }

    def _close(self):
        """Choose the node's next state as the end, wait until all before it is here, compare."""
        picture = self._picture
        seen = picture.states
        self._collect(
            "closing",
            lambda: picture.states > seen,
            self.CLOSE_TIMEOUT_S,
            "the node does not report any more",
        )
        seconds = round(picture.elapsed, 1)
        cut = audit.cut(picture.log)
        counters = picture.state["counters"]
        self._collect("closing", lambda: self._covered(cut, counters), self.CLOSE_TIMEOUT_S)
        self._say("exporting")
        return {
            **self._account(cut, counters),
            "seconds": seconds,
            "redelivered": self._collector.counters.duplicates,
            "node_errors": counters["errors"],
            "node_restarts": counters["restarts"],
            "node_disconnects": counters["mqtt_main_disconnects"],
            "heap": self._heap,
            "heap_free": audit.heap_free(self._store, cut),
        }

    def _covered(self, cut, counters):
        alarms = len(self._receiver.arrivals) >= audit.queued(counters)
        return alarms and audit.covered(self._store, cut)

    def _account(self, cut, counters):
        account = audit.account(self._store, cut, self._folder / CSV)
        if not site.has_webhook(self._heap):
            return account
        whole = not (cut.dropped or account["lost"])
        alarms = audit.webhooks(self._store, cut, counters, self._receiver, whole)
        problems = account["problems"] + alarms["problems"]
        return {**account, **alarms, "problems": problems}

    # Steps

    def _say(self, phase):
        self._picture.phase = phase
        self._show(self._picture)

    def _collect(self, phase, done, timeout_s=None, problem=None):
        """Collect until ``done()``; after ``timeout_s`` go on, or fail with ``problem``."""
        self._picture.phase = phase
        deadline = timeout_s and time.monotonic() + timeout_s
        while not done():
            self._collector.step(self.ROUND_S)
            self._listen()
            self._picture.tick()
            self._show(self._picture)
            if deadline and time.monotonic() > deadline:
                if problem:
                    raise DemoError(problem, self._last_words())
                return

    def _listen(self):
        """Fail if the board is off, has reset, or its main.py has ended."""
        self._board.check()
        printed, self._read = self._board.read(self._read)
        self._console = (self._console + printed)[-4000:]
        if self._board.boots > self._boots:
            raise DemoError("the board has reset itself", self._last_words())
        if self.ENDED.search(self._console):
            raise DemoError(f"the node has ended: {self._last_line()}", self._last_words())

    def _last_line(self):
        """The newest error in a line: what follows the traceback."""
        lines = self._last_error().splitlines() or ["no error is noted"]
        return lines[-1]

    def _last_error(self):
        path = self._board.folder / "last_error.txt"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _last_words(self):
        console = self._console.decode(errors="replace").strip()
        error = self._last_error().strip()
        counters = json.dumps(self._picture.state and self._picture.state["counters"])
        parts = {"console": console, "last_error.txt": error, "counters": counters}
        return "\n".join(f"--- the board's {name}\n{text}" for name, text in parts.items())
