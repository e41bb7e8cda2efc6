"""DHT sensors: the rest between measurements, damaged and absurd answers, silence."""

from driver_kit import make, refused, values
from fake_machine import installed
from patch_kit import FakeTime, Patch

from fieldpost.drivers import dht
from fieldpost.drivers.dht import Dht
from fieldpost.errors import ConfigError, DriverError

BOTH = ({"kind": "temperature"}, {"kind": "humidity"})


class Sensor:
    """The module's class: ``answer`` is (temperature, humidity), or what ``measure`` raises."""

    answer = (21.0, 40)
    measured = 0

    def __init__(self, pin):
        self.pin = pin

    def measure(self):
        Sensor.measured += 1
        if isinstance(Sensor.answer, Exception):
            raise Sensor.answer
        self._now = Sensor.answer

    def temperature(self):
        return self._now[0]

    def humidity(self):
        return self._now[1]


class Module:
    """The module ``dht`` with one of its two classes."""

    DHT22 = Sensor


class Bench:
    """A DHT22 at pin 4 and its time, which starts shortly before the ticks wrap."""

    def __init__(self, *points):
        self.time = FakeTime(now=(1 << 30) - 3000)
        self.driver = make(Dht, points or BOTH, pin=4, model="DHT22", interval=2000)

    async def read(self, answer, ms=2000):
        """What it reads after so many ms; the text of the error if the device is gone."""
        Sensor.answer = answer
        self.time.advance(ms)
        with Patch(dht, ticks_ms=self.time.ticks_ms):
            try:
                await self.driver.read(self.driver.points)
            except DriverError as error:
                return str(error)
        return values(self.driver)


async def test_values():
    with installed(dht=Module):
        bench = Bench()
        await bench.driver.start()
        # What the sensor's tenths become in floats of the module.
        assert await bench.read((234 * 0.1, 567 * 0.1)) == [round(23.4, 1), round(56.7, 1)]
        assert await bench.read((-10.1, 100)) == [round(-10.1, 1), 100]
        assert await bench.read((0.0, 35.0)) == [0.0, 35.0]
        assert await refused(bench.driver.write(bench.driver.points[0], 1), DriverError)
        await bench.driver.stop()


async def test_the_sensor_rests_two_seconds():
    with installed(dht=Module):
        bench = Bench()
        Sensor.measured = 0
        await bench.driver.start()
        assert await bench.read((20.0, 40)) == [20.0, 40]
        assert await bench.read((30.0, 50), 1999) == [20.0, 40]
        assert Sensor.measured == 1
        assert await bench.read((30.0, 50), 1) == [30.0, 50]
        assert await bench.read(OSError(116)) == "no answer"
        assert await bench.read((30.0, 50), 500) == "no answer"
        assert Sensor.measured == 3
        assert await bench.read((30.0, 50), 1500) == [30.0, 50]


async def test_damaged_and_absurd_answers_fail_the_points():
    with installed(dht=Module):
        bench = Bench()
        await bench.driver.start()
        for answer, reason in (
            (Exception("checksum error"), "checksum error"),
            ((0.0, 0.0), "no data"),
            ((20.0, 100.1), "out of range"),
            ((-40.1, 50), "out of range"),
            ((80.1, 50), "out of range"),
        ):
            assert await bench.read(answer) == [reason, reason]
            assert await bench.read((21.5, 41)) == [21.5, 41]


async def test_a_sensor_that_is_absent_at_first():
    with installed(dht=Module):
        bench = Bench({"kind": "humidity"})
        await bench.driver.start()
        assert await bench.read(OSError(116)) == "no answer"
        assert await bench.read((20.0, 40)) == [40]


async def test_an_interval_without_rest_is_refused():
    try:
        make(Dht, BOTH, pin=4, model="DHT22", interval=1999)
    except ConfigError as error:
        assert error.path == "dev.interval"
    else:
        raise AssertionError("accepted")


async def test_a_firmware_without_the_module():
    driver = make(Dht, BOTH, pin=4, model="DHT11", interval=5000)
    with installed(dht=Module):
        assert await refused(driver.start(), DriverError) == "no dht.DHT11 here"
