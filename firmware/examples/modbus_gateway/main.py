"""A Modbus gateway as a program of its own, for boards whose code is in /lib.

A board that was provisioned needs config.json only. This main.py is for adding something to the
node; here it says on the console which device does not answer.
"""

import asyncio

from fieldpost.events import DEVICE_DOWN, DEVICE_RECOVERED
from fieldpost.node import Node
from fieldpost_board import uplink


def tell(kind, device, _protocol):
    """Say what happened to a device."""
    print(device, "does not answer" if kind == DEVICE_DOWN else "answers again")


async def main():
    """Run the node, its network and what is added."""
    node = Node("config.json")
    node.bus.subscribe(DEVICE_DOWN, tell)
    node.bus.subscribe(DEVICE_RECOVERED, tell)
    node.supervisor.start("uplink", lambda task: uplink.keep(node, task))
    await node.run(console=True)


asyncio.run(main())
