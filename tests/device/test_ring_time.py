"""ring: times across wraps, idle days, clock steps and epochs; sequence numbers that run out."""

from core_kit import UNIX_MS, Ticks
from ring_kit import DAY, LAST_SEQ, PERIOD, Cursor, fill, make, packed, taken, times, values

from fieldpost.clock import Clock
from fieldpost.compat import ticks_add
from fieldpost.reader import Reader
from fieldpost.record import decode
from fieldpost.ring import Ring


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
