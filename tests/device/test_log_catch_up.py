"""log: reading back from flash, paced, in order, in little memory; what is told of losses."""

import gc
import sys

from core_kit import UNIX_MS
from flow_kit import values
from log_kit import FOLDER, Cursor, LogFlow, Store, fill, reboot, run, taken

from fieldpost import segment, spill
from fieldpost.compat import MICROPYTHON
from fieldpost.events import RECORDS_DROPPED
from fieldpost.smallfile import load

HEAP = "2m"

#: The WebAssembly build collects its garbage between tests only.
MEASURED = MICROPYTHON and sys.platform != "webassembly"


def backlog(count, **options):
    """A flow with so many records on flash, its subscriber about to send them."""
    rules = dict({"maxEntries": 50, "frames": 8}, **options)
    flow = LogFlow({"durable": True}, **rules)
    flow.subscriber()
    flow.link.connected = False
    fill(flow, count, per_second=100)
    flow.tend(12)
    return flow, reboot(flow)


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
