"""What the tests of alarms share: points, a still clock, and an engine over rows like those of a
configuration."""

from core_kit import UNIX_MS, still_clock
from patch_kit import Patch

from fieldpost import point as point_module
from fieldpost.alarms import check
from fieldpost.alarms.engine import Alarms
from fieldpost.bus import Bus
from fieldpost.config import Validator
from fieldpost.events import (
    ALARM_ACKNOWLEDGED,
    ALARM_CLEARED,
    ALARM_RAISED,
    ERROR,
    FDD_FAULT_CLEARED,
    FDD_FAULT_RAISED,
)
from fieldpost.point import Point

KINDS = (ALARM_RAISED, ALARM_CLEARED, ALARM_ACKNOWLEDGED, FDD_FAULT_RAISED, FDD_FAULT_CLEARED)
NAMES = ("a", "b", "c")
PATH = "alarm-state"


def section(alarms=(), faults=()):
    """A checked configuration with points ``d/a`` (1), ``d/b`` (2) and ``d/c`` (3)."""
    points = [{"id": 1 + i, "name": name} for i, name in enumerate(NAMES)]
    config = {"devices": [{"id": "d", "points": points}]}
    for name, rows in (("alarms", alarms), ("faults", faults)):
        kind = Validator()
        config[name] = [
            kind.table(name[:-1], dict({"id": name[0] + str(i)}, **row), "%s[%d]" % (name, i))
            for i, row in enumerate(rows)
        ]
    check.check(config)
    return config


class Bench:
    """One life of a node with these alarms; ``with`` patches the time of points.

    ``events`` are ``(kind, data)``; ``numbers`` is shared by the lives of a node.
    """

    def __init__(self, alarms=(), faults=(), now=0, unix_ms=UNIX_MS, numbers=None):
        self.clock, self.ticks = still_clock(now, unix_ms)
        self.bus = Bus()
        self.numbers = [0] if numbers is None else numbers
        self.events = []
        self.errors = []
        for kind in KINDS:
            self.bus.subscribe(kind, lambda kind, key, data: self.events.append((kind, data)))
        self.bus.subscribe(ERROR, lambda kind, key, data: self.errors.append(data))
        self.points = {}
        for i, name in enumerate(NAMES):
            point = self.points[1 + i] = Point(1 + i, "d", name, "K")
            point.bus = self.bus
            setattr(self, name, point)
        self.engine = Alarms(self.bus, self.clock, PATH, self.number)
        self.configure(alarms, faults)
        self.engine._clear_forgotten()
        self.engine.step()

    def number(self):
        self.numbers[0] += 1
        return self.numbers[0]

    def configure(self, alarms=(), faults=()):
        """As a plan does; returns what changed."""
        return sorted(self.engine.configure(check.rows(section(alarms, faults)), self.points))

    def __enter__(self):
        self.patch = Patch(point_module, ticks_ms=self.ticks)
        self.patch.__enter__()
        return self

    def __exit__(self, *error):
        self.patch.__exit__(*error)
        assert error[0] or (not self.errors and not self.bus.failures), self.errors

    def set(self, value, point=None):
        """A reading of ``a`` (or another point), and what follows at once."""
        (point or self.a).update(value)
        self.engine.step()

    def wait(self, ms):
        """Let time pass, the engine waking when it asked to."""
        while True:
            asked = self.engine.step()
            if asked > ms:
                break
            self.ticks.advance(asked)
            ms -= asked
        self.ticks.advance(ms)

    def told(self):
        """Kinds of the events since the last call, without what they share."""
        kinds = [kind.replace("alarm_", "").replace("fdd_fault_", "") for kind, _ in self.events]
        self.events = []
        return kinds

    def state(self, id="a0"):
        """The state of a rule."""
        for row in self.engine.states():
            if row["id"] == id:
                return row["state"]
        return None


def high(**keys):
    """A high limit of 10 on ``d/a``."""
    return dict({"type": "high_limit", "point": "d/a", "limit": 10}, **keys)
