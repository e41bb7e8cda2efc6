"""Ring of packed records in RAM: append without allocation, read by many cursors.

One preallocated buffer is divided into frames of equal size. A frame is a chunk (see
``record.py``): a header, then records, appended to the newest frame; room is made by giving up
the oldest frame as a whole. Records are counted by ``index``, from 0 and without holes;
``(stream, seq)``, the identity of a record downstream, follows from the frame it is in.
"""

from .compat import const, ticks_diff
from .record import (
    HEADER_BYTES,
    RecordError,
    parse_header,
    put_header,
    read,
    skip,
    write,
)

#: A base this old is renewed, far before ticks_diff turns wrong: 3.1 days.
_BASE_MS = const(1 << 28)
#: Sequence numbers are 32 bit; a new stream starts before they run out.
_LAST_SEQ = const(0xFFFF0000)
_NEVER = const(0x3FFFFFFF)

DROP_OLDEST = "drop_oldest"
REJECT_NEW = "reject_new"
MAX_AGE = "max_age"


class Ring:
    """Bounded log of records in RAM.

    ``size_bytes`` is rounded down to whole frames of ``frame_bytes`` (64 to 65535; at least two
    frames). ``new_stream()`` returns a stream number never used before. ``policy`` says what
    happens when every frame is full and still needed by a cursor: ``drop_oldest`` gives up the
    oldest frame, ``reject_new`` refuses the new record, ``max_age`` is ``drop_oldest`` that also
    gives up frames whose newest record is older than ``max_age_ms``.

    ``dropped`` counts losses by reason (``overflow``, ``rejected``, ``expired``, ``invalid``: a
    value that no record or frame can hold) and ``on_drop(reason, count)`` is told of each.
    ``cursors`` holds objects with an ``acked`` index: only records some cursor still needs count
    as lost. ``listeners`` are called when the log reaches an index given to ``arm``, and when a
    frame fills.
    """

    def __init__(
        self,
        size_bytes,
        clock,
        new_stream,
        boot=0,
        frame_bytes=1024,
        policy=DROP_OLDEST,
        max_age_ms=0,
        on_drop=None,
    ):
        self.frames = size_bytes // frame_bytes
        if self.frames < 2 or not 64 <= frame_bytes <= 65535:
            raise ValueError("a ring takes at least 2 frames of 64 to 65535 bytes")
        self.clock = clock
        self.boot = boot
        self.frame_bytes = frame_bytes
        self.policy = policy
        self.max_age_ms = max_age_ms
        self.on_drop = on_drop
        self.dropped = {}
        self.cursors = []
        self.listeners = []
        self._arm = _NEVER
        #: How a durable log stores at present, what it wrote; index of this boot's first record.
        self.mode = "RAM"
        self.flash = None
        self.opened = 0
        self._new_stream = new_stream
        self.stream = new_stream()
        self._stream_index = 0
        self.buf = bytearray(self.frames * frame_bytes)
        # Of each frame: index of its first record, count, end position, mono ms of its newest.
        self._first = [0] * self.frames
        self._counts = [0] * self.frames
        self._ends = [0] * self.frames
        self._newest = [0] * self.frames
        self._tail = 0
        self._used = 0
        # The frame that is open for appending; none when _slot is -1.
        self._slot = -1
        self._index = 0
        self._count = 0
        self._pos = 0
        self._end = 0
        self._rebase(clock.ticks())

    @property
    def next(self):
        """Index that the next record will get."""
        return self._index + self._count

    @property
    def ram_oldest(self):
        """Index of the oldest record in RAM; equals ``next`` when there is none."""
        return self._first[self._tail] if self._used else self.next

    @property
    def oldest(self):
        """Index of the oldest record kept."""
        return self.ram_oldest

    @property
    def stored(self):
        """Index before which no record is lost with the RAM: no cursor needs them any more."""
        return self._floor()

    @property
    def next_seq(self):
        """Sequence number, in ``stream``, that the next record will get."""
        return self.next - self._stream_index

    def append(self, point_id, value, text=None, ticks=None):
        """Add one record; False if it was refused, which is counted.

        ``ticks`` is when it was acquired (default: now), at most 3 days ago; no record gets an
        earlier time than the one before it. Allocates nothing for numbers without text.
        """
        clock = self.clock
        if ticks is None:
            ticks = clock.ticks()
        delta = ticks_diff(ticks, self._ticks)
        if delta < 0:
            delta = 0
            ticks = self._ticks
        if clock.offset_ms is not self._offset:
            self._rebase(ticks)
        try:
            while True:
                pos = write(self.buf, self._pos, self._end, point_id, delta, value, text)
                if pos > 0:
                    break
                if -pos > self.frame_bytes - HEADER_BYTES:
                    raise RecordError("larger than a frame")
                if not self._open_frame():
                    return False
                delta = ticks_diff(ticks, self._base_ticks)
        except RecordError:
            if not self._count:
                self.close_frame()
            self.count_drop("invalid", 1)
            return False
        self._pos = pos
        self._ticks = ticks
        self._count += 1
        if self._count >= self._arm:
            self.notify()
        return True

    def arm(self, index):
        """Call the listeners, once, when ``next`` gets to ``index`` or a frame fills before."""
        self._arm = min(self._arm, index - self._index)

    def notify(self):
        """Call the listeners."""
        self._arm = _NEVER
        for listener in self.listeners:
            listener()

    def tend(self):
        """Periodic care, at least once a day: close old frames, drop expired ones."""
        now = self.clock.ticks()
        if ticks_diff(now, self._base_ticks) > _BASE_MS:
            self._rebase(now)
        if self.policy == MAX_AGE:
            if ticks_diff(now, self._ticks) > self.max_age_ms:
                self.close_frame()
            limit = self.clock.mono_ms() - self.max_age_ms
            while self._used and self._tail != self._slot and self._newest[self._tail] < limit:
                self._drop_tail("expired")

    def close_frame(self):
        """Let the next record start a new frame."""
        slot = self._slot
        if slot < 0:
            return
        if self._count:
            self._counts[slot] = self._count
            self._ends[slot] = self._pos
            self._newest[slot] = self._mono + self.elapsed()
            self._index += self._count
            self._count = 0
        else:
            self._used -= 1
        self._slot = -1
        self._pos = self._end = 0

    def clear(self):
        """Forget every record without counting it as dropped."""
        self.close_frame()
        self._used = 0

    def count_drop(self, reason, count):
        """Account for ``count`` lost records."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count
        if self.on_drop:
            self.on_drop(reason, count)

    def frame(self, index):
        """``(buffer, start, first index, count, end)`` of the frame of ``index``, or None."""
        step = self._begun(index)
        if not step or index >= self.next:
            return None
        slot = (self._tail + step - 1) % self.frames
        count, end = self._extent(slot)
        return self.buf, slot * self.frame_bytes, self._first[slot], count, end

    def elapsed(self):
        """ms from the base of the newest frame to its newest record."""
        return ticks_diff(self._ticks, self._base_ticks)

    def bytes_from(self, index):
        """Bytes of the frames in RAM from that of ``index`` on, without their headers."""
        total = 0
        for step in range(max(self._begun(index) - 1, 0), self._used):
            slot = (self._tail + step) % self.frames
            count, end = self._extent(slot)
            if self._first[slot] + count > index:
                total += end - slot * self.frame_bytes - HEADER_BYTES
        return total

    def offset_of(self, boot):
        """Unix ms minus monotonic ms of a boot, or None where that is not known."""
        return self.clock.offset_ms if boot == self.boot else None

    def reader(self, index):
        """A reader of this log, from ``index`` on."""
        return Reader(self, index)

    def start(self, _name):
        """Index at which the reader ``name`` begins: the oldest record kept."""
        return self.oldest

    def released(self, cursor):
        """A cursor advanced; a durable log persists it."""

    def forget(self, name):
        """A reader is gone for good; a durable log removes its cursor."""

    def _begun(self, index):
        """Number of frames in RAM that begin at ``index`` or before."""
        low, high = 0, self._used
        while low < high:
            middle = (low + high) // 2
            if self._first[(self._tail + middle) % self.frames] <= index:
                low = middle + 1
            else:
                high = middle
        return low

    def _extent(self, slot):
        if slot == self._slot:
            return self._count, self._pos
        return self._counts[slot], self._ends[slot]

    def _floor(self):
        floor = self.next
        for cursor in self.cursors:
            if cursor.acked < floor:
                floor = cursor.acked
        return floor

    def _rebase(self, ticks):
        """Count the time of the frames to come from ``ticks``.

        One base serves many frames: where ints have 31 bits a Unix time is an object on the heap,
        and a new one for every frame would be garbage on the append path.
        """
        self.close_frame()
        self._offset = self.clock.offset_ms
        self._mono = self.clock.mono_at(ticks)
        self._base = self._mono + (self._offset or 0)
        self._base_ticks = self._ticks = ticks

    def _open_frame(self):
        self.close_frame()
        self.notify()
        if self._used == self.frames and not self._make_room():
            return False
        if self._index - self._stream_index > _LAST_SEQ:
            self._stream_index = self._index
            self.stream = self._new_stream()
        slot = (self._tail + self._used) % self.frames
        start = slot * self.frame_bytes
        dated = self._offset is not None
        put_header(
            self.buf,
            start,
            dated,
            self.stream,
            self.boot,
            self.next_seq,
            self._base,
            0,
            0,
            self._index & 0xFFFF,
        )
        self._used += 1
        self._slot = slot
        self._first[slot] = self._index
        self._pos = start + HEADER_BYTES
        self._end = start + self.frame_bytes
        return True

    def _make_room(self):
        if self.policy == REJECT_NEW:
            tail = self._tail
            if self._first[tail] + self._counts[tail] > self.stored:
                self.count_drop("rejected", 1)
                return False
        self._drop_tail("overflow")
        return True

    def _drop_tail(self, reason):
        slot = self._tail
        count = self._counts[slot]
        lost = min(count, self._first[slot] + count - self.stored)
        self._tail = (slot + 1) % self.frames
        self._used -= 1
        if lost > 0:
            self.count_drop(reason, lost)


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
        header = self.open()
        if header is None:
            return 0
        return header.length + self.ring.bytes_from(self.index + header.count)

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
