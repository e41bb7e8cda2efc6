"""A node at work while QoS 1 messages go out, past the wraps of the packet ids and of the ticks.

The tick counter is simulated: 30 bits as on an ESP32, and it wraps ``wrap_ms`` after the start.

JSON on stdin: ``config`` (of the node), ``folder``, ``messages``, ``topic``, ``wrap_ms``,
``sample`` (messages between two looks at the heap). Prints what became of the messages, the
bytes of heap in use at every look, and what the node did meanwhile.
"""

import asyncio
import gc
import json
import sys
import time

from fieldpost import compat

_MASK = (1 << 30) - 1
_HALF = 1 << 29


def simulate(wrap_ms):
    """Replace the ticks; before any module takes them from ``compat``."""
    began = time.ticks_ms()

    def ticks_ms():
        return time.ticks_diff(time.ticks_ms(), began) - wrap_ms & _MASK

    compat.ticks_ms = ticks_ms
    compat.ticks_diff = lambda end, start: (end - start + _HALF & _MASK) - _HALF
    compat.ticks_add = lambda ticks, delta: ticks + delta & _MASK


class Sender:
    """Sends ``messages`` numbers to a topic, as fast as a link takes them."""

    def __init__(self, link, topic, messages, sample):
        self.link = link
        self.topic = topic
        self.messages = messages
        self.sample = sample
        self.acked = self.lost = self.pid_wraps = 0
        self.heap = []

    def done(self, ok):
        """One is acknowledged, or lost."""
        if ok:
            self.acked += 1
        else:
            self.lost += 1

    async def run(self):
        """Send them all; returns when every one is acknowledged."""
        pid = 0
        for number in range(self.messages):
            if number % self.sample == 0:
                await self.look()
            text = str(number)
            while not await self.link.ready(len(self.topic) + len(text)):
                continue
            if not self.link.publish(self.topic, text, 1, done=self.done):
                raise RuntimeError("refused")
            self.pid_wraps += self.link._pid < pid
            pid = self.link._pid
        await self.look()

    async def look(self):
        """Note the heap in use, at a moment with nothing under way."""
        while self.link.inflight:
            await compat.sleep_ms(1)
        gc.collect()
        self.heap.append(gc.mem_alloc())


async def main(config, folder, messages, topic, wrap_ms, sample):
    simulate(wrap_ms)
    from fieldpost.node import Node

    node = Node(config, folder)
    running = asyncio.create_task(node.run())
    sender = Sender(node.links[0], topic, messages, sample)
    first = compat.ticks_ms()
    start = time.ticks_ms()
    while not node.links[0].connected:
        await compat.sleep_ms(10)
    await sender.run()
    ms = time.ticks_diff(time.ticks_ms(), start)
    state = node.state()
    running.cancel()
    log = state["logs"]["default"]
    result = {
        "ms": ms,
        "acked": sender.acked,
        "lost": sender.lost,
        "pid_wraps": sender.pid_wraps,
        "uptime_ms": state["uptime_ms"],
        "tick_wrapped": compat.ticks_ms() < first,
        "heap": sender.heap,
        "records": log["acquired"],
        "dropped": log["dropped"],
        "link": node.links[0].counters,
        "errors": state["counters"]["errors"],
        "last_error": node.last_error,
    }
    print(json.dumps(result))


asyncio.run(main(**json.load(sys.stdin)))
