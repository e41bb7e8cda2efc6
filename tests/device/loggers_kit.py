"""For tests of the API's module loggers: a node from a file, with a link that keeps messages."""

import json
import os

from flow_kit import Link

from fieldpost.compat import asyncio, sleep_ms
from fieldpost.counters import make_folder
from fieldpost.node import Node

FOLDER = "loggers-test"
PATH = FOLDER + "/config.json"
POINTS = [
    {"id": 1, "name": "a", "kind": "constant", "value": 1, "tags": {"room": "hall"}},
    {"id": 2, "name": "b", "kind": "constant", "value": 2, "description": "Supply"},
]
CONFIG = {
    "node": "gw",
    "devices": [
        {"id": "v", "driver": "virtual", "interval": 3600000, "points": POINTS},
        {"id": "w", "driver": "virtual", "points": [{"id": 3, "name": "a", "kind": "counter"}]},
    ],
    "subscriptions": [{"id": "default", "ring_bytes": 1024, "frame_bytes": 256}],
}
SMALL = {"ring_bytes": 1024, "frame_bytes": 256, "store": {"disk": False}}


def write(**keys):
    """Make the configuration file, with these keys in the place of its own."""
    make_folder(FOLDER)
    for name in os.listdir(FOLDER):
        if name.startswith("config."):
            os.remove(FOLDER + "/" + name)
    with open(PATH, "w") as file:
        json.dump(dict(CONFIG, **keys), file)


def saved():
    """The configuration as it is in the file."""
    with open(PATH) as file:
        return json.load(file)


def rows(key="subscribers"):
    """A section of the file."""
    return saved().get(key) or []


async def until(condition):
    """Wait until ``condition()`` is true."""
    for _ in range(400):
        if condition():
            return
        await sleep_ms(5)
    raise AssertionError("it did not happen in time")


class Board:
    """A node whose parts stand still; ``link`` has what it sent."""

    def __init__(self, **keys):
        if keys.pop("fresh", True):
            write(**dict({"subscriptions": [dict(SMALL, id="default")]}, **keys))
        self.node = Node(PATH, FOLDER)
        self.link = Link()
        self.node.links.append(self.link)

    async def call(self, method, **args):
        """What a method returns."""
        return await self.node.dispatcher().call("python", "loggers", method, args)

    async def refused(self, method, **args):
        """The text of the error that a method has to raise."""
        try:
            await self.call(method, **args)
        except Exception as error:
            return str(error)
        raise AssertionError("%s of %r was accepted" % (method, args))

    def ring(self, id="default"):
        """The log of a subscription."""
        return self.node.subscriptions[id].ring

    def reader(self, name="c", id="default"):
        """A subscriber."""
        return self.node.subscriptions[id].subscribers[name]

    def flushes(self, name="c", id="default"):
        """What one subscriber sends now."""
        self.reader(name, id).force()
        self.reader(name, id).step()
        return self.link.flushes()

    async def close(self):
        """End what was started."""
        await self.node.supervisor.stop_all()
        await asyncio.sleep(0)
