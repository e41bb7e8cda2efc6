"""Properties of debouncing: what lasted is told, in its order, whenever the task gets its turn."""

import contextlib

import fake_machine
from hypothesis import assume, given
from hypothesis import strategies as st
from patch_kit import FakeTime, Patch

from fieldpost.drivers import contact

KEPT = 16


class Flag:
    def set(self):
        pass


@contextlib.contextmanager
def bench(debounce):
    """A contact that was low, its time, and the levels it tells."""
    time = FakeTime(now=(1 << 30) - 500)
    told = []
    patch = Patch(contact, ticks_ms=time.ticks_ms)
    with fake_machine.installed(), patch:
        config = {"pin": 4, "pull": "none", "debounce": debounce}
        yield contact.Contact(config, False, Flag(), told.append), time, told


def lasting(steps, debounce):
    """The changes of a line that starts low: levels that lasted, ``steps`` being (level, ms)."""
    told = []
    now = level = False
    lasted = 0
    for new, ms in steps:
        lasted = ms if new != level else lasted + ms
        level = new
        if lasted >= debounce and level != now:
            now = level
            told.append(now)
    return told


levels = st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=60)


@given(levels, st.integers(0, 50), st.data())
def test_every_level_that_lasted_is_told_once(steps, debounce, data):
    with bench(debounce) as (one, time, told):
        edges = 0
        level = False
        for new, ms in steps:
            edges += new != level
            if edges > KEPT:
                one.settle()
                edges = 1
            level = new
            fake_machine.drive(4, new)
            time.advance(ms)
            if data.draw(st.booleans()):
                one.settle()
                edges = 0
        one.settle()
        assert told == lasting(steps, debounce)
        assert one.missed == 0


@given(levels, st.integers(1, 50))
def test_it_asks_for_its_turn_in_time(steps, debounce):
    """A task that only comes when it is asked for tells the same, each at its moment."""
    with bench(debounce) as (one, time, told):
        for new, ms in steps:
            fake_machine.drive(4, new)
            left = ms
            while True:
                before = len(told)
                wait = one.settle()
                assert wait > 0 or len(told) > before
                if wait > left:
                    break
                time.advance(wait)
                left -= wait
            time.advance(left)
        one.settle()
        assert told == lasting(steps, debounce)


@given(levels, st.sets(st.integers(0, 59)), st.integers(0, 50))
def test_lost_interrupts_leave_the_right_level(steps, lost, debounce):
    with bench(debounce) as (one, time, told):
        for i, (new, ms) in enumerate(steps):
            if i in lost:
                fake_machine.Pin.levels[4] = new
            else:
                fake_machine.drive(4, new)
            time.advance(ms)
            one.settle()
        one.settle()
        time.advance(debounce)
        one.settle()
        level = steps[-1][0] if steps else False
        assert one.active == level
        assert told == [bool(1 - i % 2) for i in range(len(told))]


@given(levels, st.integers(0, 50))
def test_an_inverted_contact_tells_the_opposite(steps, debounce):
    assume(steps)
    with bench(debounce) as (one, time, told):
        config = {"pin": 4, "pull": "none", "debounce": debounce}
        opposite = []
        fake_machine.Pin.made.clear()
        other = contact.Contact(config, True, Flag(), opposite.append)
        handlers = (one._edge, other._edge)
        fake_machine.Pin.made[4].handler = lambda pin: [handler(pin) for handler in handlers]
        for new, ms in steps:
            fake_machine.drive(4, new)
            time.advance(ms)
            one.settle()
            other.settle()
        assert opposite == [not active for active in told]
        assert other.active is not one.active
