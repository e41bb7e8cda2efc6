"""log: whatever is lost is counted by its reason, announced on the bus, in the state, and told
to the reader before what comes next."""

from flow_kit import values
from log_kit import FOLDER, Cursor, LogFlow, Store, taken

from fieldpost import segment
from fieldpost.events import RECORDS_DROPPED

HEAP = "1m"


class Case:
    """A log whose reader is away while it loses records; then the reader comes back."""

    def __init__(self, store, **shape):
        self.told = []
        self.tried = 0
        # In batches that none of the losses divides.
        self.flow = LogFlow(store, maxEntries=1000, maxBytes=65536, buffer_bytes=512, **shape)
        self.begin()

    def begin(self):
        self.flow.bus.subscribe(RECORDS_DROPPED, self._hear)
        self.subscriber = self.flow.subscriber(format="packed")

    def _hear(self, _kind, key, data):
        assert key == "default" and data[1] > 0
        self.told.append(data)

    def record(self, seconds, each=20):
        self.flow.link.connected = False
        for _ in range(seconds):
            for _ in range(each):
                self.flow.ring.append(1, self.tried)
                self.tried += 1
            self.flow.tend()

    def check(self, *reasons):
        """All that did not arrive was announced, for these reasons only; returns how many."""
        log = self.flow.log
        self.flow.link.connected = True
        arrived, skipped = [], 0
        for _ in range(200):
            self.subscriber.step()
            for flush in self.flow.link.flushes():
                arrived += values(flush)
                skipped += flush["skipped"]
                assert self.subscriber.ack(flush["flush"])
            self.flow.tend()
        dropped = log.state()["dropped"]
        announced = {}
        for reason, count in self.told:
            announced[reason] = announced.get(reason, 0) + count
        assert sorted(dropped) == sorted(reasons) and announced == dropped
        assert len(set(arrived)) == len(arrived)
        lost = self.tried - len(arrived)
        assert lost == sum(dropped.values()) > 0
        # Those that never had a number cannot be missed.
        without = dropped.get("rejected", 0) + dropped.get("invalid", 0)
        assert skipped == lost - without
        assert log.state()["acquired"] == self.tried
        return lost


def test_ram_that_overflows():
    case = Case({"onRamOverflow": False})
    case.record(60)
    case.check("overflow")


def test_a_flash_that_is_full():
    case = Case({"durable": True, "maxBytes": 5 * 4096})
    case.record(100)
    # Whole segments.
    assert case.flow.ring.oldest in case.flow.ring.segments
    case.check("flash_full")


def test_a_flash_without_room_for_anything():
    case = Case({"durable": True, "reserve": 1 << 62})
    case.record(60)
    case.check("overflow")


def test_more_entries_than_are_allowed():
    case = Case({"maxEntries": 500})
    case.record(100)
    case.check("flash_full")


def test_new_ones_that_are_refused():
    for store in ({"onRamOverflow": False}, {"durable": True, "maxBytes": 3 * 4096}):
        case = Case(store, policy="reject_new")
        case.record(100)
        assert case.flow.ring.oldest == 0
        case.check("rejected")


def test_records_that_are_too_old():
    for store in ({"onRamOverflow": False}, {"durable": True}):
        case = Case(store, policy="max_age", max_age_ms=20000, frames=40)
        case.record(60)
        lost = case.check("expired")
        assert 30 * 20 < lost < 45 * 20
    case = Case({"durable": True, "maxDuration": 20000})
    case.record(60)
    case.check("expired")


def test_values_that_no_record_holds():
    case = Case({"durable": True})
    case.record(10)
    for value in (1 << 64, "x" * 5000, object()):
        assert not case.flow.ring.append(1, value)
        case.tried += 1
    assert case.check("invalid") == 3


def test_flash_that_gives_back_something_else():
    case = Case({"durable": True})
    case.record(100)
    with open(segment.path(FOLDER, case.flow.ring.segments[1]), "r+b") as file:
        file.seek(90)
        file.write(b"\xff\xff\xff")
    case.check("damaged")


def test_a_segment_that_is_gone():
    case = Case({"durable": True})
    case.record(100)
    log = case.flow.ring
    # Emptied, which leaves its name.
    with open(segment.path(FOLDER, log.segments[0]), "wb"):
        pass
    end = log.segments[1]
    assert case.check("damaged") == end


# -- not for records only


def test_a_log_is_a_queue_of_jobs_as_well():
    store = Store(frames=4, durable=True, maxLatency=1000)
    jobs = [{"url": "http://h/%d" % number, "body": "x" * 60} for number in range(40)]
    for job in jobs:
        assert store.log.append(0, job)
        store.tend()
    store.tend(2)
    reader = store.log.reader(store.cursor.acked)
    assert taken(reader, 15) == jobs[:15]
    store.cursor.ack(reader.index)
    store.tend()
    # The power goes; another one retries what was not done.
    store.open()
    assert taken(store.log.reader(store.cursor.acked)) == jobs[15:]
    other = Cursor(store.log, "other")
    for cursor in (store.cursor, other):
        assert store.log.segments
        cursor.ack(40)
    assert not store.log.segments and store.drops == []
