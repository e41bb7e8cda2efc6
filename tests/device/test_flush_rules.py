"""subscriber: when batches go, and what the link does to them.

Time is injected through the clock; the link is a list.
"""

from core_kit import UNIX_MS
from flow_kit import make, sent, taken, values, waits

from fieldpost.acquisition import compile

DAY_MS = 86400000


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
