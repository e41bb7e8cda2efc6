"""Runs on either Python: ``mqtt_tls_probe FILE``, a JSON object of link configurations.

Prints a JSON object that says for each how the link ended up: "up" once a QoS 1 message came
back, else the reason of its first failure.
"""

import asyncio
import json
import sys

from fieldpost.compat import sleep_ms
from fieldpost.mqtt import Link


async def outcome(config):
    """ "up" or the reason."""
    messages = []
    link = Link(config, None, lambda *message: messages.append(message))
    link.subscribe(config["client_id"])
    # Longer than one read and one write of the link.
    payload = bytes(range(256)) * 12
    link.publish(config["client_id"], payload, 1)
    task = asyncio.create_task(link.run())
    while not messages and link.reason is None:
        await sleep_ms(5)
    reason = link.reason
    task.cancel()
    await sleep_ms(5)
    if messages and messages[0][1] != payload:
        return "damaged"
    return reason or "up"


async def main(cases):
    """Outcomes of all cases, one after the other."""
    found = {}
    for name, config in cases.items():
        found[name] = await outcome(config)
    sys.stdout.write("#outcomes " + json.dumps(found) + "\n")


if __name__ == "__main__":
    # MicroPython cannot start with an argument of more than 255 bytes: hence a file.
    with open(sys.argv[1]) as file:
        asyncio.run(main(json.load(file)))
