"""What the tests of exports share: a store with known records, sinks that fail as told."""

import json

from fieldpost_tools import events
from fieldpost_tools.export import settings
from fieldpost_tools.export.connector import Connector, Rejected, Unavailable
from fieldpost_tools.flush import Chunk, Flush, Points
from fieldpost_tools.store import Store

T0 = 1_700_000_000_000


def flush(first, count, node="gw-1", stream=1, value=lambda seq: seq / 2, dated=True):
    """A flush of ``count`` records of point 7, a second apart."""
    records = [
        (T0 + 1000 * seq if dated else seq, 7, value(seq), None)
        for seq in range(first, first + count)
    ]
    chunk = Chunk(stream, first, None if dated else 3, dated, records)
    return Flush(node, "default", first, 0, [chunk])


def values(*wanted):
    """A flush of these values."""
    return flush(0, len(wanted), value=lambda seq: wanted[seq])


def alarm(number, state="raised", node="gw-1"):
    """An alarm's event."""
    body = {
        "alarm_id": number,
        "node_id": "ahu-1/dat",
        "type": "high_limit",
        "severity": "critical",
        "state": state,
        "value": 31.5,
        "message": 'too "warm", 31 °C',
        "timestamp_ms": T0 + number,
    }
    return events.decode(node, "alarms", json.dumps(body).encode())


def make_store(path, *flushes, happened=()):
    """A store with these flushes; point 7 is ahu-1/dat in °C on every node."""
    store = Store(path, create=True)
    nodes = {one.node for one in flushes}
    points = [Points(node, "ahu-1", "virtual", [(7, "dat", "°C")]) for node in nodes]
    store.write(flushes, points=points, happened=happened)
    return store


class Scripted(Connector):
    """Keeps what it gets; ``script`` holds what its next calls raise, None to succeed.

    A sample whose value is "poison" is rejected, with all that came with it.
    """

    def __init__(self, name="sink", options=None):
        super().__init__(name, options or {})
        self.script = []
        self.samples = {}
        self.events = []
        self.writes = 0
        self.opened = []

    def open(self, mark=None):
        self.opened.append(mark)

    def write(self, samples):
        self.writes += 1
        if any(sample.value == "poison" for sample in samples):
            raise Rejected("poison is not a number")
        error = self.script.pop(0) if self.script else None
        if error:
            raise error
        for sample in samples:
            self.samples[sample.node, sample.stream, sample.seq] = sample
        return 0

    def write_events(self, found):
        self.events += found
        return 0

    def mark(self):
        return {"samples": len(self.samples)}

    @property
    def values(self):
        """Of the samples, in the order of their keys."""
        return [self.samples[key].value for key in sorted(self.samples)]


def export(connector, folder, **keys):
    """A ``settings.Export`` around a connector."""
    row = {"name": connector.name, "type": "csv", "path": str(folder), "interval_s": 0.1, **keys}
    made = settings.make(row, "connector[0]")
    made.common["dead_letters"] = str(folder / "dead.jsonl")
    return made._replace(connector=connector)


DOWN = Unavailable("down")


def files_export(folder, **keys):
    """An export into CSV files."""
    row = {"name": "out", "type": "csv", "path": "files", "batch": 50}
    made = settings.make(row | keys, "connector[0]")
    made.connector.folder = folder
    made.common["dead_letters"] = str(folder / "dead.jsonl")
    return made
