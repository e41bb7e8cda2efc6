"""log: full volumes, policies, limits of number and age; a flash whose calls fail."""

import os

from core_kit import UNIX_MS
from log_kit import Cursor, Fault, Store, accounted, filled, indexes, taken, total

from fieldpost import segment

# -- limits


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
