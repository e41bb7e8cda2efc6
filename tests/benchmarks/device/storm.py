"""A storm of events over webhooks whose servers refuse, never answer, or fail for good.

``start(row)`` makes bus, clock, dispatcher and queue, as a node has them, with a stand-in for the
network; ``burst(count)`` emits events, ``account()`` tells what has become of them, ``recover()``
has the network work from now on. ``run(row, events)`` does all of it, at 10,000 events a second.
"""

import asyncio
import gc
import json
from time import ticks_diff, ticks_ms

from fieldpost import http
from fieldpost.bus import Bus
from fieldpost.clock import Clock
from fieldpost.errors import LinkError
from fieldpost.webhook.dispatcher import Webhooks

POINTS = 8
EVENTS_PER_MS = 10
RECOVERY_MS = 5000


class Node:
    """What webhooks know of a node."""

    name = "gw-1"
    boot = 1
    folder = "/state"
    devices = points = {}
    links = ()
    plan_path = digests = None
    stream = 0

    def __init__(self):
        self.bus = Bus()
        self.clock = Clock()
        self.clock.set_unix_ms(1732233600000, "test")

    def new_stream(self):
        """Numbers of streams."""
        self.stream += 1
        return self.stream


class Network:
    """Opens connections to hosts that are named after what they do."""

    works = False
    opened = 0

    async def open_stream(self, host, port, timeout_ms, tls=None):
        """As ``net.open_stream``."""
        self.opened += 1
        await asyncio.sleep_ms(1)
        if self.works:
            return Stream(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        if host == "silent":
            await asyncio.sleep_ms(3600000)
        if host == "failing":
            return Stream(b"HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        raise LinkError("refused")


class Stream:
    """A connection whose peer says the same to everything that is written."""

    def __init__(self, reply):
        self._reply = reply
        self._rest = b""

    async def write(self, data, timeout_ms):
        """As ``net.Stream``."""
        await asyncio.sleep_ms(1)
        self._rest = self._reply

    async def read(self, n, timeout_ms):
        """As ``net.Stream``."""
        data, self._rest = self._rest[:n], self._rest[n:]
        if not data:
            raise LinkError("closed")
        return data

    def close(self):
        """As ``net.Stream``."""


class Task:
    """What the supervisor would hand to the task."""

    def beat(self):
        """Nobody looks."""


async def run(row, events):
    """Print the accounts after the storm and after the recovery, and the ms that it took."""
    start(row)
    begin = ticks_ms()
    while emitted < events:
        due = EVENTS_PER_MS * ticks_diff(ticks_ms(), begin)
        burst(min(due, events) - emitted)
        await asyncio.sleep_ms(5)
    ms = ticks_diff(ticks_ms(), begin)
    gc.collect()
    print(f'{{"ms": {ms}, "free": {gc.mem_free()}, "storm": {account()}, "after": ', end="")
    begin = ticks_ms()
    while waiting() and ticks_diff(ticks_ms(), begin) < RECOVERY_MS:
        recover()
        await asyncio.sleep_ms(5)
    print(account(), end="}")


def start(row):
    """Begin with endpoints by ``row``, as a plan has it."""
    global hooks, network, emitted, task
    emitted = 0
    network = Network()
    http.open_stream = network.open_stream
    gc.collect()
    hooks = Webhooks(Node(), row)
    task = asyncio.create_task(hooks.run(Task()))


def burst(count):
    """Let so many alarms be raised."""
    global emitted
    for _ in range(count):
        point = f"p{emitted % POINTS}"
        data = {
            "alarm_id": emitted,
            "node_id": f"ahu-1/{point}",
            "device_id": "ahu-1",
            "point_id": point,
            "type": "high_limit",
            "severity": "warning",
            "state": "raised",
            "value": 21.5,
            "message": f"high_limit at ahu-1/{point}: 21.5",
            "timestamp_ms": hooks.clock.unix_ms(),
        }
        hooks.bus.emit("alarm_raised", data["node_id"], data)
        emitted += 1


def recover():
    """The servers are back."""
    network.works = True
    for endpoint in hooks.endpoints.values():
        for delivery in endpoint.pending:
            delivery.due = 0
    hooks.wake()


def waiting():
    """Events that endpoints have to deliver yet: ``{name: count}`` of those that have some."""
    end = hooks.queue.log.next
    found = {}
    for name in hooks.endpoints:
        one = hooks.endpoints[name]
        if one.pending or one.index < end:
            found[name] = len(one.pending) + end - one.index
    return found


def account():
    """JSON of what happened to every event."""
    left = waiting()
    endpoints = {}
    for name in hooks.endpoints:
        counters = hooks.endpoints[name].counters
        endpoints[name] = dict(counters, waiting=left.get(name, 0))
    told = {
        "emitted": emitted,
        "counters": hooks.counters,
        "endpoints": endpoints,
        "failures": hooks.bus.failures,
        "connections": network.opened,
    }
    return json.dumps(told)
