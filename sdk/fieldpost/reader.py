"""Reads a log forward, record by record or as whole chunks of packed bytes."""

from .record import HEADER_BYTES, parse_header, read, skip


class Reader:
    """Reads a ring forward from ``index``, which it advances.

    Records that were given up before they were read are stepped over and added to ``skipped``.
    """

    def __init__(self, ring, index):
        self.ring = ring
        self.index = index
        self.skipped = 0
        # Where the record at _at is: in _buf at _pos, in the frame whose first index is _first;
        # _ms is the time from the frame's base to the record before it.
        self._buf = None
        self._first = -1
        self._at = 0
        self._pos = 0
        self._ms = 0

    def seek(self, index):
        """Continue from another index."""
        self.index = index

    def open(self):
        """``Header`` of what can be read next, or None at the end of the log.

        ``seq`` and ``base`` are those of the record at ``index``; ``base`` is Unix ms wherever
        the boot's clock is known by now. ``count`` and ``length`` reach to the end of the frame.
        """
        oldest = self.ring.oldest
        if self.index < oldest:
            self.skipped += oldest - self.index
            self.index = oldest
        frame = self._locate()
        if frame is None:
            return None
        buf, start, first, count, end = frame
        header = parse_header(buf, start)
        if buf is not self._buf or first != self._first or self._at != self.index:
            self._enter(buf, start, first)
        header.seq += self.index - first
        header.count = first + count - self.index
        header.length = end - self._pos
        header.base += self._ms
        if not header.dated:
            offset = self.ring.offset_of(header.boot)
            if offset is not None:
                header.base += offset
                header.dated = True
        return header

    def take(self):
        """Decode the record at ``index``: ``(ms since the header's base, id, value, text)``.

        Only after ``open`` and within its ``count``. The ms add up from that header's base.
        """
        self._pos, point_id, delta, value, text = read(self._buf, self._pos)
        self._ms += delta
        self._step(1)
        return delta, point_id, value, text

    def pack(self, out, pos, end, max_records):
        """Write chunks into ``out[pos:end]``; returns ``(number of records, end position)``.

        At most ``max_records``, never records of two streams. None are written at the end of the
        log, or when not even one fits: a frame always fits into its own size.
        """
        total = 0
        header = self.open()
        while header and total < max_records:
            source = self._pos
            body = pos + HEADER_BYTES
            if not self._advance(header, max_records - total, end - body):
                break
            stop = body + header.length
            out[body:stop] = memoryview(self._buf)[source : source + header.length]
            header.mark = 0
            header.put(out, pos)
            total += header.count
            pos = stop
            header = self.follow(header) if total < max_records else None
        return total, pos

    def follow(self, header):
        """Like ``open``, but None unless the very next record, of the same stream, is there.

        A batch names its first record only: what is behind a gap goes into another one.
        """
        index, skipped = self.index, self.skipped
        found = self.open()
        if self.index != index:
            self.index, self.skipped = index, skipped
            return None
        return found if found and found.stream == header.stream else None

    def bytes_ahead(self):
        """Packed bytes from here to the end of the log, as far as they are in RAM."""
        total = 0
        header = self.open()
        if header:
            total = header.length
            frame = self.ring.frame(self.index + header.count)
            while frame:
                total += frame[4] - frame[1] - HEADER_BYTES
                frame = self.ring.frame(frame[2] + frame[3])
        return total

    def _locate(self):
        """``(buffer, start, first index, count, end)`` of the frame that holds ``index``."""
        return self.ring.frame(self.index)

    def _enter(self, buf, start, first):
        pos = start + HEADER_BYTES
        ms = 0
        for _ in range(self.index - first):
            pos, delta = skip(buf, pos)
            ms += delta
        self._buf = buf
        self._first = first
        self._pos = pos
        self._ms = ms
        self._at = self.index

    def _step(self, count):
        self.index += count
        self._at = self.index

    def _advance(self, header, max_records, max_bytes):
        """Move over the records of ``header`` that fit, cut it down to those; False if none."""
        if header.count <= max_records and header.length <= max_bytes:
            # Now the frame is done, or it is the open one and may grow.
            self._pos += header.length
            self._ms = self.ring.elapsed()
            self._step(header.count)
            return True
        start = self._pos
        count = 0
        while count < max_records and count < header.count:
            end, delta = skip(self._buf, self._pos)
            if end - start > max_bytes:
                break
            self._pos = end
            self._ms += delta
            count += 1
        self._step(count)
        header.count = count
        header.length = self._pos - start
        return count > 0
