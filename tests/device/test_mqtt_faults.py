"""The MQTT link when the broker is silent, refuses, or goes away and comes back."""

import asyncio

from mqtt_peer import Peer, Running, payloads, pids, until, up

from fieldpost.compat import sleep_ms, ticks_add, ticks_diff, ticks_ms, wait_for_ms

NEEDS = "socket"


# -- the peer's silence


async def test_silent_after_the_connection():
    async with Peer() as peer:
        peer.silent = True
        async with Running(peer) as link:
            await until(lambda: link.reason == "timeout")
            assert not link.connected and link.counters["failures"] == 1
            peer.silent = False
            await up(link)
            assert link.counters["connects"] == 1 and link.counters["disconnects"] == 0


async def test_silent_in_the_middle_of_connack():
    async with Peer() as peer:
        peer.greeting = b"\x20\x02\x00"
        async with Running(peer) as link:
            await until(lambda: link.reason == "timeout")
            peer.greeting = None
            await up(link)


async def test_silent_in_the_middle_of_a_message():
    async with Peer() as peer:
        running = Running(peer, keepalive_s=1)
        async with running as link:
            link.subscribe("t")
            await up(link)
            await peer.send(b"\x30\x09\x00\x01tha")
            peer.silent = True
            await until(lambda: link.counters["disconnects"] == 1)
            assert link.reason == "timeout" and running.messages == []
            peer.silent = False
            await until(lambda: link.counters["connects"] == 2)
            await peer.send(b"\x30\x08\x00\x01twhole")
            await until(lambda: running.messages == [("t", b"whole", False, False)])


async def test_silent_before_puback():
    async with Peer() as peer, Running(peer) as link:
        await up(link)
        peer.silent = True
        assert link.publish("t", "x", 1)
        start = ticks_ms()
        await until(lambda: link.counters["disconnects"] == 1)
        assert 290 <= ticks_diff(ticks_ms(), start) < 1000
        assert link.reason == "timeout" and link.inflight == 1
        peer.silent = False
        peer.session = 1
        await until(lambda: link.counters["acked"] == 1)
        assert [head for _, head, _ in peer.log if head >> 4 == 3] == [0x32, 0x3A]
        assert pids(peer.of(0x30)) == [1, 1]


async def test_everything_but_puback():
    """Other packets put the deadline off, but not for ever."""
    async with Peer() as peer, Running(peer, backoff_min_ms=2000, backoff_max_ms=2000) as link:
        await up(link)
        peer.ack = False
        assert link.publish("t", "x", 1)
        start = ticks_ms()
        while link.connected:
            await peer.send(b"\x30\x03\x00\x01t")
            await sleep_ms(20)
            assert ticks_diff(ticks_ms(), start) < 2500
        assert ticks_diff(ticks_ms(), start) >= 1200
        assert link.reason == "timeout"


async def test_no_suback():
    async with Peer() as peer, Running(peer) as link:
        await up(link)
        peer.grant = None
        link.subscribe("t")
        await until(lambda: link.reason == "timeout")


async def idle_for(link, ms):
    """Let a connected link believe that nothing came or went for so long."""
    await up(link)
    await sleep_ms(20)
    link._read_at = link._write_at = ticks_add(ticks_ms(), -ms)


async def test_no_pingresp():
    async with Peer() as peer, Running(peer, keepalive_s=2) as link:
        peer.pong = False
        await idle_for(link, 1800)
        start = ticks_ms()
        await until(lambda: link.counters["disconnects"] == 1)
        assert 290 <= ticks_diff(ticks_ms(), start) < 1000
        assert link.reason == "timeout" and len(peer.of(0xC0)) == 1


async def test_silence_of_one_and_a_half_keepalive():
    """The answer to a ping may take ``timeout_ms``, but not past this."""
    async with Peer() as peer, Running(peer, keepalive_s=2, timeout_ms=5000) as link:
        peer.pong = False
        await idle_for(link, 2400)
        start = ticks_ms()
        await until(lambda: link.counters["disconnects"] == 1)
        assert 400 <= ticks_diff(ticks_ms(), start) < 1700


async def test_pings_keep_an_idle_link_up():
    async with Peer() as peer, Running(peer, keepalive_s=1) as link:
        await up(link)
        await sleep_ms(2300)
        assert link.connected and link.counters["connects"] == 1
        assert len(peer.of(0xC0)) >= 2


async def test_pings_although_it_sends():
    """QoS 0 has no answers: without a ping nothing would tell that the broker is gone."""
    async with Peer() as peer, Running(peer, keepalive_s=2) as link:
        await idle_for(link, 1800)
        for _ in range(20):
            assert link.publish("t", "x", 0)
            await sleep_ms(30)
        assert peer.of(0xC0) and link.connected


async def test_pings_although_it_receives():
    """The broker closes on a client that sends nothing."""
    async with Peer() as peer, Running(peer, keepalive_s=2) as link:
        await idle_for(link, 1800)
        for _ in range(20):
            await peer.send(b"\x30\x03\x00\x01t")
            await sleep_ms(30)
        assert peer.of(0xC0) and link.connected


# -- loss and return


async def test_without_a_session_kept_messages_are_new_ones():
    async with Peer() as peer, Running(peer) as link:
        await up(link)
        peer.ack = False
        for number in range(5):
            assert link.publish("t", b"%d" % number, 1, number == 2)
        await until(lambda: len(peer.of(0x30)) == 5)
        await peer.drop()
        peer.ack = True
        await until(lambda: link.counters["acked"] == 5)
        assert payloads(peer.of(0x30, connection=2)) == [b"0", b"1", b"2", b"3", b"4"]
        heads = [head for number, head, _ in peer.log if number == 2 and head >> 4 == 3]
        assert heads == [0x32, 0x32, 0x33, 0x32, 0x32]
        assert pids(peer.of(0x30, connection=2)) == [1, 2, 3, 4, 5]
        assert link.counters["resent"] == 5 and link.counters["sent"] == 5


async def test_with_a_session_they_are_sent_again_with_dup():
    async with Peer() as peer, Running(peer) as link:
        await up(link)
        peer.ack = False
        assert link.publish("t", "0", 1, True) and link.publish("t", "1", 1)
        await until(lambda: len(peer.of(0x30)) == 2)
        await peer.send(b"\x40\x02\x00\x01")
        await until(lambda: link.inflight == 1)
        peer.session = 1
        await peer.drop()
        peer.ack = True
        await until(lambda: link.counters["acked"] == 2)
        assert link.session_present
        assert [
            (head, body) for number, head, body in peer.log if number == 2 and head >> 4 == 3
        ] == [(0x3A, b"\x00\x01t\x00\x021")]


async def test_messages_not_kept_are_reported_lost():
    async with Peer() as peer, Running(peer) as link:
        await up(link)
        done = []
        assert link.publish("t", "x", 1, keep=False, done=done.append)
        await until(lambda: done == [True])
        peer.ack = False
        assert link.publish("t", "y", 1, keep=False, done=done.append)
        assert link.publish("t", "z", 1, done=done.append)
        await until(lambda: len(peer.of(0x30)) == 3)
        await peer.drop()
        peer.ack = True
        await until(lambda: link.counters["connects"] == 2)
        await until(lambda: not link.inflight)
        assert done == [True, False, True]
        assert payloads(peer.of(0x30, connection=2)) == [b"z"]
        assert link.counters["dropped"] == 1


async def test_a_message_that_the_broker_closes_on_is_given_up():
    async with Peer() as peer:
        running = Running(peer)
        link = running.link
        link.tries = 3
        done = []
        assert link.publish("t", "poison", 1, done=done.append)
        peer.ack = False
        async with running:
            for number in range(1, 4):
                await until(lambda: len(peer.of(0x30)) == number)  # noqa: B023
                await peer.drop()
            await until(lambda: done == [False])
            peer.ack = True
            assert link.publish("t", "good", 1, done=done.append)
            await until(lambda: done == [False, True])
        assert link.counters["dropped"] == 1 and link._kept == 0
        assert ("error", "main", "given up: t") in running.bus.events


async def test_subscriptions_are_restored_without_a_session():
    async with Peer() as peer, Running(peer) as link:
        link.subscribe("a/#", 0)
        link.subscribe("ü" * 100, 1)
        await up(link)
        await until(lambda: len(peer.of(0x80)) == 2)
        await peer.drop()
        await until(lambda: len(peer.of(0x80)) == 4)
        assert [body[4:] for body in peer.of(0x80, connection=2)] == [
            b"a/#\x00",
            "ü".encode() * 100 + b"\x01",
        ]


async def test_with_a_session_only_what_changed_is_asked():
    async with Peer() as peer, Running(peer) as link:
        for name in "abc":
            link.subscribe(name)
        await up(link)
        await until(lambda: [s[0] for s in link._subscriptions] == [-1, -1, -1])
        peer.silent = True
        await peer.drop()
        await until(lambda: link.counters["disconnects"] == 1)
        link.unsubscribe("b")
        link.subscribe("d")
        peer.session = 1
        peer.silent = False
        await up(link)
        await until(lambda: peer.of(0xA0))
        last = peer.connections
        assert [body[4:] for body in peer.of(0x80, connection=last)] == [b"d\x01"]
        assert [body[4:] for body in peer.of(0xA0, connection=last)] == [b"b"]
        wanted = [[-1, b"a", 1], [-1, b"c", 1], [-1, b"d", 1]]
        await until(lambda: link._subscriptions == wanted)


async def test_unsubscribed_while_down_is_forgotten_without_a_session():
    async with Peer() as peer, Running(peer) as link:
        link.subscribe("a")
        link.unsubscribe("a")
        await up(link)
        await sleep_ms(30)
        assert not peer.of(0x80) and not peer.of(0xA0) and not link._subscriptions


async def test_refused_subscription_is_reported():
    async with Peer() as peer:
        peer.grant = 0x80
        running = Running(peer)
        async with running as link:
            link.subscribe("secret")
            await until(
                lambda: ("error", "main", "subscription refused: secret") in running.bus.events
            )
            assert link.connected and link.counters["errors"] == 1


async def test_refused_connections():
    async with Peer() as peer:
        for code in range(1, 6):
            peer.code = code
            running = Running(peer)
            async with running as link:
                await until(lambda: link.counters["failures"] == 2)
                assert link.reason == "refused: %d" % code
                assert not link.connected and link.counters["connects"] == 0
                assert running.bus.events == [("link_down", "main", "refused: %d" % code)]


async def test_nothing_listens():
    async with Peer() as peer:
        pass
    async with Running(peer) as link:
        await until(lambda: link.counters["failures"] >= 2)
        assert link.reason == "refused"


async def test_unknown_host():
    async with Peer() as peer, Running(peer) as link:
        link.reconfigure(dict(link.config, host="no such host.invalid"))
        await until(lambda: link.reason and link.reason.startswith("dns: "))


async def test_backoff_grows_and_is_limited():
    async with Peer() as peer:
        peer.code = 5
        times = []
        running = Running(peer, backoff_min_ms=40, backoff_max_ms=160)
        answer = peer._answer

        def note(head, body):
            times.append(ticks_ms())
            return answer(head, body)

        peer._answer = note
        async with running:
            await until(lambda: len(times) == 6)
        gaps = [ticks_diff(b, a) for a, b in zip(times, times[1:])]
        for gap, least in zip(gaps, (20, 40, 80, 80, 80)):
            assert least <= gap < 2 * least + 150, gaps


async def test_backoff_starts_again_after_a_connection_that_lasted():
    async with Peer() as peer:
        running = Running(peer, backoff_min_ms=20, backoff_max_ms=5000, timeout_ms=100)
        gaps = []
        async with running as link:
            for number, lasting in enumerate((0, 0, 0, 0, 300, 0)):
                start = ticks_ms()
                await until(lambda: link.counters["connects"] == number + 1)  # noqa: B023
                gaps.append(ticks_diff(ticks_ms(), start))
                await sleep_ms(lasting)
                await peer.drop()
                await until(lambda: link.counters["disconnects"] > number)  # noqa: B023
        assert gaps[4] >= 80 and gaps[5] < 80, gaps


async def test_events_tell_ups_and_downs_once():
    async with Peer() as peer:
        running = Running(peer)
        async with running as link:
            await up(link)
            peer.code = 3
            await peer.drop()
            await until(lambda: link.counters["failures"] >= 3)
            peer.code = 0
            await up(link)
        kinds = [event[:2] + event[2:] for event in running.bus.events]
        assert kinds == [
            ("link_up", "main", None),
            ("link_down", "main", "closed"),
            ("link_down", "main", "refused: 3"),
            ("link_up", "main", None),
            ("link_down", "main", "stopped"),
        ]
        assert link.counters["disconnects"] == 2


async def test_ready_wakes_when_the_link_goes_down():
    async with Peer() as peer, Running(peer, window=1) as link:
        await up(link)
        peer.ack = False
        assert link.publish("t", "x", 1)
        waiting = asyncio.create_task(link.ready(1))
        await sleep_ms(20)
        await peer.drop()
        assert await wait_for_ms(waiting, 1000) is False


async def test_ready_wakes_when_the_link_comes_up():
    async with Peer() as peer:
        running = Running(peer)
        waiting = asyncio.create_task(running.link.ready(1))
        await sleep_ms(10)
        async with running:
            assert await wait_for_ms(waiting, 1000) is True


async def test_cancel_closes_the_socket():
    async with Peer() as peer:
        async with Running(peer) as link:
            await up(link)
        assert not link.connected and link.reason == "stopped"
        await until(lambda: peer.closed == 1)
