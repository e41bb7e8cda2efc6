"""Ring of packed records in RAM: append without allocation, read by many cursors (``reader.py``).

One preallocated buffer is divided into frames of equal size. A frame is a chunk (see
``record.py``): a header, then records, appended to the newest frame; room is made by giving up
the oldest frame as a whole. Records are counted by ``index``, from 0 and without holes;
``(stream, seq)``, the identity of a record downstream, follows from the frame it is in.
"""

from .compat import const, ticks_diff
from .reader import Reader
from .record import HEADER_BYTES, RecordError, put_header, write

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

    #: Index of the oldest record kept; a durable log has older ones on flash.
    oldest = ram_oldest

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
