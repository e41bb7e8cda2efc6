"""For tests of the API: a dispatcher before a module ``kit`` of its own, and what it replied."""

import json
import sys

from core_kit import UNIX_MS, still_clock

from fieldpost.api import dispatch
from fieldpost.api.call import READ, WRITE, Rows
from fieldpost.bus import Bus
from fieldpost.compat import asyncio, sleep_ms
from fieldpost.errors import ApiError, ConfigError, DriverError
from fieldpost.events import ERROR

SETTINGS = {
    "mqtt": ["read"],
    "serial": ["*"],
    "mqtt_secret": None,
    "max_request": 1024,
    "max_reply": 2048,
    "segment": 1024,
    "parallel": 3,
    "timeout_ms": 5000,
}
ERRORS = {
    "api": ApiError("end of life"),
    "config": ConfigError("a.b", 5, "less"),
    "driver": DriverError("timeout"),
    "bug": KeyError("bug"),
    "memory": MemoryError(),
}


class Node:
    """As much of a node as the dispatcher asks for."""

    def __init__(self):
        self.boot = 3
        self.bus = Bus()
        self.clock, self.ticks = still_clock(1000, UNIX_MS)
        self.audit = None
        self.done = []
        self.faults = []
        self.bus.subscribe(ERROR, lambda _kind, key, error: self.faults.append((key, error)))


def rows(count, item, pause=False):
    """A handler's ``Rows``: ``count`` times ``item``."""

    def generate():
        for number in range(count):
            yield {"n": number, "item": item}
            if pause:
                yield Rows.PAUSE

    return Rows(generate)


def fail(node, args):
    if args["how"] in ERRORS:
        raise ERRORS[args["how"]]


def broken(node, args):
    def generate():
        yield 1
        raise ERRORS[args["how"]]

    return Rows(generate)


def endless(node, args):
    def generate():
        while True:
            yield Rows.PAUSE

    return Rows(generate)


async def wait(node, args):
    await sleep_ms(args["ms"])
    node.done.append(args["ms"])
    return "waited"


def put(node, args):
    node.done.append(args["value"])
    if args["value"] == "bad":
        raise ApiError("invalid value")
    return args["address"]


class Module:
    """A module of the API."""

    TABLES = {"shape": {"size": "int 0..9", "name": "str = none"}}
    METHODS = {
        "echo": (lambda node, args: args["value"], "value: any = ?", READ),
        "all": (lambda node, args: args, "a: int 0..9\nb: str = x\nc: list id 0..3 = []", READ),
        "shape": (lambda node, args: args["shape"], "shape: obj shape", READ),
        "flush": (lambda node, args: args["flush"], "flush: obj flush", READ),
        "stream": (lambda node, args: args["stream"], "stream: int", READ),
        "rows": (
            lambda node, args: rows(args["count"], args["item"], True),
            "count: int = 3\nitem: any = text",
            READ,
        ),
        "fail": (fail, "how: str", READ),
        "broken": (broken, "how: str", READ),
        "endless": (endless, "", READ),
        "wait": (wait, "ms: int", READ),
        "odd": (lambda node, args: [float("nan"), {"x": 1e40 * 1e300 * 1e300}], "", READ),
        "object": (lambda node, args: [object()], "", READ),
        "put": (put, "address: any\nvalue: any", WRITE),
        "work": (wait, "ms: int", WRITE),
    }


sys.modules["fieldpost.api.kit"] = Module
sys.modules["fieldpost.api"].kit = Module
if "kit" not in dispatch.MODULES:
    dispatch.MODULES += ("kit",)


class Api:
    """A dispatcher and everything that it sent."""

    def __init__(self, **settings):
        self.node = Node()
        self.dispatcher = dispatch.Dispatcher(self.node, dict(SETTINGS, **settings))
        self.sent = []
        self.room = 1 << 20

    async def send(self, data):
        """Take a message."""
        if not self.room:
            return False
        self.room -= 1
        self.sent.append(str(bytes(data), "utf-8"))
        return True

    async def ask(self, request, transport="serial", module=None, method=None):
        """The reply to a request (text, bytes or what JSON can say), parsed; None for none."""
        if not isinstance(request, (str, bytes)):
            request = json.dumps(request)
        self.sent = []
        await self.dispatcher.handle(request, transport, self.send, module, method)
        return join(self.sent)

    async def kit(self, method, **args):
        """The reply to a request for a method of the kit."""
        return await self.ask(dict({"module": "kit", "method": method}, **args))

    async def address(self, payload, method):
        """The reply to a payload at the address of a method of the kit."""
        return await self.ask(payload, "serial", "kit", method)

    def submit(self, request, transport="serial"):
        """Have a request answered by a task."""
        self.dispatcher.submit(json.dumps(request), transport, self.send)

    def replies(self):
        """Everything sent so far, parsed."""
        return [json.loads(text) for text in self.sent]


def join(texts):
    """The reply that messages make together."""
    if not texts:
        return None
    made = json.loads(texts[0])
    if isinstance(made, dict) and "segment" in made:
        parts = [json.loads(text) for text in texts]
        assert [part["segment"] for part in parts] == list(range(1, len(parts) + 1))
        assert {part["total"] for part in parts} == {len(parts)}
        assert len({part.get("id") for part in parts}) == 1
        return json.loads("".join(part["value"] for part in parts))
    assert len(texts) == 1
    return made


async def until(condition, ms=2000):
    """Wait until ``condition()`` is true."""
    for _ in range(ms // 5):
        if condition():
            return
        await sleep_ms(5)
    raise AssertionError("it did not happen in time")


async def turns(count):
    """Let the other tasks have ``count`` turns."""
    for _ in range(count):
        await asyncio.sleep(0)
