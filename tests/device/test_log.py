"""log: what is stored outlives the power and is delivered once; cursors of its readers.

Modes are in ``test_log_modes.py``, damage, limits and a flash that fails in ``test_log_damage.py``
and ``test_log_limits.py``, power cuts on a real littlefs in ``test_power_cut.py``.
"""

from core_kit import UNIX_MS
from log_kit import FOLDER, Cursor, Fault, Store, filled, indexes, taken

from fieldpost.compat import names
from fieldpost.log import FILE, RAM

#: Records of five bytes in a frame of 256.
FRAME = (256 - 32 - 20) // 7 + 1


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
