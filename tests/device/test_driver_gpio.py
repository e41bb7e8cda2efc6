"""Pins: levels, debouncing, edges that are not lost, outputs, faults."""

from core_kit import allocated
from driver_kit import make, refused, values
from fake_machine import Pin, drive, installed, run_waiting
from patch_kit import FakeTime, Patch, turns

from fieldpost.compat import asyncio, sleep_ms
from fieldpost.drivers import contact
from fieldpost.drivers.contact import Contact
from fieldpost.drivers.gpio import Gpio
from fieldpost.errors import ConfigError, DriverError


class Flag:
    """Counts how often it was set."""

    def __init__(self):
        self.sets = 0

    def set(self):
        self.sets += 1


class Bench:
    """A contact at pin 4, the levels it reports, and the time."""

    def __init__(self, debounce=20, invert=False, now=0):
        self.told = []
        self.flag = Flag()
        self.time = FakeTime(now)
        config = {"pin": 4, "pull": "none", "debounce": debounce}
        with self.ticks():
            self.contact = Contact(config, invert, self.flag, self.told.append)

    def ticks(self):
        return Patch(contact, ticks_ms=self.time.ticks_ms)

    def play(self, *steps):
        """Levels, ms that pass in between as negative numbers, functions; what ``settle``
        returned."""
        with self.ticks():
            for step in steps:
                if callable(step):
                    step()
                elif step < 0:
                    self.time.advance(-step)
                else:
                    drive(4, step)
            return self.contact.settle()


# -- contacts


def test_a_level_counts_when_it_lasted():
    with installed():
        bench = Bench(20)
        assert bench.play() > 1000 and bench.told == []
        assert bench.play(1) == 20
        assert bench.play(-19) == 1 and bench.told == []
        assert bench.play(-1) > 1000 and bench.told == [True]
        assert bench.play(0, -20) > 1000 and bench.told == [True, False]
        assert bench.contact.active is False


def test_bounces_are_not_told():
    with installed():
        bench = Bench(20)
        assert bench.play(1, -2, 0, -3, 1, -1, 0, -1, 1) == 20
        assert bench.play(-20) > 1000 and bench.told == [True]
        assert bench.play(0, -5, 1, -5, 0, -5, 1, -50) > 1000 and bench.told == [True]


def test_levels_between_two_turns_of_the_task_are_told_in_order():
    with installed():
        bench = Bench(20)
        bench.play(1, -30, 0, -30, 1, -3, 0, -30, 1, -25)
        assert bench.told == [True, False, True]
    with installed():
        bench = Bench(0)
        bench.play(1, 0, 1, 0)
        assert bench.told == [True, False, True, False]


def test_ticks_wrap_between_edges():
    with installed():
        bench = Bench(20, now=(1 << 30) - 10)
        assert bench.play(1, -15) == 5
        assert bench.play(-5) > 1000 and bench.told == [True]


def test_an_edge_without_interrupt_is_seen_and_debounced():
    with installed():
        bench = Bench(20)
        bench.play(-1000)
        Pin.levels[4] = True
        assert bench.play() == 20 and bench.told == []
        assert bench.play(-20) > 1000 and bench.told == [True]


def test_a_bounce_that_interrupted_once_is_no_pulse():
    with installed():
        bench = Bench(20)
        bench.play(-1000, 1)
        Pin.levels[4] = False
        assert bench.play(-30) > 1000 and bench.told == []
        bench = Bench(0)
        pin = Pin.made[4]
        assert bench.play(lambda: pin.handler(pin)) > 1000 and bench.told == [True, False]


def test_after_a_missing_edge_those_that_lasted_are_told():
    with installed():
        bench = Bench(20)
        bench.play(-1000)
        Pin.levels[4] = True
        bench.play(0, -30, 1, -30, 0, -30)
        assert bench.told == [True, False]


def test_interrupts_that_are_handled_late():
    with installed():
        bench = Bench(0)
        Pin.waiting = []
        bench.play(1, -7, 0, 1, 0, run_waiting)
        assert bench.told == [True, False, True, False]


def test_interrupts_that_come_between_two_looks():
    """On a board they are handled at the branch behind the reading of the pin."""
    with installed():
        bench = Bench(0)
        Pin.waiting = []

        def pin():
            level = Pin.levels[4]
            run_waiting()
            return level

        bench.contact._pin = pin
        bench.play(1)
        bench.play()
        assert bench.told == [True]


def test_more_edges_than_are_remembered_are_counted():
    with installed():
        bench = Bench(0)
        bench.play(*[1, 0] * 20)
        assert bench.told == [True, False] * 8
        assert bench.contact.missed == 24
        for _ in range(2000):
            bench.told.clear()
            bench.play(*[1, 0] * 20)
        assert bench.contact._count == 2001 * 40 % 65536
        assert bench.contact.missed == 24 * 2001 and bench.contact.active is False


def test_the_handler_takes_no_memory():
    with installed():
        bench = Bench(20, now=(1 << 30) - 2)
        pin = Pin.made[4]

        def edge():
            pin.handler(pin)

        with bench.ticks():
            assert allocated(edge, 100) == 0
        assert bench.flag.sets > 0


class Noisy:
    """A contact that is interrupted again so many times while it is settled."""

    def __init__(self, times):
        self.times = times
        self.settled = 0
        self.flag = contact.make_flag()

    def settle(self):
        self.settled += 1
        if self.settled <= self.times:
            self.flag.set()
        return 1000

    async def watched(self):
        """How often it was settled in 100 ms."""
        task = asyncio.create_task(contact.watch([self], self.flag))
        await sleep_ms(100)
        task.cancel()
        return self.settled


async def test_an_input_that_never_rests_leaves_the_others_their_turn():
    assert 1 < await Noisy(1000).watched() <= 21


async def test_it_rests_when_nothing_happens():
    assert await Noisy(2).watched() == 3


# -- the driver


def gpio(*points):
    return make(Gpio, points, interval=10000)


async def test_inputs_with_pull_and_inversion():
    with installed():
        Pin.levels[5] = True
        driver = gpio({"pin": 4}, {"pin": 5, "invert": True}, {"pin": 6, "pull": "up"})
        await driver.start()
        await driver.read(driver.points)
        assert values(driver) == [False, False, True]
        assert [Pin.made[number].pull for number in (4, 5, 6)] == [None, None, Pin.PULL_UP]
        assert Pin.made[4].mode == Pin.IN
        assert await refused(driver.write(driver.points[0], True), DriverError) == "read only"
        await driver.stop()
        assert all(Pin.made[number].handler is None for number in (4, 5, 6))


async def test_every_edge_is_an_update():
    time = FakeTime()
    with installed(), Patch(contact, ticks_ms=time.ticks_ms):
        driver = gpio({"pin": 4, "debounce": 0}, {"pin": 5, "debounce": 1})
        seen = []
        for point in driver.points:
            point.triggers = (lambda point, _ticks: seen.append((point.id, point.value)),)
        await driver.start()
        await driver.read(driver.points)
        assert seen == [(1, False), (2, False)]
        await turns(3)
        drive(4, 1)
        await wait_for(lambda: len(seen) > 2)
        assert seen[2:] == [(1, True)]
        drive(4, 0, 1, 0)
        drive(5, 1)
        time.advance(1)
        await wait_for(lambda: len(seen) == 7)
        assert [value for id, value in seen[3:] if id == 1] == [False, True, False]
        assert (2, True) in seen
        task = driver._task
        await driver.stop()
        drive(4, 1)
        await turns(5)
        assert len(seen) == 7 and task.done()


async def wait_for(condition):
    """Let time pass until it is so, but not for long."""
    for _ in range(200):
        if condition():
            return
        await sleep_ms(5)
    raise AssertionError("not so in a second")


async def test_a_lost_interrupt_is_noticed_by_the_next_read():
    with installed():
        driver = gpio({"pin": 4, "debounce": 0})
        await driver.start()
        await turns(3)
        Pin.levels[4] = True
        await driver.read(driver.points)
        await wait_for(lambda: driver.points[0].value is True)
        await driver.stop()


async def test_outputs():
    with installed():
        Pin.levels[8] = True
        points = [
            {"pin": 7, "mode": "out", "initial": True},
            {"pin": 8, "mode": "out"},
            {"pin": 9, "mode": "out", "initial": True, "invert": True},
            {"pin": 10, "mode": "open_drain", "pull": "up", "initial": False},
        ]
        driver = gpio(*points)
        await driver.start()
        await driver.read(driver.points)
        assert values(driver) == [True, True, True, False]
        assert Pin.levels[9] is False
        assert [Pin.made[number].mode for number in (7, 10)] == [Pin.OUT, Pin.OPEN_DRAIN]
        await driver.write(driver.points[0], False)
        await driver.write(driver.points[2], 0)
        await driver.write(driver.points[3], 1)
        assert [Pin.levels[number] for number in (7, 9, 10)] == [False, True, True]
        assert values(driver) == [False, True, False, True]
        for value in (2, -1, 0.5, "on", None, [1], float("nan")):
            assert await refused(driver.write(driver.points[0], value), DriverError) == (
                "invalid value"
            )
        Pin.levels[7] = True  # shorted
        await driver.read(driver.points)
        assert values(driver)[0] is True
        await driver.stop()
        assert Pin.levels[9] is True


async def test_pins_that_cannot_do_it():
    with installed():
        assert await refused(gpio({"pin": 50}).start(), DriverError) == "pin 50: invalid pin"
        driver = gpio({"pin": 4}, {"pin": 34, "mode": "out"})
        assert "pin 34: " in await refused(driver.start(), DriverError)
        driver.points[1].config["mode"] = "in"
        await driver.start()
        await driver.read(driver.points)
        assert values(driver) == [False, False]
        await driver.stop()
    with installed(machine=object):
        assert await refused(gpio({"pin": 4}).start(), DriverError) == "no machine.Pin here"


def test_a_pin_is_one_points():
    try:
        gpio({"pin": 4}, {"pin": 4, "mode": "out"})
    except ConfigError as error:
        assert (error.path, error.value) == ("dev/p1.pin", 4)
    else:
        raise AssertionError("accepted")


async def test_what_ends_the_task_is_told_and_it_goes_on():
    with installed():
        driver = gpio({"pin": 4, "debounce": 0})
        point = driver.points[0]
        await driver.start()

        def broken(point, ticks):
            raise KeyError("full")

        point.triggers = (broken,)
        await turns(3)
        drive(4, 1)
        await wait_for(driver._task.done)
        point.triggers = ()
        assert "full" in await refused(driver.read(driver.points), KeyError)
        await driver.read(driver.points)
        drive(4, 0)
        await wait_for(lambda: point.value is False)
        await driver.stop()
