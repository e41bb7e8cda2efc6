"""Requests that nobody should send: random bytes, random JSON, damaged and odd requests.

``fuzz`` sends them to a dispatcher, one after the other, and looks at every reply. The same seed
makes the same requests on the same interpreter.
"""

import gc
import json
import random

from fieldpost.compat import asyncio, ticks_diff, ticks_ms

#: A reply has to come within that; no method that is fuzzed takes longer.
LIMIT_MS = 20000
KEYS = ("id", "module", "method", "noreply", "stream", "requests", "replyWithModule", "part")
WORDS = (
    "read",
    "default",
    "v",
    "c",
    "v/n",
    "n",
    "all",
    "",
    "/",
    "v\u00acn",
    "\u00e9\U0001f600",
    "x" * 300,
    "60s",
    "avg",
    "\ud83d",
    '"\\',
    "\x00\x1e\n",
    "always",
    "__class__",
    "../x",
)
NUMBERS = (0, 1, -1, 2, 255, 1 << 31, -(1 << 31), 1 << 62, 1 << 64, 10**40, 0.5, -1e300, 1e308)
MARKS = b'{}[],:"\\ \x00\x1e\n\x7f\x80\xff0123456789.-eE'


def below(limit):
    """A random number from 0 to ``limit`` - 1."""
    return random.getrandbits(24) % limit


def pick(items):
    """One of them."""
    return items[below(len(items))]


def value(depth):
    """Anything that JSON can hold."""
    kind = below(7 if depth else 5)
    if kind == 5:
        return [value(depth - 1) for _ in range(below(5))]
    if kind == 6:
        return {key(): value(depth - 1) for _ in range(below(5))}
    return (None, True, False, pick(NUMBERS), pick(WORDS))[kind]


def key():
    """A key of an object."""
    return pick(KEYS) if below(2) else pick(WORDS)


def noise():
    """Random bytes, some more like JSON than others."""
    size = below(120)
    if below(2):
        return bytes([below(256) for _ in range(size)])
    return bytes([pick(MARKS) for _ in range(size)])


def damaged(text):
    """Text with a few bytes changed, left out, repeated or swapped for others."""
    data = bytearray(text)
    for _ in range(1 + below(4)):
        at = below(len(data) + 1)
        end = at + below(8)
        kind = below(4)
        if kind == 0:
            data = data[:at] + data[end:]
        elif kind == 1:
            data = data[:end] + data[at:]
        elif kind == 2:
            data = data[:at] + noise()[:8] + data[end:]
        elif data:
            data[at % len(data)] = below(256)
    return bytes(data)


class Fuzzer:
    """Makes requests for ``methods``: ``(module, method, names of its parameters)``."""

    def __init__(self, methods, seed):
        self.methods = methods
        random.seed(seed)

    def request(self):
        """A request that is right but for its arguments."""
        module, method, names = pick(self.methods)
        made = {"module": module, "method": method}
        for name in names:
            if below(4):
                made[name] = value(2)
        if below(2):
            made["id"] = value(0)
        if not below(4):
            made[key()] = value(2)
        return made

    def body(self):
        """The bytes of a request."""
        kind = below(10)
        if kind == 0:
            return noise()
        if kind == 1:
            return self._text(value(4))
        if kind == 2:
            return self._deep()
        if kind == 3:
            return self._text(
                {"id": value(0), "requests": [self.request() for _ in range(below(5))]}
            )
        text = self._text(self.request())
        return damaged(text) if kind < 6 else text

    def _text(self, made):
        try:
            return json.dumps(made).encode()
        except (ValueError, RuntimeError):
            # No UTF-8 for half of a pair, there.
            return b"{}"

    def _deep(self):
        depth = below(1500)
        return pick((b"[" * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth))

    def address(self):
        """``(module, method)`` of the address."""
        module, method, _names = pick(self.methods)
        return ((None, None), (None, None), (module, None), (module, method))[below(4)]


async def fuzz(dispatcher, fuzzer, count, transports, checkpoint=None):
    """Send ``count`` requests; returns ``(replies, errors, ms of the slowest)``."""
    sent = []

    async def send(data):
        sent.append(bytes(data))
        return True

    replies = errors = slowest = 0
    for number in range(count):
        body = fuzzer.body()
        begin = ticks_ms()
        await dispatcher.handle(body, pick(transports), send, *fuzzer.address())
        slowest = max(slowest, ticks_diff(ticks_ms(), begin))
        assert slowest < LIMIT_MS, body
        for message in sent:
            try:
                reply = json.loads(message)
            except ValueError:
                raise AssertionError((body, message)) from None
            assert isinstance(reply, (dict, list)), (body, message)
            replies += 1
            if isinstance(reply, dict) and "error" in reply:
                errors += 1
        sent.clear()
        if number % 100 == 99:
            await asyncio.sleep(0)
            if checkpoint and number % 10000 == 9999:
                gc.collect()
                checkpoint(number + 1)
    return replies, errors, slowest
