"""Durable log: the RAM ring in front, segments on flash behind, one persisted cursor a reader.

New records always go into the ring. Frames move to flash when the store mode says so, oldest
first and many at a time; a stored frame stays readable in RAM until its place is needed. Readers
see one log: what is older than the ring comes from flash, one segment at a time.

======== ======================================================================================
mode     what is written to flash
======== ======================================================================================
RAM      nothing
EXTENDED whole segments, while more than ``onEntries`` records are unacknowledged
FILE     whole segments, and everything at the latest ``maxLatency`` ms after it was acquired
======== ======================================================================================

FILE is entered after ``onAckTimeouts`` consecutive ack timeouts of a reader, when three quarters
of the ring are neither stored nor acknowledged (``onRamOverflow``), and when a reader with records
to come was paused longer than ``onPause`` ms; a ``durable`` log never leaves it. The others are
back in RAM when every segment has been acknowledged and deleted.

A segment that is written early, because of ``maxLatency``, is written anew with what follows
until it is full, as long as its first frame is in RAM: a slow log does not fill the flash with
tiny files.
"""

from . import segment, smallfile
from .compat import const, names, ticks_diff
from .record import HEADER_BYTES, parse_header
from .replay import LogReader, Segment
from .ring import MAX_AGE, REJECT_NEW, Ring

RAM = "RAM"
EXTENDED = "EXTENDED"
FILE = "FILE"

_CURSOR = ".cur"
_OFFSETS = "/offsets"
#: Boots whose clock is remembered, for records stored before it was set.
_BOOTS = const(16)
_MARKS = const(16)


class Log(Ring):
    """A ``Ring`` with flash behind it, in ``folder``; ``options`` is a validated ``store`` table.

    ``mode`` says how it stores at present. ``dropped`` has two more reasons: ``flash_full`` (a
    segment was given up for a newer one) and ``damaged`` (records that the flash did not give
    back whole). ``flash`` counts segments and bytes written, segments deleted, and errors, the
    last of which is ``last_error``. Whatever the flash does, nothing here raises: then the log
    is as good as its ring.
    """

    def __init__(self, folder, options, *ring):
        Ring.__init__(self, *ring)
        self.folder = folder
        self.options = options
        self.mode = FILE if options["durable"] else RAM
        self.flash = {"segments": 0, "bytes": 0, "deleted": 0, "errors": 0}
        self.last_error = None
        #: Indexes of the segments, oldest first; a segment ends where the next begins.
        self.segments = []
        # Of the readers: the persisted cursors; of segments: up to where damage was counted.
        self._saved = {}
        self._damaged = {}
        self._offsets = {}
        # What is on flash is behind this index; older frames in the ring are stored already.
        self._stored = 0
        # What is not stored was acquired after _since; _marks are pairs of an index and the time
        # after which records from there on were acquired.
        self._marks = []
        self._since = self.clock.mono_ms()
        # Head of the oldest segment; whether writing failed since the last tend.
        self._head = None
        self._refused = False
        self._space = segment.Space(folder, options["segment"])
        try:
            self._open()
        except OSError as error:
            self.failed(error)
        self.opened = max([self._stored] + list(self._saved.values()))
        if not self.segments:
            # What they had not got is gone with the RAM of that boot.
            self._saved = dict.fromkeys(self._saved, self.opened)
        self._index = self._stream_index = self.opened
        self.clock.on_change.append(self._clock_changed)

    def _open(self):
        folder = self.folder
        smallfile.make_folder(folder + segment.FOLDER)
        smallfile.remove(folder + segment.TEMPORARY)
        self._offsets = self._load(_OFFSETS) or {}
        for name in list(names(folder)):
            if name.endswith(_CURSOR):
                index = self._load("/" + name)
                if index is not None:
                    self._saved[name[: -len(_CURSOR)]] = index
        self.segments = segment.scan(folder)
        if self.segments:
            self._stored = self._end_on_flash(self.segments[-1])
            self.mode = FILE

    def _load(self, name):
        try:
            return smallfile.load(self.folder + name)
        except ValueError as error:
            # What is delivered twice is recognised by the host; what is skipped would be lost.
            self.failed(error)
            return None

    def _end_on_flash(self, index):
        head = segment.head(self.folder, index)
        if head:
            return head[0]
        # No index that may have been used in it is used again.
        held = Segment(self.options["segment"])
        try:
            held.load(self.folder, index)
            return held.bound()
        except OSError as error:
            self.failed(error)
            return index + 1

    @property
    def oldest(self):
        """Index of the oldest record kept, on flash or in RAM."""
        oldest = self.ram_oldest
        return min(self.segments[0], oldest) if self.segments else oldest

    @property
    def stored(self):
        """Index before which every record is on flash or needed by no reader."""
        return max(self._stored, self._floor())

    def reader(self, index):
        """A reader of this log, from ``index`` on."""
        return LogReader(self, index)

    def start(self, name):
        """Index at which the reader ``name`` goes on: its persisted cursor, or the oldest.

        The cursor may be before the oldest, then the reader reports what it missed.
        """
        return self._saved.get(name, self.oldest)

    def released(self, _cursor=None):
        """A reader advanced: delete what every reader has passed."""
        floor = self._floor()
        while self.segments and self.segment_end(0) <= floor:
            self._remove_oldest()

    def forget(self, name):
        """Remove the persisted cursor of a reader that is gone."""
        self._saved.pop(name, None)
        smallfile.remove(self.folder + "/" + name + _CURSOR)

    def clear(self):
        """Forget every record, on flash too, without counting it as dropped."""
        Ring.clear(self)
        while self.segments:
            self._remove_oldest()
        self._stored = self.next

    def tend(self):
        """Periodic care, once a second: choose the mode, store what is due, drop what is old."""
        Ring.tend(self)
        self._refused = False
        self._choose_mode()
        self._spill()
        self._expire()
        self.released()
        if self.segments:
            self._save_cursors()

    def offset_of(self, boot):
        """Unix ms minus monotonic ms of a boot, or None where it never knew the time."""
        if boot == self.boot and self.clock.trusted:
            return self.clock.offset_ms
        return self._offsets.get(str(boot))

    # -- storing

    def _spill(self):
        """Write the segments that are due; those that are late, with all there is."""
        late = self._is_late()
        if self.mode == RAM or (
            self.mode == EXTENDED and self.next - self._floor() <= self.options["onEntries"]
        ):
            return
        # One at a time, as each takes tens of ms, while there is room for more in RAM.
        while self._store(late) and self._waiting_frames() * 2 > self.frames:
            continue

    def _store(self, late):
        """Write the next segment if it is full, or ``late``. False if there was none to write."""
        slots, size, full = self._next_segment(late)
        if not slots or self._refused or not (full or late):
            return False
        self._refused = not self._write(slots, size)
        return not self._refused

    def _next_segment(self, late):
        """Slots of the frames in the next segment, its size, and whether it is full.

        Without the open frame, unless ``late``. The newest segment is next again, as long as
        its frames are in RAM and it is not full.
        """
        limit = self.options["segment"]
        done = self.stored
        begin = done
        if self.segments and self.segments[-1] >= self.ram_oldest:
            begin = self.segments[-1]
        slots = []
        size, end = segment.SEGMENT_BYTES, 0
        for step in range(max(self._begun(begin) - 1, 0), self._used):
            slot = (self._tail + step) % self.frames
            count, stop = self._extent(slot)
            if not count or (slot == self._slot and not late):
                break
            length = stop - slot * self.frame_bytes
            if slots and size + length > limit:
                if end > done:
                    return slots, size, True
                # It is full, and written.
                slots = []
                size = segment.SEGMENT_BYTES
            slots.append(slot)
            size += length
            end = self._first[slot] + count
        if end <= done:
            return (), 0, False
        return slots, size, size + self.frame_bytes // 2 > limit or len(slots) * 2 >= self.frames

    def _write(self, slots, size):
        """Write one segment; False, with nothing changed, when flash or limits refuse."""
        first, last = self._first[slots[0]], slots[-1]
        grown = bool(self.segments) and self.segments[-1] == first
        try:
            if not self._make_flash_room(grown):
                return False
            if not self.segments:
                # Their cursors were of no use so far; now they say what is not delivered again.
                self._save_cursors()
            offset = self.clock.offset_ms
            boot = self.boot if offset is None else 0
            newest = self._newest_of(last) + (offset or 0)
            end = self._first[last] + self._extent(last)[0]
            chunks = [self._chunk(slot) for slot in slots]
            segment.write(self.folder, first, end, newest, boot, chunks)
        except (OSError, MemoryError) as error:
            self.failed(error)
            self._space.failed(error)
            return False
        if grown:
            self._head = None
        else:
            self.segments.append(first)
            self._space.take(1)
        self._stored = end
        self.flash["segments"] += 1
        self.flash["bytes"] += size
        return True

    def _chunk(self, slot):
        """The frame as a chunk, dated if that is possible by now."""
        start = slot * self.frame_bytes
        header = parse_header(self.buf, start)
        header.count, end = self._extent(slot)
        header.length = end - start - HEADER_BYTES
        if not header.dated and self.clock.trusted:
            header.base += self.clock.offset_ms
            header.dated = True
        header.put(self.buf, start)
        return memoryview(self.buf)[start:end]

    def _make_flash_room(self, grown):
        while not self._fits(grown):
            if self.policy == REJECT_NEW or not self._give_up_oldest("flash_full"):
                return False
        return True

    def _fits(self, grown):
        options = self.options
        number = len(self.segments) + (not grown)
        most = options["maxEntries"]
        return (
            not (options["maxBytes"] and number * self._space.unit > options["maxBytes"])
            and not (most and self.segments and self.next - self.segments[0] > most)
            and self._space.holds(options["reserve"])
        )

    def _make_room(self):
        tail = self._tail
        if self._first[tail] + self._counts[tail] > self.stored and (
            self.mode != RAM or self.options["onRamOverflow"]
        ):
            self.mode = FILE
            self._store(True)
        return Ring._make_room(self)

    def _newest_of(self, slot):
        if slot != self._slot:
            return self._newest[slot]
        return self._mono + ticks_diff(self._ticks, self._base_ticks)

    # -- modes and limits

    def _choose_mode(self):
        options = self.options
        if (
            options["durable"]
            or any(self._is_stuck(cursor) for cursor in self.cursors)
            or (options["onRamOverflow"] and self._waiting_frames() * 4 > self.frames * 3)
        ):
            self.mode = FILE
        elif not self.segments:
            much = options["onEntries"] and self.next - self._floor() > options["onEntries"]
            self.mode = EXTENDED if much else RAM

    def _is_stuck(self, cursor):
        options = self.options
        if cursor.acked == self.next:
            return False
        paused = cursor.paused_ms()
        if paused is not None:
            return paused > options["onPause"]
        return cursor.ack_timeouts >= options["onAckTimeouts"]

    def _waiting_frames(self):
        """Number of frames in RAM with records neither stored nor acknowledged by every reader."""
        done = self.stored
        return self._used - max(self._begun(done) - 1, 0) if done < self.next else 0

    def _is_late(self):
        """True when the oldest record that is not stored may have waited for ``maxLatency``."""
        now = self.clock.mono_ms()
        marks = self._marks
        while marks and marks[0] <= self.stored:
            marks.pop(0)
            self._since = marks.pop(0)
        if len(marks) < _MARKS:
            marks += (self.next, now)
        return self.mode == FILE and now - self._since >= self.options["maxLatency"]

    def _expire(self):
        limit = self.options["maxDuration"]
        if self.policy == MAX_AGE:
            limit = min(limit or self.max_age_ms, self.max_age_ms)
        while limit and self.segments:
            age = self._age()
            if age is None or age <= limit or not self._give_up_oldest("expired"):
                return

    def _age(self):
        """Age in ms of the newest record in the oldest segment; None where it is not known."""
        index = self.segments[0]
        if self._head is None or self._head[0] != index:
            self._head = index, segment.head(self.folder, index)
        head = self._head[1]
        if head is None:
            return None
        _, newest, boot = head
        if boot == self.boot:
            return self.clock.mono_ms() - newest
        offset = self._offsets.get(str(boot)) if boot else 0
        now = self.clock.unix_ms()
        return None if now is None or offset is None else now - newest - offset

    def _give_up_oldest(self, reason):
        """Drop the oldest segment; False where there is none, or only one that is in RAM too."""
        if not self.segments or self.segment_end(0) > self.ram_oldest:
            return False
        index, end = self.segments[0], self.segment_end(0)
        head = segment.head(self.folder, index)
        lost = (min(end, head[0]) if head else end) - max(index, self._floor())
        self._remove_oldest()
        if lost > 0:
            self.count_drop(reason, lost)
        return True

    # -- segments, cursors, clocks

    def segment_of(self, index):
        """Position in ``segments`` of the one that holds ``index``; 0 if that is before all."""
        low, high = 0, len(self.segments)
        while low < high:
            middle = (low + high) // 2
            if self.segments[middle] <= index:
                low = middle + 1
            else:
                high = middle
        return max(low - 1, 0)

    def segment_end(self, at):
        """Index at which readers go on behind a segment."""
        return self.segments[at + 1] if at + 1 < len(self.segments) else self._stored

    def _remove_oldest(self):
        index = self.segments.pop(0)
        self._damaged.pop(index, None)
        smallfile.remove(segment.path(self.folder, index))
        self._space.take(-1)
        self.flash["deleted"] += 1

    def damaged(self, index, start, end):
        """Account once for records of the segment ``index`` that a reader found damaged."""
        start = max(start, self._damaged.get(index, 0))
        if end > start:
            self._damaged[index] = end
            self.count_drop("damaged", end - start)

    def failed(self, error):
        """Account for a failed read or write of the flash."""
        self.flash["errors"] += 1
        self.last_error = error

    def _save_cursors(self):
        for cursor in self.cursors:
            name, index = cursor.name, cursor.owed
            if self._saved.get(name) != index and self._save("/" + name + _CURSOR, index):
                self._saved[name] = index

    def _save(self, name, value):
        try:
            smallfile.save(self.folder + name, value)
            return True
        except OSError as error:
            self.failed(error)
            return False

    def _clock_changed(self):
        """Remember this boot's clock for records that were stored without it."""
        key = str(self.boot)
        if self.segments and key not in self._offsets:
            boots = sorted(self._offsets, key=int)[1 - _BOOTS :]
            self._offsets = {boot: self._offsets[boot] for boot in boots}
            self._offsets[key] = self.clock.offset_ms
            self._save(_OFFSETS, self._offsets)
