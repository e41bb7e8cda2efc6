"""For tests of what the API changes: a node from a file that runs, and calls of its methods."""

import json
import os
import sys

from fieldpost.compat import asyncio, sleep_ms
from fieldpost.counters import make_folder
from fieldpost.drivers import base
from fieldpost.errors import DriverError, FieldpostError
from fieldpost.node import Node

FOLDER = "gateways-test"
PATH = FOLDER + "/config.json"
SMALL = {"id": "default", "ring_bytes": 1024, "frame_bytes": 256, "store": {"disk": False}}
SECRET = "MARK-OF-A-SECRET"
DEVICES = [
    {
        "id": "ahu-1",
        "driver": "virtual",
        "interval": 40,
        "description": "Roof",
        "tags": {"floor": "5"},
        "points": [
            {"name": "dat", "unit": "°C", "value": 21.5, "description": "Supply air"},
            {"name": "fan", "value": True, "log": "on_update", "tags": {"room": "hall"}},
            {"name": "set", "value": 20, "writable": True, "min": 10, "max": 30},
        ],
    },
    {"id": "off", "driver": "virtual", "enabled": False, "points": [{"name": "dat"}]},
    {
        "id": "safe",
        "driver": "vault",
        "password": SECRET,
        "points": [{"name": "door", "pin": SECRET, "shelf": 7, "writable": True}, {"name": "low"}],
    },
]


class Vault(base.Driver):
    """A driver with secrets; ``act`` is called by each read and write, and may raise."""

    DEVICE = {"password": "secret 1..64 = ?", "room": "str = hall"}
    POINT = {"pin": "secret 1..64 = ?", "shelf": "int 0..99 = 0"}
    act = None
    reads = 0

    async def read(self, points):
        Vault.reads += 1
        if Vault.act:
            await Vault.act()
        for point in points:
            point.update(point.config["shelf"], "shelf")

    async def write(self, point, value):
        if Vault.act:
            await Vault.act()
        if not isinstance(value, bool):
            raise DriverError("invalid value")
        point.update(value)


class Module:
    """What is imported as the driver ``vault``."""

    driver = Vault


sys.modules["fieldpost.drivers.vault"] = Module
sys.modules["fieldpost.drivers"].vault = Module


def write(**keys):
    """Make the configuration file, with these keys in the place of its own."""
    make_folder(FOLDER)
    for name in os.listdir(FOLDER):
        if name.startswith("config."):
            os.remove(FOLDER + "/" + name)
    config = {"node": "gw", "devices": DEVICES, "subscriptions": [SMALL]}
    config.update(keys)
    with open(PATH, "w") as file:
        json.dump(config, file)


def saved():
    """The configuration as it is in the file."""
    with open(PATH) as file:
        return json.load(file)


def text():
    """The file."""
    with open(PATH) as file:
        return file.read()


class Board:
    """A node from the file; ``boot`` starts it, ``halt`` ends it."""

    def __init__(self, **keys):
        Vault.act, Vault.reads = None, 0
        if keys.pop("fresh", True):
            write(**keys)
        self.node = Node(PATH, FOLDER)
        self.task = None

    async def boot(self, ms=60):
        """Let it run; returns itself when its devices have been polled."""
        self.task = asyncio.create_task(self.node.run())
        await sleep_ms(ms)
        return self

    async def halt(self):
        """Stop it as a power cut would, but for what asyncio needs."""
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            await sleep_ms(0)

    async def again(self):
        """The node after a restart."""
        await self.halt()
        return await Board(fresh=False).boot()

    async def call(self, name, **args):
        """What ``module.method`` returns, as a client gets it."""
        module, _, method = name.partition(".")
        value = await self.node.dispatcher().call("python", module, method, args)
        return json.loads(json.dumps(value))

    async def refused(self, name, **args):
        """The text of the error of ``module.method``; nothing of the configuration changes."""
        before = text(), self.node.digests, sorted(self.node.devices), sorted(self.node.points)
        try:
            await self.call(name, **args)
        except FieldpostError as error:
            after = text(), self.node.digests, sorted(self.node.devices), sorted(self.node.points)
            assert before == after
            assert not exists(PATH + ".next") and not exists(FOLDER + "/config.next")
            return str(error)
        raise AssertionError("%s of %r was accepted" % (name, args))


def exists(path):
    """Whether there is a file."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True
