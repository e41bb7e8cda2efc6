"""Several devices on one node: what is wrong with one costs the others no more than its wait."""

import fake_onewire
from driver_kit import values
from fake_machine import ADC, I2C, Pin, drive, installed, wait_ms

from fieldpost.bus import Bus
from fieldpost.compat import asyncio, sleep_ms, ticks_diff, ticks_ms
from fieldpost.config import validate
from fieldpost.device import Device
from fieldpost.point import Point


class Silent:
    """The module ``dht``: a sensor that keeps the interpreter for 25 ms and does not answer."""

    class DHT22:
        """Nobody there."""

        def __init__(self, _pin):
            pass

        def measure(self):
            wait_ms(25)
            raise OSError(116)


class Site:
    """Devices of a configuration, running; the events they made."""

    def __init__(self, *rows):
        config = validate({"node": "n", "devices": list(rows)})
        self.bus = Bus()
        self.events = []
        self.bus.subscribe("*", lambda kind, key, _data: self.events.append((kind, key)))
        self.devices = {row["id"]: self._make(row) for row in config["devices"]}

    def _make(self, row):
        module = __import__("fieldpost.drivers." + row["driver"], None, None, ("driver",))
        points = [Point(p["id"], row["id"], p["name"], "", p) for p in row["points"]]
        for point in points:
            point.bus = self.bus
        return Device(row, module.driver(row, points), points, self.bus)

    def beat(self):
        """As a task of the supervisor."""

    async def run(self, ms):
        """Run all devices for so long."""
        tasks = [asyncio.create_task(self.devices[id].run(self)) for id in self.devices]
        await sleep_ms(ms)
        for task in tasks:
            task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)

    def told(self, key):
        """The kinds of events of a device, or of a point."""
        return [kind for kind, of in self.events if of == key]

    def values(self, id):
        """What the points of a device hold."""
        return values(self.devices[id].driver)


def device(id, driver, *points, **keys):
    rows = [dict(point, name="p%d" % i) for i, point in enumerate(points)]
    return dict(keys, id=id, driver=driver, points=rows)


async def test_a_held_bus_and_absent_sensors_leave_the_others_their_schedule():
    times = []

    def reading():
        times.append(ticks_ms())
        return 1500000

    with installed(dht=Silent, onewire=fake_onewire):
        fake_onewire.sensors.clear()
        ADC.volts[32] = reading
        I2C.held = True
        site = Site(
            device("good", "adc", {"pin": 32}, interval=50, period=0, samples=1),
            device("held", "i2c", {}, {}, {}, scl=22, sda=21, address=72, interval=50),
            device("also", "i2c", {}, scl=22, sda=21, address=73, interval=50),
            device("dht", "dht", {"kind": "humidity"}, pin=4, model="DHT22", interval=2000),
            device("wire", "ds18x20", {}, pin=5, interval=100),
            device("pins", "gpio", {"pin": 6}, interval=100),
            device("bad", "gpio", {"pin": 60}, interval=100),
        )
        await site.run(1500)
        assert site.values("good") == [1500.0] and site.values("pins") == [False]
        assert site.told("good") == ["device_discovered"]
        for id, reason in (
            ("held", "bus timeout"),
            ("also", "bus timeout"),
            ("dht", "no answer"),
            ("wire", "no answer"),
            ("bad", "pin 60: invalid pin"),
        ):
            assert site.devices[id].status == reason, id
            assert site.told(id) == ["device_down"], id
        # On schedule: none later than what all the others may take at once, and a little.
        late = [ticks_diff(at, times[0]) - 50 * i for i, at in enumerate(times)]
        latest = max(late) - min(late)
        print("reads beside held bus: %d, latest by %d ms" % (len(times), latest))
        assert len(times) >= 28 and latest < 200
        # Each time rarer, else it had been 30 times.
        assert site.devices["held"].failures <= 6


async def test_sensors_come_back():
    with installed(onewire=fake_onewire):
        fake_onewire.sensors.clear()
        fake_onewire.clock = None
        site = Site(
            device("chip", "i2c", {}, scl=22, sda=21, address=72, interval=10),
            device("wire", "ds18x20", {}, pin=5, interval=10),
        )
        running = asyncio.create_task(site.run(2500))
        await sleep_ms(15)
        I2C.chips[72] = bytearray([7])
        fake_onewire.sensors[b"\x28\1\1\1\1\1\1\1"] = fake_onewire.Sensor(0x10)
        await sleep_ms(1200)
        assert site.values("chip") == [7] and site.values("wire") == [1.0]
        I2C.chips.clear()
        await sleep_ms(100)
        assert site.values("chip") == ["no answer"]
        I2C.chips[72] = bytearray([8])
        await running
        assert site.values("chip") == [8]
        assert site.told("chip") == ["device_down", "device_recovered"] * 2


async def test_edges_are_updates_while_others_wait():
    with installed(onewire=fake_onewire):
        fake_onewire.sensors.clear()
        fake_onewire.sensors[b"\x28\1\1\1\1\1\1\1"] = fake_onewire.Sensor(0x10)
        site = Site(
            device("wire", "ds18x20", {}, pin=5, interval=1000),
            device("pins", "gpio", {"pin": 6, "debounce": 0}, interval=60000),
        )
        running = asyncio.create_task(site.run(600))
        await sleep_ms(50)
        for level in (1, 0, 1, 0):
            drive(6, level)
            await sleep_ms(30)
        drive(6, 1, 0)
        await running
        assert site.told("pins/p0").count("value_changed") == 7
        assert Pin.made[6].handler is None
