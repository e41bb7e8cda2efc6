"""Runs on either Python: ``webhook_probe FILE``, JSON ``{"endpoints": [...], "keys": {}}``.

A node with these webhooks lets an alarm happen, and prints what became of it: for each delivery
``[endpoint, status, error]``, in JSON, when each was tried once.
"""

import asyncio
import json
import sys

from fieldpost.compat import sleep_ms
from fieldpost.node import Node

SECONDS = 15


async def main(job):
    """Outcomes of the first attempts."""
    section = dict(job["keys"], endpoints=job["endpoints"], queue={"store": {"disk": False}})
    node = Node({"node": "gw-1", "webhooks": section}, "data")
    running = asyncio.create_task(node.run())
    await sleep_ms(50)
    node.bus.emit("device_down", "v", "virtual")
    for _ in range(SECONDS * 50):
        await sleep_ms(20)
        found = node.webhooks.deliveries
        if len(found) == len(job["endpoints"]) and all(one.status != "pending" for one in found):
            break
    rows = [[one.endpoint, one.status, one.error] for one in node.webhooks.deliveries]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    sys.stdout.write("#outcomes " + json.dumps(rows) + "\n")


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        asyncio.run(main(json.load(file)))
