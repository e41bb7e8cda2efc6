"""A node: drivers, rules, logs and links wired together from one configuration.

::

    import asyncio
    from fieldpost.node import Node

    asyncio.run(Node("config.json").run())
"""

import gc
import json

from . import __version__
from .bus import Bus
from .clock import Clock
from .compat import asyncio, ticks_diff, ticks_ms, unload
from .events import DEVICE_DOWN, DEVICE_RECOVERED, ERROR, LINK_UP, RECORDS_DROPPED
from .recorder import Recorder
from .supervisor import Supervisor

#: Points announced in one message.
_POINTS_PER_MESSAGE = 64
#: Errors kept, and characters of each.
_ERRORS = 16
_ERROR_CHARS = 120


class Node:
    """One node. ``config`` is a dict or the path of a JSON file; ``folder`` holds its state.

    Raises ConfigError for a configuration that is not valid, before anything is started. Parts by
    name: ``links``, ``devices`` (by id), ``points`` (by numeric id), ``subscriptions`` (by id),
    ``bus``, ``clock``, ``supervisor``. ``counters`` are totals since boot; ``errors`` are the last
    ones: ``(clock.mono_ms(), what failed, text)``. ``config_path`` is the file of the
    configuration, None for a dict; ``plan_path`` that of its plan, None where it has no room.
    ``state_sent``: when the state was published, None to have that done soon.
    """

    def __init__(self, config, folder="data"):
        from .smallfile import load, make_folder, remove

        self.config_path = config if isinstance(config, str) else None
        #: Held while the configuration changes.
        self.changing = asyncio.Lock()
        make_folder(folder)
        #: What ``trial`` says of the configuration: on trial, or returned to; None otherwise.
        self.trial = None
        try:
            self.trial = load(folder + "/trial") if self.config_path else None
        except ValueError:
            # What nobody can read cannot be returned to: the configuration is what it is.
            remove(folder + "/trial")
        if self.trial:
            from .trial import begin

            begin(self, config, folder)
        try:
            self._make(config, folder)
        except Exception as error:
            if not self.trial:
                raise
            from .trial import refuse

            refuse(self, config, folder, error)
            self._make(config, folder)

    def _make(self, config, folder):
        from . import build, plan
        from .counters import Counters

        made = plan.load(config, folder)
        self.plan_path = made.path
        for name in made.modules:
            __import__("fieldpost." + name)
        head = made.head()
        self.settings = head["settings"]
        self.name = self.settings["node"]
        self.prefix = "fieldpost/nodes/" + self.name
        self.folder = folder
        self._numbers = Counters(folder)
        self.boot = self._numbers.take("boot")
        self.clock = Clock()
        if self.settings["clock"]["trust_system"]:
            self.clock.adopt_system()
        self.bus = Bus()
        self.supervisor = Supervisor(self.bus)
        self.recorder = Recorder(self.clock)
        self.counters = {"errors": 0, "bad_requests": 0, "stale_acks": 0}
        self.errors = []
        self.last_error = None
        self.api = self.audit = None
        self.links = []
        self.devices = {}
        self.points = {}
        self.subscriptions = {}
        self.publisher = self.webhooks = None
        self.state_sent = None
        self.alarms = None
        build.build(self, head, made.devices())
        build.configure_alarms(self, made)
        self._numbers = None
        for kind, handler in (
            (LINK_UP, self._on_link_up),
            (ERROR, self._on_error),
            (RECORDS_DROPPED, self._on_change),
            (DEVICE_DOWN, self._on_change),
            (DEVICE_RECOVERED, self._on_change),
        ):
            self.bus.subscribe(kind, handler)
        _forget()

    async def run(self, console=False):
        """Run the node until it is cancelled; then close everything.

        ``console``: answer requests on stdin, unless the configuration allows none there.
        """
        self.supervisor.start("recorder", self.recorder.run, 7200000)
        for link in self.links:
            self.start_link(link)
        for device in self.devices.values():
            self.start_device(device)
        for subscription in self.subscriptions.values():
            for subscriber in subscription.subscribers.values():
                self.start_subscriber(subscriber)
        self.start_alarms()
        self.start_webhooks()
        if self.trial:
            from .trial import start

            start(self)
        self.start_ntp()
        self._start_watchdog()
        if console and self.settings["api"]["serial"]:
            from .api.serial import serve

            self.supervisor.start("serial", lambda _task: serve(self))
        try:
            await self.supervisor.run(self._tend)
        finally:
            if self.api:
                self.api.stop()
            await self.supervisor.stop_all()

    async def write(self, point_id, value):
        """Set a point through its driver. Raises KeyError for an unknown id, DriverError."""
        point = self.points[point_id]
        await self.devices[point.device].write(point, value)

    def dispatcher(self):
        """What answers the requests to the node's JSON API; loaded when first asked for."""
        if self.api is None:
            from .api.dispatch import Dispatcher

            self.api = Dispatcher(self, self.settings["api"])
        return self.api

    async def apply(self, config):
        """Change to another configuration while running; see ``reconfigure.apply``."""
        from .reconfigure import apply

        try:
            return await apply(self, config)
        finally:
            _forget()

    def new_stream(self):
        """A stream number that was never used before."""
        return self.number("stream")

    def number(self, name):
        """The next number of a persisted counter; it was never given before."""
        if self._numbers:
            return self._numbers.take(name)
        from .counters import Counters

        unload("fieldpost.counters")
        return Counters(self.folder).take(name)

    # -- parts coming and going

    def start_link(self, link):
        """Start the task of a link."""
        self.supervisor.start("mqtt:" + link.name, _plain(link.run))

    def start_device(self, device):
        """Start polling a device, unless it is not enabled."""
        if device.enabled:
            stale = 4 * max(device.interval, device.timeout_ms) + 120000
            self.supervisor.start("device:" + device.id, device.run, stale)

    def start_subscriber(self, subscriber):
        """Start the task of a subscriber."""
        name = "subscriber:%s:%s" % (subscriber.subscription.id, subscriber.name)
        self.supervisor.start(name, _plain(subscriber.run))

    def start_alarms(self):
        """Start the alarms' task, if there are any and it does not run."""
        if self.alarms and "alarms" not in self.supervisor.tasks:
            self.supervisor.start("alarms", self.alarms.run, 7200000)

    def start_webhooks(self):
        """Start the webhooks' task, if there are any and it does not run."""
        if self.webhooks and "webhooks" not in self.supervisor.tasks:
            self.supervisor.start("webhooks", self.webhooks.run, 7200000)

    def start_ntp(self):
        """Start asking for the time, where the configuration names servers."""
        clock = self.settings["clock"]
        if clock["ntp"]:
            from .sntp import keep

            self.supervisor.start(
                "ntp", lambda task: keep(self.clock, clock["ntp"], clock["ntp_interval"], task)
            )

    def _start_watchdog(self):
        timeout = self.settings["watchdog_ms"]
        if timeout:
            from machine import WDT

            self.supervisor.feed = WDT(timeout=timeout).feed

    # -- telling others

    def state(self):
        """The node's state object, as published on its ``state`` topic."""
        return dict(self._state())

    def _state(self):
        yield "state", "online"
        yield "node", self.name
        yield "boot", self.boot
        yield "version", __version__
        yield "revision", self.settings["revision"]
        yield "uptime_ms", self.clock.mono_ms()
        yield "ts_ms", self.clock.unix_ms()
        yield "counters", self._totals()
        yield "logs", {id: self.subscriptions[id].state() for id in self.subscriptions}
        yield "devices", {device.id: device.status for device in self.devices.values()}
        if self.trial:
            yield "config", self.trial

    def _totals(self):
        totals = dict(self.counters)
        for link in self.links:
            for name in link.counters:
                totals["mqtt_%s_%s" % (link.name, name)] = link.counters[name]
        if self.api:
            for name in self.api.counters:
                totals["api_" + name] = self.api.counters[name]
        if self.webhooks:
            for name in self.webhooks.counters:
                totals["webhook_" + name] = self.webhooks.counters[name]
        totals["restarts"] = sum(task.restarts for task in self.supervisor.tasks.values())
        return totals

    def announce(self):
        """Tell the peers of every link which points there are, and the node's state."""
        self.state_sent = None
        for link in self.links:
            self._announce(link)

    def _announce(self, link):
        if link.connected:
            name = "announce:" + link.name
            self.supervisor.start(name, lambda _task: self._publish_points(link))

    async def _publish_points(self, link):
        for device in list(self.devices.values()):
            for at in range(0, max(1, len(device.points)), _POINTS_PER_MESSAGE):
                topic = "%s/points/%s" % (self.prefix, device.id)
                if at:
                    topic += "/%d" % (at // _POINTS_PER_MESSAGE)
                body = _announcement(device, device.points[at : at + _POINTS_PER_MESSAGE])
                while await link.ready(len(topic) + len(body)):
                    # Not kept: it follows every connection.
                    if link.publish(topic, body, 1, True, keep=False):
                        break

    def _publish_state(self):
        links = [link for link in self.links if link.connected]
        if not links:
            return
        # Piece by piece into a buffer that is there anyway: the whole is several times as large.
        end = _put_object(self.outlet.put, 0, self._state())
        for link in links:
            # Not kept: with the next connection there is a newer one.
            payload = memoryview(self.outlet.buf)[:end]
            link.publish(self.prefix + "/state", payload, 1, True, keep=False)
        self.state_sent = ticks_ms()

    # -- what happens

    def on_message(self, topic, payload, retain, _dup, link=None):
        """Take a message from a link: a confirmation of a flush, or another request."""
        if retain:
            self.counters["bad_requests"] += 1
        elif topic != self.prefix + "/api/loggers/ackSubscribe" or not self._confirm(payload):
            from .api.over_mqtt import receive

            receive(self, link, topic, payload)

    def _confirm(self, payload):
        """Take a confirmation of a flush; False where it wants a reply, as other requests do.

        They come with every flush, so they do not go through the dispatcher, nor load it.
        """
        try:
            request = json.loads(payload)
            if not isinstance(request, dict) or not request.get("noreply"):
                return False
            subscription = self.subscriptions[request.get("subscription", "default")]
            subscriber = subscription.subscribers[request["subscriber"]]
            first = (request["stream"], request["seq"]) if "seq" in request else None
            if not subscriber.ack(request.get("flush"), request.get("md5"), first):
                self.counters["stale_acks"] += 1
        except (ValueError, KeyError, TypeError):
            self.counters["bad_requests"] += 1
        return True

    def _tend(self):
        """Once a second: carry the clock, tend the logs, publish the state when it is time."""
        self.clock.mono_ms()
        for subscription in self.subscriptions.values():
            subscription.ring.tend()
        if self.api:
            self.api.tend()
        sent = self.state_sent
        if sent is None or ticks_diff(ticks_ms(), sent) >= self.settings["state_interval"]:
            self._publish_state()

    def _on_link_up(self, _kind, name, _data):
        link = next(link for link in self.links if link.name == name)
        self._publish_state()
        self._announce(link)
        for subscription in self.subscriptions.values():
            for subscriber in subscription.subscribers.values():
                subscriber.link_up(link.session_present)

    def _on_change(self, _kind, _key, _data):
        # The next tend publishes the state.
        self.state_sent = None

    def _on_error(self, _kind, key, error):
        self.counters["errors"] += 1
        text = (error if isinstance(error, str) else "%r" % (error,))[:_ERROR_CHARS]
        self.last_error = "%s: %s" % (key, text)
        if len(self.errors) == _ERRORS:
            self.errors.pop(0)
        self.errors.append((self.clock.mono_ms(), key, text))


def _put_object(put, end, items):
    """Write a JSON object; ``put(position, bytes)`` returns the position behind."""
    mark = '{"%s": '
    for key, value in items:
        end = put(end, (mark % key).encode())
        if isinstance(value, dict) and value:
            end = _put_object(put, end, value.items())
        else:
            end = put(end, json.dumps(value).encode())
        mark = ', "%s": '
    return put(end, b"}")


def _announcement(device, points):
    """The message, as bytes, that names some points of a device; empty where there are none."""
    body = bytearray()
    head = '{"device":"%s","driver":"%s","points":[' % (device.id, device.protocol)
    for point in points:
        body.extend(b"," if body else head.encode())
        body.extend(json.dumps([point.id, point.name, point.unit]).encode())
    if body:
        body.extend(b"]}")
    return body


def _forget():
    """Give back the memory of what is needed only while a node is made or changed."""
    for name in ("build", "plan", "counters", "smallfile", "reconfigure", "changes"):
        unload("fieldpost." + name)
    gc.collect()


def _plain(function):
    """A task function for a coroutine function that takes no task."""
    return lambda _task: function()
