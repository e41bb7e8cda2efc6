"""Reading a log back from flash: one segment in RAM at a time, chunk by chunk.

Whatever a segment's bytes are, only what the CRCs confirm is delivered; the rest is stepped over
and counted as damaged.
"""

from .compat import const
from .reader import Reader
from .record import HEADER_BYTES, MAGIC, RecordError, check, parse_header
from .segment import SEGMENT_BYTES, parse, path

#: A record takes at least so many bytes.
_RECORD_BYTES = const(3)
_UNKNOWN = const(1 << 62)


class LogReader(Reader):
    """Reads a ``Log`` forward, from flash and then from RAM."""

    def __init__(self, log, index):
        Reader.__init__(self, log, index)
        self._segment = None

    def _locate(self):
        log = self.ring
        while self.index < log.ram_oldest:
            found = self._on_flash(log)
            if found:
                return found
        # What is in RAM needs no buffer.
        self._segment = None
        return Reader._locate(self)

    def _on_flash(self, log):
        """The chunk of ``index``; None after stepping over records that are not there."""
        at = log.segment_of(self.index)
        index = log.segments[at]
        held = self._segment
        if held is None:
            held = self._segment = Segment(log.options["segment"])
        if held.index != index:
            # The same buffer, but not what this reader was in.
            self._buf = None
            try:
                held.load(log.folder, index)
            except OSError as error:
                log.failed(error)
        found = held.chunk(self.index)
        end = log.segment_end(at)
        if found:
            first = found[2]
        else:
            first = end if at + 1 < len(log.segments) else log.ram_oldest
        if first > self.index:
            # Also where every reader of that time had passed the records before they were stored.
            log.damaged(index, self.index, min(first, end, held.end))
            self.skipped += first - self.index
            self.index = first
        return found


class Segment:
    """A segment read into a buffer that is used again for the next one.

    ``index`` is that of its first record, -1 while there is none; ``end`` the index behind its
    last one, as far as the header is there to say it.
    """

    def __init__(self, size_bytes):
        self.buf = bytearray(size_bytes)
        self.index = -1
        self.end = 0
        self.loads = 0
        self._size = 0
        # The chunk found last: (buf, start, index of its first record, count, end).
        self._found = None

    def load(self, folder, index):
        """Read the segment ``index``. Raises OSError; then it holds nothing."""
        self.index = -1
        self.end = _UNKNOWN
        self._size = 0
        self._found = None
        with open(path(folder, index), "rb") as file:
            # There may be a segment of another configuration.
            length = file.seek(0, 2)
            file.seek(0)
            if length > len(self.buf):
                self.buf = bytearray(length)
            self._size = file.readinto(self.buf)
        self.loads += 1
        self.index = index
        known = parse(bytes(memoryview(self.buf)[: min(self._size, SEGMENT_BYTES)]))
        if known and known[0] == index:
            self.end = known[1]

    def chunk(self, index):
        """The undamaged chunk that holds the record ``index``, or the next one behind it.

        ``(buf, start, index of its first record, record count, end)``, or None.
        """
        found = self._found
        if not found or index < found[2]:
            found = self._next(SEGMENT_BYTES)
        while found and index >= found[2] + found[3]:
            found = self._next(found[4])
        self._found = found
        return found

    def _next(self, pos):
        """The first undamaged chunk from ``pos`` on."""
        while pos < self._size:
            if self.buf[pos] == MAGIC:
                try:
                    header = parse_header(self.buf, pos)
                    end = pos + HEADER_BYTES + header.length
                    if end <= self._size:
                        check(self.buf, pos, header)
                        first = self.index + (header.mark - self.index & 0xFFFF)
                        return self.buf, pos, first, header.count, end
                except RecordError:
                    pass
            pos += 1
        return None

    def bound(self):
        """Index behind its last record at most, going by the chunks."""
        end, pos = self.index, SEGMENT_BYTES
        found = self._next(pos)
        while found:
            end, pos = found[2] + found[3], found[4]
            found = self._next(pos)
        # One without a record was never written.
        return max(end + max(self._size - pos, 0) // _RECORD_BYTES, self.index + 1)
