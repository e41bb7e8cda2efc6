"""Limits with deadband and delays against a model that looks at every moment, over restarts."""

import random

from alarm_kit import PATH, Bench
from core_kit import UNIX_MS

from fieldpost.alarms.engine import Alarms
from fieldpost.smallfile import remove

HEAP = "2m"
#: Everything happens at multiples of it.
STEP_MS = 10


class Model:
    """One limit, asked at every step of time; ``told`` are ``(time, kind)``."""

    def __init__(self, row):
        self.sign = 1 if row["type"] == "high_limit" else -1
        self.row = row
        self.raised = False
        self.told = []
        self.restart()

    def restart(self):
        """What is raised is kept, the rest is not."""
        self.value = None
        self.since = None

    def look(self, now):
        """The moment ``now``, with the value that holds since."""
        wanted = None
        if self.value is not None:
            over = (self.value - self.row["limit"]) * self.sign
            wanted = over > (-self.row["deadband"] if self.raised else 0)
        if wanted is None or wanted == self.raised:
            self.since = None
            return
        if self.since is None:
            self.since = now
        delay = self.row["off_delay_ms"] if self.raised else self.row["on_delay_ms"]
        if now - self.since >= delay:
            self.raised = wanted
            self.since = None
            self.told.append((now, "raised" if wanted else "cleared"))


def random_row():
    return {
        "type": random.choice(["high_limit", "low_limit"]),
        "point": 1,
        "limit": random.randrange(-4, 5) / 2,
        "deadband": random.choice([0, 0, 0.5, 2, 4]),
        "on_delay_ms": random.choice([0, 0, 10, 50, 200]),
        "off_delay_ms": random.choice([0, 0, 10, 50, 200]),
    }


def random_life(steps):
    """What happens at each step: nothing, a value, a failure or a restart."""
    for _ in range(steps):
        pick = random.getrandbits(6)
        if pick < 20:
            yield random.randrange(-16, 17) / 4
        elif pick < 22:
            yield "fail"
        else:
            yield "restart" if pick == 22 else None


class Live:
    """The same, by the engine."""

    def __init__(self, row):
        remove(PATH)
        self.row = row
        self.numbers = [0]
        self.told = []
        self.bench = None

    def restart(self, now):
        if self.bench:
            self.end()
        start = (1 << 30) - 1000
        self.bench = Bench([self.row], now=start, unix_ms=UNIX_MS + now, numbers=self.numbers)
        self.bench.__enter__()

    def end(self):
        for _, data in self.bench.events:
            self.told.append((data["timestamp_ms"] - UNIX_MS, data["state"]))
        self.bench.__exit__(None, None, None)


def run(steps):
    """One random life; returns how much was told."""
    row = random_row()
    model = Model(row)
    live = Live(row)
    live.restart(0)
    now = 0
    for what in random_life(steps):
        # What a delay ends comes first.
        model.look(now)
        if what == "restart":
            model.restart()
            live.restart(now)
        elif what == "fail":
            model.value = None
            live.bench.a.fail("timeout")
        elif what is not None:
            model.value = what
            live.bench.set(what)
        model.look(now)
        live.bench.wait(STEP_MS)
        now += STEP_MS
    live.end()
    model.look(now)
    assert live.told == model.told, (row, live.told, model.told)
    return len(model.told)


def test_random_lives():
    before, Alarms.save_ms = Alarms.save_ms, 0
    try:
        random.seed(4)
        told = 0
        for _ in range(60):
            told += run(150)
        assert told > 400, told
    finally:
        Alarms.save_ms = before
