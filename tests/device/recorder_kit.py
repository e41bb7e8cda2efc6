"""For tests of the recorder: one point, one log, and time that passes as told."""

from core_kit import UNIX_MS, still_clock
from patch_kit import Patch

from fieldpost import point as point_module
from fieldpost.acquisition import compile
from fieldpost.point import Point
from fieldpost.recorder import Recorder

MINUTE = 60000
HOUR = 3600000
#: A Unix time on the hour.
SHARP = UNIX_MS - UNIX_MS % HOUR


class Log:
    """Stands for a subscription: notes ``(ms since the start, value)`` of each record."""

    def __init__(self, clock):
        self.clock = clock
        self.start = clock.mono_ms()
        self.records = []

    def record(self, point, ticks=None):
        ticks = point.ticks if ticks is None else ticks
        self.records.append((self.clock.mono_at(ticks) - self.start, point.value))
        return True

    def times(self):
        return [ms for ms, _ in self.records]

    def taken(self):
        records, self.records = self.records, []
        return records


class Task:
    def beat(self):
        pass


class Bench:
    """A recorder with one point and one log, whose time passes by ``run``."""

    def __init__(self, rule, own=None, unix_ms=SHARP, late_ms=0):
        self.clock, self.ticks = still_clock(5, unix_ms)
        self.recorder = Recorder(self.clock)
        self.log = Log(self.clock)
        self.point = Point(1, "d", "p")
        self.late_ms = late_ms
        self.steps = 0
        self.rule = compile(rule, own)
        self.recorder.watch(self.point, self.log, self.rule)

    def read(self, value):
        """The driver reads a value, now."""
        with Patch(point_module, ticks_ms=self.ticks):
            self.point.update(value)

    def run(self, ms):
        """Let ``ms`` pass as the recorder's task would sleep through it."""
        end = self.clock.mono_ms() + ms
        while True:
            self.steps += 1
            wait = max(0, self.recorder.step())
            now = self.clock.mono_ms()
            if now + wait + self.late_ms > end:
                self.ticks.advance(end - now)
                return self.log.taken()
            self.ticks.advance(wait + self.late_ms)

    def now(self):
        return self.clock.mono_ms() - self.log.start
