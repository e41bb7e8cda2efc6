"""rtc: what was not yet on flash outlives every reset, once, with the numbers it had."""

import sys

from core_kit import UNIX_MS
from log_kit import Fault, Store, indexes, taken

from fieldpost import log as log_module
from fieldpost.rtc import Tail

SIZE = 2048


class Memory:
    """RTC memory, as ``machine.RTC`` has it."""

    def __init__(self):
        self.data = b""
        self.writes = 0

    def memory(self, data=None):
        """Read or replace."""
        if data is None:
            return self.data
        if len(data) > SIZE:
            raise ValueError("buffer too long")
        self.data = bytes(data)
        self.writes += 1
        return None


class Machine:
    """The module ``machine`` of a board, while tests of it run."""

    def __init__(self):
        self.memory = Memory()

    def RTC(self):  # noqa: N802 - the board's name for it
        return self.memory

    def __enter__(self):
        self.before = sys.modules.get("machine")
        sys.modules["machine"] = self
        return self.memory

    def __exit__(self, *_):
        if self.before is None:
            del sys.modules["machine"]
        else:
            sys.modules["machine"] = self.before


def store(**options):
    """A log with a tail; it waits long before it writes to flash."""
    return Store(**dict({"durable": True, "rtc": True, "maxLatency": 3600000}, **options))


def everything(kept):
    """All that a reader gets from its cursor on."""
    return indexes(taken(kept.log.reader(kept.cursor.acked)))


def test_a_reset_loses_nothing():
    with Machine() as memory:
        kept = store()
        kept.fill(17)
        kept.tend()
        assert kept.log.stored == 0 and memory.data
        kept.open()
        assert kept.log.next == kept.log.stored == 17
        assert everything(kept) == list(range(17))
        header = kept.log.reader(0).open()
        assert (header.stream, header.seq, header.boot) == (70, 0, 7)
        kept.fill(5)
        kept.tend()
        kept.open()
        assert everything(kept) == list(range(22))


def test_a_power_cut_loses_the_tail_only():
    with Machine() as memory:
        kept = store()
        kept.fill(60)
        kept.tend()
        stored = kept.log.stored
        memory.data = b""
        kept.open()
        assert everything(kept) == list(range(stored))


def test_what_is_behind_the_flash_only():
    with Machine():
        kept = store(maxLatency=5000)
        kept.fill(70)
        kept.tend(6)
        assert kept.log.stored == 70
        kept.fill(9)
        kept.tend()
        kept.open()
        assert kept.log.next == 79
        assert everything(kept) == list(range(79))


def test_never_twice():
    with Machine() as memory:
        kept = store()
        kept.fill(10)
        kept.tend()
        left = memory.data
        kept.open()
        # Reset again before anything else: on flash it is already.
        memory.data = left
        kept.open()
        assert everything(kept) == list(range(10))
        assert len(kept.log.segments) == 1
        # Delivered, confirmed and deleted: the memory was empty long before.
        kept.open()
        kept.cursor.ack(10)
        assert memory.data == b""
        kept.open()
        assert everything(kept) == [] and not kept.log.segments


def test_what_was_stored_or_confirmed_meanwhile():
    with Machine() as memory:
        kept = store()
        kept.fill(10)
        kept.tend()
        assert memory.data
        kept.cursor.ack(10)
        kept.tend()
        assert memory.data == b""
        kept.fill(200)
        kept.tend()
        kept.tend(3600)
        assert kept.log.stored == 210
        assert memory.data == b""


def test_it_is_written_when_something_is_new():
    with Machine() as memory:
        kept = store()
        emptied = memory.writes
        kept.fill(10)
        kept.tend(5)
        assert memory.writes == emptied + 1
        kept.fill(1)
        kept.tend(5)
        assert memory.writes == emptied + 2


def test_what_does_not_fit_goes_to_flash():
    with Machine() as memory:
        kept = store(frames=16, frame_bytes=512, segment=4096)
        for _ in range(40):
            kept.fill(25)
            kept.tend()
            assert len(memory.data) <= SIZE
            before = kept.log.next
            written = kept.log.flash["segments"]
            kept.open()
            assert kept.log.next == before
            assert everything(kept) == list(range(before))
            assert written <= 1
        kept = store(frames=4, frame_bytes=4096, segment=8192)
        kept.fill(800)
        kept.tend()
        kept.fill(10)
        kept.tend()
        kept.open()
        assert everything(kept) == list(range(810))


def test_where_the_flash_refuses_the_oldest_are_kept():
    with Machine():
        kept = store(frames=16, frame_bytes=512, segment=4096)
        kept.fill(600)
        with Fault(28):
            kept.tend()
        kept.open()
        found = everything(kept)
        assert 200 < len(found) < 600
        assert found == list(range(len(found)))


def test_damaged_memory_is_as_good_as_none():
    with Machine() as memory:
        kept = store()
        kept.fill(10)
        kept.tend()
        whole = memory.data
        for at in range(8 + 32):
            memory.data = whole[:at] + bytes((whole[at] ^ 16,)) + whole[at + 1 :]
            kept.open()
            assert kept.log.next == 0 and not kept.log.segments
        for length in range(8 + 32):
            memory.data = whole[:length]
            kept.open()
            assert kept.log.next == 0
        for at in range(8 + 32, len(whole)):
            memory.data = whole[:at] + bytes((whole[at] ^ 16,)) + whole[at + 1 :]
            kept.drops = []
            kept.open()
            # Delivered is what the chunk's CRC confirms, nothing here; counted is all.
            assert kept.log.next == 10
            assert everything(kept) == []
            kept.log.released()
            assert kept.drops == [("damaged", 10)]
            kept.log.clear()
            kept.log.forget("collector")


def test_the_memory_of_another_log():
    with Machine() as memory:
        kept = store()
        kept.fill(10)
        kept.tend()
        memory.data = memory.data[:4] + b"\0\0\0\0" + memory.data[8:]
        kept.open()
        assert kept.log.next == 0


def test_times_of_what_was_recovered():
    with Machine():
        kept = store(unix_ms=UNIX_MS)
        kept.fill(1)
        kept.tend()
        kept.open()
        header = kept.log.reader(0).open()
        assert header.dated and header.base == UNIX_MS
        assert kept.log.last_error is None


def test_the_time_is_learned_after_the_last_record():
    with Machine():
        kept = store()
        kept.fill(1)
        kept.tend()
        kept.clock.set_unix_ms(UNIX_MS, "test")
        kept.tend()
        kept.open()
        header = kept.log.reader(0).open()
        assert header.dated and header.base == UNIX_MS - 1000


def test_a_recovered_segment_has_its_age():
    with Machine():
        kept = store(unix_ms=UNIX_MS, maxDuration=60000)
        kept.fill(3)
        kept.tend()
        kept.open(UNIX_MS + 30000)
        kept.tend()
        assert kept.log.oldest == 0
        kept.tend(40)
        assert kept.log.dropped == {"expired": 3}


def test_a_board_without_it():
    class Bare:
        pass

    for absent in (Bare(), None):
        before = sys.modules.get("machine")
        sys.modules["machine"] = absent or Bare
        try:
            kept = store()
        finally:
            del sys.modules["machine"]
            if before is not None:
                sys.modules["machine"] = before
        assert kept.log.flash["errors"] == 1
        kept.fill(30)
        kept.tend()
        kept.open()


def test_it_is_loaded_where_it_is_asked_for_only():
    assert not hasattr(log_module, "tail_of")
    with Machine() as memory:
        for options in ({"durable": False}, {"rtc": False}):
            kept = store(**options)
            kept.fill(10)
            kept.tend()
            assert memory.writes == 0 and memory.data == b""


def test_a_tail_of_any_function():
    memory = Memory()
    kept = Store(durable=True)
    tail = Tail(kept.log, memory.memory)
    kept.fill(5)
    tail.keep()
    assert memory.data[:4] == b"FPR1"
    left = memory.data
    assert not tail.recover(5)
    memory.data = left
    assert tail.recover(4)
    assert memory.data == b""
