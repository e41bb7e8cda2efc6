"""A node that samples every 100 ms while its broker does what brokers should not.

JSON on stdin: ``config`` of the node with one device and point, ``folder``, ``seconds``. Prints
the microseconds between samples, and what the link counted.
"""

import asyncio
import json
import sys
from array import array
from time import ticks_us

from fieldpost.compat import sleep_ms, ticks_diff
from fieldpost.node import Node


class Stopwatch:
    """Notes when a point is updated, without allocating."""

    def __init__(self, size):
        self.intervals = array("i", range(size))
        self.count = -1

    def __call__(self, _point, _ticks):
        now = ticks_us()
        if 0 <= self.count < len(self.intervals):
            self.intervals[self.count] = ticks_diff(now, self._before)
        self.count += 1
        self._before = now


async def main(config, folder, seconds):
    node = Node(config, folder)
    watch = Stopwatch(1000 * seconds // config["devices"][0]["interval"] + 10)
    (point,) = node.points.values()
    point.triggers += (watch,)
    task = asyncio.create_task(node.run())
    await sleep_ms(1000 * seconds)
    link = node.links[0].counters if node.links else {}
    ring = node.subscriptions["default"].ring
    task.cancel()
    result = {
        "intervals_us": list(watch.intervals)[: watch.count],
        "records": ring.next,
        "link": link,
        "errors": node.counters["errors"],
    }
    print(json.dumps(result))


asyncio.run(main(**json.load(sys.stdin)))
