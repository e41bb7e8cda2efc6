"""ring: readers that are overtaken, seek, follow, pack into little room; a random walk."""

import random

from core_kit import UNIX_MS
from ring_kit import PERIOD, Cursor, fill, make, numbers, packed, taken, times, values

import fieldpost.reader
from fieldpost.reader import Reader
from fieldpost.record import HEADER_BYTES
from fieldpost.ring import DROP_OLDEST, REJECT_NEW


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


def test_following_reader_steps_through_nothing_twice():
    ring, ticks, _ = make(frames=8)
    steps = []
    real = fieldpost.reader.skip
    fieldpost.reader.skip = lambda buf, pos: (steps.append(pos), real(buf, pos))[1]
    try:
        reader = Reader(ring, 0)
        for number in range(70):
            fill(ring, 1 + number % 2)
            ticks.advance(5)
            assert len((taken, packed)[number & 1](reader)) == 1 + number % 2
    finally:
        fieldpost.reader.skip = real
    assert steps == []


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
