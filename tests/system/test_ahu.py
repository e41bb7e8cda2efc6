"""The simulated air-handling unit: a plausible plant, and what the driver reads of it."""

import contextlib
import socket

import pytest

from fieldpost.config import validate
from fieldpost.drivers.modbus import Modbus
from fieldpost.errors import DriverError
from fieldpost.point import Point
from fieldpost_tools.sim.ahu import AirHandler
from fieldpost_tools.sim.modbus_server import POINTS, AhuServer, ModbusServerError, ahu_device

HOUR_MS = 3_600_000
ATTRIBUTES = {row[0]: row[-1] for row in POINTS}


@contextlib.asynccontextmanager
async def driver(server):
    """The driver as a node makes it, and its points by name."""
    config = validate({"node": "gw", "devices": [ahu_device(server.host, server.port)]})
    device = config["devices"][0]
    points = [
        Point(row["id"], device["id"], row["name"], row["unit"], row) for row in device["points"]
    ]
    made = Modbus(device, points)
    await made.start()
    try:
        yield made, {point.name: point for point in points}
    finally:
        await made.stop()


async def test_the_driver_reads_what_the_plant_has():
    with AhuServer(speedup=0) as server:
        server.air.advance(5 * HOUR_MS)
        async with driver(server) as (made, points):
            await made.read(made.points)
            assert {point.status for point in made.points} == {"ok"}
            for name, point in points.items():
                real = getattr(server.air, ATTRIBUTES[name])
                step = (
                    0
                    if isinstance(real, bool)
                    else 0.5
                    if name.endswith(("dp", "count"))
                    else 0.05
                )
                assert abs(point.value - real) <= step + 1e-9, name
            assert points["energy"].value == server.air.energy
            assert type(points["energy-count"].value) is int
            assert len(made._blocks) == 4


async def test_the_plant_runs_while_it_is_read():
    with AhuServer(speedup=20_000) as server:
        async with driver(server) as (made, points):
            seen = set()
            for _ in range(20):
                await made.read(made.points)
                seen.add(points["oat"].value)
            assert len(seen) > 3


async def test_a_plant_long_alone_answers_in_time():
    with AhuServer() as server:
        async with driver(server) as (made, points):
            await made.read(made.points)
            hour = server.air.hour
            server._asked_ns -= 30 * 86400 * 10**9
            await made.read(made.points)
            assert points["oat"].status == "ok"
            assert 5 < (server.air.hour - hour) % 24 < 8


async def test_setpoint_override_and_filter_can_be_written():
    with AhuServer(speedup=0) as server:
        async with driver(server) as (made, points):
            await made.write(points["zone-sp"], 23.5)
            await made.write(points["override"], True)
            await made.read(made.points)
            assert (points["zone-sp"].value, points["override"].value) == (23.5, True)
            assert (server.air.setpoint, server.air.override) == (23.5, True)
            for name, value in (("zone-sp", 40), ("zone-sp", -3), ("override", 2)):
                with pytest.raises(DriverError, match="invalid value"):
                    await made.write(points[name], value)
            with pytest.raises(DriverError, match="read only"):
                await made.write(points["filter-alarm"], False)
            # What the configuration would let through, the device itself refuses.
            points["zone-sp"].config["max"] = 100
            with pytest.raises(DriverError, match="illegal data value"):
                await made.write(points["zone-sp"], 40)
            points["filter-alarm"].config["writable"] = True
            with pytest.raises(DriverError, match="illegal data address"):
                await made.write(points["filter-alarm"], True)
            await made.read(made.points)
            assert points["zone-sp"].value == 23.5


async def test_a_restarted_server_is_found_again():
    with AhuServer(speedup=0) as server:
        async with driver(server) as (made, points):
            await made.read(made.points)
            energy = points["energy"].value
            server.restart()
            await made.read(made.points)
            assert points["energy"].value == energy
            server.stop()
            with pytest.raises(DriverError, match="refused"):
                await made.read(made.points)


def test_a_port_in_use_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ModbusServerError, match=str(port)):
            AhuServer(port).start()


def snapshot(air):
    return [getattr(air, name) for name in ATTRIBUTES.values()]


def test_a_seed_is_a_day_at_any_pace():
    whole, parts, other = AirHandler(7), AirHandler(7), AirHandler(8)
    whole.advance(4 * HOUR_MS)
    other.advance(4 * HOUR_MS)
    for _ in range(4 * 3600):
        parts.advance(1000)
    assert snapshot(whole) == snapshot(parts)
    assert snapshot(whole) != snapshot(other)


def hours(air, count):
    """The states of the plant at each quarter of an hour."""
    for _ in range(4 * count):
        air.advance(HOUR_MS // 4)
        yield air


@pytest.mark.parametrize("seed", range(1, 4))
def test_two_days_are_plausible(seed):
    air = AirHandler(seed)
    energy = air.energy
    for now in hours(air, 48):
        assert -15 < now.outside_air < 35
        assert 13 < now.return_air < 26
        assert 7 < now.supply_air < 46
        for percent in (now.damper, now.heating_valve, now.cooling_valve, now.fan_speed):
            assert 0 <= percent <= 100
        assert not (now.heating_valve > 10 and now.cooling_valve > 10)
        assert 0.1 < now.power < 30
        assert now.energy > energy
        energy = now.energy
        if now.occupied and 9 <= now.hour < 19:
            assert 20 < now.return_air < 24
            assert now.fan_status
            assert abs(now.supply_air - now.supply_setpoint) < 1.5
            assert now.damper > 15
        low = min(now.outside_air, now.return_air) - 1.5
        high = max(now.outside_air, now.return_air) + 1.5
        assert not now.running or low < now.mixed_air < high


def test_nights_are_quiet_and_mornings_warm_up():
    air = AirHandler(1)
    states = [(now.hour, now.running, now.power) for now in hours(air, 24)]
    assert any(running for hour, running, _ in states if 7 <= hour < 8)
    assert not any(running for hour, running, _ in states if 20 <= hour < 23)
    assert max(power for hour, _, power in states if 20 <= hour < 23) < 0.3
    air = AirHandler(1)
    air.advance(HOUR_MS // 2)
    assert air.supply_air > air.outside_air + 8


def test_override_runs_the_unit_at_night():
    air = AirHandler(1)
    air.advance(14 * HOUR_MS)
    assert not air.fan_status
    air.override = True
    air.advance(HOUR_MS // 4)
    assert air.fan_status
    assert air.occupied


def test_setpoint_moves_the_zone():
    warm, cool = AirHandler(3), AirHandler(3)
    warm.setpoint = 23.0
    for air in (warm, cool):
        air.advance(4 * HOUR_MS)
    assert warm.return_air > cool.return_air + 0.5


def test_filter_alarm_comes_with_speed_and_goes_with_a_clean_filter():
    air = AirHandler(1)
    raised = any((air.advance(5000), air.filter_alarm)[1] for _ in range(720))
    assert raised
    air = AirHandler(1)
    air.change_filter()
    assert not any((air.advance(5000), air.filter_alarm)[1] for _ in range(720))


def test_frost_closes_the_damper():
    air = AirHandler(1)
    air.advance(HOUR_MS)
    air._weather = -80.0
    closed = False
    for _ in range(720):
        air.advance(5000)
        air._weather = -80.0
        closed |= air.freeze_alarm and air.damper < 5
    assert closed
