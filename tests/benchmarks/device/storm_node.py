"""A node that samples every 100 ms in a storm of alarms, which it delivers as it can.

JSON on stdin: ``config`` of the node with one device and point, ``folder``, ``alarm`` (data of the
event), ``rate`` (events/s), ``seconds``. Prints the microseconds between samples, how many events
came, and what the dispatcher made of them.
"""

import asyncio
import json
import sys

from stopwatch import Stopwatch

from fieldpost.compat import sleep_ms, ticks_diff, ticks_ms
from fieldpost.node import Node

#: Events come in bursts, this far apart.
BURST_MS = 10


async def storm(bus, alarm, rate, ms):
    """Emit events at a rate, or as fast as it goes; returns how many and the ms it took."""
    start = ticks_ms()
    emitted = passed = 0
    while passed < ms:
        due = rate * passed // 1000
        while emitted < due:
            bus.emit("alarm_raised", alarm["node_id"], alarm)
            emitted += 1
        await sleep_ms(BURST_MS)
        passed = ticks_diff(ticks_ms(), start)
    return emitted, passed


async def main(config, folder, alarm, rate, seconds):
    node = Node(config, folder)
    interval = config["devices"][0]["interval"]
    watch = Stopwatch(1000 * seconds // interval + 10)
    (point,) = node.points.values()
    point.triggers += (watch,)
    task = asyncio.create_task(node.run())
    await sleep_ms(3 * interval)
    emitted, ms = await storm(node.bus, alarm, rate, 1000 * seconds)
    hooks = node.webhooks
    (endpoint,) = hooks.endpoints.values()
    waiting = len(endpoint.pending) + hooks.queue.log.next - endpoint.index
    fates = dict(endpoint.counters, waiting=waiting)
    task.cancel()
    told = {
        "intervals_us": watch.taken(),
        "emitted": emitted,
        "ms": ms,
        "endpoints": {endpoint.name: fates},
        "counters": hooks.counters,
        "errors": node.errors,
    }
    print(json.dumps(told))


asyncio.run(main(**json.load(sys.stdin)))
