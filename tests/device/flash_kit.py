"""A NOR flash in RAM, for littlefs: counts what is done to it, and can keep a journal of it."""

import vfs

ERASE = 0
PROGRAM = 1


class Flash:
    """``blocks`` of 4 KiB. ``watch(kind, address, data)`` is told of every operation before it
    takes place; ``data`` of an erased block is None."""

    BLOCK = 4096

    def __init__(self, blocks, data=None):
        self.data = data or bytearray(b"\xff" * (blocks * self.BLOCK))
        self.blocks = blocks
        self.watch = None
        self.reads = self.programmed = self.erases = 0

    def readblocks(self, block, buf, offset=0):
        """Fill ``buf``."""
        self.reads += 1
        start = block * self.BLOCK + offset
        buf[:] = memoryview(self.data)[start : start + len(buf)]

    def writeblocks(self, block, buf, offset):
        """Program ``buf`` where it was erased before."""
        self.programmed += len(buf)
        self._do(PROGRAM, block * self.BLOCK + offset, buf)

    def ioctl(self, operation, argument):
        """Number and size of blocks; erase one."""
        if operation == 4:
            return self.blocks
        if operation == 5:
            return self.BLOCK
        if operation == 6:
            self.erases += 1
            self._do(ERASE, argument * self.BLOCK, None)
        return 0

    def _do(self, kind, address, data):
        if self.watch:
            self.watch(kind, address, data)
        apply(self.data, kind, address, data)

    def format(self):
        """Make an empty file system."""
        vfs.VfsLfs2.mkfs(self)

    def mount(self, path="/flash"):
        """Mount it."""
        vfs.mount(vfs.VfsLfs2(self), path)

    def unmount(self, path="/flash"):
        """Forget what is mounted; what was not written is not written now either."""
        vfs.umount(path)


def apply(image, kind, address, data, torn=False):
    """Do an operation to the bytes of a flash, or only the first half of it."""
    if kind == ERASE:
        size = Flash.BLOCK // 2 if torn else Flash.BLOCK
        image[address : address + size] = b"\xff" * size
    else:
        size = len(data) // 2 if torn else len(data)
        image[address : address + size] = data[:size]
