"""A node that samples every 100 ms while its broker does what brokers should not.

JSON on stdin: ``config`` of the node with one device and point, ``folder``, ``seconds``. Prints
the microseconds between samples, and what the link counted.
"""

import asyncio
import json
import sys

from stopwatch import Stopwatch

from fieldpost.compat import sleep_ms
from fieldpost.node import Node


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
        "intervals_us": watch.taken(),
        "records": ring.next,
        "link": link,
        "errors": node.counters["errors"],
    }
    print(json.dumps(result))


asyncio.run(main(**json.load(sys.stdin)))
