"""Registers on an I2C bus: types, parts, writes, sharing, a bus that is held, scans."""

from driver_kit import make, refused, values
from fake_machine import I2C, Pin, installed

from fieldpost.compat import asyncio
from fieldpost.drivers import i2c
from fieldpost.drivers.i2c import I2c
from fieldpost.errors import ConfigError, DriverError


def chip(*points, **device):
    """A device at address 72, on the pins 22 and 21."""
    return make(I2c, points, **dict({"scl": 22, "sda": 21, "address": 72}, **device))


async def read(data, *points, **device):
    """What points read from the bytes ``data``."""
    with installed():
        I2C.chips[72] = bytearray(data)
        driver = chip(*points, **device)
        await driver.start()
        await driver.read(driver.points)
        await driver.stop()
        assert not i2c._buses
        return values(driver)


async def test_types():
    data = bytes([0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8, 0x42, 0x28, 0, 0])
    kinds = ("int8", "uint8", "int16", "uint16", "int24", "uint24", "int32", "uint32")
    found = await read(data, *[{"type": kind} for kind in kinds])
    assert found == [-1, 255, -2, 65534, -259, 0xFFFEFD, -66052, 0xFFFEFDFC]
    found = await read(data, {"type": "int64"}, {"type": "uint64"}, {})
    assert found == [-283686952306184, 0xFFFEFDFCFBFAF9F8, 255]
    little = {"order": "little"}
    found = await read(data, dict(little, type="int16"), dict(little, type="uint24", register=1))
    assert found == [-257, 0xFCFDFE]
    found = await read(
        data, {"type": "float32", "register": 8}, {"type": "bool", "register": 9, "shift": 3}
    )
    assert found == [42.0, True]
    assert (await read(bytes([0x7F, 0xC0, 0, 0]), {"type": "float32"})) == ["not a number"]
    assert (await read(bytes([0x40, 0x45] + [0] * 6), {"type": "float64"})) == [42.0]


async def test_parts_and_scales():
    # A 12-bit temperature, left-justified, in sixteenths: -25.0625 of a TMP102's data sheet.
    part = {"type": "int16", "shift": 4, "scale": 0.0625}
    assert await read([0xE6, 0xF0], part) == [-25.0625]
    assert await read([0x19, 0x10], part) == [25.0625]
    assert await read([0b10110100], {"shift": 2, "bits": 3}) == [0b101]
    assert await read([0b10110100], {"type": "int8", "shift": 2, "bits": 3}) == [-3]
    assert await read([0x80], {"type": "bool", "shift": 7}) == [True]
    big = {"type": "uint32", "scale": 1000, "offset": 7}
    assert await read([0xFF] * 4, big) == [4294967295007]
    decimal = {"scale": 0.1, "decimals": 1, "offset": -4}
    assert await read([123], decimal, dict(decimal, decimals=0)) == [8.3, 8]
    assert isinstance((await read([123], dict(decimal, decimals=0)))[0], int)


async def test_register_numbers_of_no_one_and_two_bytes():
    memory = bytearray(600)
    memory[500] = 9
    assert await read(memory, {"register": 500}, register_bytes=2) == [9]
    assert await read([1, 2, 3], {"type": "uint16"}, register_bytes=0) == [258]


async def test_writes():
    with installed():
        memory = I2C.chips[72] = bytearray(range(16))
        points = [
            {"type": "int16", "writable": True, "scale": 0.5, "min": -100, "max": 100},
            {"register": 4, "shift": 2, "bits": 3, "writable": True},
            {"register": 5, "type": "bool", "shift": 1, "writable": True},
            {"register": 6, "type": "float32", "writable": True, "order": "little"},
            {"register": 10},
        ]
        driver = chip(*points)
        await driver.start()
        half, part, bit, real, fixed = driver.points
        await driver.write(half, -50.2)
        assert memory[:2] == b"\xff\x9c"
        before = memory[4]
        await driver.write(part, 5)
        assert memory[4] == before & 0b11100011 | 5 << 2
        await driver.write(bit, True)
        assert memory[5] == 7
        await driver.write(bit, 0)
        assert memory[5] == 5
        await driver.write(real, 1.5)
        assert memory[6:10] == b"\x00\x00\xc0\x3f"
        for point, value in (
            (half, 100.5),
            (half, "1"),
            (half, None),
            (part, 8),
            (part, -1),
            (bit, 2),
            (real, float("nan")),
            (real, float("inf")),
            (real, 1e39),
            (half, float("nan")),
        ):
            assert await refused(driver.write(point, value), DriverError) == "invalid value"
        assert await refused(driver.write(fixed, 1), DriverError) == "read only"
        await driver.stop()


async def test_writes_without_a_register():
    with installed():
        memory = I2C.chips[72] = bytearray([0xF0])
        driver = chip({"shift": 1, "bits": 2, "writable": True}, register_bytes=0)
        await driver.start()
        await driver.write(driver.points[0], 3)
        assert memory == b"\xf6"
        await driver.stop()


async def test_scan_lists_who_answers():
    with installed():
        I2C.chips.update({8: bytearray(), 118: bytearray(1), 119: bytearray(), 120: bytearray()})
        driver = chip({"kind": "scan"}, address=None)
        await driver.start()
        await driver.read(driver.points)
        assert values(driver) == [[8, 118, 119]]
        first = driver.points[0].value
        await driver.read(driver.points)
        assert driver.points[0].value is not first
        I2C.chips.clear()
        await driver.read(driver.points)
        assert values(driver) == [[]]
        I2C.held = True
        assert await refused(driver.read(driver.points), DriverError) == "bus timeout"
        assert await refused(driver.write(driver.points[0], 1), DriverError) == "read only"
        await driver.stop()


async def test_a_chip_that_is_absent_vanishes_and_comes_back():
    with installed():
        driver = chip({}, {"register": 1})
        await driver.start()
        assert await refused(driver.read(driver.points), DriverError) == "no answer"
        I2C.chips[72] = bytearray([5])
        await driver.read(driver.points)
        assert values(driver) == [5, "no answer"]
        I2C.chips[72] = bytearray([6, 7])
        await driver.read(driver.points)
        assert values(driver) == [6, 7]
        del I2C.chips[72]
        assert await refused(driver.read(driver.points), DriverError) == "no answer"
        driver.points[0].config["writable"] = True
        assert await refused(driver.write(driver.points[0], 1), DriverError) == "no answer"
        await driver.stop()


async def test_a_held_bus_costs_one_wait_a_read():
    with installed():
        I2C.chips[72] = bytearray(8)
        driver = chip({}, {}, {}, stretch_us=2000)
        await driver.start()
        bus = I2C.made[0]
        I2C.held = True
        assert await refused(driver.read(driver.points), DriverError) == "bus timeout"
        assert bus.transfers == 1
        I2C.held = False
        await driver.read(driver.points)
        assert values(driver) == [0, 0, 0]
        await driver.stop()


async def test_others_run_between_two_registers():
    turns = []

    async def other():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    with installed():
        I2C.chips[72] = bytearray(8)
        driver = chip({}, {}, {})
        await driver.start()
        task = asyncio.create_task(other())
        await driver.read(driver.points)
        assert len(turns) == 3
        task.cancel()
        await driver.stop()


class Interrupted:
    """A chip that holds the data line until it got so many clocks."""

    def __init__(self, clocks):
        self.clocks = clocks
        Pin.levels[21] = False
        Pin.seen[22] = self.clock

    def clock(self, level):
        if not level:
            self.clocks -= 1
            if not self.clocks:
                Pin.levels[21] = True


async def test_a_chip_that_was_interrupted_gets_its_clocks():
    with installed():
        I2C.chips[72] = bytearray([7])
        held = Interrupted(9)
        driver = chip({"writable": True})
        await driver.start()
        assert held.clocks == 0
        await driver.read(driver.points)
        assert values(driver) == [7] and len(I2C.made) == 1
        for clocks in (1, 5):
            held = Interrupted(clocks)
            await driver.read(driver.points)
            assert held.clocks == 0 and values(driver) == [7]
        held = Interrupted(3)
        await driver.write(driver.points[0], 8)
        assert held.clocks == 0 and I2C.chips[72][0] == 8
        held = Interrupted(20)
        assert await refused(driver.read(driver.points), DriverError) == "bus held low"
        assert held.clocks == 11
        assert await refused(driver.write(driver.points[0], 1), DriverError) == "bus held low"
        await driver.read(driver.points)
        assert values(driver) == [8]
        await driver.stop()


class Odd(I2C):
    def readfrom_mem(self, *_, **__):
        raise OSError(-259)


async def test_other_errors_of_the_bus_show_their_number():
    with installed():
        driver = chip({})
        await driver.start()
        i2c._buses[22, 21].i2c = Odd(0, Pin(22), Pin(21))
        assert await refused(driver.read(driver.points), DriverError) == "bus error -259"
        await driver.stop()


async def test_devices_share_a_bus():
    with installed():
        I2C.chips[72] = bytearray([1])
        I2C.chips[73] = bytearray([2])
        one, two = chip({}, bus=0), chip({}, bus=0, address=73)
        await one.start()
        await two.start()
        assert [bus.shape for bus in I2C.made] == [(0, 22, 21, 100000, 10000)]
        other = chip({}, bus=0, freq=400000)
        assert await refused(other.start(), DriverError) == "bus in use with other settings"
        await other.stop()
        await asyncio.gather(one.read(one.points), two.read(two.points))
        assert values(one) + values(two) == [1, 2]
        await one.stop()
        await one.stop()
        assert 0 in i2c._buses
        await two.start()  # again, as after a failure
        await two.read(two.points)
        await two.stop()
        assert not i2c._buses
        await other.start()
        assert len(I2C.made) == 3
        await other.stop()


async def test_a_bus_that_the_chip_lacks():
    with installed():
        said = await refused(chip({}, bus=3).start(), DriverError)
        assert said == "bus: I2C(3) doesn't exist"
        assert "pin 60" in await refused(chip({}, scl=60).start(), DriverError)
        assert not i2c._buses
    with installed(machine=object):
        assert await refused(chip({}).start(), DriverError) == "no machine.Pin here"


def test_fields_that_do_not_fit_are_refused():
    for point in (
        {"bits": 9},
        {"shift": 8},
        {"shift": 4, "bits": 5},
        {"type": "bool", "bits": 2},
        {"type": "bool", "shift": 8},
        {"type": "float32", "bits": 31},
        {"type": "float32", "shift": 1},
        {"type": "float32", "bits": 33},
    ):
        try:
            chip(point)
        except ConfigError as error:
            assert error.path == "dev/p0.bits"
        else:
            raise AssertionError(point)
    try:
        chip({}, address=None)
    except ConfigError as error:
        assert error.path == "dev.address"
    else:
        raise AssertionError("no address")
