"""log: times of records that were stored before the time was known, by this boot or another."""

from core_kit import UNIX_MS
from log_kit import FOLDER, Fault, LogFlow, Store, reboot

from fieldpost.smallfile import load, remove

HEAP = "2m"


def times(reader, limit=1 << 20):
    """``[(dated, boot, ms)]`` of the records ahead."""
    found = []
    header = reader.open()
    while header and len(found) < limit:
        ms = header.base
        for _ in range(header.count):
            ms += reader.take()[0]
            found.append((header.dated, header.boot, ms))
        header = reader.open()
    return found


def test_dated_when_the_time_is_known_also_on_flash():
    store = Store(durable=True)
    for _ in range(20):
        store.fill(10)
        store.tend()
    assert store.log.segments
    expected = [1000 * (index // 10) for index in range(200)]
    assert times(store.log.reader(0)) == [(False, 7, ms) for ms in expected]
    store.clock.set_unix_ms(UNIX_MS + 20000, "test")
    dated = [(True, 7, UNIX_MS + ms) for ms in expected]
    assert times(store.log.reader(0)) == dated
    # Those in RAM are dated when they are written.
    written = store.log.stored
    assert written < 180
    store.tend(12)
    assert store.log.stored == 200
    store.open()
    assert times(store.log.reader(0)) == dated
    remove(FOLDER + "/offsets")
    store.open()
    found = times(store.log.reader(0))
    assert found[:80] == [(False, 7, ms) for ms in expected[:80]]
    assert found[written:] == dated[written:]


def test_a_boot_that_never_knew_the_time():
    flow = LogFlow({"durable": True}, unix_ms=None)
    flow.subscriber()
    for _ in range(10):
        flow.append(flow.ring.next)
        flow.tend()
    flow.tend(12)
    boot = flow.ring.boot
    subscriber = reboot(flow)
    flow.append(10)
    for _ in range(3):
        flow.pass_ms(2000)
        subscriber.step()
    flushes = flow.link.flushes()
    assert [flush.get("ts_trusted") for flush in flushes] == [False, None]
    assert flushes[0]["boot"] == boot
    assert [ts for ts, _, _ in flushes[0]["value"]] == [1000 * number for number in range(10)]
    assert flushes[1]["value"] == [[UNIX_MS + 1000, 1, 10]]


def test_clocks_of_several_boots_are_kept_but_not_for_ever():
    store = Store(durable=True)
    for number in range(20):
        store.fill(3)
        store.tend(12)
        if number != 10:
            store.clock.set_unix_ms(UNIX_MS + number * 1000000, "test")
        store.tend()
        store.open()
    offsets = load(FOLDER + "/offsets")
    assert len(offsets) == 16
    found = times(store.log.reader(0))
    # Boot 7 is the first; 17 never knew the time, the first three were forgotten.
    for dated, boot, ms in found:
        assert dated == (boot != 17 and boot >= 10), boot
        assert ms < 20000 or ms >= UNIX_MS + (boot - 7) * 1000000 - 20000
    assert len(found) == 60


def test_a_clock_is_saved_once_and_only_where_it_is_needed():
    store = Store(durable=True)
    store.fill(5)
    store.tend(12)
    assert store.segments() and load(FOLDER + "/offsets") is None
    store.clock.set_unix_ms(UNIX_MS, "test")
    with Fault(5, 0, "rename"):
        store.tend(3)
    assert load(FOLDER + "/offsets") is None and store.log.flash["errors"]
    store.tend()
    assert list(load(FOLDER + "/offsets")) == ["7"]
    remove(FOLDER + "/offsets")
    store.tend(3)
    assert load(FOLDER + "/offsets") is None
    # All that this boot stores is dated.
    store.open(UNIX_MS)
    store.fill(5)
    store.tend(12)
    assert len(store.segments()) == 2 and load(FOLDER + "/offsets") is None


def test_what_waits_for_long_is_remembered_in_little_memory():
    store = Store(durable=True)
    with Fault(5):
        for _ in range(100):
            store.fill(1)
            store.tend()
    assert 0 < len(store.log._marks) <= 16
    store.tend()
    assert store.log.stored == store.log.next
    assert not store.log._marks


def test_a_damaged_file_of_clocks():
    store = Store(durable=True)
    store.fill(5)
    store.tend(12)
    store.clock.set_unix_ms(UNIX_MS, "test")
    store.tend()
    with open(FOLDER + "/offsets", "wb") as file:
        file.write(b"\xff\xfe not this")
    store.open()
    assert store.log.flash["errors"] == 1
    assert times(store.log.reader(0)) == [(False, 7, 0)] * 5
