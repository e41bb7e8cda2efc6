"""ring: what is appended is what is read, what it costs, what is refused, policies, waking."""

from core_kit import UNIX_MS, allocated, refused, still_clock
from ring_kit import DAY, PERIOD, Cursor, fill, make, numbers, packed, taken, times, values

from fieldpost.compat import ticks_add
from fieldpost.reader import Reader
from fieldpost.record import HEADER_BYTES
from fieldpost.ring import DROP_OLDEST, MAX_AGE, REJECT_NEW, Ring


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


def test_ring_that_is_given_up_is_not_kept_by_the_clock():
    _, _, clock = make()
    assert clock.on_change == []


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
