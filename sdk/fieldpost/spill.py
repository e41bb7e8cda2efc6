"""A ring that spills to flash: segments behind the RAM, oldest first, within limits.

New records always go into the ring. Frames move to flash many at a time; a stored frame stays
readable in RAM until its place is needed. Readers see one log: what is older than the ring comes
from flash, one segment at a time. When frames are due is the business of ``log.py``.

A segment that was written before it was full is written anew with what follows, as long as its
first frame is in RAM: a slow log does not fill the flash with tiny files.
"""

from . import segment, smallfile
from .record import HEADER_BYTES, parse_header
from .replay import LogReader, Segment
from .ring import REJECT_NEW, Ring

RAM = "RAM"
EXTENDED = "EXTENDED"
FILE = "FILE"


class Spill(Ring):
    """A ``Ring`` with segments in ``folder``; ``options`` is a validated ``store`` table.

    ``mode`` is RAM, EXTENDED or FILE. ``dropped`` has two more reasons: ``flash_full`` (a segment
    was given up for a newer one) and ``damaged`` (records that the flash did not give back
    whole). ``flash`` counts segments and bytes written, segments deleted, and errors, the last of
    which is ``last_error``. Whatever the flash does, nothing here raises: then the log is as good
    as its ring.
    """

    def __init__(self, folder, options, *ring):
        Ring.__init__(self, *ring)
        self.folder = folder
        self.options = options
        self.flash = {"segments": 0, "bytes": 0, "deleted": 0, "errors": 0}
        self.last_error = None
        #: Indexes of the segments, oldest first; a segment ends where the next begins.
        self.segments = []
        # What is on flash is behind this index; older frames in the ring are stored already.
        self._stored = 0
        # What is before this index is stored although no segment is full.
        self._due = 0
        # Up to where damage was counted, by segment.
        self._damaged = {}
        self._space = segment.Space(folder, options["segment"])
        #: Writing failed, and is not tried again before the next tend.
        self._refused = False

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

    def released(self, _cursor=None):
        """A reader advanced: delete what every reader has passed."""
        floor = self._floor()
        while self.segments and self.segment_end(0) <= floor:
            self._remove_oldest()

    def clear(self):
        """Forget every record, on flash too, without counting it as dropped."""
        Ring.clear(self)
        while self.segments:
            self._remove_oldest()
        self._stored = self.next

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

    def damaged(self, index, start, end):
        """Account once for records of the segment ``index`` that a reader found damaged.

        What every cursor has passed is not lost, whoever reads it again.
        """
        start = max(start, self._damaged.get(index, 0), self._floor())
        if end > start:
            self._damaged[index] = end
            self.count_drop("damaged", end - start)

    def failed(self, error):
        """Account for a failed read or write of the flash."""
        self.flash["errors"] += 1
        self.last_error = error

    def _find(self):
        """Look for segments; ``_stored`` is then behind the newest."""
        self.segments = segment.scan(self.folder)
        if self.segments:
            index = self.segments[-1]
            head = segment.head(self.folder, index)
            self._stored = head[1] if head else self._bound(index)

    def _bound(self, index):
        """Index behind a segment without a header: none that it may have had is used again."""
        held = Segment(self.options["segment"])
        try:
            held.load(self.folder, index)
            return held.bound()
        except OSError as error:
            self.failed(error)
            return index + 1

    # -- writing

    def waiting(self):
        """Slots of the frames with records neither stored nor acknowledged by every reader."""
        done = self.stored
        begin = max(self._begun(done) - 1, 0) if done < self.next else self._used
        return [(self._tail + step) % self.frames for step in range(begin, self._used)]

    def store(self, late):
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
        begin = done = self.stored
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
        return slots, size, size + self.frame_bytes > limit or len(slots) * 2 >= self.frames

    def _write(self, slots, size):
        """Write one segment; False, with nothing changed, when flash or limits refuse."""
        first = self._first[slots[0]]
        grown = bool(self.segments) and self.segments[-1] == first
        try:
            if not self._make_flash_room(grown):
                return False
            segment.write(self.folder, first, self.image(slots))
        except (OSError, MemoryError) as error:
            self.failed(error)
            self._space.failed(error)
            return False
        if not grown:
            self.segments.append(first)
            self._space.take(1)
        self._stored = self._first[slots[-1]] + self._extent(slots[-1])[0]
        self.flash["segments"] += 1
        self.flash["bytes"] += size
        return True

    def image(self, slots):
        """The bytes of a segment of the frames in these slots, in parts."""
        last = slots[-1]
        offset = self.clock.offset_ms
        end = self._first[last] + self._extent(last)[0]
        newest = self._newest_of(last) + (offset or 0)
        boot = self.boot if offset is None else 0
        header = segment.header(self._first[slots[0]], end, newest, boot)
        return [header] + [self._chunk(slot) for slot in slots]

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

    def _newest_of(self, slot):
        if slot != self._slot:
            return self._newest[slot]
        return self._mono + self.elapsed()

    # -- room

    def _enter_file(self):
        if self.mode != FILE:
            self._due = self.next
        self.mode = FILE

    def _make_room(self):
        tail = self._tail
        if self._first[tail] + self._counts[tail] > self.stored and (
            self.mode != RAM or self.options["onRamOverflow"]
        ):
            self._enter_file()
            self.store(True)
        return Ring._make_room(self)

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

    def _give_up_oldest(self, reason):
        """Drop the oldest segment; False where there is none, or only one that is in RAM too."""
        if not self.segments or self.segment_end(0) > self.ram_oldest:
            return False
        index, end = self.segments[0], self.segment_end(0)
        head = segment.head(self.folder, index)
        lost = (min(end, head[1]) if head else end) - max(index, self._floor())
        self._remove_oldest()
        if lost > 0:
            self.count_drop(reason, lost)
        return True

    def _remove_oldest(self):
        index = self.segments.pop(0)
        self._damaged.pop(index, None)
        smallfile.remove(segment.path(self.folder, index))
        self._space.take(-1)
        self.flash["deleted"] += 1
