"""log: when what goes to flash, with real subscribers; what a segment holds."""

from flow_kit import STREAM
from log_kit import Fault, LogFlow, Store, fill, indexes, run, taken

from fieldpost.log import EXTENDED, FILE, RAM

HEAP = "2m"


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


def test_a_burst_that_just_overflows_is_stored_as_a_whole():
    flow = LogFlow()
    flow.subscriber()
    flow.link.connected = False
    while flow.mode() == RAM:
        flow.append(flow.ring.next)
    # Of the segment that it wrote, and of what the ring has room for again.
    entered = flow.ring.next
    flow.tend(3)
    assert flow.ring.stored == entered
    fill(flow, 5)
    flow.tend(3)
    assert flow.ring.stored == entered


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
