"""Durable log: the RAM ring in front, segments on flash behind, one persisted cursor a reader.

New records always go into the ring. Frames move to flash when the store mode says so, oldest
first and many at a time; a stored frame stays readable in RAM until its place is needed. Readers
see one log: what is older than the ring comes from flash, one segment at a time.

======== ======================================================================================
mode     what is written to flash
======== ======================================================================================
RAM      nothing
EXTENDED full frames, while more than ``onEntries`` records are unacknowledged
FILE     everything, at the latest ``maxLatency`` ms after it was acquired
======== ======================================================================================

FILE is entered after ``onAckTimeouts`` consecutive ack timeouts of a reader, when the ring fills
up (``onRamOverflow``), and when a reader was paused longer than ``onPause`` ms; a ``durable`` log
never leaves it. When every segment has been acknowledged and deleted, the log is back in RAM.
"""

import os
from array import array

from . import segment, smallfile
from .compat import const, ticks_diff
from .record import HEADER_BYTES, parse_header, put_header, seal
from .ring import REJECT_NEW, Reader, Ring

RAM = "RAM"
EXTENDED = "EXTENDED"
FILE = "FILE"

_OFFSETS = "/offsets"
#: Boots whose clock is remembered, for records stored before it was set: littlefs inlines these.
_BOOTS = const(4)
#: Damaged segments hold at most a record each so many bytes.
_RECORD_BYTES = const(4)


class Log(Ring):
    """A ``Ring`` with flash behind it; ``options`` is a validated ``store`` table.

    ``folder`` is the log's own, and exists. ``mode`` says how it stores at present. ``dropped``
    has two more reasons: ``flash_full`` (a segment was given up for a newer one) and ``damaged``
    (records that the flash did not give back whole). ``flash`` counts segments and bytes written,
    segments deleted, and failed writes.
    """

    def __init__(self, folder, options, *ring):
        Ring.__init__(self, *ring)
        self.folder = folder
        self.options = options
        self.flash = {"segments": 0, "bytes": 0, "deleted": 0, "errors": 0}
        self.last_error = None
        #: Indexes of the segments, oldest first; a segment ends where the next begins.
        self.segments = array("Q", segment.scan(folder))
        self._bytes = sum(segment.size(folder, index) for index in self.segments)
        self._offsets = self._load_offsets()
        self._damaged_to = 0
        self._waiting = None
        # What is on flash is behind this index; older frames in the ring are stored already.
        self._stored = self._end_on_flash()
        self.opened = max(self._stored, self._saved_cursors())
        self._index = self._stream_index = self.opened
        self.mode = FILE if self.segments or options["durable"] else RAM
        self.clock.on_change.append(self._clock_changed)

    @property
    def oldest(self):
        """Index of the oldest record kept, on flash or in RAM."""
        return self.segments[0] if self.segments else self.ram_oldest

    @property
    def ram_oldest(self):
        """Index of the oldest record in RAM; ``next`` when there is none."""
        return self._first[self._tail] if self._used else self.next

    def reader(self, index):
        """A reader of this log, from ``index`` on."""
        return LogReader(self, index)

    def start(self, name):
        """Index at which the reader ``name`` goes on: its persisted cursor, or the oldest."""
        try:
            index = smallfile.load(self._cursor_path(name))
        except ValueError:
            # What is delivered twice is recognised by the host; what is skipped would be lost.
            index = None
        return self.oldest if index is None else max(index, self.oldest)

    def released(self, cursor):
        """A reader advanced: persist its cursor, delete what every reader has passed."""
        if not self.segments:
            return
        try:
            smallfile.save(self._cursor_path(cursor.name), cursor.acked)
        except OSError as error:
            self.failed(error)
        floor = self._floor()
        while self.segments and self.segment_end(0) <= floor:
            self._remove_oldest()
        if not self.segments and not self.options["durable"]:
            self.mode = RAM

    def forget(self, name):
        """Remove the persisted cursor of a reader that is gone."""
        smallfile.remove(self._cursor_path(name))

    def clear(self):
        """Forget every record, on flash too, without counting it as dropped."""
        Ring.clear(self)
        while self.segments:
            self._remove_oldest()
        self._stored = self.next

    def tend(self):
        """Periodic care, once a second: choose the mode, store what is due, drop what is old."""
        Ring.tend(self)
        self._choose_mode()
        if self.mode != RAM:
            if self.mode == FILE and self._is_late():
                self.close_frame()
                self.store()
            else:
                self.store(self.options["segment"] - self.frame_bytes)
        self._expire()

    def offset_of(self, boot):
        """Unix ms minus monotonic ms of a boot, or None where it never knew the time."""
        if boot == self.boot and self.clock.trusted:
            return self.clock.offset_ms
        return self._offsets.get(str(boot))

    # -- storing

    def store(self, least_bytes=1):
        """Write closed frames that are not on flash yet, if they have ``least_bytes`` together.

        At most ``segment`` bytes a segment. False when the flash or the limits refused.
        """
        while True:
            slots, size = self._unstored()
            if not slots or size < least_bytes:
                return True
            if not self._write(slots, size + segment.SEGMENT_BYTES):
                return False

    def _unstored(self):
        """Slots of the next segment, frames in order and of one stream, and their bytes."""
        floor = max(self._stored, self._floor())
        slots = []
        total = segment.SEGMENT_BYTES
        for step in range(self._used):
            slot = (self._tail + step) % self.frames
            if slot == self._slot or self._first[slot] + self._counts[slot] <= floor:
                continue
            size = self._ends[slot] - slot * self.frame_bytes
            if slots and total + size > self.options["segment"]:
                break
            if slots and self._header(slot).stream != self._header(slots[0]).stream:
                break
            slots.append(slot)
            total += size
        return slots, total - segment.SEGMENT_BYTES

    def _header(self, slot):
        return parse_header(self.buf, slot * self.frame_bytes)

    def _write(self, slots, size):
        first = self._first[slots[0]]
        if not self._make_flash_room(size):
            return False
        chunks = [self._finish(slot) for slot in slots]
        header = self._header(slots[0])
        count = sum(self._counts[slot] for slot in slots)
        newest = self._newest[slots[-1]] + self.clock.offset_ms if self.clock.trusted else 0
        try:
            segment.write(self.folder, first, header.seq, header.stream, count, newest, chunks)
        except OSError as error:
            self.failed(error)
            return False
        self.segments.append(first)
        self._bytes += size
        self._stored = first + count
        self._waiting = None
        self.flash["segments"] += 1
        self.flash["bytes"] += size
        return True

    def _finish(self, slot):
        """The chunk of a closed frame, dated if that is possible by now, with its CRC."""
        start = slot * self.frame_bytes
        header = self._header(slot)
        base = header.base
        if not header.dated and self.clock.trusted:
            base += self.clock.offset_ms
        dated = self.clock.trusted or header.dated
        length = self._ends[slot] - start - HEADER_BYTES
        put_header(
            self.buf,
            start,
            dated,
            header.stream,
            header.boot,
            header.seq,
            base,
            self._counts[slot],
            length,
        )
        seal(self.buf, start, length)
        return memoryview(self.buf)[start : start + HEADER_BYTES + length]

    def _make_flash_room(self, size):
        while not self._fits(size):
            if self.policy == REJECT_NEW or not self.segments:
                return False
            self._give_up_oldest("flash_full")
        return True

    def _fits(self, size):
        options = self.options
        if options["maxBytes"] and self._bytes + size > options["maxBytes"]:
            return False
        most = options["maxEntries"]
        if most and self.segments and self.next - self.segments[0] > most:
            return False
        stat = os.statvfs(self.folder)
        return stat[0] * stat[3] >= size + options["reserve"]

    def _make_room(self):
        """Free the oldest frame of the ring, storing it first where that is allowed."""
        end = self._first[self._tail] + self._counts[self._tail]
        needed = end > max(self._stored, self._floor())
        if needed and (self.mode != RAM or self.options["onRamOverflow"]):
            self.mode = FILE
            self.store()
        if end > self._stored:
            return Ring._make_room(self)
        self._tail = (self._tail + 1) % self.frames
        self._used -= 1
        return True

    # -- modes and limits

    def _choose_mode(self):
        options = self.options
        if self.mode == FILE:
            return
        if any(self._is_stuck(cursor) for cursor in self.cursors) or (
            options["onRamOverflow"] and self._is_filling()
        ):
            self.mode = FILE
        elif options["onEntries"] and self.next - self._floor() > options["onEntries"]:
            self.mode = EXTENDED

    def _is_stuck(self, cursor):
        paused = cursor.paused_ms()
        if paused is not None:
            return paused > self.options["onPause"]
        return cursor.ack_timeouts >= self.options["onAckTimeouts"]

    def _is_filling(self):
        """True when three quarters of the ring hold records that some reader still needs."""
        oldest = max(self._floor(), self.ram_oldest)
        return (self.next - oldest) * 4 > (self.next - self.ram_oldest) * 3 and (
            self._used * 4 > self.frames * 3
        )

    def _is_late(self):
        """True when the oldest record that is not on flash has waited for ``maxLatency``."""
        now = self.clock.ticks()
        if self.next <= max(self._stored, self._floor()):
            self._waiting = None
        elif self._waiting is None:
            self._waiting = now
        return (
            self._waiting is not None
            and ticks_diff(now, self._waiting) >= self.options["maxLatency"]
        )

    def _expire(self):
        now = self.clock.unix_ms()
        age = self.options["maxDuration"]
        while age and now is not None and self.segments:
            head = segment.head(self.folder, self.segments[0])
            if not head or not head[0] or now - head[0] < age:
                return
            self._give_up_oldest("expired")

    # -- segments, cursors, clocks

    def segment_of(self, index):
        """Position in ``segments`` of the one that holds ``index``, or the first one behind it."""
        low, high = 0, len(self.segments)
        while low < high:
            middle = (low + high) // 2
            if self.segments[middle] <= index:
                low = middle + 1
            else:
                high = middle
        return max(low - 1, 0)

    def segment_end(self, at):
        """Index behind a segment: where the next begins."""
        return self.segments[at + 1] if at + 1 < len(self.segments) else self._stored

    def _end_on_flash(self):
        if not self.segments:
            return 0
        last = self.segments[-1]
        head = segment.head(self.folder, last)
        if head:
            return last + head[2]
        # Damaged: no index that may have been used in it is used again.
        return last + segment.size(self.folder, last) // _RECORD_BYTES

    def _give_up_oldest(self, reason):
        lost = self.segment_end(0) - max(self.segments[0], self._floor())
        self._remove_oldest()
        if lost > 0:
            self.count_drop(reason, lost)

    def _remove_oldest(self):
        index = self.segments[0]
        self._bytes -= segment.size(self.folder, index)
        smallfile.remove(self.folder + "/" + segment.name(index))
        self.segments = self.segments[1:]
        self.flash["deleted"] += 1

    def damaged(self, start, end):
        """Account once for records that a reader found damaged, ``start`` to before ``end``."""
        start = max(start, self._damaged_to)
        if end > start:
            self._damaged_to = end
            self.count_drop("damaged", end - start)

    def failed(self, error):
        """Account for a failed read or write of the flash."""
        self.flash["errors"] += 1
        self.last_error = error

    def _cursor_path(self, name):
        return self.folder + "/" + name + ".cur"

    def _saved_cursors(self):
        """The highest persisted cursor: records up to there were given numbers before."""
        highest = 0
        for entry in os.listdir(self.folder):
            if entry.endswith(".cur"):
                highest = max(highest, self.start(entry[:-4]))
        return highest

    def _load_offsets(self):
        try:
            return smallfile.load(self.folder + _OFFSETS) or {}
        except ValueError:
            return {}

    def _clock_changed(self):
        """Remember this boot's clock for records that were stored without it."""
        if not self.segments or str(self.boot) in self._offsets:
            return
        boots = sorted(self._offsets, key=int)[1 - _BOOTS :]
        self._offsets = {boot: self._offsets[boot] for boot in boots}
        self._offsets[str(self.boot)] = self.clock.offset_ms
        try:
            smallfile.save(self.folder + _OFFSETS, self._offsets)
        except OSError as error:
            self.failed(error)


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
        """The frame of ``index`` on flash; None after stepping over records that are not there."""
        at = log.segment_of(self.index)
        index = log.segments[at]
        end = log.segment_end(at)
        try:
            if self._segment is None:
                self._segment = segment.Segment(log.options["segment"])
            if self._segment.index != index:
                self._segment.load(log.folder, index)
            found = self._segment.chunk(self.index)
        except OSError as error:
            log.failed(error)
            found = None
        start, first, header = found or (0, end, None)
        if first > self.index:
            # Also where every reader of that time had passed the records before they were stored.
            log.damaged(self.index, min(first, self._segment.end or first))
            self.skipped += first - self.index
            self.index = first
        if not found:
            return None
        stop = start + HEADER_BYTES + header.length
        return self._segment.buf, start, first, header.count, stop
