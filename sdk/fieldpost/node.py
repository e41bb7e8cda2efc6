"""A node: wires drivers, rules, logs and links together from one configuration and runs them.

::

    import asyncio
    from fieldpost.node import Node

    asyncio.run(Node("config.json").run())
"""

import json
import os

from . import __version__
from .bus import Bus
from .clock import Clock
from .compat import ticks_diff, ticks_ms, unload
from .counters import Counters, make_folder
from .device import Device
from .events import ANY, DEVICE_DISCOVERED, DEVICE_DOWN, DEVICE_RECOVERED, ERROR, LINK_UP
from .events import RECORDS_DROPPED
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
        self.config, selections = _validated(config)
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
        self._build(selections)

    # -- construction

    def _build(self, selections):
        sizes = [HEAD_BYTES]
        for config in self.config["subscriptions"]:
            self._add_subscription(config)
            sizes.append(HEAD_BYTES + max(config["flush"]["maxBytes"], config["frame_bytes"]))
        self.recorder = Recorder(self.clock)
        for config in self.config["devices"]:
            self._add_device(config)
        self._select(selections)
        for config in self.config["mqtt"]:
            self._add_link(config)
        self.outlet = Outlet(
            self.prefix, [link for link in self.links if link.config["flush"]], max(sizes)
        )
        for config in self.config["subscribers"]:
            self._add_subscriber(config)
        self._configure_publisher(self.config["publish"])
        for kind, handler in (
            (LINK_UP, self._on_link_up),
            (ERROR, self._on_error),
            (RECORDS_DROPPED, self._on_change),
            (DEVICE_DOWN, self._on_change),
            (DEVICE_RECOVERED, self._on_change),
        ):
            self.bus.subscribe(kind, handler)

    def _add_subscription(self, config):
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

    def _add_device(self, config):
        points = []
        for row in config["points"]:
            point = Point(row["id"], config["id"], row["name"], row["unit"], row)
            point.bus = self.bus
            self.points[point.id] = point
            points.append(point)
        driver = _load_driver(config["driver"])(config, points)
        self.devices[config["id"]] = Device(config, driver, points, self.bus)

    def _select(self, selections):
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

    def _add_link(self, config):
        config = dict(config)
        config["client_id"] = config["client_id"] or "fieldpost-" + self.name
        config["port"] = config["port"] or (8883 if config["tls"] else 1883)
        config["will"] = {
            "topic": self.prefix + "/state",
            "payload": self._offline(),
            "qos": 1,
            "retain": True,
        }
        link = Link(config, self.bus, self._on_message)
        link.subscribe(self.prefix + "/api/#", 1)
        self.links.append(link)

    def _add_subscriber(self, config):
        subscription = self.subscriptions[config["subscription"]]
        rules = self._rules(config["subscription"])
        # Batch numbers of different boots do not meet soon, and fit a small int.
        first_id = (self.boot & 0x3FF) << 20
        subscriber = Subscriber(
            subscription, config, rules, self.outlet, first_id, self._timer(rules["onInterval"])
        )
        subscription.add(subscriber)
        return subscriber

    def _rules(self, id):
        for config in self.config["subscriptions"]:
            if config["id"] == id:
                return config["flush"]

    def _timer(self, text):
        if text is None:
            return None
        from .acquisition import compile

        rule = compile(text)

        def timer():
            now = self.clock.unix_ms() if self.clock.trusted else self.clock.mono_ms()
            return rule.next_due(now) - now

        return timer

    def _configure_publisher(self, config):
        if self.publisher is None:
            if not any(config.values()):
                return
            from .publisher import Publisher

            links = [link for link in self.links if link.config["publish"]]
            self.publisher = Publisher(self.name, self.bus, self.clock, links)
        self.publisher.configure(config)

    # -- running

    async def run(self):
        """Run the node until it is cancelled; then say goodbye and close everything."""
        start = self.supervisor.start
        for link in self.links:
            start("mqtt:" + link.name, self._link_task(link))
        start("recorder", self.recorder.run, 7200000)
        for device in self.devices.values():
            self.start_device(device)
        for subscription in self.subscriptions.values():
            for subscriber in subscription.subscribers.values():
                start(_task_name(subscription, subscriber), _plain(subscriber.run))
        servers = self.config["clock"]["ntp"]
        if servers:
            start("ntp", self._ntp_task(servers))
        self._start_watchdog()
        try:
            await self.supervisor.run(self._tend)
        finally:
            await self.supervisor.stop_all()

    def start_device(self, device):
        """Start polling a device that has been added."""
        if self._config_of(device.id)["enabled"]:
            stale = 4 * max(device.interval, device.timeout_ms) + 120000
            self.supervisor.start("device:" + device.id, device.run, stale)

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

    def _offline(self):
        return json.dumps({"state": "offline", "node": self.name, "boot": self.boot})

    def _config_of(self, device_id):
        for config in self.config["devices"]:
            if config["id"] == device_id:
                return config

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

    async def _announce(self, link):
        """Tell a link's peers which points there are."""
        for device in self.devices.values():
            rows = [[point.id, point.name, point.unit] for point in device.points]
            for at in range(0, max(1, len(rows)), self.POINTS_PER_MESSAGE):
                part = rows[at : at + self.POINTS_PER_MESSAGE]
                body = {"device": device.id, "driver": device.protocol, "points": part}
                topic = "%s/points/%s" % (self.prefix, device.id)
                if at:
                    topic += "/%d" % (at // self.POINTS_PER_MESSAGE)
                await link.ready()
                link.publish(topic, json.dumps(body) if rows else b"", 1, True)

    def _link_task(self, link):
        return _plain(link.run)

    def _ntp_task(self, servers):
        from .sntp import keep

        interval = self.config["clock"]["ntp_interval"]
        return lambda task: keep(self.clock, servers, interval, task)

    # -- events

    def _on_link_up(self, _kind, name, _data):
        for link in self.links:
            if link.name == name:
                self._publish_state()
                self.supervisor.start("announce:" + name, lambda task: self._announce(link))
                for subscription in self.subscriptions.values():
                    for subscriber in subscription.subscribers.values():
                        subscriber.link_up(link.session_present)

    def _on_change(self, _kind, _key, _data):
        # The next tend publishes the state.
        self._state_sent = None

    def _on_error(self, _kind, key, error):
        self.counters["errors"] += 1
        self.last_error = "%s: %r" % (key, error)

    def _on_message(self, topic, payload, retain=False, dup=False):
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


def _validated(config):
    """The completed configuration and the points of each subscription with their rules."""
    from . import config as schema

    result = schema.validate(config)
    selections = {
        item["id"]: schema.select(item, result["devices"], "subscriptions[%d]" % i)
        for i, item in enumerate(result["subscriptions"])
    }
    unload("fieldpost.config")
    return result, selections


def _load_driver(name):
    return __import__("fieldpost.drivers." + name, None, None, ("driver",)).driver


def _plain(function):
    """A task function for a coroutine function that takes no task."""
    return lambda _task: function()


def _task_name(subscription, subscriber):
    return "subscriber:%s:%s" % (subscription.id, subscriber.name)


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
