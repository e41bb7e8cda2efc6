"""log: bytes that the flash gives back otherwise: found out, reported once, the rest delivered."""

from log_kit import FOLDER, filled, indexes, taken, total

from fieldpost import segment, smallfile
from fieldpost.compat import names

#: Records of five bytes in a frame of 256.
FRAME = (256 - 32 - 20) // 7 + 1


def read(path):
    with open(path, "rb") as file:
        return file.read()


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


def flip(path, at, bit=0):
    data = read(path)
    put(path, data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :])


def path_of(store, at):
    return segment.path(FOLDER, store.log.segments[at])


def test_every_damaged_byte_of_a_cursor():
    store = filled(200)
    path = FOLDER + "/collector.cur"
    store.cursor.ack(123)
    store.tend()
    whole = read(path)
    for at in range(len(whole)):
        for change in (whole[:at], whole[:at] + bytes((whole[at] ^ 4,)) + whole[at + 1 :]):
            put(path, change)
            store.open()
            assert store.log.flash["errors"] == 1
            assert isinstance(store.log.last_error, ValueError)
            # Delivered again from the oldest on, rather than not at all.
            assert store.cursor.acked == store.log.oldest
            assert store.log.next == 200
    put(path, whole)
    store.open()
    assert store.cursor.acked == 123
    assert store.log.flash["errors"] == 0


def read_all(store):
    """``(indexes read, skipped, drops)`` of a reader from the cursor on, after a restart."""
    store.drops = []
    store.open()
    reader = store.log.reader(store.cursor.acked)
    found = indexes(taken(reader))
    return found, reader.skipped, store.drops


def test_every_flipped_bit_of_a_segment():
    store = filled(150)
    assert len(store.log.segments) >= 2
    for at in range(len(store.log.segments)):
        path = path_of(store, at)
        whole = read(path)
        for pos in range(len(whole)):
            flip(path, pos, pos % 8)
            found, skipped, drops = read_all(store)
            lost = 150 - len(found)
            assert all(a < b for a, b in zip(found, found[1:]))
            if pos < segment.SEGMENT_BYTES:
                assert not lost, (at, pos)
            else:
                assert 0 < lost <= FRAME, (at, pos)
            assert skipped + (store.log.next - 150) == lost or skipped == lost
            assert drops == ([("damaged", lost)] if lost else [])
            assert store.log.dropped == ({"damaged": lost} if lost else {})
            put(path, whole)
    assert read_all(store) == (list(range(150)), 0, [])


def test_every_truncation_of_a_segment():
    store = filled(150)
    for at in range(len(store.log.segments)):
        path = path_of(store, at)
        whole = read(path)
        first = store.log.segments[at]
        end = store.log.segment_end(at)
        for length in range(len(whole)):
            put(path, whole[:length])
            found, skipped, drops = read_all(store)
            kept = [index for index in found if first <= index < end]
            assert kept == list(range(first, first + len(kept)))
            assert [index for index in found if not first <= index < end] == [
                index for index in range(150) if not first <= index < end
            ]
            lost = end - first - len(kept)
            if length >= segment.SEGMENT_BYTES or end < 150:
                assert (skipped, drops) == (lost, [("damaged", lost)])
            else:
                # How many there were is known to nobody: at least one.
                assert skipped == 1 and drops == [("damaged", 1)]
            put(path, whole)


def test_a_damaged_record_is_not_delivered_and_the_next_has_its_own_number():
    store = filled(150)
    flip(path_of(store, 0), 60)
    store.open()
    reader = store.log.reader(0)
    header = reader.open()
    assert header.seq == reader.index == reader.skipped == FRAME


def test_a_batch_ends_at_a_gap():
    store = filled(150)
    data = read(path_of(store, 0))
    second = data.index(b"\xf5\x10", segment.SEGMENT_BYTES + 1)
    flip(path_of(store, 0), second + 40)
    store.open()
    out = bytearray(2048)
    reader = store.log.reader(0)
    count, _ = reader.pack(out, 0, len(out), 1000)
    assert (count, reader.index, reader.skipped) == (FRAME, FRAME, 0)
    count, _ = reader.pack(out, 0, len(out), 1000)
    assert reader.skipped in (FRAME - 1, FRAME)
    assert reader.index == FRAME + reader.skipped + count
    assert store.drops == [("damaged", reader.skipped)]


def test_damage_is_counted_once_by_all_readers():
    store = filled(300)
    for at in (0, 1):
        flip(path_of(store, at), 60)
    store.open()
    # One reader meets the second damage first.
    skipped = []
    for index in (store.log.segments[1], 0, 0):
        reader = store.log.reader(index)
        taken(reader)
        skipped.append(reader.skipped)
    assert store.drops == [("damaged", skipped[0]), ("damaged", FRAME)]
    assert skipped[1] == skipped[2] == skipped[0] + FRAME


def test_what_was_delivered_before_it_was_damaged_is_not_lost():
    store = filled(150)
    store.cursor.ack(FRAME + 5)
    store.tend()
    flip(path_of(store, 0), 60)
    store.open()
    # History reads all that there is.
    reader = store.log.reader(store.log.oldest)
    assert indexes(taken(reader)) == list(range(FRAME, 150))
    assert store.drops == []
    flip(path_of(store, 0), 60 + 2 * FRAME * 5)
    store.open()
    lost = 150 - FRAME - len(taken(store.log.reader(0)))
    assert store.drops == [("damaged", lost - 5)]


def test_the_header_of_the_newest_segment():
    store = filled(300)
    flip(path_of(store, -1), 9)
    store.open()
    assert store.log.next == 300
    store.fill(20)
    assert indexes(taken(store.log.reader(0))) == list(range(320))
    assert not store.drops


def test_numbers_are_not_used_again_when_the_newest_segment_is_damaged():
    store = filled(300)
    path = path_of(store, -1)
    data = read(path)
    put(path, data[:8] + bytes(len(data) - 8))
    first = store.log.segments[-1]
    store.open()
    assert store.log.next >= 300
    store.fill(20)
    reader = store.log.reader(0)
    found = indexes(taken(reader))
    assert found[:first] == list(range(first))
    assert found[first:] == list(range(store.log.next - 20, store.log.next))
    assert reader.skipped == total(store.drops, "damaged") == store.log.next - 20 - first


def test_a_segment_that_has_vanished():
    store = filled(300)
    first, end = store.log.segments[1], store.log.segments[2]
    store.open()
    smallfile.remove(path_of(store, 1))
    reader = store.log.reader(0)
    assert indexes(taken(reader)) == list(range(first)) + list(range(end, 300))
    assert reader.skipped == end - first
    assert store.drops == [("damaged", end - first)]
    assert store.log.flash["errors"] == 1
    store.cursor.ack(300)
    assert store.segments() == []


def test_leftovers_of_a_cut_are_removed():
    store = filled(100)
    put(FOLDER + segment.TEMPORARY, b"half")
    store.open()
    assert "tmp" not in list(names(FOLDER))
