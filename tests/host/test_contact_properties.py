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
    """``(ms, level)`` of the changes that lasted long enough, and when they had, on a line that
    starts low; ``steps`` are (level, ms)."""
    told = []
    active = level = False
    since = now = 0
    for new, ms in steps:
        if new != level:
            since = now
            level = new
        now += ms
        if level != active and now - since >= debounce:
            active = level
            told.append((since + debounce, active))
    return told


def changes(steps, debounce):
    return [level for _, level in lasting(steps, debounce)]


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
        assert told == changes(steps, debounce)
        assert one.missed == 0


@given(levels, st.integers(1, 50))
def test_it_asks_for_its_turn_in_time(steps, debounce):
    """A task that only comes after edges and when it is asked for tells levels at their moment."""
    with bench(debounce) as (one, time, told):
        moments = []
        now = 0
        for new, ms in steps:
            fake_machine.drive(4, new)
            end = now + ms
            while True:
                wait = one.settle()
                moments += [(now, level) for level in told[len(moments) :]]
                if now + wait > end:
                    break
                time.advance(wait)
                now += wait
            time.advance(end - now)
            now = end
        assert moments == lasting(steps, debounce)


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
