"""ring: what is appended is what is read; identity, times, policies, overtaken readers."""

import random

from core_kit import UNIX_MS, Ticks, allocated, refused, still_clock

import fieldpost.ring
from fieldpost.clock import Clock
from fieldpost.compat import ticks_add
from fieldpost.record import HEADER_BYTES, decode
from fieldpost.ring import DROP_OLDEST, MAX_AGE, REJECT_NEW, Reader, Ring

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


# -- what is appended is what is read


def test_records_come_back_with_identity_and_time():
    ring, ticks, _ = make(unix_ms=UNIX_MS)
    expected = []
    for number, value in enumerate((20.5, 7, True, None, "text", [1, "ä"], -(2**63), 2**64 - 1)):
        ticks.advance(number * 300)
        text = "t" if number % 2 else None
        assert ring.append(number * 100, value, text)
        ms = UNIX_MS + 300 * sum(range(number + 1))
        expected.append((100, number, True, ms, number * 100, value, text))
    assert taken(Reader(ring, 0)) == expected
    assert packed(Reader(ring, 0)) == expected
    assert packed(Reader(ring, 0), 80, 1) == expected
    assert (ring.next, ring.next_seq, ring.oldest, ring.stream) == (8, 8, 0, 100)
    assert ring.dropped == {}


def test_empty_ring():
    ring, _, _ = make()
    reader = Reader(ring, 0)
    assert reader.open() is None
    assert reader.bytes_ahead() == 0
    assert reader.pack(bytearray(99), 0, 99, 5) == (0, 0)
    assert (ring.next, ring.oldest) == (0, 0)


def test_sequence_has_no_holes_across_frames():
    ring, _, _ = make(frames=8)
    assert fill(ring, 100) == 100
    for records in (taken(Reader(ring, 0)), packed(Reader(ring, 0))):
        assert [(stream, seq) for stream, seq, *_ in records] == [
            (100, seq) for seq in range(ring.oldest, 100)
        ]
        assert values(records) == [1000 + seq for seq in range(ring.oldest, 100)]


def test_every_start_and_every_limit_gives_the_same_records():
    ring, ticks, _ = make(frames=3)
    while ring.oldest == 0:
        ring.append(300, ring.next)
        ticks.advance(90)
    everything = taken(Reader(ring, 0))
    for index in range(ring.oldest, ring.next + 1):
        rest = everything[index - ring.oldest :]
        assert taken(Reader(ring, index)) == rest
        assert packed(Reader(ring, index)) == rest
    for max_records in (1, 2, 7, 13):
        for room in (HEADER_BYTES + 20, 100, 200, 1000):
            assert packed(Reader(ring, 0), room, max_records) == everything


def test_size_is_checked():
    clock, _ = still_clock()
    ring = Ring(4096, clock, int)
    assert (ring.frames, ring.frame_bytes, ring.boot, ring.policy) == (4, 1024, 0, DROP_OLDEST)
    for size, frame in ((1023, 512), (100, 63), (200000, 65536), (100, 64)):
        assert "frames" in refused(ValueError, Ring, size, clock, int, 0, frame)
    assert len(Ring(1023, clock, int, 0, 256).buf) == 768


def test_every_frame_is_used_before_one_is_given_up():
    ring, _, _ = make()
    while not ring.oldest:
        fill(ring, 1)
    # 5 bytes a record, while 20 bytes are free.
    per_frame = (128 - HEADER_BYTES - 20) // 5 + 1
    assert (ring.oldest, ring.next) == (per_frame, 4 * per_frame + 1)


def test_smallest_frames():
    ring, _, _ = make(2, 64)
    for value in (2.0**100, 2**64 - 1, -(2**63)):
        assert ring.append(2**32 - 1, value)
        assert values(taken(Reader(ring, ring.next - 1))) == [value]
    assert ring.dropped == {}


# -- cost


def steady_bytes(point_id, value, interval_ms=1000):
    """Bytes of RAM per record for one point read at a steady rate."""
    ring, ticks, _ = make(16, 1024, UNIX_MS)
    while not ring.oldest:
        ring.append(point_id, value)
        ticks.advance(interval_ms)
    return len(ring.buf) / (ring.next - 1)


def test_steady_numeric_point_takes_at_most_twelve_bytes():
    figures = []
    for point_id in (5, 100000):
        for value in (20.5, 70000, 300, True):
            figures.append(steady_bytes(point_id, value))
    print("ring bytes per record:", " ".join("%.2f" % figure for figure in figures))
    print("of a float64: %.2f" % steady_bytes(5, 1 / 3))
    assert max(figures) <= 12


def check_append_takes_no_heap(unix_ms, value):
    ring, ticks, _ = make(4, 256, unix_ms, now=PERIOD - 50)
    ring.cursors.append(Cursor())
    ring.listeners.append(int)
    fill(ring, 500)

    def append():
        ticks.now = ticks_add(ticks.now, 1)
        ring.arm(ring.next + 3)
        ring.append(300, value)

    # 100 calls write at least 400 bytes, so that frames are opened and given up.
    assert allocated(append, 100) == 0, value


def test_append_takes_no_heap_across_frames():
    for unix_ms in (None, UNIX_MS):
        for value in (7, 300, 2**31 - 1, 2**40, 2**64 - 1, -(2**63), 20.5, 1 / 3, True, None):
            check_append_takes_no_heap(unix_ms, value)


def test_refusing_takes_no_heap():
    ring, _, _ = make(policy=REJECT_NEW)
    ring.cursors.append(Cursor())
    fill(ring, 200)
    assert allocated(lambda: ring.append(1, 1000), 50) == 0


def test_following_reader_steps_through_nothing_twice():
    ring, ticks, _ = make(frames=8)
    steps = []
    real = fieldpost.ring.skip
    fieldpost.ring.skip = lambda buf, pos: (steps.append(pos), real(buf, pos))[1]
    try:
        reader = Reader(ring, 0)
        for number in range(70):
            fill(ring, 1 + number % 2)
            ticks.advance(5)
            assert len((taken, packed)[number & 1](reader)) == 1 + number % 2
    finally:
        fieldpost.ring.skip = real
    assert steps == []


def test_ring_that_is_given_up_is_not_kept_by_the_clock():
    _, _, clock = make()
    assert clock.on_change == []


# -- values that no record or frame can hold


def test_values_without_a_record_are_counted_and_nothing_else_changes():
    ring, _, _ = make()
    told = []
    ring.on_drop = lambda reason, count: told.append((reason, count))
    fill(ring, 5)
    bad = (2**64, -(2**63) - 1, b"x", object(), [object()], "x" * 200, [0] * 100)
    for value in bad:
        assert ring.append(1, value) is False
    assert ring.append(-1, 5) is False
    assert ring.append(2**32, 5) is False
    assert ring.append(1, 5, "x" * 200) is False
    assert ring.dropped == {"invalid": 10}
    assert told == [("invalid", 1)] * 10
    assert fill(ring, 5, 5) == 5
    assert numbers(ring) == list(range(10))


def test_record_too_long_costs_no_other():
    for policy in (DROP_OLDEST, MAX_AGE, REJECT_NEW):
        ring, _, _ = make(policy=policy, max_age_ms=DAY)
        ring.cursors.append(Cursor())
        while not ring.dropped:
            fill(ring, 1)
        before = dict(ring.dropped)
        kept = ring.oldest, ring.next
        for _ in range(50):
            assert not ring.append(1, "x" * 500)
            assert not ring.append(1, 1, "x" * 500)
        if policy == REJECT_NEW:
            assert sum(ring.dropped.values()) == 101
        else:
            assert ring.dropped == {"overflow": before["overflow"], "invalid": 100}
        assert (ring.oldest, ring.next) == kept


def test_refused_values_take_the_place_of_one_frame_at_most():
    ring, _, _ = make()
    ring.cursors.append(Cursor())
    while not ring.oldest:
        fill(ring, 1)
    while ring.frame(ring.next - 1)[3] < ring.oldest:
        fill(ring, 1)
    kept = ring.oldest
    for _ in range(50):
        assert not ring.append(1, 2**64)
    assert ring.oldest == 2 * kept
    assert ring.dropped == {"overflow": 2 * kept, "invalid": 50}
    fill(ring, kept)
    assert ring.oldest == 2 * kept


def longest_text(ring):
    """Longest text that the ring takes now."""
    length = ring.frame_bytes
    while not ring.append(1, "x" * length):
        length -= 1
    return length


def test_longest_text_does_not_depend_on_how_full_a_frame_is():
    ring, _, _ = make(8)
    lengths = []
    for count in range(25):
        fill(ring, count)
        lengths.append(longest_text(ring))
    assert min(lengths) == max(lengths) >= 128 - HEADER_BYTES - 25


def test_first_record_refused_then_time_passes():
    ring, ticks, _ = make(policy=MAX_AGE, max_age_ms=1000)
    for _ in range(3):
        assert not ring.append(1, 2**64)
        ticks.advance(5000)
        ring.tend()
    fill(ring, 3)
    assert numbers(ring) == [0, 1, 2]
    ticks.advance(5000)
    ring.tend()
    assert numbers(ring) == []
    fill(ring, 60, 3)
    assert numbers(ring) == list(range(ring.oldest, 63))


def test_value_refused_at_the_start_of_a_frame_leaves_times_right():
    ring, ticks, _ = make(frames=16)
    for _ in range(60):
        ring.append(1, 5)
        ticks.advance(10)
        ring.append(1, 2**64)
        ticks.advance(10)
    assert ring.dropped == {"invalid": 60}
    assert times(taken(Reader(ring, 0))) == list(range(0, 1200, 20))


# -- policies


def test_drop_oldest_counts_what_a_cursor_still_needed():
    ring, _, _ = make()
    cursor = Cursor()
    ring.cursors.append(cursor)
    told = []
    ring.on_drop = lambda reason, count: told.append((reason, count))
    fill(ring, 500)
    first = ring.oldest
    assert first > 300
    assert ring.dropped == {"overflow": first}
    cursor.acked = 500
    fill(ring, 500, 500)
    assert ring.dropped == {"overflow": first + ring.oldest - 500}
    assert {reason for reason, _ in told} == {"overflow"}
    assert sum(count for _, count in told) == ring.dropped["overflow"]
    assert min(count for _, count in told) > 0


def test_nothing_is_lost_without_cursors():
    ring, _, _ = make()
    assert fill(ring, 500) == 500
    assert ring.dropped == {}


def test_slowest_cursor_decides():
    for acked in ((30, 4), (4, 30), (30, 4, 30)):
        ring, _, _ = make()
        ring.cursors.extend([Cursor(index) for index in acked])
        while not ring.oldest:
            fill(ring, 1, ring.next)
        assert ring.dropped == {"overflow": ring.oldest - 4}
        for cursor in ring.cursors:
            cursor.acked = ring.next
        fill(ring, 10, ring.next)
        assert ring.dropped == {"overflow": ring.oldest - 4}


def test_single_lost_record_is_counted():
    ring, _, _ = make()
    fill(ring, 60)
    last = ring.frame(0)[3] - 1
    for acked, lost in ((last, 1), (last + 1, 0)):
        ring, _, _ = make()
        ring.cursors.append(Cursor(acked))
        while not ring.oldest:
            fill(ring, 1)
        assert ring.oldest == last + 1
        assert sum(ring.dropped.values()) == lost


def test_reject_new_refuses_until_a_whole_frame_is_acknowledged():
    ring, _, _ = make(policy=REJECT_NEW)
    cursor = Cursor()
    ring.cursors.append(cursor)
    accepted = fill(ring, 200)
    assert 0 < accepted < 200
    assert ring.dropped == {"rejected": 200 - accepted}
    assert (ring.oldest, ring.next) == (0, accepted)
    second = ring.frame(0)[3]
    cursor.acked = second - 1
    assert fill(ring, 1, accepted) == 0
    cursor.acked = second
    more = fill(ring, 200, accepted)
    assert more == accepted // ring.frames
    assert ring.dropped == {"rejected": 200 - accepted + 1 + 200 - more}
    assert ring.oldest == second
    assert numbers(ring, second) == list(range(second, accepted + more))


def test_reject_new_without_cursors_gives_up_the_oldest():
    ring, _, _ = make(policy=REJECT_NEW)
    assert fill(ring, 500) == 500
    assert ring.dropped == {}


def test_max_age_drops_whole_frames_whose_newest_is_too_old():
    ring, ticks, _ = make(16, 64, policy=MAX_AGE, max_age_ms=10000)
    ring.cursors.append(Cursor(3))
    for number in range(30):
        fill(ring, 1, number)
        ticks.advance(1000)
    assert ring.oldest == 0
    ring.tend()
    # The newest record of the oldest frame left, number 20 or later, is 10 s old at most.
    _, _, first, count, _ = ring.frame(ring.oldest)
    assert first <= 20 <= first + count - 1
    assert ring.dropped == {"expired": first - 3}
    ring.tend()
    assert ring.oldest == first
    ticks.advance(9000)
    ring.tend()
    assert ring.oldest == ring.frame(29)[2]
    ticks.advance(1)
    ring.tend()
    assert ring.oldest == ring.next == 30
    assert ring.dropped == {"expired": 27}
    fill(ring, 2, 30)
    assert numbers(ring, 30) == [30, 31]


def test_max_age_full_ring_counts_overflow():
    ring, _, _ = make(policy=MAX_AGE, max_age_ms=10000)
    ring.cursors.append(Cursor())
    fill(ring, 500)
    assert ring.dropped == {"overflow": ring.oldest}


def test_tending_leaves_a_young_frame_open():
    for policy in (DROP_OLDEST, MAX_AGE):
        ring, ticks, _ = make(policy=policy, max_age_ms=10000)
        for _ in range(12):
            ring.tend()
            fill(ring, 1)
            ticks.advance(1000)
        assert ring.frame(0)[3] == 12


def test_max_age_longer_than_the_ticks_reach():
    ring, ticks, clock = make(policy=MAX_AGE, max_age_ms=20 * DAY)
    fill(ring, 3)
    for day in range(1, 30):
        ticks.advance(DAY)
        clock.mono_ms()
        ring.tend()
        assert (ring.oldest == 0) == (day <= 20), day


# -- time


def test_ticks_wrap_inside_a_frame_and_between_frames():
    for step in (1, 100, 3000):
        ring, ticks, _ = make(frames=16, unix_ms=UNIX_MS, now=PERIOD - 20 * step - 1)
        for number in range(60):
            ring.append(1, number)
            ticks.advance(step)
        assert ring.oldest == 0
        records = taken(Reader(ring, 0))
        assert times(records) == [UNIX_MS + step * number for number in range(60)]
        assert packed(Reader(ring, 0)) == records


def test_every_position_of_the_wrap():
    for before in range(40):
        ring, ticks, _ = make(now=PERIOD - before)
        for _ in range(30):
            ring.append(1, 1)
            ticks.advance(1)
        assert times(taken(Reader(ring, 0))) == list(range(30))


def test_idle_for_days():
    for idle_days in (1, 3, 4, 7, 13, 40):
        ring, ticks, clock = make(frames=8, now=PERIOD - 2 * DAY)
        reader = Reader(ring, 0)
        fill(ring, 3)
        early = taken(reader)
        for _ in range(idle_days):
            ticks.advance(DAY)
            ring.tend()
            clock.mono_ms()
        fill(ring, 2, 3)
        ticks.advance(50)
        fill(ring, 1, 5)
        idle = idle_days * DAY
        assert times(early) == [0, 0, 0]
        assert times(taken(reader)) == [idle, idle, idle + 50]
        assert times(packed(Reader(ring, 0))) == [0, 0, 0, idle, idle, idle + 50]


def test_slow_point_for_weeks():
    ring, ticks, clock = make(frames=8, unix_ms=UNIX_MS, now=PERIOD - DAY)
    for hour in range(24 * 30):
        if hour % 11 == 0:
            ring.append(1, hour)
        ticks.advance(3600000)
        if hour % 24 == 0:
            ring.tend()
            clock.mono_ms()
    records = taken(Reader(ring, 0))
    assert len(records) == len(range(0, 24 * 30, 11)) - ring.oldest
    assert times(records) == [UNIX_MS + 3600000 * hour for hour in values(records)]
    assert packed(Reader(ring, 0)) == records


def test_time_of_acquisition_is_given():
    ring, ticks, _ = make(now=PERIOD - 30)
    ticks.advance(100)
    for at in (20, 50, 50, 60):
        ring.append(1, at, None, ticks_add(PERIOD - 30, at))
    assert times(taken(Reader(ring, 0))) == [20, 50, 50, 60]


def test_no_record_is_earlier_than_the_one_before_it():
    for frame_bytes in (64, 128):
        ring, ticks, _ = make(32, frame_bytes, now=PERIOD - 50)
        ticks.advance(1000)
        expected = []
        latest = 0
        for at in (10, 5, 900, 899, 100, 901, 0, 950, 940, 930, 990) * 3:
            ring.append(1, at, None, ticks_add(PERIOD - 50, at))
            latest = max(latest, at)
            expected.append(latest)
        assert times(taken(Reader(ring, 0))) == expected


def test_epoch_2000():
    now_s = UNIX_MS // 1000 - 946684800
    ticks = Ticks(5)
    clock = Clock(2000, lambda: now_s, ticks)
    ring = Ring(1024, clock, lambda: 1, 9, 256)
    ring.append(1, 1)
    assert clock.adopt_system()
    ticks.advance(10)
    ring.append(1, 2)
    start = UNIX_MS // 1000 * 1000
    assert times(taken(Reader(ring, 0))) == [start, start + 10]


def test_records_before_the_clock_is_known_are_dated_when_read():
    ring, ticks, clock = make(frames=8)
    ticks.advance(40)
    fill(ring, 30)
    reader = Reader(ring, 0)
    early = taken(reader, 10)
    assert [one[2] for one in early] == [False] * 10
    assert times(early) == [40] * 10
    ticks.advance(60)
    clock.set_unix_ms(UNIX_MS, "ntp")
    ticks.advance(5)
    fill(ring, 30, 30)
    late = taken(reader)
    assert [one[2] for one in late] == [True] * 50
    assert times(late) == [UNIX_MS - 60] * 20 + [UNIX_MS + 5] * 30
    assert packed(Reader(ring, 0))[10:] == late
    # From the next boot's point of view they have no date.
    ring.boot += 1
    assert [one[2] for one in taken(Reader(ring, 0))] == [False] * 30 + [True] * 30


def test_clock_steps_give_each_record_the_time_of_its_moment():
    ring, ticks, clock = make(frames=16)
    expected = []
    steps = (UNIX_MS, UNIX_MS + 3600000, UNIX_MS - DAY, UNIX_MS - DAY + 1, UNIX_MS + 365 * DAY)
    for now in steps:
        clock.set_unix_ms(now, "test")
        for _ in range(7):
            ring.append(1, 1)
            expected.append(clock.unix_ms())
            ticks.advance(250)
    records = taken(Reader(ring, 0))
    assert times(records) == expected
    assert packed(Reader(ring, 0)) == records
    assert [one[1] for one in records] == list(range(35))


def test_clock_step_while_a_reader_stands_in_the_open_frame():
    ring, ticks, clock = make()
    reader = Reader(ring, 0)
    fill(ring, 4)
    assert len(taken(reader, 2)) == 2
    clock.set_unix_ms(UNIX_MS, "ntp")
    ticks.advance(70)
    fill(ring, 2, 4)
    records = taken(reader)
    assert times(records) == [UNIX_MS, UNIX_MS, UNIX_MS + 70, UNIX_MS + 70]
    assert values(records) == [1002, 1003, 1004, 1005]


# -- streams


def test_new_stream_before_sequence_numbers_run_out():
    ring, _, _ = make(frames=8)
    ring._index = LAST_SEQ - 20
    reader = Reader(ring, ring.next)
    ring.cursors.append(Cursor(ring.next))
    fill(ring, 70)
    records = taken(Reader(ring, reader.index))
    assert values(records) == [1000 + number for number in range(70)]
    streams = [one[0] for one in records]
    assert sorted(set(streams)) == [100, 101]
    split = streams.index(101)
    sequences = [one[1] for one in records]
    assert [seq - LAST_SEQ for seq in sequences[:split]] == list(range(-20, split - 20))
    assert sequences[split - 1] < 2**32
    assert sequences[split:] == list(range(70 - split))
    assert (ring.stream, ring.next_seq) == (101, 70 - split)
    # Packed flushes never mix streams.
    out = bytearray(4096)
    count, end = reader.pack(out, 0, 4096, 1000)
    assert count == split
    pos = 0
    while pos < end:
        header, _, pos = decode(out, pos)
        assert header.stream == 100
    assert reader.pack(out, 0, 4096, 1000)[0] == 70 - split
    assert decode(out)[0].stream == 101


# -- readers


def test_overtaken_reader_steps_over_and_counts():
    ring, _, _ = make()
    reader = Reader(ring, 0)
    fill(ring, 10)
    assert len(taken(reader, 4)) == 4
    fill(ring, 300, 10)
    assert ring.oldest > 10
    records = taken(reader)
    assert reader.skipped == ring.oldest - 4
    assert values(records) == [1000 + number for number in range(ring.oldest, 310)]
    assert reader.index == 310


def test_reader_overtaken_between_two_frames():
    ring, _, _ = make()
    reader = Reader(ring, 0)
    fill(ring, 40)
    end_of_first = ring.frame(0)[3]
    taken(reader, end_of_first)
    while ring.oldest <= end_of_first:
        fill(ring, 1, ring.next)
    lost = ring.oldest - end_of_first
    assert numbers(ring) == list(range(ring.oldest, ring.next))
    assert values(packed(reader)) == [1000 + number for number in range(ring.oldest, ring.next)]
    assert reader.skipped == lost


def test_reader_at_the_oldest_record_loses_nothing():
    ring, _, _ = make()
    fill(ring, 300)
    reader = Reader(ring, ring.oldest)
    assert len(taken(reader)) == ring.next - ring.oldest
    assert reader.skipped == 0


def test_seek_back_and_forth():
    ring, ticks, _ = make(frames=8)
    for number in range(60):
        ring.append(1, number)
        ticks.advance(number)
    everything = taken(Reader(ring, 0))
    reader = Reader(ring, 0)
    for index in (30, 0, 59, 60, 5, 5, 31, 29):
        reader.seek(index)
        assert taken(reader, 3) == everything[index : index + 3]
        index = reader.index - 1
        reader.seek(index)
        assert taken(reader) == everything[index:]


def test_cleared_log_is_skipped():
    ring, _, _ = make()
    reader = Reader(ring, 0)
    ring.cursors.append(Cursor())
    fill(ring, 20)
    taken(reader, 5)
    ring.clear()
    assert (ring.oldest, ring.next) == (20, 20)
    assert reader.open() is None
    assert reader.skipped == 15
    fill(ring, 5, 20)
    assert values(taken(reader)) == [1020, 1021, 1022, 1023, 1024]
    assert reader.skipped == 15
    assert ring.dropped == {}


def test_clearing_again_and_again():
    ring, _, _ = make()
    reader = Reader(ring, 0)
    for count in range(60):
        fill(ring, count, ring.next)
        lost = ring.next - reader.index - len(taken(reader, count // 2))
        ring.clear()
        fill(ring, 3, ring.next)
        assert values(taken(reader)) == [1000 + ring.next - left for left in (3, 2, 1)]
        assert reader.skipped == lost
        reader.skipped = 0


def test_reader_follows_the_open_frame():
    ring, ticks, clock = make(frames=8, unix_ms=UNIX_MS)
    by_take, by_pack = Reader(ring, 0), Reader(ring, 0)
    expected = UNIX_MS
    for number in range(100):
        for _ in range(number % 4):
            ticks.advance(37)
            expected += 37
            ring.append(1, number)
            records = taken(by_take)
            assert times(records) == [expected]
        assert packed(by_pack)[-1:] == (records[-1:] if number % 4 else [])
        if number % 30 == 29:
            ring.close_frame()
        if number == 50:
            clock.set_unix_ms(clock.unix_ms() + 5000, "step")
            expected += 5000
    assert by_take.index == by_pack.index == ring.next
    assert by_take.skipped == by_pack.skipped == 0


def test_header_tells_what_is_ahead_in_the_frame():
    ring, ticks, _ = make()
    reader = Reader(ring, 0)
    for number in range(5):
        ring.append(1, 1000 + number)
        ticks.advance(10)
    header = reader.open()
    assert (header.stream, header.boot, header.seq, header.count) == (100, 9, 0, 5)
    assert (header.dated, header.base, header.length) == (False, 0, 25)
    reader.take()
    reader.take()
    header = reader.open()
    assert (header.seq, header.count, header.base, header.length) == (2, 3, 10, 15)
    assert reader.open().seq == 2


def test_packing_into_too_little_room_packs_nothing():
    ring, _, _ = make(2, 256)
    ring.append(1, "x" * 50)
    ring.append(1, 1)
    reader = Reader(ring, 0)
    out = bytearray(200)
    size = 3 + 1 + 50
    for room in (0, 10, HEADER_BYTES, HEADER_BYTES + size - 1):
        assert reader.pack(out, 0, room, 10) == (0, 0)
        assert reader.index == 0
    assert reader.pack(out, 0, HEADER_BYTES + size, 10) == (1, HEADER_BYTES + size)
    assert reader.pack(out, 0, 200, 0) == (0, 0)
    assert values(taken(reader)) == [1]
    assert not any(out[HEADER_BYTES + size :])


def test_bytes_ahead_is_what_packing_takes():
    ring, _, _ = make(frames=5)
    reader = Reader(ring, 0)
    fill(ring, 90)
    everything = ring.next - ring.oldest
    for done in range(everything):
        assert reader.bytes_ahead() == 5 * (everything - done)
        taken(reader, 1)
    assert reader.bytes_ahead() == 0


def test_reader_ahead_of_the_log_waits():
    ring, _, _ = make()
    fill(ring, 5)
    reader = Reader(ring, 8)
    assert reader.open() is None
    fill(ring, 10, 5)
    assert values(taken(reader))[0] == 1008
    assert reader.skipped == 0


# -- waking


def test_listener_is_called_once_at_the_armed_index():
    ring, _, _ = make(frames=4, frame_bytes=1024)
    fill(ring, 3)
    calls = []
    ring.listeners.append(lambda: calls.append(ring.next))
    ring.arm(7)
    ring.arm(9)
    fill(ring, 50)
    assert calls == [7]
    ring.arm(ring.next)
    fill(ring, 2)
    assert calls == [7, 54]
    ring.close_frame()
    fill(ring, 1)
    del calls[:]
    ring.arm(ring.next + 5)
    fill(ring, 20)
    assert calls == [61]


def test_armed_before_the_first_record():
    ring, _, _ = make()
    calls = []
    ring.listeners.append(lambda: calls.append(ring.next))
    ring.arm(3)
    fill(ring, 1)
    ring.arm(3)
    fill(ring, 5)
    assert calls == [0, 3]


def test_listener_is_called_when_a_frame_fills():
    ring, _, _ = make(frames=8)
    fill(ring, 1)
    calls = []
    ring.listeners.append(lambda: calls.append(ring.next))
    ring.arm(1000)
    while not calls:
        fill(ring, 1)
    assert calls == [ring.frame(ring.next - 1)[2]]
    assert calls[0] > 5


def test_armed_index_is_not_missed_when_the_frame_is_closed_before():
    ring, _, clock = make(frames=8)
    fill(ring, 4)
    calls = []
    ring.listeners.append(lambda: calls.append(ring.next))
    ring.arm(6)
    clock.set_unix_ms(UNIX_MS, "ntp")
    fill(ring, 2)
    assert calls and calls[0] <= 6


# -- everything at once


def test_random_walk():
    """Random appends, clock steps and readers against a list; see the host's property test."""
    for seed in range(12):
        random.seed(seed)
        walk(random.getrandbits, 200)


def walk(bits, steps):
    policy = (DROP_OLDEST, REJECT_NEW)[bits(1)]
    ring, ticks, clock = make(2 + bits(2), 64 + bits(6), now=PERIOD - bits(20), policy=policy)
    model = []
    refusals = 0
    readers = [(Reader(ring, 0), Cursor()) for _ in range(2)]
    ring.cursors.extend([cursor for _, cursor in readers])
    read = 0
    for _ in range(steps):
        action = bits(4)
        if action < 9:
            value = (bits(3), bits(30), bits(8) * 0.5, "x" * bits(4))[bits(2)]
            ticks.advance(bits(2) and bits(10))
            if ring.append(bits(10), value):
                model.append((clock.mono_ms(), value))
            else:
                refusals += 1
        elif action < 13:
            reader, cursor = readers[action & 1]
            start = max(reader.index, ring.oldest)
            skipped = reader.skipped + start - reader.index
            got = taken(reader, 1 + bits(4)) if bits(1) else packed(reader, 200, 1 + bits(4))
            assert reader.skipped == skipped
            for index, (_, seq, dated, ms, _, value, _) in enumerate(got, start):
                assert (seq, value) == (index, model[index][1])
                assert ms == model[index][0] + (clock.offset_ms if dated else 0)
            read += len(got)
            cursor.acked = reader.index
        elif action == 13 and not clock.trusted:
            clock.set_unix_ms(UNIX_MS, "ntp")
        elif action == 14:
            ring.tend()
    assert ring.next == len(model)
    assert ring.dropped.get("rejected", 0) == refusals
    for reader, _ in readers:
        read += len(taken(reader)) + reader.skipped
    assert read == 2 * len(model)
