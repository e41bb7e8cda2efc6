"""The SDK's link: QoS 1 messages with a window of them under way.

JSON on stdin: ``link`` (its configuration), ``seconds``, ``warm_up``, ``payload``. Prints
messages acknowledged and the time.
"""

import asyncio
import json
import sys

from fieldpost.compat import sleep_ms, ticks_diff, ticks_ms
from fieldpost.mqtt import Link

TOPIC = "fieldpost/bench/dev/point/value"


async def publish(link, payload):
    """Publish for ever, as fast as the link takes it."""
    while True:
        await link.ready(len(TOPIC) + len(payload))
        link.publish(TOPIC, payload, 1)


async def main(link, seconds, warm_up, payload):
    link = Link(link)
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(publish(link, payload))]
    await sleep_ms(1000 * warm_up)
    start, before = ticks_ms(), link.counters["acked"]
    await sleep_ms(1000 * seconds)
    ms, count = ticks_diff(ticks_ms(), start), link.counters["acked"] - before
    for task in tasks:
        task.cancel()
    print(json.dumps({"count": count, "ms": ms, "counters": link.counters}))


asyncio.run(main(**json.load(sys.stdin)))
