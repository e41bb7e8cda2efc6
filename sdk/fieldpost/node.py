"""A node: wires drivers, rules, logs and links together from one configuration and runs them.

::

    import asyncio
    from fieldpost.node import Node

    asyncio.run(Node("config.json").run())
"""

import json

from . import __version__
from .bus import Bus
from .clock import Clock
from .compat import ticks_diff, ticks_ms, unload
from .counters import Counters, make_folder
from .device import Device
from .events import DEVICE_DOWN, DEVICE_RECOVERED, ERROR, LINK_UP, RECORDS_DROPPED
from .mqtt import Link
from .outlet import HEAD_BYTES, Outlet
from .point import Point
from .recorder import Recorder
from .ring import Ring
from .subscription import Subscriber, Subscription
from .supervisor import Supervisor


class Node:
    """One node. ``config`` is a dict or the path of a JSON file; ``folder`` holds its state.

    Raises ConfigError for a configuration that is not valid, before anything is started.
    """

    #: Points announced in one message.
    POINTS_PER_MESSAGE = 64

    def __init__(self, config, folder="data"):
        if isinstance(config, str):
            with open(config) as file:
                config = json.load(file)
        self.config, self.selections = validate(config)
        self.name = self.config["node"]
        self.prefix = "fieldpost/nodes/" + self.name
        make_folder(folder)
        self._counters = Counters(folder)
        self.boot = self._counters.take("boot")
        self.clock = Clock()
        if self.config["clock"]["trust_system"]:
            self.clock.adopt_system()
        self.bus = Bus()
        self.supervisor = Supervisor(self.bus)
        #: Totals since boot; published with the state.
        self.counters = {"errors": 0, "bad_requests": 0, "stale_acks": 0}
        self.last_error = None
        self.links = []
        self.devices = {}
        self.points = {}
        self.subscriptions = {}
        self.publisher = None
        self._state_sent = None
        self._build()

    # -- construction

    def _build(self):
        config = self.config
        # The big buffers come first, while the heap is in one piece.
        sizes = [row["flush"]["maxBytes"] for row in config["subscriptions"]]
        sizes += [row["frame_bytes"] + HEAD_BYTES for row in config["subscriptions"]]
        self.outlet = Outlet(self.prefix, self.links, max(sizes))
        for row in config["subscriptions"]:
            self.add_subscription(row)
        self.recorder = Recorder(self.clock)
        for row in config["devices"]:
            self.add_device(row)
        self.select(self.selections)
        for row in config["mqtt"]:
            self.add_link(row)
        for row in config["subscribers"]:
            self.add_subscriber(row)
        self.configure_publisher(config["publish"])
        for kind, handler in (
            (LINK_UP, self._on_link_up),
            (ERROR, self._on_error),
            (RECORDS_DROPPED, self._on_change),
            (DEVICE_DOWN, self._on_change),
            (DEVICE_RECOVERED, self._on_change),
        ):
            self.bus.subscribe(kind, handler)

    def add_subscription(self, config):
        """Make a subscription and its log."""
        id = config["id"]

        def on_drop(reason, count):
            self.bus.emit(RECORDS_DROPPED, id, (reason, count))

        ring = Ring(
            config["ring_bytes"],
            self.clock,
            lambda: self._counters.take("stream"),
            self.boot,
            config["frame_bytes"],
            config["overflow"],
            config["max_age"],
            on_drop,
        )
        self.subscriptions[id] = Subscription(id, ring)

    def add_device(self, config):
        """Make a device, its driver and its points; returns the ``Device``."""
        points = []
        for row in config["points"]:
            point = Point(row["id"], config["id"], row["name"], row["unit"], row)
            point.bus = self.bus
            self.points[point.id] = point
            points.append(point)
        driver = _load_driver(config["driver"])(config, points)
        device = Device(config, driver, points, self.bus)
        self.devices[config["id"]] = device
        return device

    def select(self, selections):
        """Let the subscriptions record the points selected for them, and only those."""
        self.selections = selections
        self.recorder.forget(self.points.values())
        from .acquisition import compile

        rules = {}
        for id in selections:
            for point_id, text in selections[id]:
                point = self.points[point_id]
                own = point.config["log"]
                key = (text, own if "adr.log" in text else "")
                if key not in rules:
                    rules[key] = compile(text, own)
                self.recorder.watch(point, self.subscriptions[id], rules[key])

    def link_config(self, config):
        """A broker's configuration, completed by what follows from the node."""
        config = dict(config)
        config["client_id"] = config["client_id"] or "fieldpost-" + self.name
        config["port"] = config["port"] or (8883 if config["tls"] else 1883)
        offline = {"state": "offline", "node": self.name, "boot": self.boot}
        config["will"] = {
            "topic": self.prefix + "/state",
            "payload": json.dumps(offline),
            "qos": 1,
            "retain": True,
        }
        return config

    def add_link(self, config):
        """Make the link to a broker; returns it."""
        link = Link(self.link_config(config), self.bus, self._on_message)
        link.subscribe(self.prefix + "/api/#", 1)
        self.links.append(link)
        return link

    def add_subscriber(self, config):
        """Make a subscriber of a subscription; returns it."""
        subscription = self.subscriptions[config["subscription"]]
        rules = self.rules(subscription.id)
        # Batch numbers of different boots do not meet soon, and fit a small int.
        first_id = (self.boot & 0x3FF) << 20
        subscriber = Subscriber(
            subscription, config, rules, self.outlet, first_id, self._timer(rules["onInterval"])
        )
        subscription.add(subscriber)
        return subscriber

    def rules(self, id):
        """The flush rules of a subscription."""
        return _by_id(self.config["subscriptions"], id)["flush"]

    def configure_publisher(self, config):
        """Publish live events by the patterns of the ``publish`` section from now on."""
        if self.publisher is None:
            if not any(config.values()):
                return
            from .publisher import Publisher

            self.publisher = Publisher(self.name, self.bus, self.clock, self.links)
        self.publisher.configure(config)

    def _timer(self, text):
        if text is None:
            return None
        from .acquisition import compile

        rule = compile(text)

        def timer():
            now = self.clock.unix_ms() if self.clock.trusted else self.clock.mono_ms()
            return rule.next_due(now) - now

        return timer

    # -- running

    async def run(self):
        """Run the node until it is cancelled; then close everything."""
        self.supervisor.start("recorder", self.recorder.run, 7200000)
        for link in self.links:
            self.start_link(link)
        for device in self.devices.values():
            self.start_device(device)
        for subscription in self.subscriptions.values():
            for subscriber in subscription.subscribers.values():
                self.start_subscriber(subscriber)
        self._start_ntp()
        self._start_watchdog()
        try:
            await self.supervisor.run(self._tend)
        finally:
            await self.supervisor.stop_all()

    def start_link(self, link):
        """Start the task of a link."""
        self.supervisor.start("mqtt:" + link.name, _plain(link.run))

    def start_device(self, device):
        """Start polling a device, unless it is not enabled."""
        if _by_id(self.config["devices"], device.id)["enabled"]:
            stale = 4 * max(device.interval, device.timeout_ms) + 120000
            self.supervisor.start("device:" + device.id, device.run, stale)

    def start_subscriber(self, subscriber):
        """Start the task of a subscriber."""
        name = "subscriber:%s:%s" % (subscriber.subscription.id, subscriber.name)
        self.supervisor.start(name, _plain(subscriber.run))

    async def remove_link(self, link):
        """Stop a link for good."""
        await self.supervisor.stop("mqtt:" + link.name)
        self.links.remove(link)

    async def remove_device(self, id):
        """Stop a device for good, and its points with it."""
        await self.supervisor.stop("device:" + id)
        device = self.devices.pop(id)
        self.recorder.forget(device.points)
        for point in device.points:
            del self.points[point.id]

    async def remove_subscription(self, id):
        """Remove a subscription, its subscribers and its log."""
        subscription = self.subscriptions.pop(id)
        for name in list(subscription.subscribers):
            subscription.remove(name)

    async def write(self, point_id, value):
        """Set a point through its driver. Raises KeyError for an unknown id, DriverError."""
        point = self.points[point_id]
        await self.devices[point.device].write(point, value)

    async def apply(self, config):
        """Change to another configuration while running; see ``reconfigure.apply``."""
        from .reconfigure import apply

        return await apply(self, config)

    def state(self):
        """The node's state object, as published on its ``state`` topic."""
        counters = dict(self.counters)
        for link in self.links:
            for name in link.counters:
                counters["mqtt_%s_%s" % (link.name, name)] = link.counters[name]
        counters["restarts"] = sum(task.restarts for task in self.supervisor.tasks.values())
        return {
            "state": "online",
            "node": self.name,
            "boot": self.boot,
            "version": __version__,
            "revision": self.config["revision"],
            "uptime_ms": self.clock.mono_ms(),
            "ts_ms": self.clock.unix_ms(),
            "counters": counters,
            "logs": {
                id: _log_state(subscription) for id, subscription in self.subscriptions.items()
            },
            "devices": {device.id: device.status for device in self.devices.values()},
        }

    def _start_watchdog(self):
        timeout = self.config["watchdog_ms"]
        if timeout:
            from machine import WDT

            self.supervisor.feed = WDT(timeout=timeout).feed

    def _tend(self):
        """Once a second: carry the clock, tend the logs, publish the state when it is time."""
        self.clock.mono_ms()
        for subscription in self.subscriptions.values():
            subscription.ring.tend()
        sent = self._state_sent
        if sent is None or ticks_diff(ticks_ms(), sent) >= self.config["state_interval"]:
            self._publish_state()

    def _publish_state(self):
        text = None
        for link in self.links:
            if link.connected:
                text = text or json.dumps(self.state())
                link.publish(self.prefix + "/state", text, 1, True)
        if text:
            self._state_sent = ticks_ms()

    def announce(self):
        """Tell the peers of every link which points there are, and the node's state."""
        self._state_sent = None
        for link in self.links:
            self._announce(link)

    def _announce(self, link):
        if link.connected:
            name = "announce:" + link.name
            self.supervisor.start(name, lambda _task: self._publish_points(link))

    async def _publish_points(self, link):
        for device in list(self.devices.values()):
            rows = [[point.id, point.name, point.unit] for point in device.points]
            for at in range(0, max(1, len(rows)), self.POINTS_PER_MESSAGE):
                part = rows[at : at + self.POINTS_PER_MESSAGE]
                body = {"device": device.id, "driver": device.protocol, "points": part}
                topic = "%s/points/%s" % (self.prefix, device.id)
                if at:
                    topic += "/%d" % (at // self.POINTS_PER_MESSAGE)
                await link.ready()
                link.publish(topic, json.dumps(body) if rows else b"", 1, True)

    def _start_ntp(self):
        servers = self.config["clock"]["ntp"]
        if servers:
            from .sntp import keep

            interval = self.config["clock"]["ntp_interval"]
            self.supervisor.start("ntp", lambda task: keep(self.clock, servers, interval, task))

    # -- events

    def _on_link_up(self, _kind, name, _data):
        link = next(link for link in self.links if link.name == name)
        self._publish_state()
        self._announce(link)
        for subscription in self.subscriptions.values():
            for subscriber in subscription.subscribers.values():
                subscriber.link_up(link.session_present)

    def _on_change(self, _kind, _key, _data):
        # The next tend publishes the state.
        self._state_sent = None

    def _on_error(self, _kind, key, error):
        self.counters["errors"] += 1
        self.last_error = "%s: %r" % (key, error)

    def _on_message(self, topic, payload, retain, _dup):
        if retain or topic != self.prefix + "/api/loggers/ackSubscribe":
            self.counters["bad_requests"] += 1
            return
        try:
            request = json.loads(payload)
            subscription = self.subscriptions[request.get("subscription", "default")]
            subscriber = subscription.subscribers[request["subscriber"]]
            first = (request["stream"], request["seq"]) if "seq" in request else None
            known = subscriber.ack(request.get("flush"), request.get("md5"), first)
        except (ValueError, KeyError, AttributeError, TypeError):
            self.counters["bad_requests"] += 1
            return
        if not known:
            self.counters["stale_acks"] += 1


def validate(config):
    """The completed configuration, and the points of each subscription with their rules.

    Raises ConfigError. The schema is loaded for this only, and forgotten again.
    """
    from . import config as schema

    result = schema.validate(config)
    selections = {
        row["id"]: schema.select(row, result["devices"], "subscriptions[%d]" % i)
        for i, row in enumerate(result["subscriptions"])
    }
    unload("fieldpost.config")
    return result, selections


def _by_id(rows, id):
    return next(row for row in rows if row["id"] == id)


def _load_driver(name):
    return __import__("fieldpost.drivers." + name, None, None, ("driver",)).driver


def _plain(function):
    """A task function for a coroutine function that takes no task."""
    return lambda _task: function()


def _log_state(subscription):
    ring = subscription.ring
    return {
        "stream": ring.stream,
        "next": ring.next_seq,
        "oldest": ring.oldest,
        "acquired": ring.next + ring.dropped.get("rejected", 0) + ring.dropped.get("invalid", 0),
        "dropped": ring.dropped,
        "subscribers": {
            name: {
                "unacked": ring.next - subscriber.acked,
                "delivered": subscriber.delivered,
                "resent": subscriber.resent,
            }
            for name, subscriber in subscription.subscribers.items()
        },
    }
