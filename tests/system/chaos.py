"""Chaos: boards, broker and collectors are killed at random moments; then nothing may be missing.

Virtual boards with the real firmware write to durable logs and send to two subscribers: ``main``
is collected by two collectors on a shared subscription, ``second`` by one that keeps a session.
Each of them reaches a private mosquitto by a connection of its own that fails in every way (see
``chaos_faults``). Each kill is a SIGKILL; a board's is a power cut: what is not on flash is gone.
What must be in the databases is kept in a ``chaos_ledger.Ledger``.

When every kill is done, everything heals, the boards are started once more without their devices,
and must get rid of all that they have stored.
"""

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from fieldpost.errors import FieldpostError
from fieldpost_tools import romfs
from fieldpost_tools.errors import ToolError
from fieldpost_tools.sim.broker import HOST
from system import chaos_faults as faults
from system.chaos_ledger import Ledger
from system.chaos_parts import BoardPart, BrokerPart, CollectorPart

#: Seconds within which something must have happened, on a busy machine too.
DEADLINE_S = 60
POLL_S = 0.02
#: ``maxLatency`` of the first board and of the last.
LATENCY_MS = 300, 1000
#: How many problems a report shows.
SHOWN = 50
SUBSCRIBERS = "main", "second"
#: Of the collectors: name, subscriber, options.
COLLECTORS = (
    ("command", "main", {"share": "pair"}),
    ("library", "main", {"share": "pair", "library": True}),
    ("keeper", "second", {}),
)


class ChaosError(Exception):
    """The run cannot go on: something did not happen in time."""


#: What a part that does not work raises, and flash that cannot be read.
_BREAKS = (ChaosError, ToolError, FieldpostError, OSError, RuntimeError, ValueError)


@dataclass
class Report:
    """What a run did and found; ``problems`` is empty if every promise held."""

    seed: int
    seconds: float = 0
    kills: Counter = field(default_factory=Counter)
    faults: Counter = field(default_factory=Counter)
    totals: dict = field(default_factory=dict)
    accounts: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)
    timeline: list = field(default_factory=list)

    def __str__(self):
        lines = [f"seed {self.seed}, {self.seconds:.0f} s"]
        for name, counts in (("kills", self.kills), ("faults", self.faults)):
            parts = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
            lines.append(f"{name}: {sum(counts.values())} ({parts})")
        lines += [f"{name}: {value}" for name, value in self.totals.items()]
        lines += [f"database {name}: {account}" for name, account in self.accounts.items()]
        if self.problems:
            lines += ["timeline:", *self.timeline, f"problems: {len(self.problems)}"]
            lines += self.problems[:SHOWN]
        return "\n".join(lines)


def run(seed, kills, folder, persistence=False, boards=2):
    """One run in ``folder``, with at least so many kills; its ``Report``.

    ``persistence``: the broker keeps its sessions over a kill. A seed says what is done to whom
    when; where in a part's own work that hits it, is up to the machine.
    """
    session = _Session(seed, kills, Path(folder), persistence, boards)
    began = time.monotonic()
    for phase in (session.run, session.account):
        try:
            phase()
        except _BREAKS as error:
            session.report.problems.append(f"{type(error).__name__}: {error}")
    session.report.problems += session.ledger.problems
    session.report.seconds = time.monotonic() - began
    return session.report


class _Session:
    def __init__(self, seed, kills, folder, persistence, boards):
        self.report = Report(seed)
        self._kills, self._folder, self._persistence = kills, folder, persistence
        self._nodes = [f"chaos-{index}" for index in range(boards)]
        databases = {name: folder / f"{name}.db" for name in SUBSCRIBERS}
        self.ledger = Ledger(databases, LATENCY_MS[1])
        self._boards, self._collectors, self._parts = [], [], {}

    def run(self):
        with contextlib.ExitStack() as stack:
            self._make(stack)
            self._begin()
            self._shake()
            self._settle()

    # Phases

    def _make(self, stack):
        image = self._folder / "rom.img"
        image.write_bytes(romfs.node_image())
        folder = self._folder / "broker"
        folder.mkdir()
        broker = BrokerPart(folder, persistence=self._persistence)
        stack.enter_context(broker)
        network = stack.enter_context(faults.Network())
        low, high = LATENCY_MS
        for index, node in enumerate(self._nodes):
            latency = low + (high - low) * index // max(1, len(self._nodes) - 1)
            proxy = network.proxy(broker.port)
            board = BoardPart(node, self._folder, image, proxy, latency, self.ledger)
            self._boards.append(board)
        for name, subscriber, options in COLLECTORS:
            path = self.ledger.databases[subscriber]
            proxy = network.proxy(broker.port)
            part = CollectorPart(name, self._folder, path, proxy, subscriber, **options)
            self._collectors.append(part)
        for part in self._boards + self._collectors:
            stack.callback(part.stop)
        self._parts = {part.name: part for part in [broker, *self._boards, *self._collectors]}
        stack.enter_context(_listening(broker.port, self.ledger))

    def _begin(self):
        """Everything works once, before anything fails."""
        for collector in self._collectors:
            collector.start()
        for board in self._boards:
            board.begin()
        for node in self._nodes:
            for name in SUBSCRIBERS:
                key = node, name
                self._wait(lambda key=key: self.ledger.acked[key], f"an ack of {name} to {node}")

    def _shake(self):
        """Do what the schedule says; what waits for a part puts all that follows off."""
        names = {"shared": [name for name, _, options in COLLECTORS if options]}
        for part in self._parts.values():
            names.setdefault(part.kind, []).append(part.name)
        began = time.monotonic()
        for step in faults.schedule(self.report.seed, self._kills, names):
            time.sleep(max(0, began + step.at - time.monotonic()))
            part = self._parts[step.part]
            if step.ripe:
                waits = time.monotonic()
                self._wait(part.ripe, f"{part.name} at work")
                began += time.monotonic() - waits
            self._do(step.verb, part)

    def _settle(self):
        """Start the boards without their devices; they must get rid of what they have stored."""
        for board in self._boards:
            self._note(board.name, "last power cut", board.kill(), "records on flash")
            board.configure(enabled=False)
        self.ledger.live.clear()
        for board in self._boards:
            board.start()
        for board in self._boards:
            self._wait(lambda node=board.name: self._drained(node), f"{board.name} drained")
            left = board.kill()
            self._note(board.name, "drained")
            if left:
                self.ledger.problems.append(f"{board.name} kept {left} records, all acknowledged")

    def account(self):
        """Compare what was witnessed with the databases."""
        report, ledger = self.report, self.ledger
        report.accounts = ledger.close(dict.fromkeys(self._nodes, BoardPart.COUNTER))
        told = sum((part.counters() for part in self._collectors), Counter())
        for name in ("malformed", "conflicts"):
            if told[name]:
                ledger.problems.append(f"collectors: {told[name]} {name}")
        states = ledger.states.values()
        report.totals = {
            "boots seen": len(states),
            "records seen on flash": sum(map(len, ledger.stored.values())),
            "records seen acknowledged": sum(map(len, ledger.acked.values())),
            "redelivered": told["duplicates"],
            "dropped by reason": ledger.dropped(),
            "node errors": sum(state["counters"]["errors"] for state in states),
            "task restarts": sum(state["counters"]["restarts"] for state in states),
        }

    # Steps

    def _do(self, verb, part):
        if verb in ("kill", "start", "lock", "unlock"):
            left = getattr(part, verb)()
        else:
            left = part.proxy.set(verb)
        if verb == "kill":
            self.report.kills[part.kind] += 1
        elif verb not in ("start", "unlock", faults.OPEN):
            self.report.faults[verb] += 1
        self._note(part.name, verb, *([] if left is None else [left, "records on flash"]))

    def _drained(self, node):
        state = self.ledger.live.get(node)
        if state is None:
            return False
        log = state["logs"]["default"]
        return not log["kept"] and not any(s["unacked"] for s in log["subscribers"].values())

    def _wait(self, condition, what):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                told = [f"{part.name}: {part.words()}" for part in self._parts.values()]
                logs = [f"{node}: {s['logs']}" for node, s in list(self.ledger.live.items())]
                raise ChaosError("\n".join([f"not within {DEADLINE_S} s: {what}", *logs, *told]))
            time.sleep(POLL_S)

    def _note(self, *words):
        now = time.time()
        stamp = time.strftime("%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"
        self.report.timeline.append(" ".join([stamp, *map(str, words)]))


@contextlib.contextmanager
def _listening(port, ledger):
    """Let the ledger hear what goes over the broker, by a connection that does not fail."""
    client = Client(CallbackAPIVersion.VERSION2, "chaos-witness")
    client.reconnect_delay_set(0.05, 0.2)
    client.on_connect = lambda *_: client.subscribe("fieldpost/nodes/#")
    client.on_message = lambda _client, _data, message: ledger.message(
        message.topic, message.payload, message.retain
    )
    client.connect(HOST, port)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()
