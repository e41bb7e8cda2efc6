"""Deliveries: every way a reply can go, when it is tried again, what a restart leaves."""

import json

from http_peer import HANG_UP, OK, Peer, reply
from mqtt_peer import until
from webhook_kit import FOLDER, Node, Run, clean, header

from fieldpost.compat import asyncio, sleep_ms

NEEDS = "socket"
HEAP = "1m"
BAD = reply(b"Content-Length: 0", status="500 Oops")


def status(line, *fields):
    return reply(b"Content-Length: 0", *fields, status=line)


def ended(counters):
    return counters["delivered"] + counters["failed"] == 1


async def attempts(script, waits, **keys):
    """The run after an alarm and these waits (ms) after each attempt; ``(run, peer)``."""
    peer = Peer(*script)
    async with peer, Run(dict({"name": "a", "url": peer.url}, **keys)) as run:
        run.alarm()
        for number, ms in enumerate(waits, 1):
            await until(lambda n=number: run.hooks.counters["retried"] >= n)
            await run.pass_ms(ms - 1)
            await sleep_ms(20)
            assert len(peer.requests) == number, "too early"
            await run.pass_ms(1)
        await until(lambda: ended(run.hooks.counters))
        return run, peer


async def test_the_schedule_is_5_30_120_seconds_then_dead():
    run, peer = await attempts([BAD], (5000, 30000, 120000))
    assert len(peer.requests) == 4
    assert len({header(head, "webhook-id") for head, _ in peer.requests}) == 1
    counters = run.hooks.counters
    assert (counters["retried"], counters["failed"], counters["delivered"]) == (3, 1, 0)
    (delivery,) = run.hooks.deliveries
    assert (delivery.status, delivery.attempts, delivery.http_status) == ("failed", 4, 500)
    assert [(one.endpoint, one.error) for one in run.hooks.dead] == [("a", "status 500")]


async def test_what_is_tried_again():
    for line in ("408 x", "425 x", "429 x", "502 x", "503 x"):
        run, _peer = await attempts([status(line), OK], (5000,))
        assert run.hooks.counters["delivered"] == 1, line
    run, _peer = await attempts([HANG_UP, OK], (5000,))
    assert run.hooks.deliveries[0].status == "success"
    run, _peer = await attempts([[300], OK], (5000,), timeout_ms=100)
    assert run.hooks.counters["delivered"] == 1


async def test_what_is_final():
    for line in ("400 x", "401 x", "404 x", "301 x", "422 x"):
        run, peer = await attempts([status(line)], ())
        assert (len(peer.requests), run.hooks.counters["failed"]) == (1, 1), line
        assert run.hooks.endpoints["a"].attached


async def test_retry_after_is_honoured():
    run, _peer = await attempts([status("429 x", b"Retry-After: 60"), OK], (60000,))
    assert run.hooks.counters["delivered"] == 1
    # 40 s after the time that the kit's clock tells.
    date = b"Retry-After: Fri, 22 Nov 2024 00:00:40 GMT"
    run, _peer = await attempts([status("503 x", date), OK], (40000,))
    assert run.hooks.counters["delivered"] == 1


async def test_exponential_until_its_time_is_over():
    async with Peer(BAD) as peer:
        row = {"name": "a", "url": peer.url, "retry": "exponential", "retry_elapsed_ms": 10000}
        async with Run(row) as run:
            run.alarm()
            while run.hooks.counters["events"] and not run.hooks.counters["failed"]:
                await run.pass_ms(250)
                await sleep_ms(2)
        # About 0, 0.5, 1.75 and 4.9 s; the next would be at 12.7 s.
        assert 4 <= len(peer.requests) <= 5


async def test_410_disables_the_endpoint_also_over_a_restart():
    clean()
    disk = {"store": {"durable": True}}
    async with Peer(status("410 Gone")) as peer:
        row = {"name": "a", "url": peer.url}
        async with Run(row, queue=disk) as run:
            run.alarm()
            await run.count("failed", 1)
            assert not run.hooks.endpoints["a"].attached
            assert run.node.errors == [("webhook:a", "gone (410): disabled")]
            run.alarm(2)
            assert run.hooks.counters["events"] == 1
        async with Run(row, queue=disk, node=Node(boot=2)) as run:
            run.alarm(3)
            await sleep_ms(50)
            assert len(peer.requests) == 1
        async with Run(dict(row, url=peer.url + "new"), queue=disk, node=Node(boot=3)) as run:
            run.alarm(4)
            await until(lambda: len(peer.requests) == 2)


async def test_a_restart_between_accept_and_reply_sends_it_again_under_the_same_id():
    clean()
    disk = {"store": {"durable": True, "maxLatency": 100}}
    async with Peer([5000, OK], OK) as peer:
        row = {"name": "a", "url": peer.url}
        run = Run(row, queue=disk)
        await run.__aenter__()
        run.alarm()
        await until(lambda: peer.requests)
        await run.pass_ms(1500)  # the queue is tended: it is on flash
        log = run.hooks.queue.log
        assert log.segments and log.stored == log.next
        # The power fails: nothing is saved any more.
        run.hooks.queue.log.tend = lambda: None
        await run.__aexit__()
        async with Run(row, queue=disk, node=Node(boot=2)) as again:
            await again.count("delivered", 1)
            again.alarm(2)
            await again.count("delivered", 2)
        ids = [header(head, "webhook-id") for head, _ in peer.requests]
        assert ids[0] == ids[1] != ids[2] and "." not in ids[0]
        bodies = [json.loads(body)["alarm"]["id"] for _, body in peer.requests]
        assert bodies == [1, 1, 2]
        async with Run(row, queue=disk, node=Node(boot=3)):
            await sleep_ms(50)
        assert len(peer.requests) == 3, "what was delivered is not sent again"
    clean(FOLDER)


async def test_a_clearing_never_overtakes_its_raising():
    async with Peer(BAD, OK) as peer, Run({"name": "a", "url": peer.url}) as run:
        run.alarm(1, key="v/a")
        await run.count("retried", 1)
        run.alarm(1, "cleared", key="v/a")
        run.alarm(2, key="v/b")
        await run.count("delivered", 1)
        assert json.loads(peer.requests[1][1])["alarm"]["point_id"] == "b"
        await run.pass_ms(5000)
        await run.count("delivered", 3)
        events = [json.loads(body)["event"] for _, body in peer.requests[2:]]
        assert events == ["alarm_raised", "alarm_cleared"]


async def test_dead_letters_are_replayed_under_their_id():
    async with Peer(status("400 x"), OK) as peer:
        rows = [{"name": "a", "url": peer.url}, {"name": "b", "url": peer.url, "enabled": False}]
        async with Run(*rows) as run:
            run.alarm()
            await run.count("failed", 1)
            assert run.hooks.replay("b") == 0
            assert run.hooks.replay() == 1 and not run.hooks.dead
            await run.count("delivered", 1)
        (first, one), (second, other) = peer.requests
        assert header(first, "webhook-id") == header(second, "webhook-id")
        assert one == other


async def test_pause_drops_and_counts():
    async with Peer(OK) as peer, Run({"name": "a", "url": peer.url}, pause=True) as run:
        run.alarm()
        run.alarm(2)
        await asyncio.sleep(0)
        assert run.hooks.counters["paused"] == 2 and run.hooks.counters["events"] == 0
        assert not peer.requests


async def test_rate():
    async with Peer(OK) as peer, Run({"name": "a", "url": peer.url, "rate": 60}) as run:
        for number in range(3):
            run.alarm(number)
        await run.count("delivered", 1)
        await run.pass_ms(999)
        await sleep_ms(30)
        assert len(peer.requests) == 1
        await run.pass_ms(1)
        await run.count("delivered", 2)
        await run.pass_ms(1000)
        await run.count("delivered", 3)
