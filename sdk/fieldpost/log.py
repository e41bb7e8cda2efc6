"""Durable log: what of the ring goes to flash when, and one persisted cursor a reader.

======== ======================================================================================
mode     what is written to flash
======== ======================================================================================
RAM      nothing
EXTENDED whole segments, while more than ``onEntries`` records are unacknowledged
FILE     all there is when the mode is entered, from then on whole segments
======== ======================================================================================

FILE is entered after ``onAckTimeouts`` consecutive ack timeouts of a reader, when three quarters
of the ring are neither stored nor acknowledged (``onRamOverflow``), and when a reader with records
to come was paused longer than ``onPause`` ms. The log is back in RAM when every segment has been
acknowledged and deleted.

A ``durable`` log is always in FILE, and writes everything at the latest ``maxLatency`` ms after it
was acquired: a segment that is not full by then is written several times.
"""

from . import segment, smallfile
from .compat import const, names
from .ring import MAX_AGE, Ring
from .spill import EXTENDED, FILE, RAM, Spill

_CURSOR = ".cur"
_OFFSETS = "/offsets"
#: Boots whose clock is remembered, for records stored before it was set.
_BOOTS = const(16)
#: Times that are remembered within ``maxLatency``.
_MARKS = const(8)


class Log(Spill):
    """A ``Spill`` that is there again after a restart, with its readers' cursors.

    ``tend`` is to be called once a second.
    """

    def __init__(self, folder, options, *ring):
        Spill.__init__(self, folder, options, *ring)
        # The persisted cursors by reader; unix minus monotonic ms of earlier boots.
        self._saved = {}
        self._offsets = {}
        # What is not stored was acquired after _since; _marks are pairs of an index and the time
        # after which records from there on were acquired.
        self._marks = []
        self._since = self.clock.mono_ms()
        # Records of this boot were stored before it knew the time.
        self._undated = False
        # Header of the oldest segment; RTC memory.
        self._head = self._rtc = None
        try:
            self._open()
        except OSError as error:
            self.failed(error)
        self.mode = FILE if self.segments or options["durable"] else RAM
        self.opened = max([self._stored] + list(self._saved.values()))
        if not self.segments:
            # What they had not got is gone with the RAM of that boot.
            self._saved = dict.fromkeys(self._saved, self.opened)
        self._index = self._stream_index = self.opened

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
        self._find()
        if self.options["durable"] and self.options["rtc"]:
            from .rtc import tail_of

            self._rtc = tail_of(self)
            if self._rtc and self._rtc.recover(self._stored):
                self._find()

    def start(self, name):
        """Index at which the reader ``name`` goes on: its persisted cursor, or the oldest.

        The cursor may be before the oldest, then the reader reports what it missed.
        """
        return self._saved.get(name, self.oldest)

    def forget(self, name):
        """Remove the persisted cursor of a reader that is gone."""
        self._saved.pop(name, None)
        smallfile.remove(self.folder + "/" + name + _CURSOR)

    def offset_of(self, boot):
        """Unix ms minus monotonic ms of a boot, or None where it never knew the time."""
        if boot == self.boot and self.clock.trusted:
            return self.clock.offset_ms
        return self._offsets.get(str(boot))

    def tend(self):
        """Periodic care: choose the mode, store what is due, drop what is old, save cursors."""
        Ring.tend(self)
        self._refused = False
        self.released()
        self._choose_mode()
        self._mark()
        self._spill()
        self._mark()
        self._expire()
        if self.segments:
            self._save_cursors()
            if self._undated and self.clock.trusted:
                self._undated = not self._save_clock()
        if self._rtc:
            self._rtc.keep()

    # -- modes

    def _choose_mode(self):
        options = self.options
        if (
            options["durable"]
            or any(self._is_stuck(cursor) for cursor in self.cursors)
            or (options["onRamOverflow"] and len(self.waiting()) * 4 > self.frames * 3)
        ):
            self._enter_file()
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

    def _spill(self):
        """Write the segments that are due; those that are late, with all there is."""
        if self.mode == RAM or (
            self.mode == EXTENDED and self.next - self._floor() <= self.options["onEntries"]
        ):
            return
        late = self.stored < self._due or self._is_late()
        # One at a time, as each takes tens of ms, while there is room for more in RAM.
        while self.store(late) and len(self.waiting()) * 2 > self.frames:
            continue

    def _is_late(self):
        """True when the oldest record that is not stored may have waited for ``maxLatency``."""
        waited = self.clock.mono_ms() - self._since
        return self.options["durable"] and waited >= self.options["maxLatency"]

    def _mark(self):
        """Remember when what is not stored yet was acquired."""
        now = self.clock.mono_ms()
        marks = self._marks
        while marks and marks[0] <= self.stored:
            marks.pop(0)
            self._since = marks.pop(0)
        if self.stored == self.next:
            self._since = now
        last = marks[-1] if marks else self._since
        if len(marks) < 2 * _MARKS and now - last >= self.options["maxLatency"] // _MARKS:
            marks += (self.next, now)

    # -- age

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
            self._head = segment.head(self.folder, index)
            if self._head is None:
                return None
        _, _, newest, boot = self._head
        if boot == self.boot:
            return self.clock.mono_ms() - newest
        offset = self._offsets.get(str(boot)) if boot else 0
        now = self.clock.unix_ms()
        return None if now is None or offset is None else now - newest - offset

    # -- what is persisted

    def _write(self, slots, size):
        if not self.segments:
            # Their cursors were of no use so far; now they say what is not delivered again.
            self._save_cursors()
        self._head = None
        self._undated = self._undated or not self.clock.trusted
        return Spill._write(self, slots, size)

    def _load(self, name):
        try:
            return smallfile.load(self.folder + name)
        except ValueError as error:
            # What is delivered twice is recognised by the host; what is skipped would be lost.
            self.failed(error)
            return None

    def _save(self, name, value):
        try:
            smallfile.save(self.folder + name, value)
            return True
        except OSError as error:
            self.failed(error)
            return False

    def _save_cursors(self):
        for cursor in self.cursors:
            name, index = cursor.name, cursor.owed
            if self._saved.get(name) != index and self._save("/" + name + _CURSOR, index):
                self._saved[name] = index

    def _save_clock(self):
        """Remember this boot's clock for records that were stored without it."""
        boots = sorted(self._offsets, key=int)[1 - _BOOTS :]
        self._offsets = {boot: self._offsets[boot] for boot in boots}
        self._offsets[str(self.boot)] = self.clock.offset_ms
        return self._save(_OFFSETS, self._offsets)
