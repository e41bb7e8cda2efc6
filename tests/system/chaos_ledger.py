"""What must be in the databases, from every witness of a chaos run, and whether it is there.

The witnesses are the board's flash, read by the host after every power cut, the acknowledgements
that go over the broker, and what nodes say in their states. A record that any of them saw must be
in the database of each subscriber exactly once and as it was. After a power cut more is known:

* What is no longer on flash, or is passed by a persisted cursor, is in the databases by now.
* What the last state called stored is on flash or in the databases by now; and so is what a state
  counted long enough before, as a durable log stores within ``maxLatency``.

Problems are texts for a person.
"""

import json
from collections import defaultdict
from typing import NamedTuple

from fieldpost import record, segment, smallfile
from fieldpost.replay import Segment
from fieldpost_tools import flush
from fieldpost_tools.errors import FlushError
from fieldpost_tools.store import Store, decode_value

_ROWS = """SELECT n.name, r.stream, r.seq, r.ts_ms, r.point, r.kind, r.value, r.text FROM records r
    JOIN nodes n ON n.id = r.node ORDER BY n.name, r.stream, r.seq"""
_NUMBERS = """SELECT r.seq FROM records r JOIN nodes n ON n.id = r.node
    WHERE n.name = ? AND r.stream = ?"""
#: How many items of a list a problem names.
_SHOWN = 5
#: ms that storing may take beyond ``maxLatency``: a log is tended once a second. And how many
#: states must have followed, so that time in which the computer did nothing does not count.
_TENDING_MS = 2500
_STATES = 4
_LATER_RECORDS = 100


class Key(NamedTuple):
    """A record's identity on its node."""

    stream: int
    seq: int


class Value(NamedTuple):
    """What a record says; ``kind`` tells 1 from True."""

    ms: int | None
    point: int
    value: object
    text: str | None
    kind: type

    @classmethod
    def of(cls, ms, point, value, text):
        """From a record's parts."""
        return cls(ms, point, value, text, type(value))


class Flash(NamedTuple):
    """A log's folder: ``records`` is ``{index: (Key, Value)}``, ``cursors`` are the persisted
    ones by subscriber, ``boots`` is ``{stream: boot}``."""

    records: dict
    cursors: dict
    boots: dict
    problems: list


def read_flash(folder):
    """The ``Flash`` in a log's folder, read by the SDK's own code."""
    found = Flash({}, {}, {}, [])
    for path in folder.glob("*.cur"):
        found.cursors[path.stem] = smallfile.load(str(path))
    for index in segment.scan(str(folder)) if (folder / "seg").is_dir() else ():
        head = segment.head(str(folder), index)
        end = _read_segment(str(folder), index, found)
        if head is None or head[1] != end:
            found.problems.append(f"segment {index} is whole up to {end}, its head is {head}")
    return found


def _read_segment(folder, index, found):
    held = Segment(4096)
    held.load(folder, index)
    while chunk := held.chunk(index):
        buf, start, first, _, end = chunk
        if first != index:
            break
        header, rows, _ = record.decode(bytes(buf[start:end]))
        boot = found.boots.setdefault(header.stream, header.boot)
        if boot != header.boot:
            found.problems.append(f"stream {header.stream} of the boots {boot} and {header.boot}")
        for seq, row in enumerate(rows, header.seq):
            found.records[index] = Key(header.stream, seq), Value.of(*row)
            index += 1
    return index


class Ledger:
    """All that was witnessed; ``problems`` collects what is not as promised.

    ``databases`` is ``{subscriber: path}``, of every subscriber of every node; ``latency_ms`` the
    longest ``maxLatency`` of the nodes.
    """

    def __init__(self, databases, latency_ms):
        self.databases = databases
        #: What is older when the power is cut is stored.
        self.late_ms = latency_ms + _TENDING_MS
        self.problems = []
        #: ``{Key: Value}`` of what was on flash by node, and of what was acknowledged by
        #: ``(node, subscriber)``.
        self.stored = defaultdict(dict)
        self.acked = defaultdict(dict)
        #: Of the nodes in this life: the newest state.
        self.live = {}
        self._boots = defaultdict(dict)
        self._present = defaultdict(set)
        self._flying = {}
        self._history = defaultdict(list)

    @property
    def states(self):
        """``{(node, boot): newest state}``."""
        return {name: states[-1] for name, states in self._history.items()}

    # Witnesses

    def power_cut(self, node, folder):
        """Read the flash of a node whose power was just cut; returns how many records it holds."""
        flash = read_flash(folder)
        self.problems += [f"{node}: {problem}" for problem in flash.problems]
        for stream, boot in flash.boots.items():
            self._once(node, self._boots[node], stream, boot)
        for key, value in flash.records.values():
            self._once(node, self.stored[node], key, value)
        present = {key for key, _ in flash.records.values()}
        gone = self._present[node] - present
        self._present[node] = present
        said = self._said(node) - present
        due = self._due(node) - present - said
        for name, path in self.databases.items():
            cursor = flash.cursors.get(name) or 0
            passed = {key for index, (key, _) in flash.records.items() if index < cursor}
            with Store(path) as store:
                self._require(node, store, gone, "is not on flash any more")
                self._require(node, store, passed, "is passed by a persisted cursor")
                self._require(node, store, said, "is not on flash, but stored, says its state")
                self._require(node, store, due, "is not on flash, though it is late")
        return len(present)

    def message(self, topic, payload, retained=False):
        """Take a message that was published below ``fieldpost/nodes/``."""
        _, _, node, kind, *levels = topic.split("/")
        if kind == "flush":
            self._flush(node, levels[0], payload)
        elif kind == "api":
            self._ack(node, json.loads(payload))
        elif kind == "state" and not retained:
            self._state(node, json.loads(payload))

    def _flush(self, node, subscriber, payload):
        try:
            message = flush.decode_flush(node, payload)
        except FlushError as error:
            self.problems.append(str(error))
            return
        rows = {}
        for chunk in message.chunks:
            for seq, row in enumerate(chunk.records, chunk.seq):
                rows[Key(chunk.stream, seq)] = Value.of(*row)
        if rows:
            name = node, subscriber, message.id, min(rows)
            known = self._flying.get(name)
            # It may be sent again with less in it: an acknowledgement is for that at least.
            if known is None or len(rows) < len(known):
                self._flying[name] = rows

    def _ack(self, node, ack):
        name = node, ack["subscriber"], ack["flush"], Key(ack["stream"], ack["seq"])
        for key, value in self._flying.pop(name, {}).items():
            self._once(node, self.acked[name[:2]], key, value)

    def _state(self, node, state):
        if state["state"] == "online":
            self._history[node, state["boot"]].append(state)
            self.live[node] = state

    def _last_boot(self, node):
        names = [name for name in list(self._history) if name[0] == node]
        return self._history[max(names)][:] if names else []

    def _said(self, node):
        """Keys of the records that the last boot said to be stored."""
        return {key for state in self._last_boot(node)[-1:] for key in _keys(state, "stored")}

    def _due(self, node):
        """Keys of the records that the last boot had long enough to be stored."""
        states = self._last_boot(node)
        for state in reversed(states[:-_STATES]):
            if states[-1]["uptime_ms"] - state["uptime_ms"] >= self.late_ms:
                return _keys(state, "next")
        return set()

    def _once(self, node, known, key, value):
        if known.setdefault(key, value) != value:
            self.problems.append(f"{node}: {key} is {value}, it was {known[key]}")

    def _require(self, node, store, keys, why):
        missing = []
        for stream in {key.stream for key in keys}:
            there = {seq for (seq,) in store.read(_NUMBERS, (node, stream))}
            missing += [key for key in keys if key.stream == stream and key.seq not in there]
        if missing:
            text = _some(sorted(missing))
            self.problems.append(f"{node}: {store.path.name} lacks what {why}: {text}")

    # The account

    def dropped(self):
        """Records that the nodes dropped by reason, as far as their states told."""
        total = defaultdict(int)
        for state in self.states.values():
            for reason, count in state["logs"]["default"]["dropped"].items():
                total[reason] += count
        return dict(total)

    def close(self, counters):
        """Compare with the databases: ``{subscriber: Account}``.

        ``counters`` is ``{node: id of a point that counts its own readings}``.
        """
        if self.dropped():
            self.problems.append(f"dropped, with room for everything: {self.dropped()}")
        accounts = {}
        for subscriber, path in self.databases.items():
            with Store(path) as store:
                accounts[subscriber] = account = Account(self, subscriber, store, counters)
            self.problems += [f"{path.name}: {problem}" for problem in account.problems]
        return accounts

    def promised(self, subscriber):
        """``{(node, stream): seq}``: what is before it is stored or acknowledged, say states."""
        ends = defaultdict(int)
        for (node, _), states in self._history.items():
            for state in states:
                log = state["logs"]["default"]
                acked = log["next"] - log["subscribers"][subscriber]["unacked"]
                name = node, log["stream"]
                ends[name] = max(ends[name], acked, log["stored"])
        return ends


class Account:
    """One database against the ledger.

    ``records``: how many it has. ``lost`` were witnessed and are not there, ``wrong`` say
    something else, ``duplicates`` are readings of a counter that are there twice. ``cut_off`` are
    missing numbers that nobody has witnessed: they were in RAM when the power was cut.
    """

    def __init__(self, ledger, subscriber, store, counters):
        self.problems = []
        self._ledger = ledger
        self.records = self.wrong = self.duplicates = self.cut_off = 0
        self._lost = set()
        self._rows = defaultdict(dict)
        for node, stream, seq, ms, point, kind, value, text in store.read(_ROWS):
            value = decode_value(kind, value)
            self._rows[node][Key(stream, seq)] = Value.of(ms, point, value, text)
            self.records += 1
        for node, rows in ledger.stored.items():
            self._compare(node, rows, "was on flash")
        for (node, name), rows in ledger.acked.items():
            if name == subscriber:
                self._compare(node, rows, "was acknowledged")
        for (node, stream), end in ledger.promised(subscriber).items():
            keys = (Key(stream, seq) for seq in range(end))
            self._find(node, keys, "is stored or acknowledged, says its state")
        for node, point in counters.items():
            self._count(node, point)
        self._compare_book(store)

    @property
    def lost(self):
        """How many records are."""
        return len(self._lost)

    def __str__(self):
        names = "records", "lost", "wrong", "duplicates", "cut_off"
        return ", ".join(f"{name} {getattr(self, name)}" for name in names)

    def _compare(self, node, wanted, why):
        self._find(node, wanted, why)
        rows = self._rows[node]
        wrong = [(key, rows[key], wanted[key]) for key in wanted.keys() & rows.keys()]
        wrong = [(key, here, there) for key, here, there in wrong if here != there]
        self.wrong += len(wrong)
        if wrong:
            self.problems.append(f"{node}: differs from what {why}: {_some(wrong)}")

    def _find(self, node, wanted, why):
        missing = [key for key in wanted if key not in self._rows[node]]
        self._lost.update((node, *key) for key in missing)
        if missing:
            self.problems.append(f"{node}: lacks what {why}: {_some(missing)}")

    def _count(self, node, point):
        """The readings of a counter follow one another wherever no number is missing between."""
        last = Key(-1, 0)
        seen, value, whole = set(), -1, True
        for key, row in self._rows[node].items():
            if key.stream != last.stream:
                seen, value, whole, last = set(), -1, True, Key(key.stream, -1)
            whole = whole and key.seq == last.seq + 1
            last = key
            if row.point == point:
                if row.value in seen:
                    self.duplicates += 1
                    self.problems.append(f"{node}: reading {row.value} again, at {key}")
                elif whole and row.value != value + 1:
                    self.problems.append(f"{node}: {row.value} after {value}, at {key}")
                seen.add(row.value)
                value, whole = row.value, True

    def _compare_book(self, store):
        """The collectors' book says what is missing, no more and no less; no node dropped it."""
        booked = defaultdict(set)
        for gap in store.gaps():
            numbers = range(gap.from_seq, gap.to_seq + 1)
            booked[gap.node].update(Key(gap.stream, seq) for seq in numbers)
            self.cut_off += len(numbers)
            if gap.explained == "dropped":
                self.problems.append(f"booked as dropped: {gap}")
            elif self._continued(gap):
                self._lost.update((gap.node, gap.stream, seq) for seq in numbers)
                self.problems.append(f"not the end of a stream: {gap}")
        for node, rows in self._rows.items():
            ends = {key.stream: key.seq for key in rows}
            numbers = {Key(stream, seq) for stream, end in ends.items() for seq in range(end)}
            holes = numbers - rows.keys()
            if holes != booked[node]:
                differing = sorted(holes ^ booked[node])
                self.problems.append(f"{node}: holes and book differ in {_some(differing)}")
        if store.totals().records != self.records:
            self.problems.append(f"{self.records} records, but {store.totals()}")

    def _continued(self, gap):
        """Did the node go on for so long that what is missing should have been on flash?"""
        rows = self._rows[gap.node]
        after = [key for key in rows if key.stream == gap.stream and key.seq > gap.to_seq]
        first, last = rows[min(after)], rows[max(after)]
        return len(after) > _LATER_RECORDS and last.ms - first.ms > self._ledger.late_ms


def _keys(state, name):
    log = state["logs"]["default"]
    return {Key(log["stream"], seq) for seq in range(log[name])}


def _some(items):
    items = list(items)
    text = ", ".join(map(str, items[:_SHOWN]))
    return f"{len(items)}: {text}" + (" …" if len(items) > _SHOWN else "")
