"""For tests of webhooks: as much of a node as they need, with a clock that is moved by hand."""

import os

from core_kit import UNIX_MS, still_clock

from fieldpost.bus import Bus
from fieldpost.compat import asyncio, names
from fieldpost.config import Validator
from fieldpost.events import ERROR
from fieldpost.smallfile import remove
from fieldpost.webhook.check import check, compact

FOLDER = "webhook-test"


def section(*endpoints, **keys):
    """A validated section, as the plan hands it over; the queue is in RAM unless said."""
    keys.setdefault("queue", {"store": {"disk": False}})
    row = Validator().table("webhooks", dict(keys, endpoints=list(endpoints)), "webhooks")
    check(row)
    return compact(row)


def clean(folder=FOLDER):
    """Remove what earlier tests left."""
    try:
        for name in list(names(folder)):
            clean(folder + "/" + name)
        os.rmdir(folder)
    except OSError:
        remove(folder)


class Node:
    """What webhooks know of a node."""

    name = "gw.1"

    def __init__(self, trusted=True, now=5000, boot=1):
        self.clock, self.ticks = still_clock(now, UNIX_MS if trusted else None)
        self.bus = Bus()
        self.boot = boot
        self.folder = FOLDER
        self.devices = {}
        self.points = {}
        self.links = []
        self.plan_path = None
        self.digests = None
        self.errors = []
        self._streams = boot * 100
        self.bus.subscribe(ERROR, lambda _kind, key, error: self.errors.append((key, error)))

    def new_stream(self):
        """A stream number that was never used before."""
        self._streams += 1
        return self._streams


class Value:
    """As much of a point as an event of its value needs."""

    unit, text = "K", None

    def __init__(self, key, value):
        self.key = key
        self.value = value


class Task:
    """What the supervisor would hand to the task."""

    def beat(self):
        """Nobody looks."""


class Run:
    """Webhooks that run while the ``async with`` does."""

    def __init__(self, *endpoints, **keys):
        from fieldpost.webhook.dispatcher import Webhooks  # needs sockets

        self.node = keys.pop("node", None) or Node()
        self.hooks = Webhooks(self.node, section(*endpoints, **keys))

    async def __aenter__(self):
        self.task = asyncio.create_task(self.hooks.run(Task()))
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass

    def alarm(self, number=1, state="raised", key="v/n", severity="warning"):
        """Let an alarm happen."""
        device, _, point = key.partition("/")
        data = {
            "alarm_id": number,
            "node_id": key,
            "device_id": device,
            "point_id": point,
            "type": "high_limit",
            "severity": severity,
            "state": state,
            "value": 5,
            "message": "high",
            "timestamp_ms": self.node.clock.unix_ms(),
        }
        self.node.bus.emit("alarm_" + state, key, data)

    async def pass_ms(self, ms):
        """Let time pass, and what is due begin."""
        self.node.ticks.advance(ms)
        self.hooks.wake()
        for _ in range(20):
            await asyncio.sleep(0)

    async def count(self, name, number):
        """Wait until a counter is there."""
        from mqtt_peer import until  # not where there are no sockets

        await until(lambda: self.hooks.counters[name] >= number)


def header(head, name):
    """The value of a request's header, None without it."""
    for line in head.decode().split("\r\n"):
        if line.lower().startswith(name.lower() + ": "):
            return line[len(name) + 2 :]
    return None
