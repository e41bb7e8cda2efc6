"""A whole node with hardware: what pins and chips do becomes records, by the points' rules."""

import fake_onewire
from fake_machine import ADC, I2C, Pin, drive, installed

from fieldpost.compat import asyncio, sleep_ms
from fieldpost.drivers import counter
from fieldpost.node import Node
from fieldpost.ring import Reader

CONFIG = {
    "node": "gw",
    "devices": [
        {
            "id": "pins",
            "driver": "gpio",
            "interval": 60000,
            "points": [
                {"id": 1, "name": "door", "pin": 4, "debounce": 0, "log": "on_update"},
                {"id": 2, "name": "gate", "pin": 5, "debounce": 5, "log": "on_cov 1"},
                {"id": 3, "name": "lamp", "pin": 6, "mode": "out", "log": "on_update"},
            ],
        },
        {
            "id": "meter",
            "driver": "counter",
            "pin": 7,
            "interval": 50,
            "points": [{"id": 4, "name": "total", "log": "on_update"}],
        },
        {
            "id": "volts",
            "driver": "adc",
            "interval": 50,
            "samples": 1,
            "points": [{"id": 5, "name": "level", "pin": 32, "decimals": 0, "log": "on_cov 10"}],
        },
        {
            "id": "chip",
            "driver": "i2c",
            "scl": 22,
            "sda": 21,
            "address": 72,
            "interval": 50,
            "points": [
                {"id": 6, "name": "found", "kind": "scan", "log": "on_update"},
                {"id": 7, "name": "first", "log": "on_update"},
            ],
        },
        {
            "id": "wire",
            "driver": "ds18x20",
            "interval": 50,
            "pin": 8,
            "points": [{"id": 8, "name": "flow"}],
        },
    ],
    "subscriptions": [{"id": "default", "ring_bytes": 4096, "store": {"disk": False}}],
    "subscribers": [{"subscriber": "collector"}],
}


def records(node):
    """``{point id: [values]}`` of everything in the log."""
    ring = node.subscriptions["default"].ring
    reader = Reader(ring, ring.oldest)
    found = {}
    header = reader.open()
    while header:
        for _ in range(header.count):
            _, id, value, _ = reader.take()[:4]
            found.setdefault(id, []).append(value)
        header = reader.open()
    return found


async def until(condition):
    """Let time pass until it is so, 10 s at most."""
    for _ in range(1000):
        if condition():
            return
        await sleep_ms(10)
    raise AssertionError("never so")


async def test_what_hardware_does_is_recorded():
    with installed(onewire=fake_onewire):
        fake_onewire.sensors.clear()
        fake_onewire.sensors[b"\x28\1\1\1\1\1\1\1"] = fake_onewire.Sensor(0x0191)
        fake_onewire.clock = None
        volts = [1000000]
        ADC.volts[32] = lambda: volts[0]
        I2C.chips[72] = bytearray([7])
        node = Node(CONFIG, "node-hardware")
        running = asyncio.create_task(node.run())
        points = node.points
        await until(lambda: all(points[id].status == "ok" for id in points))
        drive(4, 1, 0, 1)
        drive(5, 1)
        await node.write(3, True)
        volts[0] = 1005000
        I2C.chips[72][0] = 8
        await until(lambda: points[5].value == 1005 and points[7].value == 8 and points[2].value)
        volts[0] = 1011000
        I2C.chips[80] = bytearray()
        drive(4, 0)
        drive(5, 0, 1, 0)
        await until(lambda: points[5].value == 1011 and len(points[6].value) == 2)
        await until(lambda: points[2].value is False)
        found = records(node)
        running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            assert Pin.made[4].handler is None and not counter._taken
        assert found[1] == [False, True, False, True, False]
        assert found[2] == [False, True, False]
        assert found[3] == [False, True]
        assert found[4] == [0]
        assert found[5] == [1000, 1011]
        assert found[6] == [[72], [72, 80]]
        assert found[7] == [7, 8], found[7]
        assert found[8][0] == 25.0625
