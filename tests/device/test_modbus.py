"""The Modbus TCP driver against a device that follows, bends or breaks the protocol."""

import asyncio
import struct

from driver_kit import make, refused, values
from modbus_peer import Peer, fail, mbap

from fieldpost.compat import TimeoutError, sleep_ms, ticks_diff, ticks_ms, wait_for_ms
from fieldpost.drivers.modbus import Modbus
from fieldpost.errors import DriverError

NEEDS = "socket"

HOLDING = {(3, i): 100 + i for i in range(10)}


def holding(*registers, **more):
    return [dict(more, table="holding", register=register) for register in registers]


async def client(peer, points, **device):
    device = dict({"timeout_ms": 5000, "retries": 0}, **device)
    driver = make(Modbus, points, host=peer.host, port=peer.port, **device)
    await driver.start()
    return driver


async def read(driver):
    await driver.read(driver.points)
    return values(driver)


async def test_reads_tables_and_types_with_few_requests():
    registers = {(1, 0): 1, (1, 1): 0, (1, 2): 1, (2, 9): 1, (4, 0): 0x8001}
    for i, word in enumerate(struct.unpack(">9H", struct.pack(">hIfq", -5, 70000, 1.5, -1 << 40))):
        registers[3, 10 + i] = word
    points = [
        {"table": "coil", "register": 0},
        {"table": "coil", "register": 2},
        {"table": "coil", "register": 1},
        {"table": "discrete", "register": 9},
        {"table": "input", "register": 0, "type": "bool", "bit": 15},
        {"table": "input", "register": 0},
        {"table": "holding", "register": 10, "type": "int16", "scale": 0.1},
        {"table": "holding", "register": 11, "type": "uint32"},
        {"table": "holding", "register": 13, "type": "float32"},
        {"table": "holding", "register": 15, "type": "int64"},
    ]
    async with Peer(registers) as peer:
        driver = await client(peer, points)
        wanted = [True, True, False, True, True, 0x8001, -0.5, 70000, 1.5, -1 << 40]
        assert await read(driver) == wanted
        assert peer.requests == [
            b"\x01\x00\x00\x00\x03",
            b"\x02\x00\x09\x00\x01",
            b"\x03\x00\x0a\x00\x09",
            b"\x04\x00\x00\x00\x01",
        ]
        registers[3, 12] = 1
        peer.registers[3, 12] = 1
        assert (await read(driver))[7] == 65537
        assert peer.connections == 1
        await driver.stop()


async def test_reads_some_points_only():
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0, 1, 2))
        await driver.read(driver.points[1:2])
        assert values(driver) == ["init", 101, "init"]
        assert peer.requests == [b"\x03\x00\x01\x00\x01"]
        await driver.stop()


async def test_largest_answer():
    async with Peer({(3, i): i for i in range(125)}) as peer:
        points = holding(*range(1, 125, 4), type="uint64") + holding(0)
        driver = await client(peer, points)
        found = await read(driver)
        assert found[30] == struct.unpack(">Q", struct.pack(">HHHH", 121, 122, 123, 124))[0]
        assert found[31] == 0
        assert peer.requests == [b"\x03\x00\x00\x00\x7d"]
        await driver.stop()


async def test_one_request_at_a_time():
    async with Peer(HOLDING) as peer:
        peer.delay_ms = 20
        driver = await client(peer, holding(0, 2, 4, 6, writable=True))
        await asyncio.gather(read(driver), driver.write(driver.points[0], 1), read(driver))
        assert len(peer.requests) == 9 and peer.overlapped == 0 and peer.connections == 1
        await driver.stop()


async def test_units_of_a_gateway_share_its_connection():
    async with Peer(HOLDING) as peer:
        peer.delay_ms = 10
        drivers = []
        for unit in (1, 2, 3):
            drivers.append(await client(peer, holding(0, 4), unit=unit))
        units = []
        peer.act = lambda request: units.append(request[6]) or Peer.NORMAL
        found = await asyncio.gather(*[read(driver) for driver in drivers])
        assert found == [[100, 104]] * 3 and sorted(units) == [1, 1, 2, 2, 3, 3]
        assert peer.overlapped == 0 and peer.connections == 1
        await drivers[0].stop()
        assert await read(drivers[1]) == [100, 104]
        assert peer.connections == 1
        for driver in drivers:
            await driver.stop()
        await drivers[0].start()
        assert await read(drivers[0]) == [100, 104]
        assert peer.connections == 2
        await drivers[0].stop()


async def test_a_silent_unit_does_not_starve_others():
    async with Peer(HOLDING) as peer:
        good = await client(peer, holding(0, 2, 4), unit=1, timeout_ms=2000)
        silent = await client(peer, holding(0), unit=9, answer_ms=150, retries=2)
        units = []

        def act(request):
            units.append(request[6])
            return None if request[6] == 9 else Peer.NORMAL

        peer.act = act
        lost = asyncio.create_task(refused(read(silent), DriverError))
        await sleep_ms(20)
        assert await read(good) == [100, 102, 104]
        assert await lost == "timeout" and silent.counters == {"timeout": 3}
        # Each request has waited for one of the silent unit at most.
        assert units == [9, 1, 9, 1, 9, 1]
        # From now on one attempt, until it answers.
        assert await refused(read(silent), DriverError) == "timeout"
        assert silent.counters == {"timeout": 4}
        peer.act = None
        assert await read(silent) == [100]
        peer.act = lambda _: None
        assert await refused(read(silent), DriverError) == "timeout"
        assert silent.counters == {"timeout": 7}
        for driver in (good, silent):
            await driver.stop()


async def test_a_bad_address_costs_only_its_point():
    registers = dict(HOLDING)
    del registers[3, 6]
    async with Peer(registers) as peer:
        driver = await client(peer, holding(*range(10)))
        bad = "illegal data address"
        wanted = [100, 101, 102, 103, 104, 105, bad, 107, 108, 109]
        assert await read(driver) == wanted
        assert len(peer.requests) < 10
        peer.requests = []
        assert await read(driver) == wanted
        asked = [struct.unpack(">BHH", request) for request in peer.requests]
        assert sum(count for _, _, count in asked) == 9
        assert not any(start <= 6 < start + count for _, start, count in asked)
        # After a rest it is asked again.
        driver.REFUSED_MS = 0
        peer.registers[3, 6] = 106
        for block in driver._blocks:
            block.again = ticks_ms()
        await sleep_ms(5)
        assert (await read(driver))[6] == 106
        await driver.stop()


async def test_a_gap_that_the_device_lacks_is_not_read_over():
    async with Peer({(3, 0): 1, (3, 5): 2}) as peer:
        driver = await client(peer, holding(0, 5), max_gap=10)
        assert await read(driver) == [1, 2]
        assert await read(driver) == [1, 2]
        assert [struct.unpack(">BHH", one)[1:] for one in peer.requests] == [
            (0, 6),
            (0, 1),
            (5, 1),
            (0, 1),
            (5, 1),
        ]
        await driver.stop()


async def test_exceptions_become_the_status_of_their_points():
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0, 2))
        for code, name in ((4, "server device failure"), (6, "server device busy")):
            peer.act = lambda r: fail(code)(r) if r[9] == 2 else Peer.NORMAL  # noqa: B023
            assert await read(driver) == [100, name]
            peer.act = None
            assert await read(driver) == [100, 102]
        peer.act = fail(1)
        assert await read(driver) == ["illegal function"] * 2
        assert peer.connections == 1
        await driver.stop()


async def test_a_gateway_that_reaches_nobody_is_a_device_down():
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0, 2))
        peer.act = lambda r: fail(11)(r) if r[9] == 2 else Peer.NORMAL
        assert await read(driver) == [100, "gateway target failed to respond"]
        for code, name in (
            (10, "gateway path unavailable"),
            (11, "gateway target failed to respond"),
        ):
            peer.act = fail(code)
            assert await refused(read(driver), DriverError) == name
        peer.act = None
        assert await read(driver) == [100, 102]
        await driver.stop()


async def fails_then_recovers(act, reason, least_ms=0):
    """Whatever goes wrong once, the next read opens a connection and works."""
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0), timeout_ms=100)
        peer.act = act
        started = ticks_ms()
        assert await refused(read(driver), DriverError) == reason
        assert least_ms <= ticks_diff(ticks_ms(), started) < 3000
        peer.act = None
        driver.config["timeout_ms"] = 5000
        assert await read(driver) == [100]
        assert peer.connections == 2
        await driver.stop()


async def test_silence():
    await fails_then_recovers(lambda _: None, "timeout", 90)


async def test_part_of_an_answer():
    for size in (1, 6, 7, 8, 10):
        whole = lambda r: mbap(r, b"\x03\x02\x00\x07")  # noqa: E731
        await fails_then_recovers(lambda r: whole(r)[:size], "timeout", 90)  # noqa: B023


async def test_a_peer_that_closes():
    await fails_then_recovers(lambda _: Peer.CLOSE, "closed")


async def test_wrong_frames():
    good = b"\x03\x02\x00\x07"
    for wrong in (
        lambda r: mbap(r, good, protocol=1),
        lambda r: mbap(r, good, size=0),
        lambda r: mbap(r, good, size=2),
        lambda r: mbap(r, good, size=255),
        lambda r: mbap(r, good, size=65535),
        lambda r: mbap(r, good, unit=2),
        lambda r: mbap(r, b"\x04\x02\x00\x07"),
        lambda r: mbap(r, b"\x84\x02"),
        lambda r: mbap(r, b"\x03\x04\x00\x07\x00\x08"),
        lambda r: mbap(r, b"\x03\x03\x00\x07"),
        lambda r: mbap(r, b"\x03\x01\x00"),
        lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ):
        await fails_then_recovers(wrong, "bad answer")


async def test_only_answers_to_other_requests():
    await fails_then_recovers(lambda r: mbap(r, b"\x03\x02\x00\x07", 999), "timeout", 90)
    flood = lambda r: mbap(r, b"\x03\x02\x00\x07", 999) * 500  # noqa: E731
    await fails_then_recovers(flood, "timeout", 90)


async def test_late_answers_are_skipped():
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0))

        def late(request):
            number = struct.unpack(">H", request[:2])[0]
            old = mbap(request, b"\x03\x02\x00\x07", (number - 1) & 0xFFFF)
            return old + old + mbap(request, b"\x03\x02\x00\x08")

        peer.act = late
        assert await read(driver) == [8]
        driver.bus._transaction = 0xFFFF
        assert await read(driver) == [8]
        assert driver.bus._transaction == 0 and peer.connections == 1
        await driver.stop()


async def test_nobody_listens():
    async with Peer() as peer:
        driver = await client(peer, holding(0))
    assert await refused(read(driver), DriverError) == "refused"
    await driver.stop()


async def test_further_attempts_use_a_new_connection():
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0), timeout_ms=1500, retries=2)
        answers = [None, Peer.CLOSE, Peer.NORMAL]
        peer.act = lambda _: answers.pop(0)
        started = ticks_ms()
        assert await read(driver) == [100]
        assert 490 <= ticks_diff(ticks_ms(), started) < 1400
        assert peer.connections == 3 and len(peer.requests) == 3
        # A device that closed an idle connection is asked again at once.
        answers = [Peer.CLOSE, Peer.NORMAL]
        assert await read(driver) == [100]
        answers = [Peer.CLOSE] * 3
        assert await refused(read(driver), DriverError) == "closed"
        assert not answers
        await driver.stop()


async def test_a_cancelled_read_leaves_nothing_behind():
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0, 2), timeout_ms=10000)
        assert await read(driver) == [100, 102]
        peer.delay_ms = 60
        try:
            await wait_for_ms(read(driver), 30)
        except TimeoutError:
            pass
        peer.delay_ms = 0
        assert await read(driver) == [100, 102]
        assert peer.connections == 2
        await driver.stop()


async def test_writes():
    points = [
        {"table": "coil", "register": 4, "writable": True},
        {"table": "holding", "register": 5, "type": "int16", "scale": 0.1, "writable": True},
        {"table": "holding", "register": 6, "type": "float32", "writable": True},
        {"table": "holding", "register": 8, "type": "bool", "bit": 9, "writable": True},
    ]
    async with Peer({(3, 8): 0x8101}) as peer:
        for multiple, wanted in (
            (
                False,
                [
                    b"\x05\x00\x04\xff\x00",
                    b"\x05\x00\x04\x00\x00",
                    b"\x06\x00\x05\xff\xfb",
                    b"\x10\x00\x06\x00\x02\x04\x3f\xc0\x00\x00",
                    b"\x03\x00\x08\x00\x01",
                    b"\x06\x00\x08\x83\x01",
                    b"\x03\x00\x08\x00\x01",
                    b"\x06\x00\x08\x81\x01",
                ],
            ),
            (
                True,
                [
                    b"\x0f\x00\x04\x00\x01\x01\x01",
                    b"\x0f\x00\x04\x00\x01\x01\x00",
                    b"\x10\x00\x05\x00\x01\x02\xff\xfb",
                    b"\x10\x00\x06\x00\x02\x04\x3f\xc0\x00\x00",
                    b"\x03\x00\x08\x00\x01",
                    b"\x10\x00\x08\x00\x01\x02\x83\x01",
                    b"\x03\x00\x08\x00\x01",
                    b"\x10\x00\x08\x00\x01\x02\x81\x01",
                ],
            ),
        ):
            driver = await client(peer, points, write_multiple=multiple)
            coil, scaled, real, bit = driver.points
            peer.requests = []
            for point, value in (
                (coil, True),
                (coil, 0),
                (scaled, -0.5),
                (real, 1.5),
                (bit, True),
                (bit, False),
            ):
                await driver.write(point, value)
            assert peer.requests == wanted
            await driver.stop()


async def test_refused_writes():
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0) + holding(1, writable=True, max=50))
        fixed, setpoint = driver.points
        assert await refused(driver.write(fixed, 1), DriverError) == "read only"
        for value in (51, -1, float("nan"), "x", None):
            assert await refused(driver.write(setpoint, value), DriverError) == "invalid value"
        assert peer.requests == []
        peer.act = fail(3)
        assert await refused(driver.write(setpoint, 1), DriverError) == "illegal data value"
        peer.act = lambda r: mbap(r, b"\x06\x00\x01\x00\x02")
        assert await refused(driver.write(setpoint, 1), DriverError) == "bad answer"
        peer.act = None
        await driver.write(setpoint, 1)
        assert await read(driver) == [100, 1]
        await driver.stop()


async def test_what_is_under_way_ends_with_its_connection():
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0, 4))
        peer.delay_ms = 50
        reading = asyncio.create_task(refused(read(driver), DriverError))
        while not peer.requests:
            await sleep_ms(1)
        await driver.stop()
        assert await reading == "not started"
        assert driver.points[0].value == 100 and peer.connections == 1
        await sleep_ms(20)
        assert not peer._serving


async def test_stop_closes_and_a_later_start_opens():
    async with Peer(HOLDING) as peer:
        driver = await client(peer, holding(0))
        assert await read(driver) == [100]
        await driver.stop()
        await driver.stop()
        assert await refused(read(driver), DriverError) == "not started"
        await driver.start()
        assert await read(driver) == [100]
        assert peer.connections == 2
        await driver.stop()
