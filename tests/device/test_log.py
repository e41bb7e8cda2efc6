"""log: what is stored outlives the power, is delivered once, and every loss is counted.

Modes and times are in ``test_log_modes.py``, power cuts on a real littlefs in
``test_power_cut.py``.
"""

import os

from core_kit import UNIX_MS
from log_kit import FOLDER, Cursor, Fault, Store, indexes, taken

from fieldpost import segment, smallfile
from fieldpost.compat import names
from fieldpost.log import FILE, RAM

#: Records of five bytes in a frame of 256.
FRAME = (256 - 32 - 20) // 7 + 1


def filled(count, **options):
    """A store in which so many records were stored while nobody confirmed any."""
    store = Store(durable=True, **options)
    for _ in range(count // 20):
        store.fill(20)
        store.tend()
    store.fill(count % 20)
    store.tend(11)
    assert store.log.stored == count
    return store


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


def total(drops, reason=None):
    return sum(count for why, count in drops if reason in (None, why))


# -- storing and reading back


def test_one_that_is_forgotten_leaves_nothing_behind():
    store = filled(100)
    store.clock.set_unix_ms(UNIX_MS, "test")
    assert store.clock.on_change == []
    log = store.log
    store.log = store.cursor = None
    # Nobody tends it, whatever the clock does.
    with Fault(5):
        store.clock.set_unix_ms(UNIX_MS, "test")
    assert log.flash["errors"] == 0


def test_nothing_is_written_while_the_ring_is_enough():
    store = Store()
    store.fill(20)
    store.tend(100)
    assert store.log.mode == RAM
    assert store.segments() == []
    assert indexes(taken(store.log.reader(0))) == list(range(20))


def test_what_was_stored_is_there_after_a_restart():
    store = filled(500)
    assert len(store.log.segments) > 3
    assert not store.drops
    assert indexes(taken(store.log.reader(0))) == list(range(500))
    store.open()
    assert (store.log.oldest, store.log.next, store.log.stored) == (0, 500, 500)
    assert store.log.mode == FILE
    assert indexes(taken(store.log.reader(store.cursor.acked))) == list(range(500))
    store.fill(10)
    assert indexes(taken(store.log.reader(490))) == list(range(490, 510))


def test_streams_and_numbers():
    store = filled(300)
    store.open()
    store.fill(100)
    reader = store.log.reader(0)
    found = {}
    header = reader.open()
    while header:
        found.setdefault(header.stream, []).extend(range(header.seq, header.seq + header.count))
        for _ in range(header.count):
            reader.take()
        header = reader.open()
    assert found == {70: list(range(300)), 71: list(range(100))}
    assert store.log.stream == 71 and store.log.next_seq == 100


def test_what_was_not_stored_is_gone_and_its_numbers_are_free():
    store = filled(100)
    store.fill(30)
    store.open()
    assert store.log.next == 100
    store.fill(50)
    assert indexes(taken(store.log.reader(90))) == list(range(90, 150))


def test_a_frame_is_readable_in_ram_as_long_as_there_is_room():
    store = filled(60)
    assert store.log.ram_oldest == 0
    with Fault(5):
        assert len(taken(store.log.reader(0))) == 60
    assert store.log.flash["errors"] == 0


def test_packed_and_taken_are_the_same():
    store = filled(500)
    out = bytearray(700)
    for limit in (1, 7, 50, 1000):
        reader = store.log.reader(0)
        seen = 0
        while True:
            count = reader.pack(out, 0, len(out), limit)[0]
            if not count:
                break
            seen += count
            assert reader.index == seen
        assert seen == 500


def test_a_batch_of_packed_records_says_nothing_of_the_log():
    store = filled(200)
    out = bytearray(700)
    store.open()
    _, end = store.log.reader(60).pack(out, 0, len(out), 1000)
    assert end and out[6:8] == b"\0\0"


def test_two_readers_each_load_a_segment_once():
    store = filled(600)
    readers = [store.log.reader(0), store.log.reader(200)]
    loads = [0, 0]
    seen = [[], []]
    # In turn, a few records at a time.
    for _ in range(100):
        for number in (0, 1):
            seen[number] += indexes(taken(readers[number], 7))
            if readers[number]._segment:
                loads[number] = readers[number]._segment.loads
    assert seen == [list(range(600)), list(range(200, 600))]
    on_flash = [index for index in store.log.segments if index < store.log.ram_oldest]
    assert loads[0] == len(on_flash)
    assert loads[1] <= loads[0] - 2
    # In RAM again, they need no buffer.
    assert readers[0]._segment is readers[1]._segment is None


def test_a_reader_that_goes_back():
    store = filled(500)
    reader = store.log.reader(0)
    for index in (400, 10, 123, 499, 0, 300):
        reader.seek(index)
        assert indexes(taken(reader, 90)) == list(range(index, min(index + 90, 500)))


def test_segments_go_when_every_reader_has_passed():
    store = filled(500)
    other = Cursor(store.log, "other")
    count = len(store.log.segments)
    store.cursor.ack(500)
    assert len(store.segments()) == count
    for index in range(0, 501, 20):
        other.ack(index)
        assert store.log.oldest <= index
        assert len(store.segments()) == len(store.log.segments)
        if store.log.segments:
            assert store.log.segment_end(0) > index
    assert store.segments() == []
    assert store.log.flash["deleted"] == count
    assert not store.drops


def test_a_reader_that_leaves_is_not_waited_for():
    store = filled(200)
    slow = Cursor(store.log, "slow")
    store.cursor.ack(200)
    store.tend()
    assert store.segments()
    assert "slow.cur" in list(names(FOLDER))
    store.log.cursors.remove(slow)
    store.log.forget("slow")
    store.tend()
    assert store.segments() == []
    assert list(names(FOLDER)).count("slow.cur") == 0
    assert store.log.start("slow") == store.log.oldest


def test_what_is_confirmed_before_is_never_written():
    store = Store(durable=True)
    for _ in range(100):
        store.fill(30)
        store.cursor.ack(store.log.next)
        store.tend()
    assert store.log.flash["segments"] == 0
    assert store.segments() == []


def test_clear():
    store = filled(200)
    store.log.clear()
    assert store.segments() == []
    assert store.log.oldest == store.log.next == 200
    assert not store.drops
    store.fill(100)
    store.tend(11)
    assert indexes(taken(store.log.reader(200))) == list(range(200, 300))


# -- cursors


def test_a_reader_goes_on_where_it_was():
    store = filled(500)
    store.cursor.ack(321)
    store.tend()
    store.open()
    assert store.cursor.acked == 321
    assert indexes(taken(store.log.reader(321))) == list(range(321, 500))


def test_confirmed_and_cut_within_a_second_comes_again():
    store = filled(500)
    store.cursor.ack(300)
    store.tend()
    store.cursor.ack(321)
    store.open()
    assert store.cursor.acked == 300


def test_cursors_of_the_time_before_the_first_segment():
    store = Store()
    other = Cursor(store.log, "other")
    store.fill(60)
    store.cursor.ack(55)
    other.ack(30)
    # More than the ring holds, and no second passes between the segment and the cut.
    store.fill(100)
    assert store.log.segments == [FRAME]
    store.open()
    assert store.cursor.acked == 55
    assert Cursor(store.log, "other").acked == 30
    assert Cursor(store.log, "new").acked == store.log.oldest


def test_nothing_on_flash_nothing_owed():
    store = filled(200)
    other = Cursor(store.log, "other")
    other.ack(150)
    store.tend()
    other.ack(200)
    store.cursor.ack(190)
    store.tend()
    store.cursor.ack(200)
    assert store.segments() == []
    store.open()
    # Both cursors on flash are older than what was confirmed; there is nothing to be sent.
    assert store.log.next >= 190
    for name in ("collector", "other"):
        reader = store.log.reader(store.log.start(name))
        assert reader.open() is None
        assert not reader.skipped


def test_numbers_go_on_behind_every_cursor():
    store = filled(200)
    store.cursor.ack(200)
    store.open()
    assert store.log.next == store.log.start("collector")
    store.fill(100)
    store.tend(20)
    for _ in range(3):
        store.open()
        assert store.log.next == store.log.stored
        assert indexes(taken(store.log.reader(store.cursor.acked)))[-100:] == list(
            range(store.log.next - 100, store.log.next)
        )


def test_a_reader_that_was_ahead_of_the_cut():
    store = filled(100)
    slow = Cursor(store.log, "slow")
    store.fill(25)
    store.cursor.ack(125)
    slow.ack(10)
    store.tend()
    store.open()
    # 100 to 125 were only in RAM; the slow one is told that it does not get them.
    assert (store.log.next, store.cursor.acked) == (125, 125)
    store.fill(5)
    reader = store.log.reader(store.log.start("slow"))
    assert indexes(taken(reader)) == list(range(10, 100)) + list(range(125, 130))
    assert reader.skipped == 25
    assert not store.drops


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


# -- damage


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


# -- limits


def accounted(store, reader, found):
    """Nothing is lost that is not counted, nothing counted that is not lost."""
    assert len(set(found)) == len(found)
    lost = store.log.next - len(found)
    assert reader.skipped == lost
    assert total(store.drops) == lost == sum(store.log.dropped.values())


def test_a_full_volume_gives_up_the_oldest_segment():
    store = Store(durable=True, maxBytes=5 * 4096)
    for _ in range(60):
        store.fill(25)
        store.tend()
        assert len(store.segments()) <= 5
    assert {reason for reason, _ in store.drops} == {"flash_full"}
    reader = store.log.reader(0)
    accounted(store, reader, indexes(taken(reader)))
    assert store.log.dropped == {"flash_full": total(store.drops)}


def test_a_volume_without_room():
    store = Store(durable=True, reserve=1 << 62)
    for _ in range(30):
        store.fill(25)
        store.tend()
    assert store.segments() == []
    assert {reason for reason, _ in store.drops} == {"overflow"}
    reader = store.log.reader(0)
    accounted(store, reader, indexes(taken(reader)))


def test_reject_new():
    store = Store(durable=True, maxBytes=3 * 4096, policy="reject_new")
    taken_in = 0
    for _ in range(60):
        for _ in range(25):
            taken_in += store.append(store.log.next + 100000)
        store.tend()
    refused = 60 * 25 - taken_in
    assert len(store.segments()) == 3
    assert store.log.next == taken_in
    assert store.log.dropped == {"rejected": refused}
    assert refused > 500
    assert indexes(taken(store.log.reader(0))) == list(range(taken_in))
    # Room again as soon as something is confirmed.
    store.cursor.ack(taken_in)
    store.tend()
    assert store.append(1) == 1


def test_max_entries():
    store = Store(durable=True, maxEntries=400)
    for _ in range(60):
        store.fill(25)
        store.tend()
        assert store.log._stored - store.log.oldest <= 400 + 25
    reader = store.log.reader(0)
    accounted(store, reader, indexes(taken(reader)))
    assert set(store.log.dropped) == {"flash_full"}


def test_max_duration():
    store = Store(durable=True, maxDuration=30000, unix_ms=UNIX_MS)
    for second in range(100):
        store.fill(25)
        store.tend()
        oldest = store.log.oldest
        assert second * 25 - oldest <= 30 * 25 + 150
        assert second < 40 or second * 25 - oldest >= 30 * 25 - 50
    assert set(store.log.dropped) == {"expired"}
    reader = store.log.reader(0)
    accounted(store, reader, indexes(taken(reader)))


def test_a_segment_is_as_old_as_its_newest_record():
    store = Store(frames=2, durable=True, maxDuration=20000, maxLatency=3000, unix_ms=UNIX_MS)
    for second in range(200):
        store.fill(2)
        store.tend()
        # It grew while it was the oldest, and stays until its last record is of age.
        assert second < 20 or second - store.log.oldest // 2 >= 20
    assert set(store.log.dropped) == {"expired"}


class Volume:
    """A volume of so many blocks of 4 KiB, each segment taking one."""

    def __init__(self, store, blocks):
        self.store = store
        self.blocks = blocks
        self.counts = 0

    def statvfs(self, _path):
        """Block sizes, blocks, free blocks."""
        self.counts += 1
        return 4096, 4096, self.blocks, self.blocks - len(self.store.segments())

    def __getattr__(self, name):
        return getattr(os, name)


def test_a_volume_is_used_up_to_its_reserve_and_rarely_counted():
    store = Store(durable=True, reserve=3 * 4096)
    segment.os = volume = Volume(store, 12)
    try:
        most = 0
        for number in range(300):
            store.fill(25)
            store.tend()
            most = max(most, len(store.segments()))
            if number % 40 == 39:
                # Everything is confirmed: there is room again.
                store.cursor.ack(store.log.next)
    finally:
        segment.os = os
    assert most == 12 - 3
    assert volume.counts <= store.log.flash["segments"] // 10
    assert set(store.log.dropped) == {"flash_full"}


def test_max_age_is_for_ram_and_flash():
    store = Store(policy="max_age", durable=True)
    store.max_age = 30000
    store.open()
    for _ in range(100):
        store.fill(25)
        store.tend()
    assert set(store.log.dropped) == {"expired"}
    assert 30 * 25 - 50 <= store.log.next - store.log.oldest <= 30 * 25 + 150
    reader = store.log.reader(0)
    accounted(store, reader, indexes(taken(reader)))
    store.tend(60)
    assert store.segments() == []
    assert store.log.oldest == store.log.next == 2500
    assert total(store.drops) == 2500


def test_age_of_other_boots():
    # Undated at first; boot 7 learns the time later, boot 8 never.
    store = filled(100, maxDuration=60000)
    store.clock.set_unix_ms(UNIX_MS, "test")
    store.tend()
    store.open()
    store.fill(100)
    store.tend(15)
    assert store.log.stored == 200
    count = len(store.segments())
    store.open()
    store.tend(3600)
    assert len(store.segments()) == count, "nobody knows how old they are"
    store.clock.set_unix_ms(UNIX_MS + 40000, "test")
    store.tend(2)
    assert len(store.segments()) == count
    store.clock.set_unix_ms(UNIX_MS + 60001, "test")
    store.tend()
    assert store.log.oldest == 100, "what is behind the undated ones waits for them"
    assert store.log.dropped == {"expired": 100}


def test_what_nobody_needs_is_given_up_without_a_word():
    store = Store(durable=True, maxBytes=3 * 4096)
    slow = Cursor(store.log, "slow")
    for _ in range(30):
        store.fill(25)
        store.tend()
    lost = total(store.drops)
    slow.ack(store.log.next)
    store.cursor.ack(store.log.next)
    for _ in range(30):
        store.fill(25)
        store.tend()
        slow.ack(store.log.next)
        store.cursor.ack(store.log.next)
    assert total(store.drops) == lost


def test_a_reader_behind_what_was_given_up():
    store = Store(durable=True, maxBytes=4 * 4096)
    reader = store.log.reader(0)
    found = []
    for _ in range(60):
        store.fill(25)
        store.tend()
        found += indexes(taken(reader, 5))
    found += indexes(taken(reader))
    accounted_for = len(found) + reader.skipped
    assert accounted_for == store.log.next
    assert len(set(found)) == len(found)


# -- a flash that fails


def busy(store, rounds):
    """Everything a log does, so many times; the records that were read."""
    found = []
    reader = store.log.reader(store.cursor.acked)
    for _ in range(rounds):
        store.fill(25)
        store.tend()
        found += indexes(taken(reader, 20))
        store.cursor.ack(reader.index)
    return found + indexes(taken(reader)), reader


def test_no_folder_at_all():
    for code in (2, 5, 30):
        with Fault(code):
            store = Store(durable=True)
            found, reader = busy(store, 40)
            assert store.log.flash["errors"] > 0
            assert store.log.last_error.args[0] == code
            assert store.log.flash["segments"] == 0
        # In RAM it goes on, with all that is lost counted.
        assert reader.skipped == total(store.drops, "overflow") == store.log.next - len(found)
        assert found[-25:] == list(range(975, 1000))


def test_every_kind_of_call_may_fail():
    for only in ("open", "write", "rename", "remove", "statvfs", "names", "readinto", "read"):
        store = filled(300)
        with Fault(5, 0, only):
            found, reader = busy(store, 20)
        lost = reader.skipped
        assert lost == store.log.next - len(found) == total(store.drops), only
        # It is well again, which the log notices within a second.
        store.tend()
        more, reader = busy(store, 20)
        assert not reader.skipped
        assert more[-20:] == list(range(store.log.next - 20, store.log.next))
        store.open()
        assert store.log.next >= 300


def test_no_room_in_the_middle_of_a_write():
    store = filled(300)
    before = len(store.segments())
    with Fault(28, 2, "write"):
        store.fill(25)
        store.tend(30)
    assert store.log.flash["errors"] > 0
    assert len(store.segments()) <= before
    # What it gave up for room was needed, and is counted.
    assert set(store.log.dropped) <= {"flash_full"}
    reader = store.log.reader(0)
    accounted(store, reader, indexes(taken(reader)))
    store.tend(30)
    assert store.log.stored == store.log.next


def test_a_write_that_failed_is_tried_again():
    store = Store(durable=True)
    store.fill(25)
    with Fault(5, 0, "rename"):
        store.tend(30)
        assert store.log.stored == 0
    store.tend()
    assert store.log.stored == 25
    assert not store.drops


def test_a_full_ring_does_not_ask_the_flash_for_every_record():
    store = Store(durable=True)
    with Fault(28, 0, "open"):
        store.tend()
        errors = store.log.flash["errors"]
        store.fill(1000)
        # The cursor and the segment.
        assert store.log.flash["errors"] - errors <= 2
        store.tend()
        store.fill(1000)
        assert store.log.flash["errors"] - errors <= 4
