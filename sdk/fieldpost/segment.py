"""Segment files: runs of chunks written to flash once, and read back chunk by chunk.

A segment is a 32-byte header, then the chunks of consecutive records, little endian::

    0 "FPS1"                            20 u32 boot where those are monotonic, 0 where Unix ms
    4 u64 index of the first record     24 u32 record count
    12 u64 ms of the newest record      28 u32 CRC-32 of 0..28

Each chunk has the low 16 bits of the index of its first record in the u16 at 6.

A segment is written under a temporary name, closed and renamed to the hexadecimal index of its
first record: a power cut leaves it whole or absent. The CRCs find what the flash itself damaged;
what stands behind a damaged chunk is found again by its magic and CRC. The temporary file is not
in the folder of the segments: to rename a file inside a folder of many, littlefs reads some
hundred KB, to move one into it a tenth of that.
"""

import os
from struct import pack_into, unpack_from

from .compat import const, crc32, names

SEGMENT_BYTES = const(32)
FOLDER = "/seg"
TEMPORARY = "/tmp"
_MAGIC = b"FPS1"
_ENOSPC = const(28)
#: Segments written until the free blocks are counted again.
_CHECK = const(16)


def path(folder, index):
    """Path of the segment whose first record has ``index``."""
    return "%s%s/%012x" % (folder, FOLDER, index)


def header(index, end, newest_ms, boot):
    """Header of a segment of the records from ``index`` to before ``end``."""
    made = bytearray(SEGMENT_BYTES)
    made[0:4] = _MAGIC
    pack_into("<QQII", made, 4, index, newest_ms, boot, end - index)
    pack_into("<I", made, 28, crc32(memoryview(made)[:28]))
    return made


def write(folder, index, parts):
    """Write the segment ``index``: bytes-like parts, the first of which begins with its header.

    Replaces one of the same index as a whole. Raises OSError; then nothing has changed.
    """
    with open(folder + TEMPORARY, "wb") as file:
        for part in parts:
            file.write(part)
    os.rename(folder + TEMPORARY, path(folder, index))


def scan(folder):
    """Indexes of the segments in ``folder``, sorted. Raises OSError."""
    found = []
    for name in names(folder + FOLDER):
        if len(name) == 12 and not name.strip("0123456789abcdef"):
            found.append(int(name, 16))
    found.sort()
    return found


def head(folder, index):
    """``(index, end, newest ms, boot)`` of a segment; None if it is damaged or not there."""
    try:
        with open(path(folder, index), "rb") as file:
            found = parse(file.read(SEGMENT_BYTES))
    except OSError:
        return None
    return found if found and found[0] == index else None


def parse(data):
    """The same from the bytes of a segment; None if its header is damaged."""
    if len(data) < SEGMENT_BYTES or unpack_from("<I", data, 28)[0] != crc32(data[:28]):
        return None
    index, newest, boot, count = unpack_from("<QQII", data, 4)
    return (index, index + count, newest, boot) if data[:4] == _MAGIC else None


class Space:
    """Room on the volume of ``folder`` for segments of ``size_bytes``.

    Kept up by what is taken and given back, and counted every 16 segments only: to count its free
    blocks, littlefs reads all that it holds.
    """

    def __init__(self, folder, size_bytes):
        self._folder = folder
        #: Bytes that a segment takes, in whole blocks.
        self.unit = size_bytes
        self._free = self._check = self._margin = 0

    def holds(self, reserve):
        """True if there is room for one more and ``reserve`` bytes. Raises OSError."""
        if self._check <= 0:
            stat = os.statvfs(self._folder)
            self.unit = -(-self.unit // stat[1]) * stat[1]
            self._free = stat[1] * stat[3]
            self._check = _CHECK
        if self._free >= self.unit + reserve + self._margin:
            return True
        self._check -= 1
        return False

    def take(self, number):
        """So many segments were written; -1 for one deleted."""
        self._free -= number * self.unit
        self._check -= 1

    def failed(self, error):
        """A write failed: if it was for lack of room, two more blocks are left to the volume."""
        if error.args[:1] == (_ENOSPC,):
            self._margin = 2 * self.unit
            self._check = 0
