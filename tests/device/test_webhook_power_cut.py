"""The power is cut at every operation of a flash chip while events become dead letters and are
replayed: a node boots with each of them, in its queue or among its dead letters."""

import gc

from flash_kit import Flash, apply
from webhook_kit import Node, section

from fieldpost.webhook import letters
from fieldpost.webhook.dispatcher import Webhooks
from fieldpost.webhook.retry import FAILED

NEEDS = "littlefs"
HEAP = "4m"

BLOCKS = 32
EVENTS = 3


def make(boot):
    """The webhooks of a node whose folder is on the flash."""
    node = Node(boot=boot)
    node.folder = "/flash"
    row = {"name": "a", "url": "http://127.0.0.1:1/"}
    return Webhooks(node, section(row, queue={"store": {"durable": True, "reserve": 0}}))


def live(mark):
    """Events that fail for good, then a replay; ``mark`` is told which are safe."""
    hooks = make(1)
    endpoint = hooks.endpoints["a"]
    ids = set()
    for number in range(EVENTS):
        hooks.put("alarm_raised", "v/n", {"alarm_id": number})
        assert hooks.queue.flush()
        hooks._fill(endpoint, hooks.clock.mono_ms())
        delivery = endpoint.pending[0]
        ids.add(delivery.id)
        mark(ids)
        letters.add(hooks, delivery, "status 400")
        endpoint.finish(delivery, "failed", FAILED)
        hooks.queue.log.tend()
    assert hooks.replay() == EVENTS
    mark(ids)
    hooks.queue.log.tend()
    return ids


def recorded():
    """``(image, operations, marks)``: the flash before, what was done to it, and from which
    operation on which events are safe."""
    flash = Flash(BLOCKS)
    flash.format()
    flash.mount()
    image = bytearray(flash.data)
    operations, marks = [], []

    def watch(kind, address, data):
        operations.append((kind, address, None if data is None else bytes(data)))

    flash.watch = watch
    live(lambda ids: marks.append((len(operations), set(ids))))
    flash.watch = None
    flash.unmount()
    return image, operations, marks


def booted(image):
    """The ids that a node knows that boots from these bytes."""
    flash = Flash(BLOCKS, bytearray(image))
    flash.mount()
    try:
        hooks = make(2)
        found = {letter.id for letter in hooks.dead}
        at = hooks.endpoints["a"].index
        while True:
            record = hooks.queue.read(at)
            if record is None:
                break
            found.add(record.id)
            at = record.index + 1
        assert not hooks.node.errors, hooks.node.errors
        return found
    finally:
        flash.unmount()


def test_every_cut():
    image, operations, marks = recorded()
    safe = set()
    for at, operation in enumerate(operations):
        while marks and marks[0][0] <= at:
            safe = marks.pop(0)[1]
        for torn in (False, True):
            cut = bytearray(image)
            if torn:
                apply(cut, *operation, torn=True)
            found = booted(cut)
            assert safe <= found, (at, torn, safe, found)
        apply(image, *operation)
        gc.collect()
    assert booted(image) == safe and len(safe) == EVENTS
    print("%d operations, each cut before and within" % len(operations))
