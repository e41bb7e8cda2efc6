"""log: when what goes to flash, with real subscribers; times of records; catching up."""

import gc
import sys

from core_kit import UNIX_MS
from flow_kit import STREAM, values
from log_kit import FOLDER, Cursor, Fault, LogFlow, Store, indexes, taken

from fieldpost import segment, spill
from fieldpost.compat import MICROPYTHON
from fieldpost.events import RECORDS_DROPPED
from fieldpost.log import EXTENDED, FILE, RAM
from fieldpost.smallfile import load, remove

HEAP = "2m"
#: The WebAssembly build collects its garbage between tests only.
MEASURED = MICROPYTHON and sys.platform != "webassembly"


def fill(flow, count, per_second=20):
    """Record so many values at a steady rate; each is its own index."""
    for number in range(count):
        flow.append(flow.ring.next)
        if number % per_second == per_second - 1:
            flow.tend()


def run(flow, subscriber, ms, confirm=True):
    """Let the subscriber work for so long; what arrived, in order, confirmed or not."""
    got = []
    end = flow.clock.mono_ms() + ms
    second = 0
    while flow.clock.mono_ms() < end:
        wait = max(1, min(subscriber.step(), 1000, end - flow.clock.mono_ms()))
        for flush in flow.link.flushes():
            got += values(flush)
            if confirm and "seq" in flush:
                assert subscriber.ack(flush["flush"])
        flow.pass_ms(wait)
        if flow.clock.mono_ms() // 1000 > second:
            second = flow.clock.mono_ms() // 1000
            flow.ring.tend()
    return got


# -- RAM, EXTENDED, FILE


def test_ram_while_all_is_well():
    flow = LogFlow()
    subscriber = flow.subscriber()
    for _ in range(30):
        fill(flow, 20)
        run(flow, subscriber, 1000)
        assert flow.mode() == RAM
    assert flow.ring.flash["segments"] == 0


def test_file_when_the_ring_fills_and_ram_again_when_drained():
    flow = LogFlow()
    subscriber = flow.subscriber()
    flow.link.connected = False
    fill(flow, 100)
    assert flow.mode() == RAM
    fill(flow, 1900)
    assert flow.mode() == FILE
    assert flow.ring.dropped == {}
    assert flow.log.state()["kept"] == 2000
    assert flow.log.state()["flash"]["segments"] > 5
    flow.link.connected = True
    assert run(flow, subscriber, 20000) == list(range(2000))
    assert flow.mode() == RAM
    assert not flow.ring.segments
    fill(flow, 40)
    assert run(flow, subscriber, 3000) == list(range(2000, 2040))
    assert flow.mode() == RAM


def test_it_spills_before_an_append_has_to():
    # At 150 a second, one segment a second is not enough.
    for frames, per_second in ((8, 40), (16, 150)):
        flow = LogFlow(frames=frames)
        flow.subscriber()
        flow.link.connected = False
        for _ in range(30):
            with Fault(5):
                flow.append(*range(per_second))
                # Nothing was tried: none of these waited for the flash.
                assert flow.ring.flash["errors"] == 0
            flow.tend()
        assert flow.ring.dropped == {}


def test_a_burst_is_written_when_it_comes():
    flow = LogFlow()
    subscriber = flow.subscriber()
    flow.link.connected = False
    fill(flow, 2999, per_second=3000)
    assert flow.mode() == FILE
    assert flow.ring.dropped == {}
    flow.link.connected = True
    assert run(flow, subscriber, 30000) == list(range(2999))


def test_without_ram_overflow():
    flow = LogFlow({"onRamOverflow": False})
    flow.subscriber()
    flow.link.connected = False
    fill(flow, 1000)
    assert flow.mode() == RAM
    assert flow.ring.flash["segments"] == 0
    assert flow.ring.dropped == {"overflow": flow.ring.oldest}


def test_file_after_ack_timeouts():
    flow = LogFlow({"onAckTimeouts": 3}, ackTimeout=1000)
    subscriber = flow.subscriber()
    fill(flow, 20)
    modes = []
    for _ in range(12):
        run(flow, subscriber, 1000, confirm=False)
        modes.append((subscriber.ack_timeouts, flow.mode()))
    assert (2, RAM) in modes and (3, FILE) in modes
    assert not {(2, FILE), (3, RAM)} & set(modes)
    flow.tend(12)
    assert flow.ring.stored == 20
    # One acknowledgement, and it counts from the start.
    subscriber.ack(subscriber.inflight[0].id)
    assert subscriber.ack_timeouts == 0
    flow.tend()
    assert flow.mode() == RAM


def test_an_acknowledgement_in_between_resets_the_count():
    flow = LogFlow({"onAckTimeouts": 3}, ackTimeout=1000)
    subscriber = flow.subscriber()
    for _ in range(5):
        fill(flow, 20)
        for _ in range(50):
            run(flow, subscriber, 500, confirm=False)
            if subscriber.ack_timeouts == 2:
                break
        for flush in list(subscriber.inflight):
            subscriber.ack(flush.id)
        flow.tend()
        assert flow.mode() == RAM


def test_timeouts_while_paused_do_not_count():
    flow = LogFlow({"onAckTimeouts": 1, "onPause": 60000}, ackTimeout=1000)
    subscriber = flow.subscriber()
    fill(flow, 20)
    run(flow, subscriber, 500, confirm=False)
    subscriber.pause()
    for _ in range(55):
        run(flow, subscriber, 1000, confirm=False)
        assert (subscriber.ack_timeouts, flow.mode()) == (0, RAM)
    for _ in range(6):
        run(flow, subscriber, 1000, confirm=False)
    assert (subscriber.ack_timeouts, flow.mode()) == (0, FILE)
    flow.tend(12)
    assert flow.ring.stored == 20
    subscriber.resume()
    assert run(flow, subscriber, 5000) == list(range(20))
    assert flow.mode() == RAM


def test_a_pause_with_nothing_to_come():
    flow = LogFlow({"onPause": 5000})
    subscriber = flow.subscriber()
    subscriber.pause()
    for _ in range(20):
        flow.tend()
    assert flow.mode() == RAM
    other = flow.subscriber("other")
    fill(flow, 20)
    run(flow, other, 1000)
    assert flow.mode() == FILE
    # Inactive, it wants none of them.
    subscriber.pause(inactive=True)
    flow.tend()
    assert flow.mode() == RAM


def test_extended():
    flow = LogFlow({"onEntries": 200, "onRamOverflow": False}, frames=16)
    subscriber = flow.subscriber()
    flow.link.connected = False
    fill(flow, 180)
    assert flow.mode() == RAM
    fill(flow, 420)
    assert flow.mode() == EXTENDED
    assert flow.ring.dropped == {}
    # Whole segments only, however long it takes.
    flow.tend(100)
    stored = flow.ring.stored
    assert 0 < stored < 600
    sizes = [len(names) for names in (flow.ring.segments,)]
    assert sizes[0] == flow.ring.flash["segments"]
    flow.link.connected = True
    assert run(flow, subscriber, 20000) == list(range(600))
    assert flow.mode() == RAM


def test_extended_becomes_file():
    flow = LogFlow({"onEntries": 100, "onAckTimeouts": 2}, frames=32, ackTimeout=1000)
    subscriber = flow.subscriber()
    fill(flow, 300)
    assert flow.mode() == EXTENDED
    run(flow, subscriber, 10000, confirm=False)
    assert flow.mode() == FILE
    flow.tend(12)
    assert flow.ring.stored == 300


def test_durable_from_the_first_record_on():
    flow = LogFlow({"durable": True, "maxLatency": 5000})
    subscriber = flow.subscriber()
    assert flow.mode() == FILE
    fill(flow, 3)
    assert flow.log.state()["stored"] == 0
    flow.tend(7)
    assert flow.log.state()["stored"] == 3
    assert run(flow, subscriber, 2000) == [0, 1, 2]
    flow.tend()
    assert flow.mode() == FILE
    flow.reboot()
    assert flow.mode() == FILE


def test_what_is_there_is_stored_when_file_is_entered_and_then_whole_segments():
    flow = LogFlow({"onPause": 5000, "maxLatency": 2000})
    subscriber = flow.subscriber()
    subscriber.pause()
    fill(flow, 100)
    assert (flow.mode(), flow.ring.stored) == (RAM, 0)
    flow.tend(2)
    assert (flow.mode(), flow.ring.stored) == (FILE, 100)
    before = dict(flow.ring.flash)
    for count in range(100, 400):
        flow.append(count)
        flow.tend(20)
    # The last one had a frame of the first.
    whole = flow.ring.flash["segments"] - before["segments"]
    assert whole == len(flow.ring.segments) <= 300 // 80 + 1
    assert 250 < flow.ring.stored < 400
    subscriber.resume()
    assert run(flow, subscriber, 20000) == list(range(400))
    assert flow.mode() == RAM


def test_what_the_state_says_is_stored():
    flow = LogFlow({"durable": True, "maxLatency": 5000})
    subscriber = flow.subscriber()
    flow.link.connected = False
    fill(flow, 200)
    flow.tend(6)
    fill(flow, 7)
    state = flow.log.state()
    assert (state["stream"], state["next"], state["stored"]) == (STREAM, 207, 200)
    flow.reboot()
    subscriber = flow.subscriber()
    state = flow.log.state()
    assert (state["stream"], state["next"], state["stored"]) == (STREAM + 1, 0, 0)
    assert (state["kept"], state["acquired"]) == (200, 0)
    fill(flow, 5)
    assert run(flow, subscriber, 5000) == list(range(200)) + [200, 201, 202, 203, 204]
    assert flow.log.state()["stored"] == 5


def test_no_record_waits_longer_than_max_latency():
    for per_second in (1, 3, 20, 45):
        store = Store(frames=16, durable=True, maxLatency=8000)
        when = []
        for second in range(60):
            store.fill(per_second)
            when += [second] * per_second
            store.tend()
            oldest = when[store.log.stored] if store.log.stored < len(when) else second
            assert second - oldest <= 9, (per_second, second, oldest)


def test_a_late_segment_is_written_once_in_max_latency():
    for latency in (10, 60, 600):
        store = Store(frames=64, segment=16384, durable=True, maxLatency=latency * 1000)
        written = []
        for second in range(10 * latency):
            before = store.log.flash["segments"]
            store.fill(second % (latency // 10) == 0)
            store.tend()
            if store.log.flash["segments"] > before:
                written.append(second)
                assert store.log.stored == store.log.next
        apart = [after - before for before, after in zip(written, written[1:])]
        assert len(written) >= 9 and set(apart) == {latency}, (latency, written)


def test_confirmed_long_after_it_was_sent_is_not_written():
    store = Store(frames=64, segment=16384, durable=True, maxLatency=80000)
    for _ in range(600):
        store.fill(2)
        store.tend()
        # In batches of 30 seconds, each of them on its way for 30 more.
        store.cursor.ack(max(store.cursor.acked, store.log.next // 60 * 60 - 60))
    assert store.log.flash["segments"] == 0


def test_confirmed_in_time_is_not_written():
    store = Store(frames=16, durable=True, maxLatency=4000)
    for _ in range(60):
        store.fill(20)
        store.tend()
        # Always something on its way, but nothing older than two seconds.
        store.cursor.ack(max(0, store.log.next - 40))
    assert store.log.flash["segments"] == 0


# -- what a segment holds


def test_a_slow_log_does_not_fill_the_flash_with_tiny_files():
    store = Store(frames=8, durable=True, maxLatency=10000)
    for _ in range(3600):
        store.fill(1)
        store.tend()
    most = 3600 // ((1024 - 32) // 300 * 28)
    assert len(store.log.segments) <= most
    assert store.log.flash["segments"] <= 450
    assert indexes(taken(store.log.reader(0))) == list(range(3600))
    store.open()
    assert indexes(taken(store.log.reader(0))) == list(range(store.log.next))


def test_a_ring_smaller_than_a_segment():
    store = Store(frames=2, durable=True, segment=4096)
    for _ in range(300):
        store.fill(5)
        store.tend()
    assert not store.drops
    assert indexes(taken(store.log.reader(0))) == list(range(1500))
    store.open()
    assert indexes(taken(store.log.reader(0))) == list(range(store.log.next))


def test_a_large_ring_writes_large_segments():
    store = Store(16, 1024, durable=True, segment=4096, maxLatency=60000)
    for _ in range(300):
        store.fill(20)
        store.tend()
    bytes_each = store.log.flash["bytes"] // store.log.flash["segments"]
    assert bytes_each > 3600
    assert store.log.flash["bytes"] < 1.05 * store.log.stored * 7.1


def test_one_segment_at_a_time_while_there_is_room():
    store = Store(frames=16)
    store.fill(300)
    assert store.log.mode == RAM
    store.cursor.paused = 1 << 30
    written = []
    for _ in range(20):
        before = store.log.flash["segments"]
        store.tend()
        written.append(store.log.flash["segments"] - before)
    assert set(written) == {0, 1}
    assert store.log.stored == 300


# -- time


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


# -- reading back, catching up


def backlog(count, **options):
    """A flow with so many records on flash, its subscriber about to send them."""
    rules = dict({"maxEntries": 50, "frames": 8}, **options)
    flow = LogFlow({"durable": True}, **rules)
    flow.subscriber()
    flow.link.connected = False
    fill(flow, count, per_second=100)
    flow.tend(12)
    return flow, reboot(flow)


def reboot(flow):
    """A boot with the time known; its subscriber a while later."""
    flow.reboot(UNIX_MS)
    subscriber = flow.subscriber()
    flow.pass_ms(1000)
    return subscriber


def test_a_backlog_on_flash_is_paced():
    flow, subscriber = backlog(1000, catchUp=30)
    assert subscriber.step() == 30
    for number in range(5):
        [flush] = flow.link.flushes()
        assert subscriber.ack(flush["flush"])
        flow.pass_ms(10)
        assert subscriber.step() == 20
        assert not flow.link.sent
        flow.pass_ms(20)
        assert subscriber.step() == 30, number
    # Not what is in RAM.
    subscriber.ack(flow.link.flushes()[0]["flush"])
    run(flow, subscriber, 2000)
    for number in range(200):
        flow.append(number)
    flow.pass_ms(1000)
    subscriber.step()
    assert len(flow.link.flushes()) == 4


def test_pacing_can_be_turned_off():
    flow, subscriber = backlog(1000, catchUp=0)
    subscriber.step()
    assert len(flow.link.flushes()) == 20


def test_what_is_sent_again_from_flash_is_paced_and_loaded_once():
    flow, subscriber = backlog(1000, catchUp=5, parallel=10, maxEntries=20)
    for _ in range(10):
        subscriber.step()
        flow.pass_ms(5)
    first = flow.link.flushes()
    assert len(first) == 10
    flow.link.connected = False
    flow.link.connected = True
    subscriber.link_up(False)
    again = []
    for _ in range(10):
        assert subscriber.step() == 5
        assert len(flow.link.sent) == 1
        again += flow.link.flushes()
        flow.pass_ms(5)
    assert [flush["value"] for flush in again] == [flush["value"] for flush in first]
    assert subscriber.resent == 200
    assert run(flow, subscriber, 20000)[-1] == 999


def test_what_is_sent_again_goes_before_what_is_new():
    flow, subscriber = backlog(1000, catchUp=5, parallel=10, maxEntries=20)
    for _ in range(5):
        subscriber.step()
        flow.pass_ms(5)
    first = [flush["seq"] for flush in flow.link.flushes()]
    subscriber.link_up(False)
    again = []
    for _ in range(8):
        subscriber.step()
        again += [flush["seq"] for flush in flow.link.flushes()]
        flow.pass_ms(5)
    assert again[:5] == first and again == sorted(again) and len(again) > 5


def test_what_is_confirmed_although_it_got_lost_holds_up_nothing():
    flow = LogFlow({"durable": True}, maxEntries=10, ackTimeout=60000)
    subscriber = flow.subscriber()
    fill(flow, 20)
    subscriber.step()
    first, second = flow.link.flushes()
    second["done"](False)
    subscriber.ack(second["flush"])
    fill(flow, 10)
    subscriber.step()
    assert [flush["seq"] for flush in flow.link.flushes()] == [20]
    assert subscriber.acked == 0 and subscriber.ack(first["flush"])
    assert subscriber.acked == 20


def drained(flow, subscriber):
    """``(values, number skipped)`` of everything that is to come, each batch in its place."""
    arrived = []
    skipped = end = 0
    for _ in range(100):
        subscriber.step()
        for flush in flow.link.flushes():
            skipped += flush["skipped"]
            assert flush["seq"] == end + flush["skipped"]
            end = flush["seq"] + len(flush["value"])
            assert values(flush) == list(range(flush["seq"], end))
            arrived += values(flush)
            subscriber.ack(flush["flush"])
        flow.pass_ms(100)
    return arrived, skipped


def damage_is_reported(form):
    flow, _ = backlog(400)
    path = segment.path(FOLDER, flow.ring.segments[1])
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data[:100] + b"\0" + data[101:])
    flow.reboot(UNIX_MS)
    told = []
    flow.bus.subscribe(RECORDS_DROPPED, lambda _kind, key, data: told.append((key, data)))
    arrived, skipped = drained(flow, flow.subscriber(format=form))
    assert 20 < skipped < 60
    assert len(arrived) == 400 - skipped and len(set(arrived)) == len(arrived)
    assert told == [("default", ("damaged", skipped))]
    assert flow.ring.dropped == {"damaged": skipped}


def test_damage_is_reported_in_json():
    damage_is_reported("json")


def test_damage_is_reported_in_packed():
    damage_is_reported("packed")


def test_a_loss_is_reported_after_a_restart_too():
    flow, subscriber = backlog(400)
    with open(segment.path(FOLDER, flow.ring.segments[0]), "r+b") as file:
        file.seek(100)
        file.write(b"\0\0")
    subscriber.step()
    [flush] = flow.link.flushes()
    lost = flush["skipped"]
    assert lost > 20 and flush["seq"] == lost
    # It got lost on its way, and the power went.
    flow.tend(2)
    subscriber = reboot(flow)
    subscriber.step()
    [flush] = flow.link.flushes()
    assert (flush["skipped"], flush["seq"]) == (lost, lost)
    subscriber.ack(flush["flush"])
    flow.tend(2)
    subscriber = reboot(flow)
    subscriber.step()
    [second] = flow.link.flushes()
    assert second["skipped"] == 0
    assert second["seq"] == lost + len(flush["value"])


def test_what_was_given_up_on_flash_is_reported():
    flow = LogFlow({"durable": True, "maxBytes": 5 * 4096}, maxEntries=50)
    flow.subscriber()
    flow.link.connected = False
    fill(flow, 2000)
    lost = flow.ring.dropped["flash_full"]
    assert flow.ring.oldest == lost > 500
    flow.tend(3)
    subscriber = reboot(flow)
    subscriber.step()
    first = flow.link.flushes()[0]
    assert (first["skipped"], first["seq"]) == (lost, lost)


def test_draining_takes_no_memory():
    count = 200
    store = Store(frames=8, segment=512, durable=True, maxBytes=0)
    while len(store.log.segments) < count:
        store.fill(50)
        store.tend()
    end = store.log.next
    store.open()
    reader = store.log.reader(store.cursor.acked)
    out = bytearray(600)
    reader.pack(out, 0, len(out), 20)
    most = 0
    gc.collect()
    before = gc.mem_alloc() if MEASURED else 0
    seen = reader.index
    while True:
        number, _ = reader.pack(out, 0, len(out), 20)
        if not number:
            break
        seen += number
        store.cursor.ack(seen)
        if MEASURED:
            gc.collect()
            most = max(most, gc.mem_alloc() - before)
    assert seen == store.log.stored <= end
    assert not store.log.segments
    assert most < 300, most
    assert store.log.flash["deleted"] >= count


def test_writing_takes_no_memory():
    store = Store(frames=8, segment=1024, durable=True, maxBytes=8 * 4096)
    for _ in range(60):
        store.fill(30)
        store.tend()
    gc.collect()
    before = gc.mem_alloc() if MEASURED else 0
    store.drops = []
    for _ in range(60):
        store.fill(30)
        store.tend()
        store.drops.clear()
    gc.collect()
    assert not MEASURED or gc.mem_alloc() - before < 300


def test_a_reader_without_memory_comes_back():
    store = Store(durable=True)
    store.fill(300)
    store.tend(12)
    store.open()
    reader = store.log.reader(0)
    real = spill.LogReader._on_flash

    def starved(*_):
        raise MemoryError

    spill.LogReader._on_flash = starved
    try:
        reader.open()
    except MemoryError:
        pass
    finally:
        spill.LogReader._on_flash = real
    assert len(taken(reader)) == 300


def test_two_logs_two_folders():
    flow = LogFlow({"durable": True})
    fill(flow, 50)
    assert flow.ring.folder == FOLDER
    cursor = Cursor(flow.ring, "named")
    flow.tend(12)
    assert load(FOLDER + "/named.cur") == cursor.acked
