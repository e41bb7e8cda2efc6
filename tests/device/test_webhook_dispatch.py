"""Many endpoints at once: who waits for whom, what a storm leaves; authentication."""

import gc
import json
import os
import sys

from http_peer import OK, Peer, reply, sized
from mqtt_peer import until
from webhook_kit import Node, Run, clean, header

from fieldpost.compat import asyncio, sleep_ms, ticks_diff, ticks_ms

NEEDS = "socket"
HEAP = "2m"


async def test_a_dead_and_a_slow_endpoint_delay_nobody():
    many = 48
    async with Peer([60000]) as dead, Peer([200, OK]) as slow, Peer(OK) as good:
        rows = [{"name": "e%d" % n, "url": good.url + str(n)} for n in range(many)]
        rows.append({"name": "dead", "url": dead.url, "timeout_ms": 60000})
        rows.append({"name": "slow", "url": slow.url})
        async with Run(*rows, concurrency=4) as run:
            begun = ticks_ms()
            run.alarm(1, key="v/a")
            run.alarm(2, key="v/b")
            await until(lambda: len(good.requests) >= 2 * many, 10000)
            took = ticks_diff(ticks_ms(), begun)
            print("%d endpoints beside a dead and a slow one: %d ms" % (many, took))
            await run.count("delivered", 2 * many + 1)
            assert len(dead.requests) == 1 and run.hooks.endpoints["dead"].current
        assert took < 5000


async def test_concurrency_is_limited():
    async with Peer([50, OK]) as peer:
        rows = [{"name": "e%d" % n, "url": peer.url} for n in range(6)]
        most = 0
        async with Run(*rows, concurrency=3) as run:
            run.alarm()
            while run.hooks.counters["delivered"] < 6:
                most = max(most, len(run.hooks._tasks))
                await sleep_ms(5)
        assert most == 3


async def test_a_storm_is_bounded_and_counted():
    clean()
    async with Peer(OK) as peer:
        queue = {"capacity": 64, "store": {"durable": True}}
        rows = [{"name": "a", "url": peer.url}]
        async with Run(*rows, queue=queue, history=8) as run:
            gc.collect()
            before = gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0
            begun, longest = ticks_ms(), 0
            for number in range(10000):
                at = ticks_ms()
                run.alarm(number)
                longest = max(longest, ticks_diff(ticks_ms(), at))
                if number % 100 == 99:
                    await asyncio.sleep(0)
            took = ticks_diff(ticks_ms(), begun)
            gc.collect()
            more = gc.mem_alloc() - before if before else 0
            await until(lambda: not run.hooks.endpoints["a"].pending, 20000)
            counters = run.hooks.counters
            print(
                "storm: 10000 events in %d ms, longest %d ms, %d bytes of heap more, %r"
                % (took, longest, more, counters)
            )
            assert counters["events"] + counters["full"] == 10000 and counters["full"] > 0
            lost = counters["dropped"]
            assert counters["delivered"] + lost == counters["events"]
            assert len(run.hooks.deliveries) == 8
            assert more < 32000
    clean()


async def test_standard_signatures_wait_for_the_clock():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    async with Peer(OK) as peer:
        rows = [
            {"name": "s", "url": peer.url + "s", "signature": "standard", "secret": secret},
            {"name": "h", "url": peer.url + "h", "signature": "hmac", "secret": "k"},
        ]
        async with Run(*rows, node=Node(trusted=False)) as run:
            run.alarm()
            await run.count("delivered", 1)
            await sleep_ms(30)
            assert [head.split(b" ")[1] for head, _ in peer.requests] == [b"/h"]
            assert json.loads(peer.requests[0][1])["timestamp"] is None
            run.node.clock.set_unix_ms(1732233600123, "test")
            await run.count("delivered", 2)
        head, _ = peer.requests[1]
        assert header(head, "webhook-timestamp") == "1732233600"
        assert header(head, "webhook-signature").startswith("v1,")


async def test_ways_of_authentication():
    async def sent(**keys):
        async with Peer(OK) as peer:
            row = dict({"name": "a", "url": peer.url, "headers": {"X-Own": "1"}}, **keys)
            async with Run(row) as run:
                run.alarm()
                await run.count("delivered", 1)
            assert header(peer.requests[0][0], "X-Own") == "1"
            return peer.requests[0][0]

    head = await sent(auth="basic", user="Aladdin", password="open sesame")
    assert header(head, "Authorization") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert header(await sent(auth="bearer", token="t1"), "Authorization") == "Bearer t1"
    assert header(await sent(auth="api_key", token="t2"), "X-API-Key") == "t2"
    assert header(await sent(), "Authorization") is None


async def test_oauth2_tokens_are_cached_and_renewed():
    tokens = [sized(b'{"access_token":"t%d","expires_in":100}' % n) for n in range(3)]
    denied = reply(b"Content-Length: 0", status="401 x")
    async with Peer(*tokens) as issuer, Peer(OK, OK, OK, denied, OK) as peer:
        row = {"name": "a", "url": peer.url, "auth": "oauth2", "token_url": issuer.url}
        row.update({"client_id": "me", "client_secret": "a b", "scope": "x y"})
        async with Run(row) as run:
            for number in range(1, 5):
                run.alarm(number)
                if number == 3:
                    await run.pass_ms(70000)
                if number < 4:
                    await run.count("delivered", number)
            await run.count("retried", 1)
            await run.pass_ms(5000)
            await run.count("delivered", 4)
        used = [header(head, "Authorization") for head, _ in peer.requests]
        assert used == ["Bearer t0", "Bearer t0", "Bearer t1", "Bearer t1", "Bearer t2"], used
        head, body = issuer.requests[0]
        assert body == b"grant_type=client_credentials&scope=x%20y"
        assert header(head, "Authorization") == "Basic bWU6YSUyMGI="


def lines(path):
    with open(path) as file:
        return [json.loads(line)["action"] for line in file]


async def test_rules_go_to_their_own_urls():
    folder = os.getcwd()
    path = folder + "/webhook-rules.jsonl"
    async with Peer(OK) as peer:
        rules = [{"event": "device_down", "urls": [peer.url + "x", "file://" + path]}]
        rules.append({"event": "device_down", "action": "lost"})
        row = {"name": "a", "url": peer.url + "own", "provider": "rmqtt", "rules": rules}
        async with Run(row) as run:
            run.node.bus.emit("device_down", "v", "virtual")
            await run.count("delivered", 3)
        found = {head.split(b" ")[1]: json.loads(body)["action"] for head, body in peer.requests}
        assert found == {b"/x": "device_down", b"/own": "lost"}
    assert lines(path) == ["device_down"]
    os.remove(path)


async def test_what_a_test_delivery_says():
    peer = Peer(OK, reply(b"Content-Length: 0", status="403 x"))
    async with peer, Run({"name": "a", "url": peer.url, "enabled": False}) as run:
        one = await run.hooks.test("a")
        assert (one.status, one.http_status) == ("success", 200)
        one = await run.hooks.test("a")
        assert (one.status, one.error) == ("failed", "status 403")
        assert len(run.hooks.deliveries) == 2


async def test_a_provider_that_fails_is_reported_and_tried_later():
    class Broken:
        """A provider with a bug."""

        @staticmethod
        def render(_event, _endpoint, _node):
            raise IndexError

    name = "fieldpost.webhook.providers.broken"
    sys.modules[name] = sys.modules["fieldpost.webhook.providers"].broken = Broken
    async with Peer(OK) as peer:
        rows = [{"name": "a", "url": peer.url, "provider": "broken"}]
        rows.append({"name": "b", "url": peer.url})
        async with Run(*rows) as run:
            run.alarm()
            await run.count("delivered", 1)
            await run.count("retried", 1)
            assert [key for key, _ in run.node.errors] == ["webhook:a"]
            assert run.hooks.endpoints["a"].pending[0].due > run.node.clock.mono_ms()
    del sys.modules[name]
