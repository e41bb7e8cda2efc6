"""The MQTT driver with a broker: connecting, pushing, staleness, and what happens in between."""

import asyncio

from driver_kit import make, refused, values
from mqtt_peer import Bus, Peer, until

from fieldpost.compat import sleep_ms, ticks_diff, ticks_ms
from fieldpost.device import Device
from fieldpost.drivers.mqtt import Mqtt
from fieldpost.errors import DriverError
from fieldpost.events import DEVICE_DISCOVERED, DEVICE_DOWN, DEVICE_RECOVERED

NEEDS = "socket"


def client(peer, *points, **device):
    settings = {"host": peer.host, "port": peer.port, "timeout_ms": 2000}
    return make(Mqtt, points, **dict(settings, **device))


def publish(topic, payload):
    """A PUBLISH packet of QoS 0."""
    size = 2 + len(topic) + len(payload)
    return bytes((0x30, size & 127 | 128, size >> 7, 0, len(topic))) + topic + payload


async def test_subscribes_and_takes_values_when_they_arrive():
    async with Peer() as peer:
        one = client(
            peer,
            {"topic": "m/1", "path": "$.t"},
            {"topic": "m/1", "path": "$.h"},
            {"topic": "m/+/raw"},
            user="u",
            password="p",
        )
        await one.start()
        await one.read(one.points)
        await until(lambda: len(peer.of(0x80)) == 2)
        # A filter is asked for once, with QoS 1.
        assert sorted(body[2:] for body in peer.of(0x80)) == [
            b"\x00\x03m/1\x01",
            b"\x00\x07m/+/raw\x01",
        ]
        (hello,) = peer.of(0x10)
        assert hello[7] & 0xC2 == 0xC2 and b"fieldpost-" in hello
        seen = []
        one.points[0].triggers = (lambda point, _ticks: seen.append(point.value),)
        await peer.send(publish(b"m/1", b'{"t": 21.5, "h": 40}') * 3 + publish(b"m/x/raw", b"7"))
        await until(lambda: one.points[2].value)
        assert values(one) == [21.5, 40, 7] and seen == [21.5] * 3
        await one.read(one.points)
        assert values(one) == [21.5, 40, 7]
        await one.stop()
        await until(lambda: peer.closed)


async def test_two_drivers_have_different_client_ids():
    async with Peer() as peer:
        both = [client(peer, {"topic": "t"}) for _ in range(2)]
        for one in both:
            await one.start()
            await one.read(one.points)
        first, second = peer.of(0x10)
        assert first != second
        for one in both:
            await one.stop()
        await both[0].stop()


async def test_stale_points():
    async with Peer() as peer:
        one = client(peer, {"topic": "a", "stale_ms": 1000}, {"topic": "b"}, {"topic": "c"})
        one.points[0].config["stale_ms"] = 500
        await one.start()
        await one.read(one.points)
        await until(lambda: len(peer.of(0x80)) == 3)
        assert values(one) == ["init"] * 3
        await peer.send(publish(b"a", b"1") + publish(b"b", b"2"))
        await until(lambda: one.points[1].value)
        await one.read(one.points)
        assert values(one) == [1, 2, "init"]
        await sleep_ms(520)
        assert values(one) == [1, 2, "init"]
        await one.read(one.points)
        assert values(one) == ["stale", 2, "init"]
        # A message that cannot be used is a sign of life, though no value.
        await peer.send(publish(b"a", b"x"))
        await until(lambda: one.points[0].status == "not a number")
        await one.read(one.points)
        assert values(one)[0] == "not a number"
        await peer.send(publish(b"a", b"3"))
        await until(lambda: one.points[0].value == 3)
        await one.stop()


async def test_a_point_that_never_came_is_stale_too():
    async with Peer() as peer:
        one = client(peer, {"topic": "a", "stale_ms": 1000})
        one.points[0].config["stale_ms"] = 50
        await one.start()
        await sleep_ms(60)
        await one.read(one.points)
        assert values(one) == ["stale"]
        await one.stop()


async def test_without_a_broker():
    async with Peer() as peer:
        one = client(peer, {"topic": "t"}, timeout_ms=1000)
    await one.start()
    started = ticks_ms()
    assert await refused(one.read(one.points), DriverError) == "not connected: refused"
    assert ticks_diff(ticks_ms(), started) < 1000
    await one.stop()


async def test_a_broker_that_says_nothing():
    async with Peer() as peer:
        peer.silent = True
        one = client(peer, {"topic": "t"}, timeout_ms=100)
        await one.start()
        assert await refused(one.read(one.points), DriverError) == "not connected: timeout"
        await one.stop()


async def test_a_refused_login():
    async with Peer() as peer:
        peer.code = 5
        one = client(peer, {"topic": "t"}, timeout_ms=300)
        await one.start()
        assert await refused(one.read(one.points), DriverError) == "not connected: refused: 5"
        await one.stop()


async def test_a_refused_subscription_is_a_device_down():
    async with Peer() as peer:
        peer.grant = 0x80
        one = client(peer, {"topic": "t"})
        await one.start()
        await one.read(one.points)
        await until(lambda: one._refused)
        for _ in range(2):
            assert await refused(one.read(one.points), DriverError) == "subscription refused: t"
        peer.grant = 1
        await peer.drop()
        await until(lambda: peer.connections == 2 and one.link.connected)
        await one.read(one.points)
        await one.stop()


async def test_long_messages_are_dropped_and_counted():
    async with Peer() as peer:
        one = client(peer, {"topic": "t", "type": "text"}, max_bytes=64)
        await one.start()
        await one.read(one.points)
        await until(lambda: peer.of(0x80))
        await peer.send(publish(b"t", b"x" * 500) + publish(b"t", b"y" * 50))
        await until(lambda: one.points[0].value)
        assert values(one) == ["y" * 50]
        await one.read(one.points)
        assert one.counters == {"updates": 1, "oversize": 1}
        await one.stop()


async def test_a_trigger_that_raises_is_reported_and_the_next_message_taken():
    async with Peer() as peer:
        one = client(peer, {"topic": "t"})
        bus = one.points[0].bus = Bus()
        one.points[0].triggers = (lambda point, _ticks: 1 // point.value,)
        await one.start()
        await one.read(one.points)
        await until(lambda: peer.of(0x80))
        await peer.send(publish(b"t", b"0") + publish(b"t", b"4"))
        await until(lambda: one.points[0].value == 4)
        errors = [event for event in bus.events if event[0] == "error"]
        assert len(errors) == 1 and errors[0][1] == "dev"
        assert isinstance(errors[0][2], ZeroDivisionError)
        await one.read(one.points)
        await one.stop()


async def test_a_device_goes_down_with_its_broker_and_recovers():
    async with Peer() as peer:
        one = client(peer, {"topic": "t"}, timeout_ms=100)
        bus = Bus()
        config = dict(one.config, interval=40, enabled=True)
        device = Device(config, one, one.points, bus)

        class Task:
            def beat(self):
                pass

        running = asyncio.create_task(device.run(Task()))
        await until(lambda: device.status == "ok" and peer.of(0x80))
        await peer.send(publish(b"t", b"5"))
        await until(lambda: values(one) == [5])
        peer.silent = True
        await peer.drop()
        await until(lambda: device.status != "ok")
        assert device.status.startswith("not connected: ")
        # Of a value that nobody renews nothing is known.
        assert values(one) == [device.status]
        peer.silent = False
        await peer.drop()
        await until(lambda: device.status == "ok", 20000)
        await until(lambda: len(peer.of(0x80)) > 1)
        await peer.send(publish(b"t", b"5"))
        await until(lambda: values(one) == [5])
        running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            pass
        kinds = [event[0] for event in bus.events]
        assert kinds == [DEVICE_DISCOVERED, DEVICE_DOWN, DEVICE_RECOVERED]
