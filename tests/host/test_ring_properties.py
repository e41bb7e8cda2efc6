"""ring against a plain list: random appends, readers, cursors, clock steps, policies, tiny frames.

What a reader yields and what it steps over must be exactly what was appended; every record has
one identity, whoever reads it and whenever; what is counted as dropped is exactly what a cursor
still needed.
"""

from core_kit import UNIX_MS, still_clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fieldpost.reader import Reader
from fieldpost.record import decode
from fieldpost.ring import DROP_OLDEST, MAX_AGE, REJECT_NEW, Ring

DAY = 86400000
PERIOD = 1 << 30
LAST_SEQ = 0xFFFF0000
BOOT = 5

numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-200, 200),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
)
# Some texts fit into no frame.
values = st.one_of(
    numbers, numbers, st.text(max_size=30), st.text("xyz", min_size=60, max_size=150)
)
invalid = st.sampled_from([2**64, -(2**63) - 1, b"bytes", 1j, [{}, {1, 2}]])
ids = st.one_of(st.integers(0, 127), st.integers(0, 2**32 - 1))
pauses = st.one_of(st.integers(0, 3), st.integers(0, 5000), st.integers(0, DAY))


def size_of(text):
    return len(text.encode()) if isinstance(text, str) else 0


class Cursor:
    """A subscriber: acknowledges what it has read, some time."""

    def __init__(self, ring, index):
        self.reader = Reader(ring, index)
        self.acked = index
        self.yielded = 0
        self.start = index


class RingAgainstList(RuleBasedStateMachine):
    @initialize(
        frames=st.integers(2, 5),
        frame_bytes=st.integers(64, 160),
        policy=st.sampled_from([DROP_OLDEST, REJECT_NEW, MAX_AGE]),
        max_age_ms=st.integers(0, 2 * DAY),
        start=st.integers(0, PERIOD - 1),
        first=st.sampled_from([0, 0, LAST_SEQ - 30]),
    )
    def begin(self, frames, frame_bytes, policy, max_age_ms, start, first):
        self.clock, self.ticks = still_clock(start)
        self.streams = iter(range(1000, 2000))
        self.announced = {}
        self.ring = Ring(
            frames * frame_bytes,
            self.clock,
            lambda: next(self.streams),
            BOOT,
            frame_bytes,
            policy,
            max_age_ms,
            self.on_drop,
        )
        self.ring._index = first
        self.first = first
        #: Of each record: monotonic ms, the offset it was dated with or None, id, value, text.
        self.log = []
        self.identities = {}
        self.counted = {}
        self.latest = self.tended = 0
        self.cursors = []

    def on_drop(self, reason, count):
        assert count > 0
        self.announced[reason] = self.announced.get(reason, 0) + count

    def count(self, reason, count):
        if count:
            self.counted[reason] = self.counted.get(reason, 0) + count

    def floor(self):
        return min([self.ring.next] + [cursor.acked for cursor in self.cursors])

    # -- writing

    @rule(values=st.lists(st.tuples(ids, values, st.none() | st.text(max_size=5)), max_size=12))
    def append(self, values):
        for point_id, value, text in values:
            self.put(point_id, value, text, None)

    @rule(point_id=ids, value=numbers, ago=st.integers(0, 5000))
    def append_what_was_acquired_before(self, point_id, value, ago):
        ago = min(ago, self.clock.mono_ms() - self.tended)
        self.put(point_id, value, None, ago)

    @rule(value=numbers, count=st.integers(1, 60), step=st.integers(0, 200))
    def append_steadily(self, value, count, step):
        for _ in range(count):
            self.ticks.advance(step)
            self.put(7, value, None, None)

    def put(self, point_id, value, text, ago):
        ring = self.ring
        oldest, index, floor = ring.oldest, ring.next, self.floor()
        now = self.clock.mono_ms()
        ticks = None if ago is None else (self.ticks.now - ago) % PERIOD
        if ring.append(point_id, value, text, ticks):
            self.latest = max(self.latest, now - (ago or 0))
            self.log.append((self.latest, self.clock.offset_ms, point_id, value, text))
            assert ring.next == index + 1
            self.count("overflow", max(0, ring.oldest - max(oldest, floor)))
            # Room is made only when every frame is in use, one frame at a time.
            assert ring.oldest == oldest or ring._used == ring.frames
            return
        reason = self.refused(oldest, index, floor)
        # Only text can be too long: no number is.
        assert reason == "rejected" or size_of(value) + size_of(text) > ring.frame_bytes - 32 - 25

    def refused(self, oldest, index, floor):
        """Account for a refused record; the reason. It may take the place of one frame."""
        ring = self.ring
        assert ring.next == index
        rejected = ring.dropped.get("rejected", 0) > self.counted.get("rejected", 0)
        if rejected:
            assert ring.policy == REJECT_NEW
            assert ring.oldest == oldest
            _, _, first, count, _ = ring.frame(oldest)
            assert ring._used == ring.frames
            assert floor < first + count
        reason = "rejected" if rejected else "invalid"
        self.count(reason, 1)
        self.count("overflow", max(0, ring.oldest - max(oldest, floor)))
        return reason

    @rule(point_id=ids, value=invalid)
    def append_what_is_no_value(self, point_id, value):
        before = self.ring.oldest, self.ring.next, self.floor()
        assert not self.ring.append(point_id, value)
        self.refused(*before)

    @rule()
    def close_frame(self):
        self.ring.close_frame()

    @rule()
    def clear(self):
        self.ring.clear()
        assert self.ring.oldest == self.ring.next

    # -- time

    @rule(ms=pauses)
    def wait(self, ms):
        self.ticks.advance(ms)
        self.tend()

    @rule(days=st.integers(1, 9))
    def idle(self, days):
        for _ in range(days):
            self.ticks.advance(DAY)
            self.tend()

    @rule()
    def tend(self):
        ring = self.ring
        oldest, floor = ring.oldest, self.floor()
        ring.tend()
        self.tended = now = self.clock.mono_ms()
        self.count("expired", max(0, ring.oldest - max(oldest, floor)))
        if ring.policy != MAX_AGE:
            assert ring.oldest == oldest
            return
        limit = now - ring.max_age_ms
        if ring.oldest > oldest:
            assert self.log[ring.oldest - 1 - self.first][0] < limit
        if ring.oldest < ring.next:
            _, _, first, count, _ = ring.frame(ring.oldest)
            assert self.log[first + count - 1 - self.first][0] >= limit

    @rule(ms=st.integers(-DAY, 10 * DAY))
    def set_clock(self, ms):
        self.clock.set_unix_ms(UNIX_MS + ms, "test")

    # -- reading

    @precondition(lambda self: len(self.cursors) < 4)
    @rule(from_the_oldest=st.booleans())
    def subscribe(self, from_the_oldest):
        index = self.ring.oldest if from_the_oldest else self.ring.next
        cursor = Cursor(self.ring, index)
        self.cursors.append(cursor)
        self.ring.cursors.append(cursor)

    @precondition(lambda self: self.cursors)
    @rule(which=st.integers(0, 3), limit=st.integers(1, 50))
    def take(self, which, limit):
        cursor = self.cursors[which % len(self.cursors)]
        reader = cursor.reader
        index = self.step_over(cursor)
        while limit:
            header = reader.open()
            if header is None:
                assert reader.index == self.ring.next
                break
            assert header.boot == BOOT
            ms = header.base
            seq = header.seq
            for _ in range(min(limit, header.count)):
                delta, point_id, value, text = reader.take()
                ms += delta
                self.see(index, header.stream, seq, header.dated, (ms, point_id, value, text))
                index += 1
                seq += 1
                limit -= 1
        self.passed(cursor, index)

    @precondition(lambda self: self.cursors)
    @rule(which=st.integers(0, 3), limit=st.integers(0, 50), room=st.integers(0, 600))
    def pack(self, which, limit, room):
        cursor = self.cursors[which % len(self.cursors)]
        reader = cursor.reader
        index = self.step_over(cursor)
        ahead = self.ring.next - index
        out = bytearray(room + 9)
        count, end = reader.pack(out, 9, 9 + room, limit)
        assert count <= limit
        assert 9 <= end <= 9 + room
        assert not any(out[:9])
        if not count:
            assert not limit or not ahead or room < self.ring.frame_bytes
        pos = 9
        streams = set()
        while pos < end:
            header, records, pos = decode(bytes(out), pos)
            assert header.boot == BOOT
            assert records
            streams.add(header.stream)
            for seq, found in enumerate(records, header.seq):
                self.see(index, header.stream, seq, header.dated, found)
                index += 1
        assert pos == end
        assert len(streams) <= 1
        self.passed(cursor, index)
        assert reader.index == index

    def step_over(self, cursor):
        """Where the cursor's next record is, given what was dropped; it must count that."""
        start = max(cursor.reader.index, self.ring.oldest)
        cursor.expected_skips = cursor.reader.skipped + start - cursor.reader.index
        return start

    def passed(self, cursor, index):
        reader = cursor.reader
        assert reader.index == index
        if hasattr(cursor, "expected_skips"):
            assert reader.skipped == cursor.expected_skips

    def see(self, index, stream, seq, dated, found):
        assert self.identities.setdefault(index, (stream, seq)) == (stream, seq)
        mono, offset, point_id, value, text = self.log[index - self.first]
        if offset is None:
            offset = self.clock.offset_ms
        assert dated == (offset is not None)
        assert found == (mono + (offset or 0), point_id, value, text)
        assert type(found[2]) is type(value)

    @precondition(lambda self: self.cursors)
    @rule(which=st.integers(0, 3), part=st.floats(0, 1))
    def acknowledge(self, which, part):
        cursor = self.cursors[which % len(self.cursors)]
        cursor.acked += int((cursor.reader.index - cursor.acked) * part)

    @precondition(lambda self: self.cursors)
    @rule(which=st.integers(0, 3))
    def send_again(self, which):
        cursor = self.cursors[which % len(self.cursors)]
        cursor.reader.seek(cursor.acked)

    @precondition(lambda self: self.cursors)
    @rule(which=st.integers(0, 3))
    def unsubscribe(self, which):
        cursor = self.cursors.pop(which % len(self.cursors))
        self.ring.cursors.remove(cursor)

    # -- always

    @invariant()
    def every_record_is_kept_or_counted(self):
        ring = self.ring
        assert ring.next == self.first + len(self.log)
        assert ring.oldest <= ring.next
        assert ring.dropped == self.counted == self.announced
        assert 0 <= ring._used <= ring.frames
        assert ring.next_seq < 2**32

    def teardown(self):
        if not hasattr(self, "ring"):
            return
        reader = Reader(self.ring, self.first)
        cursor = Cursor(self.ring, self.first)
        cursor.reader = reader
        self.cursors = [cursor]
        self.take(0, len(self.log) + 1)
        assert reader.skipped + len(range(self.ring.oldest, self.ring.next)) == len(self.log)
        self.check_identities()

    def check_identities(self):
        """Each is unique, and a sequence has no hole."""
        assert len(set(self.identities.values())) == len(self.identities)
        for index, (stream, seq) in self.identities.items():
            following = self.identities.get(index + 1)
            assert following in (None, (stream, seq + 1)) or (
                following == (stream + 1, 0) and seq >= LAST_SEQ
            )


TestRing = RingAgainstList.TestCase
TestRing.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_largest_frames():
    clock, ticks = still_clock(0, UNIX_MS)
    ring = Ring(131072, clock, lambda: 1, BOOT, 65535)
    assert len(ring.buf) == 2 * 65535
    while not ring.oldest:
        ring.append(1, None)
        ticks.advance(1)
    per_frame = ring.oldest
    assert per_frame > 20000
    reader = Reader(ring, per_frame)
    out = bytearray(65535)
    count, end = reader.pack(out, 0, len(out), 100000)
    header, records, pos = decode(out)
    assert (header.seq, header.count, pos) == (per_frame, count, end)
    assert [one[0] for one in records] == list(range(UNIX_MS + per_frame, UNIX_MS + 2 * per_frame))
