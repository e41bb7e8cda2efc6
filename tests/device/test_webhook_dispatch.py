"""Many endpoints at once: who waits for whom, what a storm leaves; authentication."""

import gc
import json
import os
import sys

from http_peer import OK, Peer, reply, sized
from mqtt_peer import until
from webhook_kit import Node, Run, Value, clean, header

from fieldpost import texts
from fieldpost.compat import asyncio, sleep_ms, ticks_diff, ticks_ms

NEEDS = "socket"
HEAP = "2m"


async def test_a_dead_and_a_slow_endpoint_delay_nobody():
    """The latency of 48 endpoints from the event to the request, beside a dead and a slow one."""
    many, alarms = 48, 10
    begun, waits = {}, []

    class Clocked(Peer):
        """Notes when the request of an alarm is there."""

        async def _answer(self, reader, writer):
            self.script = [self.note]
            await Peer._answer(self, reader, writer)

        async def note(self, _reader, writer):
            now = ticks_ms()
            number = json.loads(self.requests[-1][1])["alarm"]["id"]
            waits.append(ticks_diff(now, begun[number]))
            writer.write(OK)
            await writer.drain()

    async with Peer([60000]) as dead, Peer([200, OK]) as slow, Clocked() as good:
        rows = [{"name": "e%d" % n, "url": good.url + str(n)} for n in range(many)]
        rows.append({"name": "dead", "url": dead.url, "timeout_ms": 60000})
        rows.append({"name": "slow", "url": slow.url})
        async with Run(*rows, concurrency=4) as run:
            for number in range(alarms):
                begun[number] = ticks_ms()
                run.alarm(number, key="v/%d" % number)
                await until(lambda n=number: len(waits) == many * (n + 1), 10000)
            assert len(dead.requests) == 1 and run.hooks.endpoints["dead"].current
            assert run.hooks.counters["dropped"] == 0
    waits.sort()
    figures = [waits[len(waits) * share // 100] for share in (50, 99)] + waits[-1:]
    text = "%d endpoints beside a dead and a slow one: p50 %d ms, p99 %d ms, max %d ms"
    print(text % tuple([many] + figures))
    # Behind the dead one it were 60 s, behind the slow one several times 200 ms.
    assert figures[1] < 1500 and figures[2] < 3000


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
            hooks = run.hooks
            await until(lambda: hooks.endpoints["a"].acked == hooks.queue.log.next, 20000)
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


async def test_messages_that_are_too_long_are_cut_and_marked():
    async with Peer(OK) as peer:
        rules = [{"event": "message_publish", "topics": ["a/#"]}, {"event": "device_down"}]
        row = {"name": "a", "url": peer.url, "provider": "rmqtt", "rules": rules}
        async with Run(row) as run:
            payload = "QUJD" * 1000
            run.node.bus.emit("message_publish", "main", {"topic": "a/b", "payload": payload})
            run.node.bus.emit("message_publish", "main", {"topic": "x", "payload": payload})
            await run.count("delivered", 1)
            # What is no payload is not cut: refused, and counted.
            run.node.bus.emit("device_down", "v", {"device_id": "v" * 2000, "protocol": "x"})
            assert run.hooks.counters["refused"] == 1
            assert run.hooks.queue.log.dropped == {"invalid": 1}
        (_, body) = peer.requests[0]
        made = json.loads(body)
        assert made["payload_bytes"] == 3000 and made["action"] == "message_publish"
        assert 400 < len(made["payload"]) < 1024 and set(made["payload"]) == set("QUJD")


async def test_one_that_lags_drops_its_own_events_only():
    async with Peer([60000]) as dead, Peer(OK) as good:
        rows = [{"name": "dead", "url": dead.url, "timeout_ms": 60000}]
        rows.append({"name": "good", "url": good.url})
        async with Run(*rows, queue={"capacity": 8, "store": {"disk": False}}) as run:
            for number in range(40):
                run.alarm(number)
                await run.count("delivered", number + 1)
            lagging, other = run.hooks.endpoints["dead"], run.hooks.endpoints["good"]
            assert [json.loads(body)["alarm"]["id"] for _, body in good.requests] == list(
                range(40)
            )
            assert other.counters["dropped"] == 0 == run.hooks.counters["full"]
            lost = lagging.counters["dropped"]
            assert run.hooks.counters["dropped"] == lost >= 30
            # The one under way and the newest are what is left.
            assert lost + len(lagging.pending) + run.hooks.queue.log.next - lagging.index == 40


async def test_silent_ones_leave_a_place_for_those_that_answer():
    async with Peer([60000]) as dead, Peer(OK) as good:
        rows = [{"name": "d%d" % n, "url": dead.url, "timeout_ms": 100} for n in range(6)]
        rows.append({"name": "good", "url": good.url})
        async with Run(*rows, concurrency=2) as run:
            run.alarm(0)
            await run.count("retried", 6)
            for row in run.hooks.endpoints.values():
                row.row._own["timeout_ms"] = 60000
            await run.pass_ms(5000)
            await until(lambda: run.hooks._tasks)
            for number in range(1, 5):
                run.alarm(number)
            await run.count("delivered", 5)
            assert len(good.requests) == 5
            assert sum(bool(one.current) for one in run.hooks.endpoints.values()) == 1


class Tagged:
    """A device with a point, as far as webhooks look at it."""

    protocol = "virtual"

    def __init__(self, key):
        self.points = [self]
        self.key = key
        self.id = 1
        self.unit = "K"


async def test_no_more_is_read_than_may_begin():
    async with Peer([60000]) as peer, Run({"name": "a", "url": peer.url}) as run:
        for number in range(4):
            run.alarm(number, key="v/%d" % number)
        await until(lambda: peer.requests)
        await run.pass_ms(0)
        # The one under way and the next.
        assert len(run.hooks.endpoints["a"].pending) == 2


async def test_points_are_remembered_until_the_configuration_changes():
    sites, asked = [], []

    def texts_of(_node):
        asked.append(sites[-1])
        yield ["v", None, {"site": sites[-1]}]
        yield [1, None, None, None]

    async with Peer(OK) as peer, Run({"name": "a", "url": peer.url}) as run:
        run.node.devices["v"] = Tagged("v/n")
        real, texts.rows = texts.rows, texts_of
        try:
            for site, digests in (("hq", "1"), ("hq", "1"), ("lab", "2")):
                sites.append(site)
                run.node.digests = digests
                run.alarm(1, key="v/n")
                await run.count("delivered", len(peer.requests) + 1)
        finally:
            texts.rows = real
        found = [json.loads(body)["node"]["tags"]["site"] for _, body in peer.requests]
        assert found == ["hq", "hq", "lab"] and asked == ["hq", "lab"]


async def test_tag_filters_decide_by_the_node_of_the_event():
    def texts_of(_node):
        yield ["v", None, {"site": "hq"}]
        yield [1, None, None, {"area": "roof"}]

    tags = [{"tag": "site", "value": "hq"}, {"tag": "area", "op": "!=", "value": "cellar"}]
    other = [{"tag": "site", "value": "lab"}]
    async with Peer(OK) as peer, Peer(OK) as refusing:
        rows = [{"name": "a", "url": peer.url, "tags": tags}]
        rows.append({"name": "b", "url": refusing.url, "tags": other})
        async with Run(*rows) as run:
            run.node.devices["v"] = Tagged("v/n")
            real, texts.rows = texts.rows, texts_of
            try:
                run.alarm(1, key="v/n")
                await run.count("delivered", 1)
                # What nobody knows passes, to both.
                run.alarm(2, key="unknown/n")
                await run.count("delivered", 3)
            finally:
                texts.rows = real
            assert sorted([one.endpoint for one in run.hooks.deliveries]) == ["a", "a", "b"]
            assert not run.hooks.endpoints["b"].pending
        found = [json.loads(body)["alarm"]["id"] for _, body in peer.requests]
        assert found == [1, 2]
        assert json.loads(peer.requests[0][1])["node"]["tags"] == {"site": "hq", "area": "roof"}
        assert [json.loads(body)["alarm"]["id"] for _, body in refusing.requests] == [2]


async def test_rainmaker_filters_of_system_and_node():
    def one(name, level, **more):
        return dict({"event_type": "rmaker.event." + name, "entity_type": level}, **more)

    filters = [
        one("alert", "System", enabled_for_integrations=["a", "b"]),
        one("alert", "Node", entity_id="gw.1", enabled_for_integrations=["a"]),
        one("alert", "Node", entity_id="gw.2", enabled=False),
        one("node_params_changed", "System", enabled=False),
    ]
    async with Peer(OK) as peer:
        rows = [{"name": n, "url": peer.url + n, "value_changed": True} for n in "abc"]
        async with Run(*rows, filters=filters) as run:
            run.node.bus.emit("value_changed", "v/n", Value("v/n", 1))
            run.alarm(1)
            await run.count("delivered", 1)
            await sleep_ms(30)
            assert [head.split(b" ")[1] for head, _ in peer.requests] == [b"/a"]
            assert run.hooks.queue.log.next == run.hooks.endpoints["c"].acked


async def test_a_key_keeps_its_order_while_others_pass():
    bad = reply(b"Content-Length: 0", status="500 x")
    script = [bad, OK, bad] + [OK]
    async with Peer(*script) as peer, Run({"name": "a", "url": peer.url}) as run:
        for number in range(12):
            run.alarm(number, key="v/%d" % (number % 3))
        while run.hooks.counters["delivered"] < 12:
            await run.pass_ms(500)
            await sleep_ms(2)
        taken = []
        for at, (_, body) in enumerate(peer.requests):
            if script[min(at, 3)] is OK:
                alarm = json.loads(body)["alarm"]
                taken.append((alarm["point_id"], alarm["id"]))
        for key in "012":
            mine = [number for point, number in taken if point == key]
            assert mine == sorted(mine) and len(mine) == 4
        assert [number for _, number in taken] != list(range(12)), "nothing passed"


async def test_what_the_queue_lost_is_dropped_and_counted():
    async with Peer(OK) as peer, Run({"name": "a", "url": peer.url}) as run:
        run.hooks.queue.get = lambda _index: None
        run.alarm(1)
        await run.count("dropped", 1)
        counters = run.hooks.endpoints["a"].counters
        assert (counters["dropped"], counters["failed"]) == (1, 0)
        (one,) = run.hooks.deliveries
        assert (one.status, one.error) == ("failed", "dropped") and not run.hooks.dead
