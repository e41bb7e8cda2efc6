"""A whole node that delivers alarms by webhook as fast as it can: there are always some queued.

JSON on stdin: ``config`` of the node, its ``folder``, ``alarm`` (data of the event), ``seconds``,
``warm_up``. Prints deliveries and the time, and what the dispatcher counted beside them.
"""

import asyncio
import json
import sys

from fieldpost.compat import ticks_diff, ticks_ms
from fieldpost.node import Node

#: Alarms that wait.
BACKLOG = 16


async def deliver_for(hooks, ms, alarm):
    """Keep the queue filled until ``ms`` have passed; returns ``(deliveries, ms)``."""
    (endpoint,) = hooks.endpoints.values()
    begin = hooks.counters["delivered"]
    start = ticks_ms()
    while ticks_diff(ticks_ms(), start) < ms:
        while hooks.queue.log.next - endpoint.acked < BACKLOG:
            hooks.bus.emit("alarm_raised", alarm["node_id"], alarm)
        await asyncio.sleep(0)
    return hooks.counters["delivered"] - begin, ticks_diff(ticks_ms(), start)


async def main(config, folder, alarm, seconds, warm_up):
    node = Node(config, folder)
    task = asyncio.create_task(node.run())
    await deliver_for(node.webhooks, 1000 * warm_up, alarm)
    count, ms = await deliver_for(node.webhooks, 1000 * seconds, alarm)
    counters = node.webhooks.counters
    lost = {name: counters[name] for name in counters if name not in ("events", "delivered")}
    task.cancel()
    print(json.dumps({"count": count, "ms": ms, "other": lost, "errors": node.errors}))


asyncio.run(main(**json.load(sys.stdin)))
