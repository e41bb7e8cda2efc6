"""Pulse counters: by the chip, by interrupts, by contacts; rates; totals that are kept."""

import os

from core_kit import allocated
from driver_kit import make, refused, values
from fake_machine import Counter as Unit
from fake_machine import Pin, drive, installed
from patch_kit import FakeTime, Patch, turns

from fieldpost import smallfile
from fieldpost.bus import Bus
from fieldpost.compat import sleep_ms
from fieldpost.drivers import contact, counter
from fieldpost.drivers.counter import Counter
from fieldpost.errors import DriverError

BOTH = ({}, {"kind": "rate"})


class Plain:
    """A port whose chip does not count."""

    Pin = Pin


class Bench:
    """A counter at pin 4 and its time, which starts shortly before the ticks wrap."""

    def __init__(self, *points, **device):
        self.time = FakeTime(now=(1 << 30) - 1500)
        self.driver = make(Counter, points or BOTH, **dict({"pin": 4}, **device))

    async def start(self):
        with self.ticks(counter):
            await self.driver.start()
        return self

    def ticks(self, module):
        return Patch(module, ticks_ms=self.time.ticks_ms)

    async def read(self, ms=1000):
        """What it reads after so many ms."""
        self.time.advance(ms)
        with self.ticks(counter):
            await self.driver.read(self.driver.points)
        return values(self.driver)

    async def stop(self):
        with self.ticks(counter):
            await self.driver.stop()


async def test_the_chip_counts():
    with installed():
        bench = await Bench(edge="falling", pull="up").start()
        unit = Unit.made[0]
        assert unit.shape == (4, Unit.FALLING, 1000) and Pin.made[4].pull == Pin.PULL_UP
        assert await bench.read(0) == [0, "no interval yet"]
        unit.count = 250
        assert await bench.read() == [250, 250.0]
        unit.count += 1
        assert await bench.read(2000) == [251, 0.5]
        assert await bench.read() == [251, 0.0]
        await bench.stop()
        assert unit.count is None and not counter._taken


async def test_totals_are_exact_past_small_integers():
    points = ({}, {"scale": 10}, {"scale": 0.5}, {"scale": 0.26, "decimals": 0})
    with installed():
        bench = await Bench(*points, first=(1 << 30) - 2).start()
        Unit.made[0].count = 5
        found = await bench.read()
        assert found[:2] == [(1 << 30) + 3, ((1 << 30) + 3) * 10]
        assert abs(found[2] - (1 << 29)) < 64 and isinstance(found[3], int)
        Unit.made[0].count = 1 << 40
        assert (await bench.read())[0] == (1 << 30) + 3 + (1 << 40)
        await bench.stop()


async def test_a_read_between_two_intervals_keeps_the_rate():
    with installed():
        bench = await Bench().start()
        unit = Unit.made[0]
        unit.count = 100
        assert await bench.read() == [100, 100.0]
        unit.count = 7
        assert await bench.read(10) == [107, 100.0]
        unit.count = 93
        assert await bench.read(990) == [200, 100.0]
        await bench.stop()


async def test_counters_share_the_units_and_interrupts_do_the_rest():
    with installed():
        benches = [Bench(pin=number) for number in (5, 6, 7)]
        for bench in benches:
            await bench.start()
        assert [Unit.made[unit].shape[0] for unit in (0, 1)] == [5, 6]
        drive(7, 1, 0, 1, 0)
        assert (await benches[2].read())[0] == 2
        await benches[0].stop()
        again = await Bench(pin=8).start()
        assert Unit.made[0].shape[0] == 8
        for bench in benches[1:] + [again]:
            await bench.stop()
        assert not counter._taken


def interrupt():
    pin = Pin.made[4]
    pin.handler(pin)


async def test_interrupts_count_where_the_chip_does_not():
    with installed(machine=Plain):
        for edge, level in (("rising", 1), ("falling", 0)):
            drive(4, 1 - level)
            bench = await Bench(edge=edge).start()
            drive(4, level, 1 - level, level, 1 - level)
            assert (await bench.read())[0] == 2
            assert allocated(interrupt, 50) == 0
            await bench.stop()
            assert Pin.made[4].handler is None


class Partial:
    """A port whose counters know no edges."""

    Pin = Pin

    class Counter:
        """Counts what it likes."""

        def __init__(self, unit, pin):
            raise AssertionError("not asked for edges")


async def test_a_counter_that_cannot_count_these_edges_is_not_used():
    with installed(machine=Partial):
        bench = await Bench().start()
        drive(4, 1)
        assert (await bench.read())[0] == 1 and not counter._taken
        await bench.stop()


async def test_the_count_of_interrupts_starts_again():
    with installed(machine=Plain):
        bench = await Bench().start()
        source = bench.driver._source
        source._count = source._seen = 0x1FFFFFFF
        drive(4, 1, 0, 1)
        assert (await bench.read())[0] == 2
        assert (await bench.read())[0] == 2
        assert source._count == 1
        await bench.stop()


async def test_contacts_are_debounced():
    with installed():
        bench = Bench(debounce=20, edge="falling", pull="up")
        with bench.ticks(contact):
            await bench.start()
            await turns(3)
            for _ in range(3):
                # Closing and opening, each with bounces.
                drive(4, 0, 1, 0, 1, 0)
                bench.time.advance(100)
                drive(4, 1, 0, 1)
                bench.time.advance(100)
                await sleep_ms(20)
            drive(4, 0, 1)  # too short
            await sleep_ms(20)
            assert (await bench.read())[0] == 3
            drive(4, 0)
            bench.time.advance(20)
            await sleep_ms(20)
            assert (await bench.read())[0] == 4
            for level in (True, False):  # no interrupt comes
                Pin.levels[4] = level
                await bench.read()
                await sleep_ms(20)
                bench.time.advance(20)
                await bench.read()
                await sleep_ms(20)
            assert (await bench.read())[0] == 5
        await bench.stop()
        assert Pin.made[4].handler is None and not Unit.made


# -- totals that are kept


def write(text):
    with open("total", "w") as file:
        file.write(text)


def kept(name="total"):
    return smallfile.load(name)


async def test_a_total_outlives_a_restart():
    with installed():
        bench = await Bench(file="total", first=100).start()
        assert kept() is None
        Unit.made[0].count = 5
        await bench.read()
        await bench.stop()
        assert kept() == 105
        bench = await Bench(file="total", first=100).start()
        assert (await bench.read())[0] == 105
        await bench.stop()
    os.remove("total")


async def test_it_is_written_rarely_and_only_when_it_changed():
    with installed():
        bench = await Bench(file="total", save_min=2).start()
        unit = Unit.made[0]
        unit.count = 1
        await bench.read(119999)
        assert kept() is None
        await bench.read(1)
        assert kept() == 1
        unit.count = 1
        await bench.read(119999)
        assert kept() == 1
        await bench.read(1)
        assert kept() == 2
        # Nothing for longer than ticks can tell: what comes then is written at once.
        os.remove("total")
        for _ in range(8):
            await bench.read(86400000)
        assert kept() is None
        unit.count = 1
        await bench.read(1000)
        assert kept() == 3
        await bench.stop()
    os.remove("total")


async def told(name):
    """The total of a counter with that file, and the errors it told the bus."""
    errors = []
    with installed():
        bench = Bench(file=name, first=7, save_min=1)
        bus = bench.driver.points[0].bus = Bus()
        bus.subscribe("error", lambda _kind, key, error: errors.append((key, str(error))))
        await bench.start()
        Unit.made[0].count = 1
        found = (await bench.read(60000))[0]
        await bench.stop()
    return found, errors


async def test_a_damaged_file_is_told_and_replaced():
    write("01234567 99")
    found, errors = await told("total")
    assert found == 8 and errors == [("dev", "damaged")]
    assert kept() == 8
    smallfile.save("total", {"no": "total"})
    assert (await told("total"))[0] == 8
    os.remove("total")


async def test_a_folder_that_is_not_there_is_told_and_counting_goes_on():
    found, errors = await told("missing/total")
    assert found == 8 and len(errors) == 2 and errors[0][0] == "dev"


async def test_what_cannot_be_set_up():
    with installed():
        assert await refused(Bench(pin=50).driver.start(), DriverError) == "pin 50: invalid pin"
        bench = Bench(pin=50, debounce=5)
        assert await refused(bench.driver.start(), DriverError) == "pin 50: invalid pin"
        await bench.driver.stop()
        bench = await Bench().start()
        assert await refused(bench.driver.write(bench.driver.points[0], 1), DriverError)
        await bench.stop()
