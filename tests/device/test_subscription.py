"""subscription: when batches go, how they are confirmed and sent again, what is owed in the end.

Time is injected through the clock; the link is a list. ``test_subscription_model.py`` has the
randomised test of the promise.
"""

from core_kit import UNIX_MS, refused
from flow_kit import STREAM, Flow, flush_of, values
from patch_kit import Patch

from fieldpost import outlet, outlet_json
from fieldpost.acquisition import compile
from fieldpost.compat import asyncio, sleep_ms, wait_for_ms
from fieldpost.errors import ApiError
from fieldpost.events import RECORDS_DROPPED
from fieldpost.point import Point

DAY_MS = 86400000


def make(**rules):
    """``(flow, subscriber)`` with the flush rules given, long after its last flush."""
    config = rules.pop("subscriber", {})
    flow = Flow(**rules)
    subscriber = flow.subscriber(**config)
    flow.pass_ms(3600000)
    return flow, subscriber


def sent(flow, subscriber):
    """The bare values of each flush that one step sends."""
    subscriber.step()
    return [values(flush) for flush in flow.link.flushes()]


def taken(flow, subscriber):
    """The same, each flush confirmed."""
    subscriber.step()
    flushes = flow.link.flushes()
    for flush in flushes:
        assert subscriber.ack(flush["flush"])
    return [values(flush) for flush in flushes]


def waits(flow, subscriber):
    """ms that a step says it may sleep, which has to send nothing."""
    wait = subscriber.step()
    assert not flow.link.sent
    return wait


# -- flush rules


def test_a_record_goes_at_once_by_default():
    flow, subscriber = make()
    assert waits(flow, subscriber) == 60000
    flow.append(1)
    assert sent(flow, subscriber) == [[1]]
    assert sent(flow, subscriber) == []


def test_max_entries():
    flow, subscriber = make(maxEntries=3, onEntries=1000, maxDelay=5000)
    flow.append(1, 2)
    assert waits(flow, subscriber) == 5000
    flow.append(3)
    assert sent(flow, subscriber) == [[1, 2, 3]]
    # A full batch does not wait for minDelay.
    flow.append(*range(8))
    assert sent(flow, subscriber) == [[0, 1, 2], [3, 4, 5]]


def test_max_bytes():
    flow, subscriber = make(maxBytes=300, minDelay=0, maxDelay=0, frame_bytes=1024)
    flow.append(*range(50))
    subscriber.step()
    lengths = [len(message.payload) for message in flow.link.sent]
    assert len(lengths) > 3 and max(lengths) <= 300
    assert [v for flush in flow.link.flushes() for v in values(flush)] == list(range(50))


def test_on_entries():
    flow, subscriber = make(onEntries=3, maxDelay=60000)
    flow.append(1, 2)
    waits(flow, subscriber)
    flow.append(3, 4)
    assert sent(flow, subscriber) == [[1, 2, 3, 4]]


def test_on_bytes():
    flow, subscriber = make(onEntries=1000, onBytes=20, maxDelay=60000)
    flow.append(1)
    waits(flow, subscriber)
    # A record of a small number takes 4 bytes, the one of this text 20.
    flow.append("x" * 16)
    assert sent(flow, subscriber) == [[1, "x" * 16]]
    flow.pass_ms(1000)
    flow.append(1, 2, 3, 4)
    waits(flow, subscriber)
    flow.append(5)
    assert sent(flow, subscriber) == [[1, 2, 3, 4, 5]]


def test_max_delay_counts_from_the_oldest_pending_record():
    flow, subscriber = make(onEntries=10, maxDelay=1000)
    flow.append(1)
    assert waits(flow, subscriber) == 1000
    flow.pass_ms(600)
    flow.append(2)
    assert waits(flow, subscriber) == 400
    flow.pass_ms(399)
    assert waits(flow, subscriber) == 1
    flow.pass_ms(1)
    assert taken(flow, subscriber) == [[1, 2]]
    # Nothing was pending for a long time: the next one waits as long.
    flow.pass_ms(30000)
    waits(flow, subscriber)
    flow.pass_ms(30000)
    flow.append(3)
    assert waits(flow, subscriber) == 1000


def test_min_delay_keeps_flushes_apart():
    flow, subscriber = make(minDelay=250)
    flow.append(1)
    assert sent(flow, subscriber) == [[1]]
    flow.pass_ms(100)
    flow.append(2)
    assert waits(flow, subscriber) == 150
    flow.append(3)
    flow.pass_ms(150)
    assert sent(flow, subscriber) == [[2, 3]]


def test_min_delay_is_no_longer_after_weeks_of_silence():
    # Ticks turn negative after 6.2 days.
    for days in (5, 7, 9, 13, 20):
        flow, subscriber = make(minDelay=250)
        for _ in range(days * 24):
            flow.pass_ms(3600000)
            waits(flow, subscriber)
        flow.append(1)
        assert sent(flow, subscriber) == [[1]], days


def test_on_interval():
    flow, subscriber = make(onEntries=1000, maxDelay=DAY_MS, unix_ms=UNIX_MS - UNIX_MS % 900000)
    subscriber.interval = compile("900000")
    for _ in range(20):
        flow.append(1)
        waits(flow, subscriber)
        flow.pass_ms(899999 // 20)
    assert waits(flow, subscriber) == 20
    flow.pass_ms(20)
    [batch] = taken(flow, subscriber)
    assert len(batch) == 20
    # Nothing is sent where nothing is pending, and the next moment is the next multiple.
    for _ in range(20):
        flow.pass_ms(60000)
        waits(flow, subscriber)
    flow.append(2)
    assert waits(flow, subscriber) == 60000
    flow.pass_ms(600000)
    assert taken(flow, subscriber) == [[2]]


def test_on_interval_follows_the_clock():
    flow, subscriber = make(onEntries=1000, maxDelay=DAY_MS, unix_ms=None)
    subscriber.interval = compile("10000")
    flow.append(1)
    waits(flow, subscriber)
    flow.clock.set_unix_ms(UNIX_MS - UNIX_MS % 10000 + 9000, "ntp")
    # At most one early flush because time jumped; then by the new time.
    subscriber.step()
    flow.link.flushes()
    flow.append(2)
    assert waits(flow, subscriber) == 1000
    flow.clock.set_unix_ms(flow.clock.unix_ms() - 5000, "ntp")
    assert waits(flow, subscriber) == 6000
    flow.pass_ms(6000)
    assert sent(flow, subscriber)[0][-1] == 2


def test_parallel():
    flow, subscriber = make(maxEntries=2, parallel=3)
    flow.append(*range(10))
    assert sent(flow, subscriber) == [[0, 1], [2, 3], [4, 5]]
    assert waits(flow, subscriber) == 10000
    assert subscriber.ack(1001)
    assert sent(flow, subscriber) == [[6, 7]]
    # Out of order: the place of a confirmed one is free when those before it are confirmed too.
    assert subscriber.ack(1003)
    assert sent(flow, subscriber) == []
    assert subscriber.ack(1002)
    assert sent(flow, subscriber) == [[8, 9]]


def test_force_sends_all_that_is_pending():
    flow, subscriber = make(maxEntries=4, onEntries=4, minDelay=5000, maxDelay=DAY_MS)
    flow.append(1, 2, 3)
    assert waits(flow, subscriber) == 60000
    subscriber.force()
    assert sent(flow, subscriber) == [[1, 2, 3]]
    flow.append(4)
    assert waits(flow, subscriber) > 5000
    flow.append(5, 6, 7, 8, 9)
    subscriber.force()
    assert sent(flow, subscriber) == [[4, 5, 6, 7], [8, 9]]
    # Nothing pending: forcing is over, and the next record is not forced.
    subscriber.force()
    assert sent(flow, subscriber) == []
    flow.append(10)
    waits(flow, subscriber)


def test_appends_wake_when_a_rule_may_be_met():
    for rules, before, appends in (
        ({}, 0, 1),
        ({"onEntries": 5}, 0, 1),
        ({"onEntries": 5}, 1, 4),
        ({"onEntries": 5}, 4, 1),
        ({"maxEntries": 8, "minDelay": 5000}, 3, 5),
        ({"onEntries": 1000, "onBytes": 100}, 1, 1),
    ):
        flow, subscriber = make(maxDelay=60000, **rules)
        flow.append(0)
        subscriber.force()
        assert taken(flow, subscriber) == [[0]]
        for i in range(before):
            flow.append(i)
        subscriber.step()
        woken = []
        flow.ring.listeners.append(lambda woken=woken: woken.append(1))
        for i in range(appends):
            assert not woken, rules
            flow.append(i)
        assert woken, rules


# -- link


def test_nothing_is_sent_without_a_link():
    flow, subscriber = make()
    flow.append(1)
    flow.link.connected = False
    assert waits(flow, subscriber) == 60000
    flow.link.connected = True
    assert sent(flow, subscriber) == [[1]]


def test_a_full_link_is_tried_again_soon_and_loses_nothing():
    flow, subscriber = make(maxEntries=2, ackTimeout=1000)
    flow.append(*range(6))
    flow.link.room = 1
    assert subscriber.step() == 50
    assert [values(flush) for flush in flow.link.flushes()] == [[0, 1]]
    assert waits(flow, subscriber) == 50
    flow.link.room = 9
    subscriber.step()
    flushes = flow.link.flushes()
    assert [values(flush) for flush in flushes] == [[2, 3], [4, 5]]
    assert [flush["flush"] for flush in flushes] == [1002, 1003]
    # Nor when it is full for what is sent again.
    flow.pass_ms(1000)
    flow.link.room = 1
    assert subscriber.step() == 50
    flow.link.room = 9
    subscriber.step()
    assert [values(flush) for flush in flow.link.flushes()] == [[0, 1], [2, 3], [4, 5]]
    assert subscriber.ack_timeouts == 1


def test_what_the_link_lost_is_sent_again():
    flow, subscriber = make(maxEntries=1)
    flow.append(1, 2)
    subscriber.step()
    first, second = flow.link.flushes()
    second["done"](True)
    first["done"](False)
    subscriber.step()
    [again] = flow.link.flushes()
    assert (again["flush"], again["seq"], values(again)) == (1001, 0, [1])
    assert (subscriber.resent, subscriber.delivered) == (1, 0)
    assert subscriber.ack(1001)
    assert subscriber.ack(1002)
    assert subscriber.delivered == 2


def test_a_link_without_session_gets_everything_again():
    flow, subscriber = make(maxEntries=1)
    flow.append(1, 2, 3)
    subscriber.step()
    flow.link.flushes()
    subscriber.ack(1002)
    subscriber.link_up(False)
    assert sent(flow, subscriber) == [[1], [3]]


def test_a_link_with_its_session_may_still_bring_the_acks():
    flow, subscriber = make(ackTimeout=1000)
    flow.append(1)
    assert sent(flow, subscriber) == [[1]]
    flow.link.connected = False
    for _ in range(8 * 24):
        flow.pass_ms(3600000)
        waits(flow, subscriber)
    flow.link.connected = True
    subscriber.link_up(True)
    assert waits(flow, subscriber) == 1000
    assert subscriber.ack_timeouts == 0
    flow.pass_ms(1000)
    assert sent(flow, subscriber) == [[1]]


# -- acknowledgement


def test_ack_by_id():
    flow, subscriber = make()
    flow.append(1)
    subscriber.step()
    [flush] = flow.link.flushes()
    assert subscriber.acked == 0
    assert not subscriber.ack(flush["flush"] + 1)
    assert not subscriber.ack()
    assert not subscriber.ack(digest="00")
    assert not subscriber.ack(flush["flush"], first=(STREAM, 1))
    assert not subscriber.ack(flush["flush"], first=(STREAM - 1, 0))
    assert subscriber.acked == 0
    assert subscriber.ack(flush["flush"], first=(STREAM, 0))
    assert (subscriber.acked, subscriber.delivered, subscriber.inflight) == (1, 1, [])
    assert not subscriber.ack(flush["flush"])
    assert subscriber.delivered == 1


def test_ack_by_md5():
    try:
        from hashlib import md5
    except ImportError:  # the 32-bit build; boards have it
        return
    flow, subscriber = make(subscriber={"ack": "md5"})
    flow.append(1.5, "ä")
    subscriber.step()
    [message] = flow.link.sent
    payload = message.payload
    text = payload[payload.index(b'"value":') + 8 : -1]
    digest = "".join("%02x" % byte for byte in md5(text).digest())
    assert not subscriber.ack(digest="0" * 32)
    assert subscriber.ack(digest=digest, first=(STREAM, 0))
    assert subscriber.acked == 2


def test_ack_none_is_delivered_when_sent():
    flow, subscriber = make(subscriber={"ack": False})
    flow.append(1)
    subscriber.step()
    [flush] = flow.link.flushes()
    assert (subscriber.acked, subscriber.delivered) == (1, 1)
    flush["done"](False)
    assert sent(flow, subscriber) == []
    # What the link did not take is still owed.
    flow.link.room = 0
    flow.append(2)
    flow.pass_ms(250)
    assert waits(flow, subscriber) == 50
    flow.link.room = 1
    assert sent(flow, subscriber) == [[2]]


def test_ack_auto_is_the_brokers():
    flow, subscriber = make(subscriber={"ack": "auto"}, maxEntries=1)
    flow.append(1, 2)
    subscriber.step()
    first, second = flow.link.flushes()
    second["done"](True)
    assert (subscriber.acked, subscriber.delivered) == (0, 1)
    first["done"](False)
    subscriber.step()
    [first] = flow.link.flushes()
    first["done"](True)
    assert (subscriber.acked, subscriber.delivered, subscriber.inflight) == (2, 2, [])


def test_the_brokers_word_is_not_enough_for_id():
    flow, subscriber = make()
    flow.append(1)
    subscriber.step()
    flow.link.flushes()[0]["done"](True)
    assert subscriber.acked == 0


def test_acks_out_of_order():
    flow, subscriber = make(maxEntries=2)
    flow.append(*range(8))
    subscriber.step()
    ids = [flush["flush"] for flush in flow.link.flushes()]
    assert ids == [1001, 1002, 1003, 1004]
    for number, acked in ((1003, 0), (1001, 2), (1003, 2), (1002, 6), (1004, 8)):
        assert subscriber.ack(number) == (number in ids)
        assert subscriber.acked == acked, number
        if number != 1003:
            ids.remove(number)
        elif acked:
            ids.remove(1003)
    assert subscriber.delivered == 8


def test_resend_after_a_timeout_that_doubles():
    flow, subscriber = make(ackTimeout=1000)
    flow.append(1)
    assert subscriber.step() == 1000
    flow.link.flushes()
    for timeout in (1000, 2000, 4000, 8000, 16000, 32000, 32000, 32000):
        left = timeout
        while left > 60000:
            flow.pass_ms(60000)
            assert waits(flow, subscriber) == min(60000, left - 60000)
            left -= 60000
        flow.pass_ms(left - 1)
        assert waits(flow, subscriber) == 1
        flow.pass_ms(1)
        subscriber.step()
        [again] = flow.link.flushes()
        assert (again["flush"], values(again)) == (1001, [1])
    assert (subscriber.ack_timeouts, subscriber.resent) == (8, 8)
    # An acknowledgement starts over.
    subscriber.ack(1001)
    assert subscriber.ack_timeouts == 0
    flow.append(2)
    subscriber.step()
    flow.link.flushes()
    flow.pass_ms(1000)
    assert sent(flow, subscriber) == [[2]]


def test_many_flushes_late_together_are_one_timeout():
    flow, subscriber = make(maxEntries=1, ackTimeout=1000)
    flow.append(*range(10))
    subscriber.step()
    flow.link.flushes()
    flow.pass_ms(1000)
    assert sent(flow, subscriber) == [[i] for i in range(10)]
    assert subscriber.ack_timeouts == 1


# -- records given up before they were confirmed


def overflowing(**rules):
    """A log of two frames of some 7 small records each, and its subscriber."""
    rules.setdefault("minDelay", 0)
    return make(frames=2, frame_bytes=80, maxEntries=6, ackTimeout=1000, **rules)


def overflow(flow, least):
    """Append, each value its own index, until at least so many records were given up."""
    while flow.ring.oldest < least:
        flow.append(flow.ring.next)


def test_a_batch_that_was_given_up_in_part():
    for form in ("json", "packed"):
        flow, subscriber = overflowing(subscriber={"format": form})
        flow.append(*range(12))
        subscriber.step()
        assert [values(f) for f in flow.link.flushes()] == [list(range(6)), list(range(6, 12))]
        overflow(flow, 1)
        lost, end = flow.ring.oldest, flow.ring.next
        assert 6 < lost < 12, "one batch is gone, and a part of the other"
        flow.pass_ms(1000)
        subscriber.step()
        second, new = flow.link.flushes()[:2]
        assert (second["flush"], second["seq"], second["skipped"]) == (1002, lost, lost - 6)
        assert values(second) == list(range(lost, 12))
        # All from the batch that is gone to here; the second speaks for itself.
        assert (new["seq"], new["skipped"]) == (12, 12)
        assert values(new) == list(range(12, min(end, 18)))
        # Stale: this names what is not in flight any more.
        assert not subscriber.ack(1001)
        assert not subscriber.ack(1002, first=(STREAM, 6))
        assert subscriber.ack(1002, first=(STREAM, lost))
        assert subscriber.delivered == 12 - lost
        assert flow.ring.dropped == {"overflow": lost}


def test_losses_before_sending_are_reported_once():
    flow, subscriber = overflowing()
    overflow(flow, 1)
    lost = flow.ring.oldest
    subscriber.step()
    first, second = flow.link.flushes()[:2]
    assert (first["seq"], first["skipped"], len(first["value"])) == (lost, lost, 6)
    assert (second["seq"], second["skipped"]) == (lost + 6, 0)


def test_a_report_survives_a_full_link_and_a_lost_batch():
    flow, subscriber = overflowing()
    overflow(flow, 1)
    lost = flow.ring.oldest
    flow.link.room = 0
    waits(flow, subscriber)
    flow.link.room = 1
    subscriber.step()
    assert [flush["skipped"] for flush in flow.link.flushes()] == [lost]
    flow.link.room = 0
    flow.pass_ms(1000)
    waits(flow, subscriber)
    overflow(flow, lost + 1)
    waits(flow, subscriber)
    flow.link.room = 9
    subscriber.step()
    first = flow.link.flushes()[0]
    assert first["seq"] == first["skipped"] == flow.ring.oldest > lost


def test_a_keepalive_does_not_use_up_the_report():
    flow, subscriber = make(
        frames=2, frame_bytes=64, policy="max_age", max_age_ms=1000, subscriber={"keepalive": 5000}
    )
    flow.link.connected = False
    flow.append(1, 2)
    flow.pass_ms(6000)
    flow.ring.tend()
    flow.link.connected = True
    subscriber.step()
    [alive] = flow.link.flushes()
    assert alive["value"] == [] and "seq" not in alive
    flow.append(3)
    flow.pass_ms(250)
    subscriber.step()
    [flush] = flow.link.flushes()
    assert (flush["seq"], flush["skipped"], values(flush)) == (2, 2, [3])


def test_giving_up_the_oldest_frees_those_confirmed_behind_it():
    flow, subscriber = overflowing()
    flow.append(*range(14))
    subscriber.step()
    assert len(flow.link.flushes()) == 3
    assert subscriber.ack(1002)
    assert subscriber.acked == 0
    overflow(flow, 1)
    flow.pass_ms(1000)
    subscriber.step()
    assert subscriber.inflight[0].id == 1003
    assert subscriber.acked == 12


def test_a_batch_whose_text_has_grown_is_divided():
    flow, subscriber = make(
        unix_ms=None, maxBytes=300, minDelay=0, ackTimeout=1000, buffer_bytes=300, frame_bytes=128
    )
    flow.append(*range(40))
    subscriber.step()
    before = [values(flush) for flush in flow.link.flushes()]
    assert [v for batch in before for v in batch] == list(range(40))
    flow.clock.set_unix_ms(UNIX_MS, "ntp")
    flow.pass_ms(1000)
    subscriber.step()
    subscriber.step()
    again = flow.link.flushes()
    assert len(again) > len(before)
    seen = set()
    for flush in again:
        assert [flush["seq"] + i for i in range(len(flush["value"]))] == values(flush)
        seen.update(values(flush))
    assert seen == set(range(40))
    for flush in again:
        assert subscriber.ack(flush["flush"], first=(STREAM, flush["seq"]))
    assert (subscriber.acked, subscriber.delivered) == (40, 40)


def test_a_confirmed_reader_loses_nothing():
    flow, subscriber = overflowing(minDelay=0)
    for i in range(100):
        flow.append(i)
        subscriber.step()
        [flush] = flow.link.flushes()
        assert flush["skipped"] == 0
        subscriber.ack(flush["flush"])
    assert flow.ring.dropped == {}


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
