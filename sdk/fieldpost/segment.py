"""Segment files: runs of chunks written to flash once, and read back chunk by chunk.

A segment is a 40-byte header, then the chunks of consecutive records of one stream, little
endian::

    0 "FPSG"     8 u64 index of the first record         28 u32 record count
    4 u32 1     16 u64 Unix ms of the newest or 0        32 u32 stream
                24 u32 seq of the first                  36 u32 CRC-32 of 0..36

It is written under a temporary name, closed and renamed to the hexadecimal index of its first
record, so a power cut leaves it whole or absent; the CRCs of header and chunks find what the
flash itself damaged. Chunks behind a damaged one are found again by their magic and CRC.
"""

import os
from struct import pack_into, unpack_from

from .compat import const, crc32
from .record import HEADER_BYTES, MAGIC, RecordError, check, parse_header

SEGMENT_BYTES = const(40)
TEMPORARY = "tmp"
_FORMAT = const(1)
_MAGIC = b"FPSG"


def name(index):
    """File name of the segment whose first record has ``index``; names sort like indexes."""
    return "%012x" % index


def write(folder, index, seq, stream, count, newest_ms, chunks):
    """Write a segment; ``chunks`` are bytes-like objects. Returns the bytes written.

    Raises OSError; then the segment does not exist and an older one of that name is untouched.
    """
    header = bytearray(SEGMENT_BYTES)
    header[0:4] = _MAGIC
    pack_into("<I", header, 4, _FORMAT)
    pack_into("<QQIII", header, 8, index, newest_ms, seq, count, stream)
    pack_into("<I", header, 36, crc32(memoryview(header)[:36]))
    path = folder + "/" + TEMPORARY
    total = SEGMENT_BYTES
    with open(path, "wb") as file:
        file.write(header)
        for chunk in chunks:
            file.write(chunk)
            total += len(chunk)
    os.rename(path, folder + "/" + name(index))
    return total


def scan(folder):
    """Indexes of the segments in ``folder``, sorted. Leftovers of a cut write are removed."""
    found = []
    for entry in os.listdir(folder):
        if entry == TEMPORARY:
            os.remove(folder + "/" + entry)
        elif len(entry) == 12 and not entry.strip("0123456789abcdef"):
            found.append(int(entry, 16))
    found.sort()
    return found


def head(folder, index):
    """``(newest Unix ms or 0, seq, count)`` of a segment, or None where its header is damaged."""
    with open(folder + "/" + name(index), "rb") as file:
        return _parse(file.read(SEGMENT_BYTES), index)


def size(folder, index):
    """Bytes of a segment."""
    return os.stat(folder + "/" + name(index))[6]


def _parse(header, index):
    if len(header) < SEGMENT_BYTES or bytes(header[0:4]) != _MAGIC:
        return None
    if unpack_from("<I", header, 36)[0] != crc32(memoryview(header)[:36]):
        return None
    found, newest, seq, count = unpack_from("<QQII", header, 8)
    return (newest, seq, count) if found == index else None


class Segment:
    """A segment read into a buffer that is used again for the next one."""

    def __init__(self, size_bytes):
        self.buf = bytearray(size_bytes)
        self.index = -1
        #: Index behind its last record, as far as its header says.
        self.end = 0
        self.loads = 0
        self._size = 0
        #: Where the search for chunks goes on, and the index of what was found there.
        self._at = 0
        self._reached = 0
        self._seq = None

    def load(self, folder, index):
        """Read the segment ``index``. OSError if it cannot be read."""
        self.index = -1
        with open(folder + "/" + name(index), "rb") as file:
            needed = size(folder, index)
            if needed > len(self.buf):
                self.buf = bytearray(needed)
            self._size = file.readinto(self.buf)
        self.loads += 1
        self.index = index
        self._at = SEGMENT_BYTES
        self._reached = index
        found = _parse(memoryview(self.buf)[: min(self._size, SEGMENT_BYTES)], index)
        self._seq = found[1] if found else None
        self.end = index + (found[2] if found else self._size)

    def chunk(self, index):
        """The undamaged chunk that holds ``index``, or the next one behind it.

        Returns ``(start, index of its first record, Header)``, or None when there is none.
        """
        if index < self._reached:
            self._at = SEGMENT_BYTES
        while self._at < self._size:
            header = self._valid(self._at)
            if header is None:
                self._at += 1
                continue
            first = self._first(header)
            if first is not None and index < first + header.count:
                self._reached = first
                return self._at, first, header
            self._at += HEADER_BYTES + header.length
        return None

    def _first(self, header):
        if self._seq is None:
            # The segment's own header is damaged; its first chunk has the same seq.
            if self._at != SEGMENT_BYTES:
                return None
            self._seq = header.seq
        return self.index + header.seq - self._seq

    def _valid(self, pos):
        if self.buf[pos] != MAGIC:
            return None
        try:
            header = parse_header(self.buf, pos)
            if pos + HEADER_BYTES + header.length > self._size:
                return None
            check(self.buf, pos, header)
        except RecordError:
            return None
        return header
