"""What a log really costs a flash: runs on MicroPython, on littlefs in RAM, in simulated time.

JSON on stdin: ``blocks`` of 4 KiB, ``config`` of the node, ``outage_s``, and ``values``: for each
second of a cycle the records ``[point id, value]`` of the subscription ``default``. Nobody
acknowledges. Prints what the log holds and what the flash had to do, as JSON.
"""

import json
import os
import sys

import vfs
from core_kit import UNIX_MS, still_clock

from fieldpost.config import validate
from fieldpost.log import Log
from fieldpost.smallfile import make_folder

BLOCK_BYTES = 4096
FOLDER = "/flash/data/logs/default"


class Flash:
    """A block device in RAM that counts erased blocks and programmed bytes."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.data = bytearray(blocks * BLOCK_BYTES)
        self.erases = self.programmed = 0

    def readblocks(self, block, buf, offset=0):
        """Of the block device protocol."""
        start = block * BLOCK_BYTES + offset
        buf[:] = self.data[start : start + len(buf)]

    def writeblocks(self, block, buf, offset=0):
        """Of the block device protocol."""
        start = block * BLOCK_BYTES + offset
        self.data[start : start + len(buf)] = buf
        self.programmed += len(buf)

    def ioctl(self, operation, _argument):
        """Of the block device protocol."""
        if operation == 4:
            return self.blocks
        if operation == 5:
            return BLOCK_BYTES
        self.erases += operation == 6
        return 0


class Absent:
    """A reader that confirms nothing."""

    name = "collector"
    acked = owed = ack_timeouts = 0

    def paused_ms(self):
        """It is not paused."""


def open_log(row, clock):
    """The log of a subscription's row."""
    shape = row["ring_bytes"], clock, iter(range(1, 99)).__next__, 1, row["frame_bytes"]
    log = Log(FOLDER, row["store"], *shape, row["overflow"], row["max_age"])
    log.cursors.append(Absent())
    return log


def main(blocks, config, outage_s, values):
    """Record for so long; returns the figures."""
    flash = Flash(blocks)
    vfs.VfsLfs2.mkfs(flash)
    vfs.mount(vfs.VfsLfs2(flash), "/flash")
    make_folder(FOLDER)
    clock, ticks = still_clock(1000, UNIX_MS)
    log = open_log(validate(config)["subscriptions"][0], clock)
    free, erases = os.statvfs("/flash")[3], flash.erases
    lost_at = None
    for second in range(outage_s):
        for id, value in values[second % len(values)]:
            log.append(id, value)
        ticks.advance(1000)
        log.tend()
        if lost_at is None and log.dropped:
            lost_at = second
    return {
        "records": log.next,
        "kept": log.next - log.oldest,
        "lost_at_s": lost_at,
        "flash": log.flash,
        "segments": len(log.segments),
        "free_blocks": free,
        "used_blocks": free - os.statvfs("/flash")[3],
        "erases": flash.erases - erases,
        "programmed": flash.programmed,
    }


sys.stdout.write(json.dumps(main(**json.load(sys.stdin))))
