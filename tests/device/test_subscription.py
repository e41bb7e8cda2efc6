"""subscription and subscriber: lifetime, pauses, several readers, memory running out.

Time is injected through the clock; the link is a list. ``test_subscription_model.py`` has the
randomised test of the promise.
"""

from core_kit import refused
from flow_kit import (
    STREAM,
    Flow,
    flush_of,
    make,
    overflow,
    overflowing,
    sent,
    taken,
    values,
    waits,
)
from patch_kit import Patch

from fieldpost import outlet, outlet_json
from fieldpost.compat import asyncio, sleep_ms, wait_for_ms
from fieldpost.errors import ApiError
from fieldpost.events import RECORDS_DROPPED
from fieldpost.point import Point
from fieldpost.subscriber import covers

DAY_MS = 86400000


# -- keepalive and lifetime


def test_keepalive():
    flow, subscriber = make(subscriber={"keepalive": 5000})
    subscriber.step()
    [alive] = flow.link.flushes()
    assert alive["value"] == []
    assert subscriber.inflight == []
    assert waits(flow, subscriber) == 5000
    flow.pass_ms(3000)
    flow.append(1)
    assert sent(flow, subscriber) == [[1]]
    subscriber.ack(1002)
    flow.pass_ms(4999)
    assert waits(flow, subscriber) == 1
    flow.pass_ms(1)
    assert sent(flow, subscriber) == [[]]


def test_no_keepalive_by_default():
    flow, subscriber = make()
    for _ in range(100):
        flow.pass_ms(60000)
        assert waits(flow, subscriber) == 60000


def test_a_lifetime_ends_and_leaves_nothing_behind():
    for lifetime in (5000, 30 * DAY_MS):
        flow = Flow()
        subscriber = flow.subscriber("c", lifetime=lifetime)
        for _ in range(lifetime // 50000):
            assert waits(flow, subscriber) == min(60000, lifetime - flow.clock.mono_ms())
            flow.pass_ms(50000)
        if lifetime == 5000:
            flow.append(1)
            flow.pass_ms(4999)
            assert sent(flow, subscriber) == [[1]]
            assert waits(flow, subscriber) == 1
            flow.pass_ms(1)
        assert waits(flow, subscriber) == 0
        assert subscriber.ended == "end of life"
        assert flow.log.subscribers == {}
        # A log is not held back by one that is gone.
        assert (flow.ring.cursors, flow.ring.listeners) == ([], [])


async def until(condition):
    """Let tasks run until something is so; fails after a second."""
    for _ in range(200):
        await sleep_ms(5)
        if condition():
            return
    raise AssertionError("it never came")


async def test_the_task_tells_the_end():
    flow = Flow()
    subscriber = flow.subscriber("c")
    flow.append(1)
    task = asyncio.create_task(subscriber.run())
    await sleep_ms(20)
    assert flow.link.sent == []  # minDelay since it was made
    flow.pass_ms(1000)
    subscriber.wake()
    await until(lambda: flow.link.sent)
    assert [values(flush) for flush in flow.link.flushes()] == [[1]]
    flow.log.remove("c")
    await wait_for_ms(task, 1000)
    [message] = flow.link.sent
    assert b'"error":"unsubscribed"' in message.payload


async def test_the_task_wakes_by_append_and_by_time():
    flow = Flow(onEntries=3, minDelay=0, maxDelay=100)
    task = asyncio.create_task(flow.subscriber().run())
    await sleep_ms(20)
    flow.append(1, 2, 3)
    await until(lambda: flow.link.sent)
    assert [values(flush) for flush in flow.link.flushes()] == [[1, 2, 3]]
    flow.append(4)
    await sleep_ms(20)
    assert flow.link.sent == []
    flow.pass_ms(100)
    await until(lambda: flow.link.sent)
    assert [values(flush) for flush in flow.link.flushes()] == [[4]]
    task.cancel()


# -- pause


def test_pause_keeps_recording():
    flow, subscriber = make(subscriber={"keepalive": 1000})
    flow.append(1)
    subscriber.pause()
    assert refused(ApiError, subscriber.pause) == "already paused"
    flow.append(2)
    subscriber.force()
    for _ in range(10):
        flow.pass_ms(3600000)
        assert waits(flow, subscriber) == 60000
    subscriber.resume()
    assert sent(flow, subscriber) == [[1, 2]]


def test_ack_timeouts_do_not_count_while_paused():
    flow, subscriber = make(ackTimeout=1000)
    flow.append(1)
    subscriber.step()
    flow.link.flushes()
    subscriber.pause()
    for _ in range(10 * 24):
        flow.pass_ms(3600000)
        waits(flow, subscriber)
    assert subscriber.ack_timeouts == 0
    subscriber.resume()
    assert waits(flow, subscriber) == 1000
    flow.pass_ms(1000)
    assert sent(flow, subscriber) == [[1]]
    assert subscriber.ack_timeouts == 1


def test_acks_count_while_paused():
    flow, subscriber = make()
    flow.append(1)
    subscriber.step()
    subscriber.pause()
    assert subscriber.ack(1001)
    assert subscriber.acked == 1


def test_pause_inactive_empties_and_stops_recording():
    flow, subscriber = make(maxEntries=2)
    point = Point(1, "d", "p")
    point.value = 5
    flow.append(1, 2, 3)
    subscriber.step()
    flow.link.flushes()
    subscriber.pause(inactive=True)
    assert refused(ApiError, subscriber.pause, True) == "already paused"
    assert (subscriber.inflight, subscriber.pending, flow.ring.oldest) == ([], 0, 3)
    assert not flow.log.record(point, flow.ticks())
    assert flow.ring.next == 3
    assert waits(flow, subscriber) == 60000
    assert not subscriber.ack(1001)
    subscriber.resume()
    assert flow.log.record(point, flow.ticks())
    flow.pass_ms(1000)
    subscriber.step()
    [flush] = flow.link.flushes()
    # Numbers go on; what was emptied is reported.
    assert (flush["seq"], flush["skipped"], values(flush)) == (3, 3, [5])


def test_pause_inactive_reports_all_that_was_owed():
    flow, subscriber = overflowing()
    flow.append(*range(12))
    subscriber.step()
    overflow(flow, 1)
    flow.pass_ms(1000)
    subscriber.step()
    # In flight: a part of the second batch, and one that reports the first as skipped.
    assert [(flush.id, flush.skipped > 6) for flush in subscriber.inflight[:2]] == [
        (1002, False),
        (1003, True),
    ]
    subscriber.pause(inactive=True)
    subscriber.resume()
    flow.link.flushes()
    flow.append("new")
    subscriber.step()
    [flush] = flow.link.flushes()
    assert flush["skipped"] == flush["seq"]


def test_an_inactive_reader_does_not_hold_the_log():
    flow = Flow(frames=2, frame_bytes=64, policy="reject_new")
    point = Point(1, "d", "p")
    point.value = 5
    active, idle = flow.subscriber("active"), flow.subscriber("idle")
    idle.pause(inactive=True)
    for _ in range(60):
        assert flow.log.record(point, flow.ticks())
        flow.pass_ms(1000)
        active.step()
        for flush in flow.link.flushes():
            active.ack(flush["flush"])
    assert flow.ring.dropped == {}
    idle.resume()
    flow.append(6)
    flow.pass_ms(1000)
    idle.step()
    [flush] = flow.link.flushes()
    assert (flush["seq"], flush["skipped"], values(flush)) == (60, 60, [6])


def test_from_inactive_to_paused():
    flow, subscriber = make()
    other = flow.subscriber("other")
    subscriber.pause(inactive=True)
    flow.append(1)
    subscriber.pause()
    flow.append(2)
    subscriber.resume()
    assert sent(flow, subscriber) == [[2]]
    flow.pass_ms(250)
    assert sent(flow, other) == [[1, 2]]


def test_all_inactive_stops_recording_one_active_starts_it():
    flow = Flow()
    point = Point(1, "d", "p")
    a, b = flow.subscriber("a"), flow.subscriber("b")
    a.pause(inactive=True)
    assert flow.log.record(point, 0)
    b.pause(inactive=True)
    assert not flow.log.record(point, 0)
    flow.log.remove("b")
    assert not flow.log.record(point, 0)
    flow.log.remove("a")
    assert flow.log.record(point, 0), "without readers it records, as at the start"


def test_what_an_inactive_pause_throws_away_is_counted():
    flow, subscriber = make()
    other = flow.subscriber("other")
    flow.append(1, 2, 3, 4)
    taken(flow, subscriber)
    flow.append(5)
    events = []
    flow.bus.subscribe(RECORDS_DROPPED, lambda _kind, _key, data: events.append(data))
    other.pause(inactive=True)
    # The log goes on for the other one; what this one gave up it is told as skipped.
    assert flow.ring.dropped == {} and subscriber.pending == 1
    subscriber.pause(inactive=True)
    assert flow.ring.dropped == {"paused": 1} and events == [("paused", 1)]
    # Nothing was thrown away then: nothing is counted.
    subscriber.resume()
    subscriber.pause(inactive=True)
    assert flow.ring.dropped == {"paused": 1}
    # What had overflowed before is not counted again.
    flow, subscriber = overflowing()
    overflow(flow, 1)
    lost = flow.ring.dropped["overflow"]
    subscriber.pause(inactive=True)
    assert lost + flow.ring.dropped["paused"] == flow.ring.next


# -- several readers


def test_two_subscribers_at_different_speeds():
    flow, fast = make(frames=2, frame_bytes=64, minDelay=0)
    slow = flow.subscriber("slow", format="packed")
    flow.pass_ms(1000)
    seen = []
    dropped = []
    flow.bus.subscribe(RECORDS_DROPPED, lambda _kind, key, data: dropped.append((key, data)))
    for i in range(40):
        flow.append(i)
        fast.step()
        for flush in flow.link.flushes():
            seen += values(flush)
            assert flush["skipped"] == 0
            fast.ack(flush["flush"])
    assert seen == list(range(40))
    assert fast.pending == 0
    # The slow one has lost what the ring could not keep, is told, and goes on from there.
    slow.step()
    flushes = flow.link.flushes()
    assert flushes[0]["skipped"] == flushes[0]["seq"] == flow.ring.oldest
    assert [v for flush in flushes for v in values(flush)] == list(range(flow.ring.oldest, 40))
    lost = sum(data[1] for _, data in dropped)
    assert lost == flow.ring.oldest == flow.ring.dropped["overflow"]
    assert dropped[0][0] == "default"
    assert dropped[0][1][0] == "overflow"


def test_a_new_subscriber_reads_what_is_kept():
    flow, first = make()
    flow.append(1, 2)
    sent(flow, first)
    first.ack(1001)
    late = flow.subscriber("late")
    flow.pass_ms(1000)
    assert sent(flow, late) == [[1, 2]]


def test_removal():
    flow, subscriber = make()
    flow.log.remove("collector")
    assert subscriber.ended == "unsubscribed"
    assert (flow.ring.cursors, flow.ring.listeners) == ([], [])
    refused(KeyError, flow.log.remove, "collector")


def test_state():
    flow, subscriber = make(maxEntries=2, frames=2, frame_bytes=80, policy="reject_new")
    for i in range(50):
        flow.ring.append(1, i)
    subscriber.step()
    subscriber.ack(1001)
    state = flow.log.state()
    kept = flow.ring.next
    assert 2 < kept < 30
    assert state["stream"] == STREAM
    assert (state["next"], state["kept"], state["acquired"]) == (kept, kept, 50)
    assert state["dropped"] == {"rejected": 50 - kept}
    assert state["subscribers"] == {
        "collector": {"unacked": kept - 2, "delivered": 2, "resent": 0}
    }
    # What no record can hold counts as acquired, too.
    flow, subscriber = make()
    flow.ring.append(1, 1 << 70)
    assert flow.log.state()["acquired"] == 1


def test_messages_of_both_formats_carry_the_same():
    made = []
    for form in ("json", "packed"):
        flow, subscriber = make(subscriber={"format": form})
        flow.append(None, True, 1, 1.5, "a")
        subscriber.step()
        flush = flush_of(flow.link.sent[0])
        made.append([flush[key] for key in ("flush", "stream", "seq", "skipped", "value")])
    assert made[0] == made[1]


def test_close():
    flow, subscriber = make()
    other = flow.subscriber("other")
    flow.append(1, 2, 3)
    taken(flow, subscriber)
    flow.append(4)
    flow.log.close()
    assert flow.ring.dropped == {"deleted": 4} and flow.ring.oldest == flow.ring.next == 4
    assert subscriber.ended == other.ended == "unsubscribed"
    assert flow.log.subscribers == {} and flow.ring.cursors == []


def test_covers():
    for wanted, id, read in (
        ("a", "a", True),
        ("a", "a/b", False),
        ("a/", "a/b", True),
        ("a/", "a/b/c", True),
        ("a/", "a", False),
        ("a/", "ab/c", False),
        ("", "a", True),
    ):
        assert covers(wanted, id) is read, (wanted, id)


def test_another_configuration_keeps_the_place():
    flow, subscriber = make(minDelay=0, ackTimeout=60000)
    flow.append(1)
    taken(flow, subscriber)
    flow.append(2)
    assert sent(flow, subscriber) == [[2]]
    # As it is in flight already, it does not go again for the sake of a keepalive.
    subscriber.configure(dict(subscriber.config, keepalive=5000, lifetime=20000))
    assert sent(flow, subscriber) == []
    flow.pass_ms(5000)
    assert sent(flow, subscriber) == [[]]
    # But as packed bytes.
    subscriber.configure(dict(subscriber.config, format="packed"))
    subscriber.step()
    (flush,) = flow.link.flushes()
    assert values(flush) == [2] and "dated" in flush
    # The lifetime counts from the last change.
    flow.pass_ms(19000)
    subscriber.step()
    assert not subscriber.ended
    flow.pass_ms(1000)
    subscriber.step()
    assert subscriber.ended == "end of life"


def test_confirmations_that_nobody_sends_any_more():
    flow, subscriber = make()
    flow.append(1)
    assert sent(flow, subscriber) == [[1]]
    subscriber.configure(dict(subscriber.config, ack=False))
    assert subscriber.inflight == [] and subscriber.acked == 1 and subscriber.delivered == 1


# -- memory running out


def test_a_flush_that_fails_while_it_is_made_is_made_again():
    for place in ("publish", "flush"):
        flow, subscriber = make()
        flow.append(1, 2, 3)
        publish = flow.link.publish

        def fail(*_args, **_keys):
            raise MemoryError

        if place == "publish":
            flow.link.publish = fail
        else:
            subscriber.outlet.send = fail
        refused(MemoryError, subscriber.step)
        assert subscriber.inflight == []
        flow.link.publish = publish
        if place == "flush":
            del subscriber.outlet.send
        assert sent(flow, subscriber) == [[1, 2, 3]]


def test_a_batch_that_fails_while_it_is_sent_again_stays_whole():
    for form in ("json", "packed"):
        flow, subscriber = make(subscriber={"format": form}, ackTimeout=1000)
        flow.append(1, 2, 3)
        assert sent(flow, subscriber) == [[1, 2, 3]]
        flow.pass_ms(1000)

        def fail(value, *_):
            if value != 1:  # the second record, or the head of a packed flush
                raise MemoryError
            return "1"

        with Patch(outlet, pack_into=fail), Patch(outlet_json, json_value=fail):
            refused(MemoryError, subscriber.step)
        flow.pass_ms(2000)
        assert sent(flow, subscriber) == [[1, 2, 3]]
