"""The power is cut at every single operation of a flash chip while a configuration changes.

A change is made once, with a journal of every program and erase. Then, for every operation, the
flash is put together as it would be if the power had gone just before it, or in the middle of it,
and a node boots from that: with the old configuration or with the new one, never with both.
"""

import gc
import json

from flash_kit import Flash, apply

from fieldpost import staging, texts
from fieldpost.compat import asyncio
from fieldpost.node import Node

NEEDS = "littlefs"
HEAP = "4m"

BLOCKS = 24
PATH = "/flash/config.json"
FOLDER = "/flash/data"
SMALL = {"id": "default", "ring_bytes": 1024, "frame_bytes": 256, "store": {"disk": False}}


def configuration():
    """One that takes more than a block, so that its file is not within the metadata."""
    points = [{"name": "p%d" % i, "description": "Text %d of the old" % i} for i in range(40)]
    device = {"id": "v", "driver": "virtual", "description": "old", "points": points}
    return {"node": "gw", "devices": [device], "subscriptions": [SMALL]}


def edit(config):
    """What changes: a text, a name, a point less, a point more."""
    device = config["devices"][0]
    device["description"] = "new"
    device["points"][0]["name"] = "first"
    device["points"].pop(5)
    device["points"].append({"name": "more"})


class Life:
    """A change, and what it did to the flash."""

    def __init__(self):
        self.flash = Flash(BLOCKS)
        self.flash.format()
        self.flash.mount()
        with open(PATH, "w") as file:
            json.dump(configuration(), file)
        self.node = Node(PATH, FOLDER)
        self.image = bytearray(self.flash.data)
        self.journal = []
        self.flash.watch = self._watch

    def _watch(self, kind, address, data):
        self.journal.append((kind, address, data and bytes(data)))

    async def change(self):
        """Make it."""
        await staging.change(self.node, edit)
        await self.node.supervisor.stop_all()
        self.flash.unmount()


async def look(flash):
    """What a node that boots from a flash has: "old" or "new"; AssertionError for a mixture."""
    flash.mount()
    try:
        node = Node(PATH, FOLDER)
        revision = node.settings["revision"]
        rows = [row for row in texts.rows(node) if row]
        assert rows[0][1] == ("new" if revision else "old")
        names = {point.id: point.name for point in node.points.values()}
        expected = {i + 1: "p%d" % i for i in range(40)}
        if revision:
            expected[1], expected[41] = "first", "more"
            del expected[6]
        assert names == expected
        assert {row[0]: row[2] for row in rows[1:41]}[40] == "Text 39 of the old"
        assert len(rows) == 41
        assert (saved().get("revision") or 0) == revision
        for leftover in (PATH + ".next", FOLDER + "/config.next"):
            assert not exists(leftover)
        return "new" if revision else "old"
    finally:
        flash.unmount()


def saved():
    with open(PATH) as file:
        return json.load(file)


def exists(path):
    try:
        open(path).close()
    except OSError:
        return False
    return True


async def test_a_power_cut_at_every_operation():
    life = Life()
    await life.change()
    image, journal = life.image, life.journal
    life = None
    found = []
    for i in range(len(journal) + 1):
        for torn in (False, True) if i < len(journal) else (False,):
            cut = bytearray(image)
            if torn:
                apply(cut, *journal[i], torn=True)
            found.append(await look(Flash(BLOCKS, cut)))
            cut = None
            gc.collect()
        if i < len(journal):
            apply(image, *journal[i])
    # One moment decides.
    assert len(journal) > 20
    assert found == sorted(found, key=lambda one: one == "new")
    assert found[0] == "old" and found[-1] == "new"
    await asyncio.sleep(0)


async def test_a_node_goes_on_changing_after_a_cut():
    life = Life()
    await life.change()
    journal = life.journal
    for i in range(0, len(journal), 7):
        cut = bytearray(life.image)
        for operation in journal[:i]:
            apply(cut, *operation)
        flash = Flash(BLOCKS, cut)
        flash.mount()
        node = Node(PATH, FOLDER)
        before = node.settings["revision"]
        await staging.change(node, lambda config: config["devices"][0]["points"].pop())
        assert node.settings["revision"] == before + 1
        await node.supervisor.stop_all()
        again = Node(PATH, FOLDER)
        assert sorted(again.points) == sorted(node.points)
        flash.unmount()
