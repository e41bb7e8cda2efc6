"""The MQTT link against scripted brokers: packet ids, window, messages, configuration, bounds."""

import asyncio

from mqtt_peer import CONFIG, Bus, Peer, Running, payloads, pids, raises, until, up

from fieldpost import mqtt
from fieldpost.compat import sleep_ms, wait_for_ms
from fieldpost.mqtt import Link

NEEDS = "socket"


# -- packet ids and the window


async def test_packet_ids_wrap_and_skip_those_in_flight():
    async with Peer() as peer, Running(peer) as link:
        await up(link)
        peer.ack = False
        peer.grant = None
        link._pid = 65532
        for _ in range(2):
            assert link.publish("t", "held", 1)
        link.subscribe("s")  # 65535 waits for a SUBACK
        assert link.publish("t", "first again", 1)
        link._pid = 65532
        for _ in range(3):
            assert link.publish("t", "next", 1)
        await until(lambda: len(peer.of(0x30)) == 6)
        assert pids(peer.of(0x30)) == [65533, 65534, 1, 2, 3, 4]
        assert peer.of(0x80)[0][:2] == b"\xff\xff"


async def test_more_messages_than_packet_ids():
    """umqtt.simple fails at its 65536th QoS 1 message."""
    async with Peer() as peer, Running(peer) as link:
        await up(link)
        link._pid = 65500
        for number in range(100):
            while not link.publish("t", b"%d" % number, 1):
                await link.ready(10)
        await until(lambda: not link.inflight)
        found = pids(peer.of(0x30))
        assert found == list(range(65501, 65536)) + list(range(1, 66))
        assert link.counters["acked"] == 100


async def test_window_full():
    async with Peer() as peer, Running(peer, window=3) as link:
        await up(link)
        peer.ack = False
        assert [link.publish("t", "x", 1) for _ in range(4)] == [True, True, True, False]
        assert link.publish("t", "x", 0), "the window is of QoS 1"
        assert link.counters["refused"] == 1 and link.inflight == 3
        waiting = asyncio.create_task(link.ready(2))
        await until(lambda: len(peer.of(0x30)) == 4)
        assert link.inflight == 3
        await peer.send(b"\x40\x02\x00\x02")
        assert await wait_for_ms(waiting, 500)
        assert link.inflight == 2 and link.publish("t", "x", 1)
        assert not link.publish("t", "x", 1)


async def test_puback_of_an_unknown_id_is_ignored():
    async with Peer() as peer, Running(peer) as link:
        await up(link)
        await peer.send(b"\x40\x02\x00\x07\xb0\x02\x00\x07\x90\x03\x00\x07\x01")
        assert link.publish("t", "x", 1)
        await until(lambda: link.counters["acked"] == 1)
        assert link.counters["connects"] == 1


async def test_queue_is_bounded_but_one_long_message_passes():
    async with Peer() as peer, Running(peer, queue_bytes=1000) as link:
        await up(link)
        assert link.publish("t", b"x" * 5000, 0)
        assert not link.publish("t", b"y", 0)
        assert await link.ready(601)
        assert link.publish("t", b"y" * 600, 0)
        assert not link.publish("t", b"z" * 600, 0)
        await until(lambda: [len(body) for body in peer.of(0x30)] == [5003, 603])
        assert link.counters["refused"] == 2


async def test_kept_bytes_are_bounded():
    link = Link(dict(CONFIG, keep_bytes=100))
    assert link.publish("t", b"x" * 200, 1), "one long message passes"
    assert not link.publish("t", b"x", 1)
    link = Link(dict(CONFIG, keep_bytes=100))
    assert [link.publish("t", b"x" * 39, 1) for _ in range(3)] == [True, True, False]
    assert link.inflight == 2


async def test_publish_while_down():
    link = Link(CONFIG)
    assert not link.publish("t", "x", 0)
    assert not link.publish("t", "x", 1, keep=False)
    assert link.publish("t", "x", 1)
    assert link.counters["refused"] == 2


async def test_kept_messages_go_out_when_the_link_comes_up():
    async with Peer() as peer:
        running = Running(peer)
        done = []
        buffer = bytearray(b"first")
        assert running.link.publish("t", memoryview(buffer), 1, True, done=done.append)
        buffer[:] = b"xxxxx"
        assert running.link.publish("t", "second", 1)
        async with running as link:
            await until(lambda: link.counters["acked"] == 2)
        assert payloads(peer.of(0x33, 0xFF)) == [b"first"], "sent for the first time: no DUP"
        assert payloads(peer.of(0x30)) == [b"first", b"second"]
        assert done == [True] and link.counters["resent"] == 0 and link._kept == 0


def test_topics_that_would_close_the_connection():
    link = Link(CONFIG)
    for topic in ("", "a/#", "+", "nul\0"):
        raises(ValueError, link.publish, topic, "x", 1)
    assert link.inflight == 0


# -- messages in


async def test_messages_of_both_qos_with_their_flags():
    async with Peer() as peer:
        running = Running(peer)
        async with running as link:
            await up(link)
            await peer.send(b"\x30\x09\x00\x04t\xc3\xbcr\xe2\x82\xac")
            await peer.send(b"\x3b\x06\x00\x01t\x12\x34!")
            await until(lambda: len(running.messages) == 2)
            assert running.messages == [
                ("tür", b"\xe2\x82\xac", False, False),
                ("t", b"!", True, True),
            ]
            await until(lambda: peer.of(0x40) == [b"\x12\x34"])
            assert link.counters["received"] == 2


async def test_message_longer_than_the_limit():
    async with Peer() as peer:
        running = Running(peer, receive_max_bytes=256)
        async with running as link:
            await up(link)
            await peer.send(b"\x33\xac\x8d\x06\x00\x01t\x12\x34")
            for _ in range(20):
                await peer.send(b"x" * 5000)
            await peer.send(b"x" * 7 + b"\x30\x04\x00\x01t!")
            await until(lambda: running.messages == [("t", b"!", False, False)])
            # Acknowledged, or the broker would send it for ever.
            await until(lambda: peer.of(0x40) == [b"\x12\x34"])
            assert link.counters["oversize"] == 1 and link.counters["connects"] == 1


async def test_failing_callbacks_are_reported_and_survived():
    async with Peer() as peer:
        running = Running(peer)
        async with running as link:
            await up(link)
            error = RuntimeError("handler")

            def fail(*args):
                raise error

            link.on_message = fail
            await peer.send(b"\x32\x06\x00\x01t\x12\x34!")
            await until(lambda: peer.of(0x40) == [b"\x12\x34"])
            assert link.publish("t", "x", 1, done=fail)
            await until(lambda: link.counters["acked"] == 1)
            assert running.bus.events[1:] == [("error", "main", error)] * 2
            assert link.counters["errors"] == 2 and link.connected and not link.inflight


async def test_callback_may_publish():
    async with Peer() as peer:
        running = Running(peer)
        async with running as link:
            await up(link)
            link.on_message = lambda topic, payload, *_: link.publish("r", payload, 1)
            await peer.send(b"\x32\x06\x00\x01t\x12\x34!")
            await until(lambda: link.counters["acked"] == 1)
            assert payloads(peer.of(0x30)) == [b"!"]


async def test_what_is_not_mqtt_ends_the_connection():
    for garbage in (
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x34\x05\x00\x01t\x00\x01",
        b"\x20\x02\x00\x00",
    ):
        async with Peer() as peer, Running(peer) as link:
            await up(link)
            await peer.send(garbage)
            await until(lambda: link.counters["disconnects"] == 1)
            assert link.reason == "protocol"
            await up(link)


async def test_first_packet_must_be_connack():
    for greeting in (b"\xd0\x00", b"\x30\x03\x00\x01t", b"SSH-2.0\r\n"):
        async with Peer() as peer:
            peer.greeting = greeting
            async with Running(peer) as link:
                await until(lambda: link.reason == "protocol")
                assert link.counters["received"] == 0 and not link.connected


# -- configuration


async def test_reconfigure_keeps_the_connection_when_it_can():
    async with Peer() as peer, Running(peer) as link:
        await up(link)
        assert not link.reconfigure(dict(link.config, window=1))
        assert link.publish("t", "x", 1) and not link.publish("t", "x", 1)
        await sleep_ms(50)
        assert link.counters["connects"] == 1


async def test_reconfigure_moves_to_another_broker():
    async with Peer() as old, Peer() as new:
        running = Running(old, backoff_min_ms=3000, backoff_max_ms=3000)
        async with running as link:
            link.subscribe("s")
            await up(link)
            await until(lambda: link._subscriptions[0][0] == -1)
            new.session = 1  # of an earlier life: it knows nothing of the subscription
            assert link.reconfigure(dict(link.config, port=new.port))
            await until(lambda: new.connections == 1 and link.connected, 1000)
            await until(lambda: len(new.of(0x80)) == 1)
            assert ("link_down", "main", "reconfigured") in running.bus.events


async def test_reconfigure_ends_a_pause():
    async with Peer() as peer:
        running = Running(peer, backoff_min_ms=5000, backoff_max_ms=5000)
        link = running.link
        link.config["port"] = 1
        async with running:
            await until(lambda: link.counters["failures"] == 1)
            await sleep_ms(20)
            assert link.reconfigure(dict(link.config, port=peer.port))
            await until(lambda: link.connected, 1000)
        link._fault = "reconfigured"
        link._lost.set()
        assert await link._pause(5000) == 0, "the next pause is the shortest again"


async def test_several_links():
    async with Peer() as one, Peer() as two, Running(one) as first, Running(two) as second:
        await up(first)
        await up(second)
        await one.drop()
        assert second.publish("t", "2", 1)
        await until(lambda: second.counters["acked"] == 1 and first.counters["connects"] == 2)
        assert second.counters["connects"] == 1
        assert not one.of(0x30) and len(two.of(0x30)) == 1


# -- streams that a real socket would need megabytes for


class Stream:
    """Accepts the connection; then floods, or takes no more writes."""

    def __init__(self, flood=b"", stalls=False):
        self.flood = flood
        self.stalls = stalls
        self.writes = []
        self.closed = False
        self._data = b"\x20\x02\x00\x00"

    async def read(self, n, timeout_ms):
        await sleep_ms(0)
        if not self._data:
            if not self.flood:
                await sleep_ms(60000)
            self._data = self.flood
        part, self._data = self._data[:n], self._data[n:]
        return part

    async def write(self, data, timeout_ms):
        self.writes.append(bytes(data))
        if self.stalls and len(self.writes) > 1:
            await sleep_ms(60000)

    def close(self):
        self.closed = True


class Opening:
    """``open_stream`` gives this stream while the block lasts."""

    def __init__(self, stream):
        self.stream = stream

    async def open(self, host, port, timeout_ms, tls):
        return self.stream

    async def __aenter__(self):
        self._real, mqtt.open_stream = mqtt.open_stream, self.open
        self.link = Link(dict(CONFIG, queue_bytes=1000, backoff_min_ms=60000), Bus())
        self._task = asyncio.create_task(self.link.run())
        return self.link

    async def __aexit__(self, *_):
        mqtt.open_stream = self._real
        self._task.cancel()
        await sleep_ms(10)


async def test_one_write_for_all_that_waits():
    stream = Stream()
    async with Opening(stream) as link:
        await up(link)
        for _ in range(5):
            assert link.publish("t", "x", 1)
        await until(lambda: len(stream.writes) > 1)
        await sleep_ms(20)
        assert [len(data) for data in stream.writes[1:]] == [5 * 8]


async def test_peer_that_does_not_read():
    stream = Stream(stalls=True)
    async with Opening(stream) as link:
        await up(link)
        assert link.publish("t", b"x" * 2999, 0)
        await sleep_ms(20)
        assert not link.publish("t", b"x", 0), "what is being written counts"
        await until(lambda: link.reason == "timeout", 1000)
        assert [len(data) for data in stream.writes[1:]] == [1024] and stream.closed


async def test_peer_that_sends_but_does_not_read():
    stream = Stream(b"\x32\x06\x00\x01t\x00\x01!" * 64, stalls=True)
    async with Opening(stream) as link:
        await up(link)
        most = 0
        while link.connected:
            most = max(most, link._queued())
            await sleep_ms(5)
        assert 1000 < most <= 1000 + 512 // 2
        assert link.reason == "timeout"


async def test_failure_of_the_link_itself_is_reported():
    stream = Stream()
    async with Opening(stream) as link:
        await up(link)

        def broken(n):
            raise MemoryError("no room")

        link._codec.take = broken
        link.publish("t", "x")
        await until(lambda: link.reason == "error", 1000)
        assert link.counters["errors"] == 1 and stream.closed
