"""Values that go together: what a batch holds, when it goes, what becomes of it."""

import json

from core_kit import refused
from http_peer import OK, Peer, reply
from mqtt_peer import until
from webhook_kit import Node, Run, Value, clean, header, section

from fieldpost.compat import sleep_ms
from fieldpost.errors import ConfigError

NEEDS = "socket"
HEAP = "1m"
BAD = reply(b"Content-Length: 0", status="500 Oops")
DISK = {"store": {"durable": True, "maxLatency": 100}}


def row(peer, **keys):
    """An endpoint for values, ten in a batch."""
    made = {"name": "a", "url": peer.url, "provider": "datastream", "value_changed": True}
    made.update({"batch": 10, "batch_ms": 1000})
    made.update(keys)
    return made


def emit(run, *values, key="v/n"):
    """Let a point change."""
    for value in values:
        run.node.bus.emit("value_changed", key, Value(key, value))


def payloads(peer):
    """The values of each request for values."""
    bodies = [json.loads(body) for head, body in peer.requests if b" /values " in head]
    return [[one["payload"] for one in body] for body in bodies]


def flat(lists):
    return [one for some in lists for one in some]


def ids(peer):
    return [header(head, "webhook-id") for head, _ in peer.requests]


async def test_a_full_batch_goes_at_once_the_rest_when_its_time_is_over():
    async with Peer(OK) as peer, Run(row(peer, batch=3)) as run:
        emit(run, 1, 2, 3, 4)
        await run.count("delivered", 3)
        assert payloads(peer) == [[1, 2, 3]]
        await run.pass_ms(999)
        await sleep_ms(20)
        assert len(peer.requests) == 1
        await run.pass_ms(1)
        await run.count("delivered", 4)
        assert payloads(peer) == [[1, 2, 3], [4]]
        assert ids(peer) == ["gw_1-101-0-2", "gw_1-101-3"]
        assert run.hooks.endpoints["a"].counters["delivered"] == 4
        assert [(one.count, one.status) for one in run.hooks.deliveries] == [
            (3, "success"),
            (1, "success"),
        ]


async def test_a_batch_spans_its_time_only():
    async with Peer(OK) as peer, Run(row(peer)) as run:
        emit(run, 1)
        await run.pass_ms(600)
        emit(run, 2)
        await run.pass_ms(399)
        emit(run, 3)
        # Queued behind its end: it belongs to the next one.
        run.node.ticks.advance(1)
        emit(run, 4)
        await run.pass_ms(0)
        await run.count("delivered", 3)
        await run.pass_ms(1000)
        await run.count("delivered", 4)
        assert payloads(peer) == [[1, 2, 3], [4]]


async def test_alarms_do_not_wait_for_a_batch():
    async with Peer(OK) as peer, Run(row(peer, batch=50, batch_ms=60000)) as run:
        emit(run, 1, 2)
        await run.pass_ms(0)
        run.alarm(1, key="v/n")
        await run.count("delivered", 1)
        assert [head.split(b" ")[1] for head, _ in peer.requests] == [b"/alarms"]
        emit(run, 3)
        await run.pass_ms(60000)
        await run.count("delivered", 4)
        assert payloads(peer) == [[1, 2, 3]]


async def test_the_bytes_of_a_request_are_limited():
    async with Peer(OK) as peer, Run(row(peer, batch_bytes=1024)) as run:
        emit(run, *range(10))
        await run.count("delivered", 10)
        found = payloads(peer)
        assert flat(found) == list(range(10)) and 1 < len(found) < 10
        assert all(len(body) < 1024 + 16 for _, body in peer.requests)
        assert len(set(ids(peer))) == len(found)
        assert [one.count for one in run.hooks.deliveries] == [len(one) for one in found]


async def test_a_value_that_is_longer_goes_alone():
    async with Peer(OK) as peer, Run(row(peer, batch=2, batch_bytes=256)) as run:
        emit(run, "x" * 300, "y" * 300)
        await run.count("delivered", 2)
        assert payloads(peer) == [["x" * 300], ["y" * 300]]


async def test_a_batch_is_tried_again_as_it_was():
    async with Peer(BAD, BAD, OK) as peer, Run(row(peer, batch=3)) as run:
        emit(run, 1, 2)
        await run.pass_ms(1000)
        await run.count("retried", 1)
        # What has grown since is not divided: it had another id then.
        run.hooks.endpoints["a"].row._own["batch_bytes"] = 256
        emit(run, 3, 4, 5)  # the next one, which does not overtake it
        await run.pass_ms(4000)
        await sleep_ms(20)
        assert len(peer.requests) == 1
        await run.pass_ms(1000)
        await run.count("retried", 2)
        run.hooks.endpoints["a"].row._own["batch_bytes"] = 4096
        await run.pass_ms(30000)
        await run.count("delivered", 5)
        assert payloads(peer) == [[1, 2], [1, 2], [1, 2], [3, 4, 5]]
        assert len(set(ids(peer)[:3])) == 1 and ids(peer)[3] != ids(peer)[0]
        first = peer.requests[0][1]
        assert peer.requests[1][1] == first == peer.requests[2][1]


async def test_dead_as_a_whole_and_replayed_as_a_whole():
    clean()
    refusal = reply(b"Content-Length: 0", status="400 x")
    async with Peer(refusal, OK) as peer:
        async with Run(row(peer, batch=3), queue=DISK) as run:
            emit(run, 1, 2, 3)
            await run.count("failed", 3)
            (letter,) = run.hooks.dead
            assert (letter.count, letter.event, letter.id) == (3, "value_changed", ids(peer)[0])
        async with Run(row(peer, batch=3), queue=DISK, node=Node(boot=2)) as run:
            emit(run, 4)
            assert run.hooks.replay(id=ids(peer)[0]) == 1 and not run.hooks.dead
            await run.pass_ms(1000)
            await run.count("delivered", 4)
        assert payloads(peer) == [[1, 2, 3], [4], [1, 2, 3]]
        assert ids(peer)[0] == ids(peer)[2]
        first, _, again = [json.loads(body) for _, body in peer.requests]
        assert [one["timestamp"] for one in first] == [one["timestamp"] for one in again]
    clean()


async def test_the_cursor_waits_for_the_batch():
    async with Peer(BAD, OK) as peer, Run(row(peer)) as run:
        emit(run, 1, 2)
        endpoint = run.hooks.endpoints["a"]
        begin = run.hooks.queue.log.next - 2
        await run.pass_ms(0)
        run.alarm(1, key="v/other")
        await run.count("retried", 1)  # the alarm's
        await run.pass_ms(1000)
        await run.count("delivered", 2)
        # The batch is done, the alarm is not.
        assert endpoint.acked == begin + 2
        await run.pass_ms(5000)
        await run.count("delivered", 3)
        assert endpoint.acked == begin + 3


async def test_the_power_fails_between_accept_and_reply():
    clean()
    async with Peer([5000, OK], OK) as peer:
        run = Run(row(peer, batch=50), queue=DISK)
        await run.__aenter__()
        emit(run, 1, 2, 3)
        await run.pass_ms(1000)
        await until(lambda: peer.requests)
        emit(run, 4)
        await run.pass_ms(1500)  # the queue is tended: it is on flash
        log = run.hooks.queue.log
        assert log.segments and log.stored == log.next
        # Nothing is saved any more.
        log.tend = lambda: None
        await run.__aexit__()
        async with Run(row(peer, batch=50), queue=DISK, node=Node(boot=2)) as run:
            emit(run, 5)
            await run.pass_ms(1000)
            await run.count("delivered", 5)
        assert payloads(peer) == [[1, 2, 3], [1, 2, 3], [4], [5]]
        assert ids(peer)[0] == ids(peer)[1] and len(set(ids(peer))) == 3
        assert peer.requests[0][1] == peer.requests[1][1]
    clean()


async def test_another_batch_has_another_id():
    # Had the receiver taken the first, it would throw away a longer one of the same id.
    clean()
    async with Peer([5000, OK], OK) as peer:
        run = Run(row(peer, batch=2), queue=DISK)
        await run.__aenter__()
        emit(run, 1, 2, 3)
        await until(lambda: peer.requests)
        await run.pass_ms(1500)
        run.hooks.queue.log.tend = lambda: None
        await run.__aexit__()
        async with Run(row(peer, batch=3), queue=DISK, node=Node(boot=2)) as run:
            await run.count("delivered", 3)
        assert payloads(peer) == [[1, 2], [1, 2, 3]]
        assert ids(peer)[0] != ids(peer)[1]
    clean()


async def test_what_the_queue_lost_is_left_out():
    async with Peer(BAD, OK) as peer, Run(row(peer, batch=3)) as run:
        emit(run, 1, 2, 3)
        await run.count("retried", 1)
        real = run.hooks.queue.get
        lost = run.hooks.endpoints["a"].pending[0].indexes[1]
        run.hooks.queue.get = lambda index: None if index == lost else real(index)
        await run.pass_ms(5000)
        await run.count("delivered", 2)
        assert payloads(peer) == [[1, 2, 3], [1, 3]]
        assert ids(peer)[0] == ids(peer)[1] and run.hooks.counters["dropped"] == 1


async def test_every_route_has_its_own_batches():
    async with Peer(OK) as peer, Peer(OK) as other:
        rules = [{"event": "value_changed", "urls": [peer.url + "x", other.url + "y"]}]
        async with Run(row(peer, provider="generic", rules=rules, batch=2)) as run:
            emit(run, 1, 2, 3)
            await run.count("delivered", 4)
            await run.pass_ms(1000)
            await run.count("delivered", 6)
        for one in (peer, other):
            bodies = [json.loads(body) for _, body in one.requests]
            assert [[v["data"]["value"] for v in body] for body in bodies] == [[1, 2], [3]]


async def test_rainmaker_filters_know_batches_as_ts_data():
    filters = [
        {
            "event_type": "rmaker.event.node_ts_data",
            "entity_type": "System",
            "enabled_for_integrations": ["a"],
        }
    ]
    async with Peer(OK) as peer, Peer(OK) as other:
        rows = [row(peer, provider="rainmaker", batch=2)]
        rows += [row(other, name="b", provider="rainmaker", batch=2)]
        rows += [row(other, name="c", provider="rainmaker", batch=1)]
        async with Run(*rows, filters=filters) as run:
            emit(run, 1, 2)
            await run.count("delivered", 4)
            await sleep_ms(20)
        (_, body) = peer.requests[0]
        made = json.loads(body)
        assert made["EventType"] == "rmaker.event.node_ts_data"
        assert [one["value"] for one in made["EventData"]["Payload"]] == [1, 2]
        types = [json.loads(body)["EventType"] for _, body in other.requests]
        assert types == ["rmaker.event.node_params_changed"] * 2


async def test_a_lagging_batch_is_dropped_as_a_whole_and_counted():
    queue = {"capacity": 20, "store": {"disk": False}}
    async with Peer([60000]) as dead, Peer(OK) as good:
        rows = [row(dead, timeout_ms=60000), row(good, name="b")]
        async with Run(*rows, queue=queue) as run:
            for number in range(8):
                emit(run, *range(number * 10, number * 10 + 10))
                await run.count("delivered", number * 10 + 10)
            counters = run.hooks.counters
            lost = run.hooks.endpoints["a"].counters["dropped"]
            assert flat(payloads(good)) == list(range(80))
            assert counters["dropped"] == lost >= 50
            waiting = sum(one.count for one in run.hooks.endpoints["a"].pending)
            assert lost + waiting == 80


def test_what_cannot_go_together():
    values = {"name": "a", "url": "http://h/", "batch": 2}
    assert "batch" in refused(ConfigError, section, dict(values, provider="slack"))
    small = {"capacity": 3, "store": {"disk": False}}
    assert "batch" in refused(ConfigError, lambda: section(values, queue=small))
    for provider in ("generic", "datastream", "rainmaker"):
        section(dict(values, provider=provider))
