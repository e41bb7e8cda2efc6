"""Modbus RTU over a fake UART: units that follow, bend and break the protocol."""

import asyncio
import random

from driver_kit import make, refused, values
from modbus_wire import Wire, answer, framed

from fieldpost.compat import TimeoutError, sleep_ms, ticks_diff, ticks_ms, wait_for_ms
from fieldpost.drivers.modbus_rtu import ModbusRtu, crc16
from fieldpost.errors import ConfigError, DriverError

HEAP = "512k"
HOLDING = {(3, i): 100 + i for i in range(10)}


def holding(*registers, **more):
    return [dict(more, table="holding", register=register) for register in registers]


async def client(points, **device):
    settings = {"uart": 1, "answer_ms": 250, "retries": 0, "baudrate": 115200}
    driver = make(ModbusRtu, points, **dict(settings, **device))
    await driver.start()
    return driver


async def read(driver):
    await driver.read(driver.points)
    return values(driver)


def failures(driver):
    """The counters without zeros."""
    return {what: n for what, n in driver.counters.items() if n}


def test_crc():
    assert crc16(b"123456789") == 0x4B37
    assert crc16(b"") == 0xFFFF
    # Example of the standard's appendix B.
    assert framed(b"\x02\x07") == b"\x02\x07\x41\x12"
    assert crc16(framed(bytes(range(256)))) == 0


async def test_reads_and_writes():
    points = [
        {"table": "coil", "register": 0, "writable": True},
        holding(2, type="int16", scale=0.1, writable=True)[0],
        holding(4, type="float32", writable=True)[0],
        {"table": "input", "register": 7},
    ]
    units = {17: {(1, 0): 1, (3, 2): 0xFFFB, (3, 4): 0x3FC0, (3, 5): 0, (4, 7): 9}}
    async with Wire(units) as wire:
        driver = await client(points, unit=17)
        assert await read(driver) == [True, -0.5, 1.5, 9]
        assert wire.requests[0][0] == framed(b"\x11\x01\x00\x00\x00\x01")
        assert len(wire.requests) == 4
        wire.requests = []
        for point, value in zip(driver.points, (False, 1.2, -2.0)):
            await driver.write(point, value)
        assert wire.frames == [
            b"\x11\x05\x00\x00\x00\x00",
            b"\x11\x06\x00\x02\x00\x0c",
            b"\x11\x10\x00\x04\x00\x02\x04\xc0\x00\x00\x00",
        ]
        assert (await read(driver))[1:3] == [1.2, -2.0]
        assert not failures(driver) and not wire.collisions
        await driver.stop()


async def test_refused_writes():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0) + holding(1, writable=True, max=50))
        fixed, setpoint = driver.points
        assert await refused(driver.write(fixed, 1), DriverError) == "read only"
        for value in (51, -1, float("nan"), "x", None):
            assert await refused(driver.write(setpoint, value), DriverError) == "invalid value"
        assert not wire.requests
        wire.act = lambda r: [(1, answer(r, bytes((r[1] | 0x80, 3))))]
        assert await refused(driver.write(setpoint, 1), DriverError) == "illegal data value"
        wire.act = lambda r: [(1, answer(r, b"\x06\x00\x01\x00\x02"))]
        assert await refused(driver.write(setpoint, 1), DriverError) == "bad answer"
        wire.act = None
        await driver.write(setpoint, 1)
        assert await read(driver) == [100, 1]
        await driver.stop()


async def test_exceptions_and_missing_registers():
    registers = dict(HOLDING)
    del registers[3, 3]
    async with Wire({1: registers}) as wire:
        driver = await client(holding(0, 1, 2, 3, 4))
        bad = "illegal data address"
        assert await read(driver) == [100, 101, 102, bad, 104]
        wire.act = lambda r: [(1, answer(r, bytes((r[1] | 0x80, 6))))]
        found = await read(driver)
        assert found[0] == "server device busy"
        assert not failures(driver)
        await driver.stop()


async def test_longest_answer():
    async with Wire({1: {(3, i): i for i in range(125)}}):
        driver = await client(holding(*range(125)))
        assert await read(driver) == list(range(125))
        await driver.stop()


async def test_the_uart_gets_its_settings():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0), uart=2, tx=17, rx=16, parity="even", stop=2)
        (uart,) = wire.uarts
        assert (uart.number, uart.baudrate) == (2, 115200)
        options = {key: uart.options[key] for key in ("bits", "parity", "stop", "tx", "rx")}
        assert options == {"bits": 8, "parity": 0, "stop": 2, "tx": 17, "rx": 16}
        await driver.stop()
        assert not uart.open
        for parity, given in (("none", None), ("odd", 1)):
            driver = await client(holding(0), parity=parity)
            assert wire.uarts[-1].options["parity"] == given
            assert "tx" not in wire.uarts[-1].options
            await driver.stop()


async def test_nothing_is_opened_before_start():
    async with Wire({1: HOLDING}) as wire:
        driver = make(ModbusRtu, holding(0), uart=1)
        assert not wire.uarts
        await driver.stop()


async def test_direction_pin():
    async with Wire({1: HOLDING}, delay_ms=15) as wire:
        driver = await client(holding(0), de=4, baudrate=9600)
        assert wire.levels == [(4, 3, 0)]
        for _ in range(5):
            assert await read(driver) == [100]
        # High before the first bit, low right after the last one.
        assert [level for _, level in wire.requests] == [1] * 5
        assert wire.levels[1:] == [1, 0] * 5
        assert 0 <= min(wire.lowered_ms) <= 2
        await driver.stop()


async def test_direction_pin_is_lowered_when_cancelled():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0), de=4, baudrate=300)
        task = asyncio.create_task(read(driver))
        while len(wire.levels) < 2:
            await sleep_ms(1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        assert wire.levels[-1] == 0
        await driver.stop()


async def test_devices_share_a_bus():
    async with Wire({1: HOLDING, 2: {(3, 0): 7}, 3: {(3, 0): 8}}) as wire:
        drivers = []
        for unit in (1, 2, 3):
            drivers.append(await client(holding(0), unit=unit))
        found = await asyncio.gather(*[read(driver) for driver in drivers for _ in range(3)])
        assert sorted(found) == [[7]] * 3 + [[8]] * 3 + [[100]] * 3
        assert len(wire.uarts) == 1 and not wire.collisions
        await drivers[0].stop()
        await drivers[1].stop()
        await drivers[1].stop()
        assert wire.uarts[0].open
        assert await read(drivers[2]) == [8]
        assert await refused(read(drivers[0]), DriverError) == "not started"
        await drivers[2].stop()
        assert not wire.uarts[0].open
        await drivers[0].start()
        assert await read(drivers[0]) == [100]
        assert len(wire.uarts) == 2
        await drivers[0].stop()


async def test_what_is_under_way_ends_when_the_line_is_closed():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0, writable=True), retries=2)
        wire.delay_ms = 50
        first = asyncio.create_task(refused(read(driver), DriverError))
        second = asyncio.create_task(refused(driver.write(driver.points[0], 1), DriverError))
        while not wire.requests:
            await sleep_ms(1)
        await driver.stop()
        assert await first == await second == "not started"
        assert len(wire.uarts) == 1 and not wire.uarts[0].open and len(wire.requests) == 1


async def test_two_lines_are_apart():
    async with Wire({1: HOLDING}) as wire:
        first = await client(holding(0), uart=0)
        second = await client(holding(0), uart=1)
        assert await read(first) == await read(second) == [100]
        assert [uart.number for uart in wire.uarts] == [0, 1]
        for driver in (first, second):
            await driver.stop()


async def test_a_bus_has_one_speed():
    async with Wire({1: HOLDING}):
        first = await client(holding(0))
        other = make(ModbusRtu, holding(0), uart=1, unit=2, baudrate=9600)
        assert "other settings" in await refused(other.start(), DriverError)
        assert await read(first) == [100]
        await first.stop()
        await other.start()
        await other.stop()


def test_configurations_that_contradict_themselves():
    for config in (
        {},
        {"uart": 1, "port": "/dev/ttyS0"},
        {"port": "/dev/ttyS0", "de": 4},
        {"port": "/dev/ttyS0", "tx": 4},
        {"uart": 1, "unit": 0},
        {"uart": 1, "unit": 248},
        {"uart": 1, "host": "10.0.0.1"},
    ):
        try:
            make(ModbusRtu, holding(0), **config)
        except ConfigError:
            continue
        raise AssertionError(config)
    make(ModbusRtu, holding(0), uart=0)


async def test_a_port_that_is_not_there():
    driver = make(ModbusRtu, holding(0), port="/nowhere/tty")
    assert "/nowhere/tty" in await refused(driver.start(), DriverError)
    await driver.stop()


async def test_pins_that_are_not_there():
    class NoPin:
        OUT = 3

        def __init__(self, *_, **_options):
            raise ValueError("invalid pin")

    async with Wire({1: HOLDING}) as wire:
        good, wire.Pin = wire.Pin, NoPin
        driver = make(ModbusRtu, holding(0), uart=1, de=99)
        assert await refused(driver.start(), DriverError) == "uart: invalid pin"
        assert not wire.uarts
        wire.Pin = good
        await driver.start()
        assert await read(driver) == [100]
        await driver.stop()


async def test_a_silent_unit_does_not_starve_others():
    async with Wire({1: HOLDING}) as wire:
        good = await client(holding(0, 2, 4))
        silent = await client(holding(0, 2, 4), unit=9, answer_ms=250, retries=2)
        lost = asyncio.create_task(refused(read(silent), DriverError))
        await sleep_ms(20)
        assert await read(good) == [100, 102, 104]
        assert await lost == "timeout"
        # Each request has waited for one of the silent unit at most.
        assert [frame[0] for frame in wire.frames] == [9, 1, 9, 1, 9, 1]
        assert silent.counters["timeout"] == 3
        # From now on it gets one attempt a cycle.
        assert await refused(read(silent), DriverError) == "timeout"
        assert silent.counters["timeout"] == 4
        wire.units[9] = wire.units[1]
        assert await read(silent) == [100, 102, 104]
        del wire.units[9]
        assert await refused(read(silent), DriverError) == "timeout"
        assert silent.counters["timeout"] == 7
        assert not failures(good) and not wire.collisions
        for driver in (good, silent):
            await driver.stop()


GOOD = b"\x03\x02\x00\x07"
#: What comes in place of a first answer, and what that is called.
BROKEN = (
    (lambda r: [], "timeout"),
    (lambda r: [(1, answer(r, GOOD)[:4])], "timeout"),
    (lambda r: [(1, answer(r, GOOD)[:5])], "wrong length"),
    (lambda r: [(1, answer(r, GOOD)[:6])], "wrong length"),
    (lambda r: [(1, answer(r, GOOD)[1:])], "wrong unit"),
    (lambda r: [(1, answer(r, GOOD, spoil=1))], "bad crc"),
    (lambda r: [(1, answer(r, GOOD, spoil=0x8000))], "bad crc"),
    (lambda r: [(1, answer(r, GOOD, unit=2))], "wrong unit"),
    (lambda r: [(1, answer(r, b"\x04\x02\x00\x07"))], "bad answer"),
    (lambda r: [(1, answer(r, b"\x03\x04\x00\x07\x00\x08"))], "wrong length"),
    (lambda r: [(1, answer(r, b"\x03\x01\x07"))], "wrong length"),
    (lambda r: [(1, answer(r, b"\x03\x03\x00\x07"))], "bad answer"),
    (lambda r: [(1, answer(r, b"\x83\x02", spoil=1))], "bad crc"),
    (lambda r: [(1, b"\xff" * 40)], "wrong unit"),
    (lambda r: [(1, b"\x00" * 600)], "wrong unit"),
)


async def test_broken_answers_are_counted_and_the_request_repeated():
    for act, reason in BROKEN:
        async with Wire({1: HOLDING}) as wire:
            driver = await client(holding(0), retries=1)
            acts = [act, lambda _: Wire.NORMAL]
            wire.act = lambda request: acts.pop(0)(request)  # noqa: B023
            assert await read(driver) == [100], reason
            assert driver.counters[reason] == 1, (reason, driver.counters)
            assert wire.frames == [b"\x01\x03\x00\x00\x00\x01"] * 2
            await driver.stop()
        async with Wire({1: HOLDING}) as wire:
            driver = await client(holding(0))
            wire.act = act
            assert await refused(read(driver), DriverError) == reason
            await driver.stop()


async def test_stray_bytes_around_an_answer():
    right = lambda r: answer(r, b"\x03\x02\x00\x64")  # noqa: E731
    for before, after in (
        (b"\x00", b""),
        (b"\xff\xff\x01", b""),
        (b"\x01\x03\x02\x00", b"\x00\xff"),
        (b"\x01\x03\x02\x00\x07\x11\x11", b""),
        (b"", b"\x00" * 5),
    ):
        async with Wire({1: HOLDING}) as wire:
            driver = await client(holding(0, 2))
            wire.act = lambda r: (
                [(2, before + right(r) + after)]  # noqa: B023
                if r[3] == 0
                else Wire.NORMAL
            )
            assert await read(driver) == [100, 102]
            assert driver.counters["stray bytes"] == len(before + after)
            assert len(wire.requests) == 2
            await driver.stop()


async def test_answers_in_pieces():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0, 1, 2), baudrate=1200)
        wire.act = lambda r: [
            (6, bytes((byte,))) for byte in answer(r, b"\x03\x06\0\x64\0\x65\0\x66")
        ]
        assert await read(driver) == [100, 101, 102]
        assert not failures(driver)
        await driver.stop()


async def test_an_answer_of_another_unit_does_not_end_the_waiting():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0))
        wire.act = lambda r: [(5, answer(r, GOOD, unit=2)), (60, answer(r, b"\x03\x02\0\x64"))]
        assert await read(driver) == [100]
        assert driver.counters == {"stray bytes": 7}
        await driver.stop()


async def test_silence_before_every_request():
    for baudrate, least_ms in ((115200, 2), (9600, 4), (2400, 15)):
        async with Wire({1: HOLDING}) as wire:
            driver = await client(holding(0, 2, 4, 6), baudrate=baudrate)
            assert await read(driver) == [100, 102, 104, 106]
            assert least_ms <= wire.quiet_ms < 1000, (baudrate, wire.quiet_ms)
            await driver.stop()


async def test_a_line_that_is_never_silent():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0), baudrate=2400)
        (uart,) = wire.uarts

        async def babble():
            while True:
                uart.received += b"\x55"
                await sleep_ms(3)

        task = asyncio.create_task(babble())
        await sleep_ms(1)
        started = ticks_ms()
        assert await refused(read(driver), DriverError) == "never silent"
        assert ticks_diff(ticks_ms(), started) < 1500
        assert not wire.requests and driver.counters["stray bytes"] > 5
        task.cancel()
        await sleep_ms(20)
        assert await read(driver) == [100]
        await driver.stop()


async def test_a_unit_that_does_not_stop_talking():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0), answer_ms=2000)
        wire.act = lambda r: [(1, b"\xff" * 100)] * 12
        started = ticks_ms()
        assert await refused(read(driver), DriverError) == "wrong unit"
        assert ticks_diff(ticks_ms(), started) < 1000
        await driver.stop()


async def test_echo():
    async with Wire({1: HOLDING}, echo=True) as wire:
        driver = await client(holding(0) + holding(1, writable=True))
        assert await read(driver) == [100, 101]
        assert driver.bus.echo is True
        await driver.write(driver.points[1], 5)
        assert await read(driver) == [100, 5]
        wire.act = lambda r: [(2, b"\x00" + answer(r, b"\x03\x04\0\x01\0\x02"))]
        assert await read(driver) == [1, 2]
        # The echo alone confirms nothing.
        wire.act = lambda r: []
        assert await refused(driver.write(driver.points[1], 6), DriverError) == "timeout"
        assert await refused(read(driver), DriverError) == "timeout"
        await driver.stop()


async def test_a_first_write_is_not_confirmed_by_its_echo():
    for echo in (True, False):
        for table, code in (("holding", 3), ("coil", 1)):
            async with Wire({1: {(code, 1): 1}}, echo=echo) as wire:
                point = {"table": table, "register": 1, "writable": True}
                driver = await client([point], answer_ms=600)
                wire.act = lambda r: Wire.NORMAL if r[1] < 5 else []
                assert await refused(driver.write(driver.points[0], 1), DriverError) == "timeout"
                assert [frame[1] for frame in wire.frames] == [code, code + 3 if code == 3 else 5]
                assert driver.bus.echo is echo
                wire.act = None
                await driver.write(driver.points[0], 1)
                assert len(wire.requests) == 3
                await driver.stop()
        async with Wire({1: {}}, echo=echo):
            # A register that cannot be read teaches as well.
            driver = await client(holding(1, writable=True))
            await driver.write(driver.points[0], 1)
            await driver.stop()


async def test_late_answers_are_never_taken_for_others():
    """Each register holds its address: an answer to another request shows at once."""
    registers = {(3, i): i for i in range(40)}
    for delay_ms in (90, 160, 230):
        async with Wire({1: registers, 2: HOLDING}) as wire:
            driver = await client(holding(5, 10, 15), answer_ms=80, retries=1)
            other = await client(holding(0), unit=2)
            wire.act = lambda r: (
                [(delay_ms, wire.usual(r)[0][1])]  # noqa: B023
                if r[0] == 1
                else Wire.NORMAL
            )
            good = 0
            for _ in range(3):
                try:
                    await driver.read(driver.points)
                except DriverError:
                    pass
                for point, address in zip(driver.points, (5, 10, 15)):
                    assert point.value in (None, address), (delay_ms, point.value, address)
                    good += point.value is not None
            assert good == 9 or delay_ms == 230
            assert await read(other) == [100]
            # Fast again: everything is right.
            wire.act = None
            await sleep_ms(150)
            assert await read(driver) == [5, 10, 15]
            for one in (driver, other):
                await one.stop()


async def test_a_cancelled_read_leaves_nothing_behind():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0, 4))
        wire.delay_ms = 50
        try:
            await wait_for_ms(driver.read(driver.points), 30)
            raise AssertionError("not cancelled")
        except TimeoutError:
            pass
        wire.delay_ms = 2
        await driver.read(driver.points[1:])
        assert driver.points[1].value == 104
        assert await read(driver) == [100, 104]
        await driver.stop()


async def test_a_noisy_line_never_gives_a_wrong_value():
    random.seed(7)
    number = lambda n: random.getrandbits(12) % n  # noqa: E731
    registers = {(3, i): 1000 + i for i in range(8)}

    def noisy(request):
        data = bytearray(wire.usual(request)[0][1])
        kind = number(6)
        if kind == 0:
            data[number(len(data))] ^= 1 << number(8)
        elif kind == 1:
            data = data[: number(len(data))]
        elif kind == 2:
            data = bytes(number(256) for _ in range(number(12))) + data
        elif kind == 3:
            data = data + bytes(number(256) for _ in range(number(12)))
        return [(1, bytes(data))]

    async with Wire({1: registers}) as wire:
        driver = await client(holding(*range(8)), retries=3, answer_ms=30)
        wire.act = noisy
        for _ in range(60):
            try:
                found = await read(driver)
            except DriverError:
                continue
            assert found == list(range(1000, 1008))
        assert driver.counters["bad crc"] > 2 and driver.counters["stray bytes"] > 2
        await driver.stop()


async def test_a_line_that_fails_is_opened_again():
    async with Wire({1: HOLDING}) as wire:
        driver = await client(holding(0))

        def gone():
            raise OSError("device is gone")

        wire.uarts[0].any = gone
        assert await refused(read(driver), DriverError) == "device is gone"
        assert not wire.uarts[0].open
        assert await read(driver) == [100]
        assert len(wire.uarts) == 2
        await driver.stop()


async def test_sampling_goes_on_while_a_unit_is_awaited():
    async with Wire({}) as wire:
        driver = await client(holding(0), answer_ms=200, baudrate=300, de=3)
        task = asyncio.create_task(refused(read(driver), DriverError))
        longest = 0
        while not task.done():
            started = ticks_ms()
            await sleep_ms(1)
            longest = max(longest, ticks_diff(ticks_ms(), started))
        assert await task == "timeout"
        assert longest < 150, longest
        assert wire.requests
        await driver.stop()
