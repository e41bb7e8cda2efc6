"""subscriber: how batches are confirmed, sent again, and given up.

Time is injected through the clock; the link is a list.
"""

from core_kit import UNIX_MS
from flow_kit import STREAM, make, overflow, overflowing, sent, values, waits

DAY_MS = 86400000


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
