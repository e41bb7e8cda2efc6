"""A node under load: appends records as fast as its log has room, and counts the acknowledged.

JSON on stdin: ``config`` (of the node, with one subscriber), ``folder``, ``seconds``,
``warm_up``. Prints records acknowledged, the time, and what else the counters say.
"""

import asyncio
import gc
import json
import sys

from fieldpost.compat import sleep_ms, ticks_diff, ticks_ms
from fieldpost.node import Node

#: Records that are appended before the other tasks get their turn.
BATCH = 50
#: A record here takes 7 or 8 bytes; 32 of a frame are its header, 20 may stay free.
RECORD_BYTES = 8
FRAME_OVERHEAD = 52

gc.threshold(gc.mem_free() // 4)  # as boot.py of the firmware does


async def fill(ring, subscriber):
    """Append float32 values of ten points for ever, never more than the ring can keep."""
    room = (ring.frames - 2) * ((ring.frame_bytes - FRAME_OVERHEAD) // RECORD_BYTES)
    number = 0
    while True:
        if ring.next - subscriber.acked > room - BATCH:
            await sleep_ms(1)
            continue
        ticks = ticks_ms()
        for _ in range(BATCH):
            ring.append(number % 10 + 1, 20 + number % 64 / 8, None, ticks)
            number += 1
        await asyncio.sleep(0)


async def main(config, folder, seconds, warm_up):
    node = Node(config, folder)
    subscription = node.subscriptions["default"]
    subscriber = subscription.subscribers["collector"]
    tasks = [
        asyncio.create_task(node.run()),
        asyncio.create_task(fill(subscription.ring, subscriber)),
    ]
    await sleep_ms(1000 * warm_up)
    start, before = ticks_ms(), subscriber.delivered
    await sleep_ms(1000 * seconds)
    ms, count = ticks_diff(ticks_ms(), start), subscriber.delivered - before
    gc.collect()
    state = node.state()
    for task in tasks:
        task.cancel()
    log = state["logs"]["default"]
    result = {
        "count": count,
        "ms": ms,
        "flushes": state["counters"]["mqtt_main_acked"],
        "resent": subscriber.resent,
        "dropped": log["dropped"],
        "errors": state["counters"]["errors"],
        "last_error": node.last_error,
        "heap": gc.mem_alloc(),
    }
    print(json.dumps(result))


asyncio.run(main(**json.load(sys.stdin)))
