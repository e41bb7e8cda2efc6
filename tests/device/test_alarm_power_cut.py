"""The power is cut at every operation of a flash chip while the alarms' state is written: what a
node boots with is the state of before or after, never another."""

import gc

from flash_kit import Flash, apply

from fieldpost.alarms import store

NEEDS = "littlefs"
HEAP = "4m"

BLOCKS = 16
PATH = "/flash/alarms"


def entry(id, number):
    """What one alarm keeps, as long as it gets."""
    return ["alarm-%02d" % id, 123456789, 2, False, number, 0, "device/point", "stale", "info"]


def states():
    """What is written, one after the other: none, few, many (of two blocks), fewer, none."""
    for count in (1, 3, 60, 60, 2, 0, 5, 0):
        yield [entry(i, count * 1000 + i) for i in range(count)]


def recorded():
    """``(image, operations, marks)``: the flash before, what was done to it, and how many
    operations there had been when each state was written."""
    flash = Flash(BLOCKS)
    flash.format()
    image = bytearray(flash.data)
    operations = []
    marks = []

    def watch(kind, address, data):
        operations.append((kind, address, None if data is None else bytes(data)))

    flash.mount()
    flash.watch = watch
    for state in states():
        store.save(PATH, state)
        marks.append(len(operations))
    flash.watch = None
    flash.unmount()
    return image, operations, marks


def booted(image):
    """``(entries by id, how many are damaged)`` of a node that boots from these bytes."""
    flash = Flash(BLOCKS, bytearray(image))
    flash.mount()
    try:
        return store.load(PATH)
    finally:
        flash.unmount()


def test_every_cut():
    image, operations, marks = recorded()
    known = [{}] + [{one[0]: one for one in state} for state in states()]
    written = 0
    for at, operation in enumerate(operations):
        while written < len(marks) and marks[written] <= at:
            written += 1
        for torn in (False, True):
            cut = bytearray(image)
            if torn:
                apply(cut, *operation, torn=True)
            entries, damaged = booted(cut)
            assert damaged == 0
            assert entries in (known[written], known[written + 1]), (at, torn)
        apply(image, *operation)
        gc.collect()
    assert booted(image) == ({}, 0)
    print("%d operations, each cut before and within" % len(operations))
