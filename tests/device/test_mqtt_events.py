"""Events of the node's own MQTT client: when they come, and with which fields."""

from mqtt_peer import Peer, Running, until, up

from fieldpost.mqtt_events import EVENTS, watch

NEEDS = "socket"

WHO = ["clientid", "ipaddress", "node", "username"]
CONNECT = WHO + ["clean_session", "keepalive", "proto_ver"]
FROM = ["from_clientid", "from_ipaddress", "from_node", "from_username"]
MESSAGE = ["dup", "packet_id", "payload", "qos", "retain", "topic", "ts"]
FIELDS = {
    "session_created": WHO + ["created_at"],
    "session_terminated": WHO + ["reason"],
    "session_subscribed": WHO + ["opts", "topic"],
    "session_unsubscribed": WHO + ["topic"],
    "client_connect": CONNECT,
    "client_connack": CONNECT + ["conn_ack"],
    "client_connected": CONNECT + ["connected_at", "session_present"],
    "client_disconnected": WHO + ["disconnected_at", "reason"],
    "client_subscribe": WHO + ["opts", "topic"],
    "client_unsubscribe": WHO + ["topic"],
    "message_publish": FROM + MESSAGE,
    "message_delivered": FROM + WHO + MESSAGE + ["pts"],
    "message_acked": FROM + WHO + MESSAGE + ["pts"],
    "message_dropped": FROM + WHO + MESSAGE + ["pts", "reason"],
}
NOW = 1785556800123


class Clock:
    def unix_ms(self):
        return NOW


class Watched:
    """A running link whose events, of some names or all, are collected."""

    def __init__(self, peer, wanted=EVENTS, **config):
        self.running = Running(peer, **config)
        self.wanted = wanted

    async def __aenter__(self):
        link = self.running.link
        bus = self.running.bus
        self.link = link
        self.watch = watch(link, bus, Clock(), "gw-1", self.wanted, lambda: "10.0.0.9")
        await self.running.__aenter__()
        return self

    async def __aexit__(self, *raised):
        await self.running.__aexit__(*raised)

    @property
    def events(self):
        """``(event, data)``, as they came."""
        return [(kind, data) for kind, _, data in self.running.bus.events if kind in EVENTS]

    def names(self):
        return [kind for kind, _ in self.events]

    def only(self, name):
        """Data of the events of a name; their fields are those documented."""
        found = [data for kind, data in self.events if kind == name]
        for data in found:
            assert sorted(data) == sorted(FIELDS[name]), (name, sorted(data))
        return found


async def test_connection():
    async with Peer() as peer, Watched(peer, user="u") as watched:
        await up(watched.link)
        names = ["client_connect", "client_connack", "session_created", "client_connected"]
        assert watched.names() == names
        for name in names:
            (data,) = watched.only(name)
            assert data["node"] == "gw-1"
            assert (data["clientid"], data["username"]) == ("node", "u")
            assert data["ipaddress"] == "10.0.0.9"
        connected = watched.only("client_connected")[0]
        assert (connected["keepalive"], connected["proto_ver"]) == (30, 4)
        assert connected["clean_session"] is connected["session_present"] is False
        assert connected["connected_at"] == NOW
        assert watched.only("client_connack")[0]["conn_ack"] == "Connection Accepted"
        assert watched.only("session_created")[0]["created_at"] == NOW
    # What the link has given up is not kept by those who watch it.
    assert watched.watch._codec is None


async def test_refused_connection():
    async with Peer() as peer:
        peer.code = 5
        async with Watched(peer) as watched:
            await until(lambda: len(watched.names()) >= 4)
            assert watched.names()[:4] == ["client_connect", "client_connack"] * 2
            answer = watched.only("client_connack")[0]
            assert answer["conn_ack"] == "Connection Refused, not authorized"
            assert answer["username"] == "undefined"
            peer.code = 77
            await until(lambda: watched.only("client_connack")[-1]["conn_ack"] == "code 77")


async def test_session_goes_on_or_is_lost_by_the_broker():
    async with Peer() as peer, Watched(peer) as watched:
        await up(watched.link)
        peer.session = 1
        await peer.drop()
        await until(lambda: len(watched.only("client_connected")) == 2)
        assert watched.only("client_disconnected")[0]["reason"] == "closed"
        assert watched.only("client_connected")[1]["session_present"] is True
        assert not watched.only("session_terminated")
        assert len(watched.only("session_created")) == 1
        peer.session = 0
        await peer.drop()
        await until(lambda: len(watched.only("client_connected")) == 3)
        assert watched.only("session_terminated")[0]["reason"] == "session not present"
        assert watched.names()[-3:] == [
            "session_terminated",
            "session_created",
            "client_connected",
        ]


async def test_clean_session_ends_with_its_connection():
    async with Peer() as peer, Watched(peer, clean_session=True) as watched:
        await up(watched.link)
        await peer.drop()
        await until(lambda: len(watched.only("client_connected")) == 2)
        assert [one["reason"] for one in watched.only("session_terminated")] == ["closed"]
        assert len(watched.only("session_created")) == 2


async def test_subscriptions():
    async with Peer() as peer, Watched(peer) as watched:
        await up(watched.link)
        watched.link.subscribe("a/+", 1)
        await until(lambda: watched.only("session_subscribed"))
        for name in ("client_subscribe", "session_subscribed"):
            (data,) = watched.only(name)
            assert (data["topic"], data["opts"]) == ("a/+", {"qos": 1})
        watched.link.unsubscribe("a/+")
        await until(lambda: watched.only("session_unsubscribed"))
        assert watched.only("client_unsubscribe")[0]["topic"] == "a/+"
        peer.grant = 128
        watched.link.subscribe("refused")
        await until(lambda: watched.link.counters["errors"])
        assert len(watched.only("session_subscribed")) == 1


async def test_message_out():
    async with Peer() as peer, Watched(peer) as watched:
        await up(watched.link)
        assert watched.link.publish("t/1", b"\xff\x00\x01", 1, True)
        assert watched.link.publish("t/2", "", 0)
        await until(lambda: watched.only("message_acked"))
        first, second = watched.only("message_publish")
        assert first["from_clientid"] == "node"
        assert first["from_node"] == "gw-1"
        assert (first["topic"], first["payload"]) == ("t/1", "/wAB")
        assert (first["qos"], first["retain"], first["dup"]) == (1, True, False)
        assert (first["packet_id"], first["ts"]) == (1, NOW)
        assert (second["qos"], second["retain"], second["packet_id"]) == (0, False, None)
        assert second["payload"] == ""
        (acked,) = watched.only("message_acked")
        assert (acked["topic"], acked["payload"], acked["packet_id"]) == ("t/1", "/wAB", 1)
        assert acked["from_clientid"] == acked["clientid"] == "node"


async def test_message_sent_again():
    async with Peer() as peer, Watched(peer) as watched:
        await up(watched.link)
        peer.ack = False
        peer.session = 1
        watched.link.publish("t", "x", 1)
        await until(lambda: len(peer.of(0x30)) == 1)
        await peer.drop()
        peer.ack = True
        await until(lambda: watched.only("message_acked"))
        assert [one["dup"] for one in watched.only("message_publish")] == [False, True]
        assert watched.only("message_acked")[0]["dup"] is True


async def test_message_not_kept():
    async with Peer() as peer, Watched(peer) as watched:
        await up(watched.link)
        watched.link.publish("t", "gone", 1, keep=False)
        await until(lambda: watched.only("message_acked"))
        acked = watched.only("message_acked")[0]
        assert (acked["topic"], acked["payload"]) == ("t", None)
        peer.ack = False
        watched.link.publish("u", "lost", 1, keep=False)
        await peer.drop()
        await until(lambda: watched.only("message_dropped"))
        dropped = watched.only("message_dropped")[0]
        assert (dropped["topic"], dropped["reason"]) == ("u", "connection lost")


async def test_message_not_taken():
    async with Peer() as peer, Watched(peer, window=1) as watched:
        assert not watched.link.publish("t", "early", 0)
        await up(watched.link)
        peer.ack = False
        assert watched.link.publish("t", "held", 1)
        assert not watched.link.publish("t", "too many", 1, True)
        early, many = watched.only("message_dropped")
        assert (early["reason"], early["qos"]) == ("not connected", 0)
        assert (many["reason"], many["qos"], many["retain"]) == ("queue full", 1, True)
        assert many["payload"] == "dG9vIG1hbnk="


async def test_message_in():
    async with Peer() as peer, Watched(peer) as watched:
        await up(watched.link)
        await peer.send(b"\x32\x07\x00\x01t\x12\x34hi" + b"\x31\x05\x00\x01tyo")
        await until(lambda: len(watched.only("message_delivered")) == 2)
        first, second = watched.only("message_delivered")
        assert (first["topic"], first["payload"], first["qos"]) == ("t", "aGk=", 1)
        assert first["packet_id"] == 0x1234
        assert (first["retain"], first["dup"]) == (False, False)
        assert (first["from_clientid"], first["from_username"]) == (None, "undefined")
        assert first["clientid"] == "node"
        assert (second["qos"], second["packet_id"], second["retain"]) == (0, None, True)
        (acked,) = watched.only("message_acked")
        assert acked["packet_id"] == 0x1234
        assert len(watched.running.messages) == 2


async def test_message_too_long():
    async with Peer() as peer, Watched(peer, receive_max_bytes=64) as watched:
        await up(watched.link)
        await peer.send(b"\x30\x67\x00\x01t" + b"x" * 100)
        await until(lambda: watched.only("message_dropped"))
        (dropped,) = watched.only("message_dropped")
        assert (dropped["topic"], dropped["payload"]) == ("t", None)
        assert dropped["reason"] == "too long"
        assert not watched.running.messages


async def test_only_what_is_wanted():
    async with Peer() as peer, Watched(peer, ("client_connected", "nonsense")) as watched:
        await up(watched.link)
        watched.link.publish("t", "x", 1)
        await until(lambda: not watched.link.inflight)
        assert watched.names() == ["client_connected"]
        # Nothing stands before the steps that these do not come from.
        assert list(watched.watch._steps) == ["_up"]


async def test_begun_and_ended_while_connected():
    async with Peer() as peer, Watched(peer, ()) as watched:
        await up(watched.link)
        bus = watched.running.bus
        later = watch(watched.link, bus, Clock(), "gw-1", EVENTS, lambda: None)
        await peer.send(b"\x30\x05\x00\x01thi")
        watched.link.publish("t", "x", 1)
        watched.link.subscribe("s")
        await until(lambda: watched.only("session_subscribed") and watched.only("message_acked"))
        assert watched.only("message_delivered")[0]["ipaddress"] is None
        assert not watched.only("client_connect")
        later.stop()
        before = len(watched.events)
        await peer.send(b"\x30\x05\x00\x01tyo")
        await peer.drop()
        await until(lambda: watched.link.counters["connects"] == 2)
        assert len(watched.events) == before
        assert len(watched.running.messages) == 2
        assert watched.link.publish.__name__ == "publish"


async def test_an_event_that_cannot_be_made_ends_no_connection():
    def broken():
        raise MemoryError

    async with Peer() as peer, Watched(peer, ()) as watched:
        await up(watched.link)
        watch(watched.link, watched.running.bus, Clock(), "gw-1", EVENTS, broken)
        await peer.send(b"\x30\x05\x00\x01thi")
        watched.link.publish("t", "x", 1)
        await until(lambda: watched.link.counters["acked"] and watched.running.messages)
        assert "error" in [kind for kind, _, _ in watched.running.bus.events]
        assert watched.link.counters["disconnects"] == 0
