"""A whole node in simulated time: hours pass in seconds, every byte on its link is counted.

The node, its drivers, rules, logs, subscribers and MQTT packets are the real ones; only ticks
stand still between events, and the broker and the collector behind the link answer at once.
"""

import heapq
import json
import math
import random
from itertools import count

from core_kit import UNIX_MS, Ticks
from flow_kit import packed_flush

from fieldpost import node as node_module
from fieldpost import point as point_module
from fieldpost.clock import Clock
from fieldpost.drivers import virtual
from fieldpost.mqtt_codec import Codec
from fieldpost.node import Node

PUBACK_BYTES = 4
ROUND_TRIP_MS = 120
#: Half a second past a full hour: reads and wall-clock rules are not in step.
START_MS = UNIX_MS // 3_600_000 * 3_600_000 + 500


class Wire:
    """Stands for a node's link: ``up`` and ``down`` count bytes from and to the node."""

    def __init__(self, link, sim):
        self.name, self.config, self.counters = link.name, link.config, link.counters
        self.connected = self.session_present = True
        self.up = self.down = 0
        self._sim = sim
        self._codec = Codec(link.config, None, None)
        self._taken()
        self._pid = 0

    def publish(self, topic, payload, qos=0, retain=False, keep=True, done=None):
        """As ``mqtt.Link.publish``; flushes are acknowledged after ``ROUND_TRIP_MS``."""
        if not self.connected:
            return False
        payload = payload.encode() if isinstance(payload, str) else bytes(payload)
        self.up += self._size(topic, payload, qos)
        self.down += PUBACK_BYTES if qos else 0
        if done:
            self._sim.later(ROUND_TRIP_MS // 2, lambda: done(True))
        if "/flush/" in topic:
            self._sim.later(ROUND_TRIP_MS, lambda: self._acknowledge(payload))
        return True

    def _acknowledge(self, payload):
        found = json.loads(payload) if payload[:1] == b"{" else packed_flush(payload)
        if not found["value"]:
            return
        ack = {
            "noreply": True,
            "subscription": found["subscription"],
            "subscriber": "collector",
            **{key: found[key] for key in ("flush", "stream", "seq")},
        }
        topic, text = self._sim.node.prefix + "/api/loggers/ackSubscribe", json.dumps(ack).encode()
        self.down += self._size(topic, text, 1)
        self.up += PUBACK_BYTES
        self._sim.node.on_message(topic, text, False, False)

    def _size(self, topic, payload, qos):
        self._pid = self._pid % 65535 + 1
        self._codec.publish(topic.encode(), payload, qos, 0, self._pid if qos else 0)
        return self._taken()

    def _taken(self):
        size = self._codec.pending()
        while self._codec.pending():
            self._codec.take()
        return size


class Sim:
    """The node of ``config`` (with one broker) in ``folder``.

    The writable points of its virtual devices change at random, ``changes`` times an hour. Patches
    modules with ``monkeypatch``.
    """

    def __init__(self, config, folder, monkeypatch, changes=60.0):
        ticks = Ticks(1000)
        for module in (node_module, point_module, virtual):
            monkeypatch.setattr(module, "ticks_ms", ticks)
        monkeypatch.setattr(node_module, "Clock", lambda: self._clock(ticks))
        self.node = Node({**config, "clock": {"trust_system": False}}, str(folder))
        self.wire = Wire(self.node.links[0], self)
        self.node.links[:] = [self.wire]
        self.log = self.node.subscriptions["default"].ring
        self._ticks = ticks
        self._now = 0
        self._order = count()
        self._events = []
        self._random = random.Random(1)
        self._changes = changes / 3_600_000
        for device in self.node.devices.values():
            _finish(device.driver.start())
            self._every(device.interval, lambda device=device: self._read(device))
        self._every(1000, self.node._tend)

    def later(self, ms, call):
        """Call it in so many ms."""
        heapq.heappush(self._events, (self._now + ms, next(self._order), call))

    def run(self, hours):
        """Let time pass."""
        end = self._now + round(hours * 3_600_000)
        while True:
            due = min(self._now + self._settle(), self._events[0][0])
            step = min(due, end) - self._now
            self._ticks.advance(step)
            self._now += step
            self.node.clock.mono_ms()
            if due >= end:
                return
            while self._events[0][0] <= self._now:
                heapq.heappop(self._events)[2]()

    def _clock(self, ticks):
        clock = Clock(epoch_year=1970, ticks=ticks)
        clock.set_unix_ms(START_MS, "test")
        return clock

    def _every(self, ms, call):
        def again():
            call()
            self.later(ms, again)

        self.later(0, again)

    def _settle(self):
        """Do what tasks would do now; ms until one has to be called again."""
        wait = self.node.recorder.step()
        for subscription in self.node.subscriptions.values():
            for subscriber in list(subscription.subscribers.values()):
                due = 0
                while due <= 0:
                    due = subscriber.step()
                wait = min(wait, due)
        return max(wait, 1)

    def _read(self, device):
        for point in device.points:
            if point.config["writable"] and self._random.random() < -math.expm1(
                -self._changes * device.interval
            ):
                _finish(device.driver.write(point, self._random.randrange(9999) / 10 + 0.03))
        _finish(device.driver.read(device.points))


def _finish(coroutine):
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")
