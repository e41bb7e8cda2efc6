"""The power is cut at every single operation of a flash chip while a release comes into its slot.

An update is made once, with a journal of every program and erase. Then, for every operation, the
flash is put together as it would be if the power had gone just before it, or in the middle of it:
a board that boots from that has a whole release in its active slot, and the same update goes on.
"""

import gc
import sys

from flash_kit import Flash, apply
from release_kit import NEW, OLD, digest, manifest, store, tree

import slots
from fieldpost.release import RECEIVING, Staged
from fieldpost.smallfile import make_folder

NEEDS = "littlefs"
HEAP = "4m"

BLOCKS = 48
ROOT = "/flash/"
LISTING = manifest(NEW)
PART = 700


class Life:
    """An update, and what it did to the flash."""

    def __init__(self):
        self.flash = Flash(BLOCKS)
        self.flash.format()
        self.flash.mount()
        slots.ROOT = ROOT
        store(ROOT + "a/", dict(OLD, release=manifest(OLD, "1.0.0")))
        make_folder(ROOT + "b")
        store(ROOT + "b/", {"release": b"older", "pkg/stale.mpy": b"x" * 5000})
        slots.switch("a")
        slots.healthy()
        self.image = bytearray(self.flash.data)
        self.journal = []
        self.flash.watch = self._watch

    def _watch(self, kind, address, data):
        self.journal.append((kind, address, data and bytes(data)))


async def update():
    """Bring ``NEW``, as a host does; the bytes that were sent."""
    staged = Staged(ROOT + "b/", ROOT + "a/", "2.0.0", len(LISTING), digest(LISTING))
    await staged.open()
    sent = put(staged, 0, LISTING) if staged.phase != "preparing" else 0
    await staged.prepare()
    assert staged.phase == RECEIVING, staged.error
    for index, _offset in staged.missing(0, 64):
        sent += put(staged, index, NEW[sorted(NEW)[index - 1]])
    await staged.finish()
    slots.switch("b")
    return sent


def put(staged, index, data):
    for offset in range(0, len(data), PART):
        staged.put(index, offset, data[offset : offset + PART])
    return len(data)


def check(slot, files, listing):
    """The slot has the whole release and nothing else."""
    assert tree(ROOT + slot + "/") == dict(files, release=listing), slot


async def test_every_power_cut():
    life = Life()
    whole = await update()
    life.flash.unmount()
    image, sent = life.image, []
    for operation in life.journal:
        for torn in (False, True):
            cut = bytearray(image)
            if torn:
                apply(cut, *operation, torn=True)
            sent.append(await boot(cut))
            gc.collect()
        apply(image, *operation)
    print(
        "%d operations, %d cuts; %d bytes to be sent, at most %d after a cut, %d on average"
        % (len(life.journal), len(sent), whole, max(sent), sum(sent) // len(sent))
    )
    assert sent == sorted(sent, reverse=True), "the later the cut, the less is sent again"
    assert sent[0] == whole and sent[-1] == 0


async def boot(image):
    """Start from a flash, and finish the update; the bytes that were sent for that."""
    flash = Flash(BLOCKS, image)
    flash.mount()
    path = list(sys.path)
    try:
        slots.select()
        sent = 0
        if slots.read()["active"] == "a":
            check("a", OLD, manifest(OLD, "1.0.0"))
            assert not slots.read()["trial"]
            sent = await update()
        assert slots.read()["active"] == "b" and slots.read()["trial"]
        check("b", NEW, LISTING)
        return sent
    finally:
        sys.path[:] = path
        flash.unmount()
        slots.ROOT = ROOT
