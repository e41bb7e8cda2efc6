"""1-Wire thermometers: conversions, ids, sensors that are missing, reset or damaged."""

import fake_onewire
from driver_kit import make, refused, values
from fake_machine import installed
from fake_onewire import Sensor
from patch_kit import FakeTime, Patch

from fieldpost.compat import asyncio, hexlify
from fieldpost.drivers import ds18x20
from fieldpost.drivers.ds18x20 import Ds18x20, decode
from fieldpost.errors import ConfigError, DriverError

ONE = bytes((0x28, 1, 2, 3, 4, 5, 6, 0xAA))
TWO = bytes((0x28, 9, 2, 3, 4, 5, 6, 0xBB))
OLD = bytes((0x10, 9, 2, 3, 4, 5, 6, 0xCC))


class Bench:
    """A line with sensors and a driver whose sleeping takes no time."""

    def __init__(self, sensors, *points, **device):
        fake_onewire.sensors.clear()
        fake_onewire.sensors.update(sensors)
        fake_onewire.short = False
        self.time = FakeTime()
        fake_onewire.clock = self.time.ticks_ms
        self.driver = make(Ds18x20, points, pin=4, **device)

    async def read(self):
        """What it reads; the text of the error if the device is gone."""
        with installed(onewire=fake_onewire), Patch(ds18x20, sleep_ms=self.time.sleep_ms):
            try:
                if not hasattr(self.driver, "_wire"):
                    await self.driver.start()
                await self.driver.read(self.driver.points)
            except DriverError as error:
                return str(error)
            return values(self.driver)


def test_values_of_the_data_sheets():
    scratch = bytearray(9)
    for raw, value in (
        (0x07D0, 125),
        (0x0191, 25.0625),
        (0x00A2, 10.125),
        (0x0008, 0.5),
        (0x0000, 0),
        (0xFFF8, -0.5),
        (0xFF5E, -10.125),
        (0xFE6F, -25.0625),
        (0xFC90, -55),
    ):
        scratch[0], scratch[1] = raw & 0xFF, raw >> 8
        assert decode(ONE, scratch) == value
    for raw, remain, value in (
        (0x00AA, 0x0C, 85),
        (0x0032, 0x0C, 25),
        (0x0032, 0x04, 25.5),
        (0x0033, 0x10, 24.75),
        (0xFFFF, 0x0C, -1),
        (0xFFCE, 0x0C, -25),
        (0xFF92, 0x0C, -55),
    ):
        scratch[0], scratch[1] = raw & 0xFF, raw >> 8
        scratch[6], scratch[7] = remain, 16
        assert decode(OLD, scratch) == value
    scratch[7] = 0
    assert decode(OLD, scratch) == -55


async def test_several_sensors_by_their_ids():
    bench = Bench(
        {ONE: Sensor(0x0191), TWO: Sensor(-0x08), OLD: Sensor(0x32)},
        {"rom": hexlify(TWO)},
        {"rom": hexlify(ONE).upper(), "offset": -0.0625},
        {"rom": hexlify(OLD)},
        {"kind": "scan"},
        {},
    )
    ids = sorted(hexlify(rom) for rom in (ONE, TWO, OLD))
    assert await bench.read() == [-0.5, 25.0, 25.0, ids, "3 sensors, rom needed"]
    assert bench.time.slept == [750]
    await bench.driver.stop()


async def test_the_only_sensor_needs_no_id():
    bench = Bench({ONE: Sensor(0x0191)}, {})
    assert await bench.read() == [25.0625]
    fake_onewire.sensors[bytes((0x01,)) + ONE[1:]] = Sensor(0)  # an iButton, no thermometer
    bench.driver.points[0].value = None
    assert "25.0625" in str((await bench.read())[0])


async def test_others_run_during_the_conversion():
    bench = Bench({ONE: Sensor(0x0191)}, {})
    fake_onewire.clock = None
    with installed(onewire=fake_onewire):
        await bench.driver.start()
        reading = asyncio.create_task(bench.driver.read(bench.driver.points))
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not reading.done()
        await reading
    assert values(bench.driver) == [25.0625]


async def test_a_missing_sensor_fails_alone_and_comes_back():
    bench = Bench({ONE: Sensor(0x0191)}, {"rom": hexlify(ONE)}, {"rom": hexlify(TWO)})
    assert await bench.read() == [25.0625, "no answer"]
    fake_onewire.sensors[TWO] = Sensor(0x10)
    assert await bench.read() == [25.0625, 1.0]
    del fake_onewire.sensors[ONE]
    assert await bench.read() == ["no answer", 1.0]
    fake_onewire.sensors.clear()
    assert await bench.read() == "no answer"
    fake_onewire.sensors[ONE] = Sensor(0x10)
    assert await bench.read() == [1.0, "no answer"]


async def test_no_sensor_at_the_start():
    bench = Bench({}, {}, {"kind": "scan"})
    assert await bench.read() == "no answer"
    fake_onewire.sensors[ONE] = Sensor(0x10)
    assert await bench.read() == [1.0, [hexlify(ONE)]]


async def test_damaged_answers_and_the_power_on_value_are_refused():
    sensor = Sensor(0x0191)
    bench = Bench({ONE: sensor}, {"rom": hexlify(ONE)})
    sensor.damage = 0x04
    assert await bench.read() == ["CRC error"]
    sensor.damage = 0
    assert await bench.read() == [25.0625]
    sensor.raw = 0x0550
    assert await bench.read() == ["power-on value"]
    sensor.raw = 0x0551
    assert await bench.read() == [85.0625]
    sensor.raw = 0x07D1
    assert await bench.read() == ["out of range"]
    sensor.raw = -0x371
    assert await bench.read() == ["out of range"]
    fake_onewire.short = True
    assert await bench.read() == ["short circuit"]
    fake_onewire.short = False
    sensor.raw = 0
    assert await bench.read() == [0.0]


def test_keys_that_cannot_be():
    for rom in ("28ff641e8216034", "zz" * 8, "01" * 8):
        path = refused_path({"rom": rom})
        assert path in ("dev/p0.rom", "device.points[0].rom")
    assert refused_path({}, timeout_ms=750) == "dev.timeout_ms"


def refused_path(point, **device):
    try:
        make(Ds18x20, [point], pin=4, **device)
    except ConfigError as error:
        return error.path
    raise AssertionError("accepted")


async def test_a_firmware_without_the_module():
    with installed(onewire=object):
        driver = make(Ds18x20, [{}], pin=4)
        assert await refused(driver.start(), DriverError) == "no onewire.OneWireError here"
