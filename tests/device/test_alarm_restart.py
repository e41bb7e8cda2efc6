"""Alarms over restarts: every state, damaged and full flash, configuration that changed meanwhile,
storms, clocks that wrap."""

import os

from alarm_kit import PATH, Bench, high
from core_kit import UNIX_MS, refused
from patch_kit import Patch

from fieldpost.alarms import store
from fieldpost.smallfile import remove

HEAP = "1m"

LATCH = high(latching=True)


def entries():
    """What the file has."""
    return store.load(PATH)[0]


class Lives:
    """Lives of one node, one after the other."""

    def __init__(self):
        remove(PATH)
        self.numbers = [0]
        self.now = UNIX_MS

    def __call__(self, *arguments, **keys):
        self.now += 1000
        keys.setdefault("unix_ms", self.now)
        return Bench(*arguments, numbers=self.numbers, **keys)


def test_normal_and_pending_begin_anew():
    lives = Lives()
    with lives([high(on_delay_ms=1000)]) as one:
        one.set(5)
        one.wait(5000)
        one.set(11)
        one.wait(500)
    assert entries() == {}
    with lives([high(on_delay_ms=1000)]) as one:
        assert (one.told(), one.state()) == ([], "normal")
        one.set(11)
        one.wait(999)
        assert one.told() == []
        one.wait(2)
        assert one.told() == ["raised"]


def test_raised_stays_raised():
    lives = Lives()
    with lives([high(deadband=5)]) as one:
        one.set(11)
        number = one.events[0][1]["alarm_id"]
    for _ in range(3):
        with lives([high(deadband=5)]) as one:
            assert (one.told(), one.state()) == ([], "raised")
            one.set(11)
            one.set(8)
            assert one.told() == [], "the deadband counts"
    with lives([high(deadband=5)]) as one:
        one.set(4)
        assert one.events[0][1]["alarm_id"] == number
        assert one.told() == ["cleared"]
    assert entries() == {}
    assert refused(OSError, os.stat, PATH), "there is no file without need"
    with lives([high(deadband=5)]) as one:
        assert one.state() == "normal"


def test_acknowledged_stays_acknowledged():
    lives = Lives()
    with lives([high()]) as one:
        one.set(11)
        one.engine.acknowledge("a0")
        one.engine.step()
    with lives([high()]) as one:
        assert not one.engine.acknowledge("a0")
        one.set(9)
        assert one.told() == ["cleared"]


def test_clearing_begins_its_delay_anew():
    lives = Lives()
    with lives([high(off_delay_ms=1000)]) as one:
        one.set(11)
        one.set(9)
        one.wait(900)
        assert one.state() == "clearing"
    with lives([high(off_delay_ms=1000)]) as one:
        assert one.state() == "raised"
        one.wait(5000)
        assert one.told() == []
        one.set(9)
        one.wait(999)
        assert one.told() == []
        one.wait(2)
        assert one.told() == ["cleared"]


def test_latched_stays_latched():
    lives = Lives()
    with lives([LATCH]) as one:
        one.set(11)
        one.set(9)
    with lives([LATCH]) as one:
        assert one.state() == "latched"
        one.set(9)
        assert one.told() == []
        one.engine.acknowledge("a0")
        one.engine.step()
        assert one.told() == ["acknowledged", "cleared"]
    with lives([LATCH]) as one:
        assert one.state() == "normal"
        one.set(11)
        one.set(9)
        one.set(11)
    with lives([LATCH]) as one:
        assert one.state() == "raised"


def test_shelved_stays_shelved():
    lives = Lives()
    until = UNIX_MS + 600000
    with lives([high()]) as one:
        one.engine.shelve("a0", until)
        one.engine.step()
    with lives([high()], unix_ms=None) as one:
        one.set(11)
        one.wait(3600000)
        assert one.told() == [], "who knows what time it is"
        one.clock.set_unix_ms(until - 1000, "test")
        one.wait(999)
        assert one.told() == []
        one.wait(2)
        assert one.told() == ["raised"]
        one.wait(10000)
    with lives([high()]) as one:
        assert one.engine.rules["a0"].shelved == 0


def test_what_ends_is_no_longer_kept():
    lives = Lives()
    with lives([high(), high(limit=20)]) as one:
        one.engine.shelve("a0", lives.now + 5000)
        one.engine.shelve("a1", lives.now + 50000)
        one.engine.step()
        assert sorted(entries()) == ["a0", "a1"]
        one.wait(6000)
        assert sorted(entries()) == ["a1"]
        one.configure([high()])
        one.wait(1)
        assert entries() == {}


def test_conditions_with_a_past_do_not_clear_for_having_none():
    lives = Lives()
    faults = [
        {"type": "stuck", "point": 1, "window_ms": 60000},
        {"type": "flapping", "point": 2, "changes": 2, "window_ms": 60000},
    ]
    alarms = [{"type": "rate_of_change", "point": 3, "limit": 5, "window_ms": 60000}]
    with lives(alarms, faults) as one:
        one.set(1)
        for value in (0, 1, 0):
            one.set(value * 100, one.b)
            one.set(value * 100, one.c)
        one.wait(60000)
        assert sorted(one.told()) == ["cleared", "raised", "raised", "raised"]
        for value in (0, 1, 0):
            one.set(value * 100, one.b)
        assert one.told() == ["raised"]
    with lives(alarms, faults) as one:
        for point in (one.a, one.b, one.c):
            one.set(1, point)
            one.wait(1000)
            one.set(1, point)
        assert one.told() == []
        one.wait(60000)
        one.set(1, one.c)
        one.set(2)
        assert one.told() == ["cleared"] * 3


def test_what_the_configuration_no_longer_has_is_cleared():
    lives = Lives()
    fault = {"type": "range", "point": 1, "high": 10, "severity": "info"}
    with lives([high(), high(limit=5), high(limit=6)], [fault]) as one:
        one.set(11)
        one.engine.shelve("a2", lives.now + 100000)
        one.engine.step()
        raised = {data.get("alarm_id", data.get("fault_id")) for _, data in one.events}
        assert len(raised) == 4
    # One stays, one is other than before, the others are gone.
    with lives([high(), high(limit=4)]) as one:
        assert one.told() == ["cleared"] * 3
        assert [one.state("a0"), one.state("a1")] == ["raised", "normal"]
    assert sorted(entries()) == ["a0"]
    with lives([]) as one:
        kind, data = one.events[0]
        assert (kind, data["node_id"], data["device_id"]) == ("alarm_cleared", "d/a", "d")
        assert (data["severity"], data["value"]) == ("warning", None)
        assert data["alarm_id"] in raised
        one.engine.step()
    with lives([]) as one:
        assert one.told() == []


def damage(position, byte):
    with open(PATH, "rb") as file:
        data = file.read()
    with open(PATH, "wb") as file:
        file.write(data[:position] + byte + data[position + 1 :])


def test_damaged_lines_lose_only_themselves():
    lives = Lives()
    rows = [high(), high(limit=5), high(limit=6)]
    with lives(rows) as one:
        one.set(11)
    size = os.stat(PATH)[6]
    for position in range(0, size, 7):
        for byte in (b"\xff", b"0", b"\n"):
            with lives(rows) as one:
                one.set(11)
                one.engine.changed()
                one.engine.step()
            damage(position, byte)
            with lives(rows) as one:
                raised = [one.state("a%d" % i) for i in range(3)].count("raised")
                # A line's end that is lost takes two with it.
                assert raised >= 1, (position, byte)
                assert raised == 3 or one.engine.counters["damaged"]
                one.set(11)
                assert [one.state("a%d" % i) for i in range(3)] == ["raised"] * 3


def test_flash_that_cannot_be_written():
    remove(PATH)
    one = Bench([high()])

    def full(path, entries):
        raise OSError(28)

    with one:
        with Patch(store, save=full):
            one.set(11)
            one.wait(20000)
            assert one.told() == ["raised"]
            assert 3 <= one.engine.counters["unsaved"] <= 12
            assert len(one.errors) == one.engine.counters["unsaved"]
        del one.errors[:]
        one.wait(10000)
        assert list(entries()) == ["a0"]


def test_a_storm_writes_little_and_keeps_memory():
    lives = Lives()
    writes = []
    save = store.save

    def counted(path, rows):
        writes.append(1)
        save(path, rows)

    rows = [high(limit=i) for i in range(20)]
    with lives(rows) as one, Patch(store, save=counted):
        told = 0
        for i in range(500):
            one.set(100 * (i & 1))
            told += len(one.told())
            one.wait(20)
        assert told == 500 * 20 - 20
        assert len(writes) <= 8 + 10000 // 5000 + 1
        assert len(one.engine._timed) <= 20
        one.set(100)
        one.wait(60000)
        assert len(entries()) == 20


def test_ticks_that_wrap():
    lives = Lives()
    wrap = 1 << 30
    rows = [
        high(on_delay_ms=60000, off_delay_ms=60000),
        {"type": "stale", "point": "d/b", "window_ms": 172800000},
    ]
    with lives(rows, now=wrap - 30000) as one:
        one.set(11)
        one.set(1, one.b)
        one.wait(59999)
        assert one.told() == []
        one.wait(2)
        assert one.told() == ["raised"]
        # 50 days, past four more wraps.
        for _ in range(50 * 24):
            one.set(11)
            one.set(1, one.b)
            one.wait(3600000)
        assert one.told() == []
        one.set(9)
        one.wait(59999)
        assert one.told() == []
        one.wait(2)
        assert one.told() == ["cleared"]
        for _ in range(46):
            one.wait(3600000)
        assert one.told() == []
        one.wait(3 * 3600000)
        assert one.told() == ["raised"]
