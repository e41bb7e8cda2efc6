"""The ROMFS partition of the virtual board: memory of the computer that a file keeps.

``vfs.rom_ioctl`` is as on an ESP32, where the unix port has none: one partition, a block device.
"""

import sys

import vfs

BLOCK_BYTES = 4096

_partition = None


class Partition:
    """A block device over ``memory``."""

    def __init__(self, memory):
        self._memory = memory

    def ioctl(self, operation, argument):
        """4: how many blocks, 5: bytes of one, 6: erase one."""
        if operation == 4:
            return len(self._memory) // BLOCK_BYTES
        if operation == 5:
            return BLOCK_BYTES
        if operation == 6:
            start = argument * BLOCK_BYTES
            self._memory[start : start + BLOCK_BYTES] = b"\xff" * BLOCK_BYTES
        return 0

    def readblocks(self, block, buffer, offset=0):
        """Fill ``buffer`` from a block on."""
        start = block * BLOCK_BYTES + offset
        buffer[:] = memoryview(self._memory)[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        """Write ``buffer`` to blocks that were erased."""
        start = block * BLOCK_BYTES + offset
        memoryview(self._memory)[start : start + len(buffer)] = buffer


class _Vfs:
    """The module ``vfs`` with what this port lacks."""

    def __getattr__(self, name):
        return rom_ioctl if name == "rom_ioctl" else getattr(vfs, name)


def rom_ioctl(operation, id=0):
    """1: how many partitions, 2: one of them, or an error as a negative number."""
    if operation == 1:
        return 1
    return _partition if operation == 2 and id == 0 else -22


def offer(memory):
    """Take a bytearray for the partition, and put it into ``vfs``."""
    global _partition
    _partition = Partition(memory)
    sys.modules["vfs"] = _Vfs()
