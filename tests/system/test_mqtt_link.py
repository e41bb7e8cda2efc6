"""The MQTT link against mosquitto: both QoS both ways, restarts, sessions, last will."""

import asyncio

import pytest
from mqtt_peer import Running, until, up

import servers

LONG = "größe/" * 40 + "#"


def running(broker, name, **config):
    """A link of that client id, running while the block lasts; ``messages`` collects."""
    return Running(broker, name=name, client_id=name, timeout_ms=2000, **config)


async def granted(link):
    await until(lambda: link.connected and all(s[0] == -1 for s in link._subscriptions))


@pytest.mark.parametrize("qos", [0, 1])
async def test_messages_both_ways(mosquitto, qos):
    one, two = running(mosquitto, "one"), running(mosquitto, "two")
    async with one, two:
        one.link.subscribe("tür/#", qos)
        two.link.subscribe(LONG, qos)
        await granted(one.link)
        await granted(two.link)
        assert two.link.publish("tür/ä", "grün €", qos)
        assert two.link.publish("tür/ä", bytes(range(256)), qos, retain=True)
        assert one.link.publish(LONG[:-1] + "x", b"", qos)
        await until(lambda: len(one.messages) == 2 and len(two.messages) == 1)
        assert one.messages == [
            ("tür/ä", "grün €".encode(), False, False),
            ("tür/ä", bytes(range(256)), False, False),
        ]
        assert two.messages == [(LONG[:-1] + "x", b"", False, False)]
        two.link.subscribe("tür/+", qos)
        await until(lambda: len(two.messages) == 2)
        assert two.messages[1] == ("tür/ä", bytes(range(256)), True, False)
        await until(lambda: two.link.inflight == 0)
        assert two.link.counters["acked"] == 2 * qos


async def test_thousands_in_order(mosquitto):
    sender, receiver = running(mosquitto, "sender"), running(mosquitto, "receiver")
    async with sender as link, receiver:
        receiver.link.subscribe("t")
        await granted(receiver.link)
        await up(link)
        number = 0
        while number < 3000:
            if link.publish("t", b"%d" % number, 1, keep=number % 2 == 0):
                number += 1
            else:
                await link.ready(10)
        await until(lambda: len(receiver.messages) == 3000)
        assert [int(message[1]) for message in receiver.messages] == list(range(3000))
        assert link.counters["acked"] == 3000


async def test_broker_restart_without_its_sessions(mosquitto):
    node = running(mosquitto, "node")
    async with node as link:
        link.subscribe("echo")
        await granted(link)
        mosquitto.stop()
        await until(lambda: not link.connected)
        assert link.publish("echo", "kept", 1)
        assert not link.publish("echo", "not kept", 1, keep=False)
        await until(lambda: link.reason == "refused")
        mosquitto.start()
        await until(lambda: node.messages == [("echo", b"kept", False, False)])
        assert not link.session_present
        assert link.counters["connects"] == 2
        assert link.counters["acked"] == 1


async def test_broker_restart_with_its_sessions(tmp_path):
    with servers.Mosquitto(tmp_path, persistence=True) as broker:
        node, other = running(broker, "node"), running(broker, "other")
        async with node as link:
            link.subscribe("echo")
            await granted(link)
        async with other as sender:
            await up(sender)
            assert sender.publish("echo", "while away", 1)
            await until(lambda: sender.inflight == 0)
        broker.restart()
        async with node:
            await until(lambda: node.messages == [("echo", b"while away", False, False)])
            assert link.session_present
        assert broker.log.count("connected") >= 3


async def test_clean_session_leaves_nothing(mosquitto):
    node = running(mosquitto, "node", clean_session=True)
    async with node as link:
        link.subscribe("echo")
        await granted(link)
    async with node:
        await granted(link)
        assert not link.session_present
        assert link.publish("echo", "x", 0)
        await until(lambda: len(node.messages) == 1)


async def test_last_will(mosquitto):
    will = {"topic": "ende/nöde", "payload": "offline – ä", "qos": 1, "retain": True}
    node, watcher = running(mosquitto, "node", will=will), running(mosquitto, "watcher")
    async with watcher:
        watcher.link.subscribe("ende/#")
        await granted(watcher.link)
        async with node as link:
            await up(link)
            await asyncio.sleep(0.05)
            assert not watcher.messages
        await until(lambda: len(watcher.messages) == 1)
        assert watcher.messages == [("ende/nöde", "offline – ä".encode(), False, False)]


async def test_retained_message_over_the_limit_comes_once(mosquitto):
    """To disconnect on it would be to meet it again at each connection, for ever."""
    node, other = running(mosquitto, "node", receive_max_bytes=1000), running(mosquitto, "other")
    async with other as sender, node as link:
        await up(sender)
        assert sender.publish("big", bytes(100000), 1, retain=True)
        await until(lambda: sender.inflight == 0)
        link.subscribe("big")
        link.subscribe("small")
        await until(lambda: link.counters["oversize"] == 1)
        assert sender.publish("small", "x", 1)
        await until(lambda: len(node.messages) == 1)
        assert link.counters["connects"] == 1
    async with node:
        await up(link)
        await asyncio.sleep(0.1)
        assert link.session_present
        assert link.counters["oversize"] == 1


async def test_refused_by_the_broker(tmp_path):
    with servers.Mosquitto(tmp_path, "allow_anonymous false") as broker:
        async with running(broker, "node", user="ü", password="pä") as link:
            await until(lambda: link.counters["failures"] == 2)
            assert link.reason == "refused: 5"


async def test_same_client_id_twice(mosquitto):
    """The broker closes the elder connection; the link comes back rather than stopping."""
    first, second = running(mosquitto, "twin"), running(mosquitto, "twin", backoff_min_ms=5000)
    async with first as link:
        await up(link)
        async with second:
            await until(lambda: link.counters["connects"] == 2)
            assert second.link.reason == "closed"
