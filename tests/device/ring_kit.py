"""What the tests of the ring share: a ring on a still clock, and everything ahead of a reader."""

from core_kit import still_clock

from fieldpost.compat import ticks_add
from fieldpost.reader import Reader
from fieldpost.record import decode
from fieldpost.ring import Ring

PERIOD = ticks_add(0, -1) + 1  # 2**30 but on 64-bit MicroPython
DAY = 86400000
LAST_SEQ = 0xFFFF0000


class Cursor:
    """What subscribers are to the ring."""

    def __init__(self, acked=0):
        self.acked = acked


def make(frames=4, frame_bytes=128, unix_ms=None, now=0, **options):
    """``(Ring, Ticks, Clock)``; its streams are 100, 101, ..."""
    clock, ticks = still_clock(now, unix_ms)
    streams = iter(range(100, 200))
    size = frames * frame_bytes
    ring = Ring(size, clock, lambda: next(streams), 9, frame_bytes, **options)
    return ring, ticks, clock


def fill(ring, count, first=0):
    """Append numbered records of five bytes; how many were taken."""
    return sum(ring.append(1, 1000 + first + number) for number in range(count))


def taken(reader, limit=10000):
    """Everything ahead of a reader, by ``take``: ``(stream, seq, dated, ms, id, value, text)``."""
    found = []
    while len(found) < limit:
        header = reader.open()
        if header is None:
            break
        ms = header.base
        for number in range(min(header.count, limit - len(found))):
            delta, point_id, value, text = reader.take()
            ms += delta
            identity = (header.stream, header.seq + number)
            found.append(identity + (header.dated, ms, point_id, value, text))
    return found


def packed(reader, room=4096, max_records=10000):
    """The same by ``pack`` and ``decode``."""
    found = []
    out = bytearray(room + 20)
    while True:
        count, end = reader.pack(out, 10, 10 + room, max_records)
        if not count:
            assert end == 10
            return found
        pos = 10
        before = len(found)
        while pos < end:
            assert not any(out[pos + 6 : pos + 8])
            header, records, pos = decode(out, pos)
            assert header.boot == 9
            for number, (ms, point_id, value, text) in enumerate(records):
                identity = (header.stream, header.seq + number)
                found.append(identity + (header.dated, ms, point_id, value, text))
        assert pos == end <= 10 + room
        assert len(found) - before == count <= max_records


def values(records):
    """The values of what ``taken`` and ``packed`` return."""
    return [one[5] for one in records]


def times(records):
    return [one[3] for one in records]


def numbers(ring, index=0):
    """What ``fill`` wrote, as read now from ``index`` on."""
    return [value - 1000 for value in values(taken(Reader(ring, index)))]
