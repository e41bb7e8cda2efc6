"""The MQTT codec: exact bytes out, any pieces of bytes in, limits, and what is refused."""

from mqtt_peer import CONFIG, raises

from fieldpost import mqtt_codec
from fieldpost.errors import LinkError
from fieldpost.mqtt_codec import CONNACK, DUP, PINGRESP, PUBACK, RETAIN, SUBACK, UNSUBACK, Codec

NEEDS = "socket"

BODY = b"\x00\x04MQTT\x04"
umqtt = mqtt_codec.umqtt


class Sink:
    """A codec with what it called back for."""

    def __init__(self, limit=4096, **config):
        self.packets = []
        self.messages = []
        self.codec = Codec(dict(CONFIG, **config), self.packet, self.message, limit)
        self.first = self.out()

    def packet(self, kind, number, code):
        self.packets.append((kind, number, code))

    def message(self, topic, payload, retain, dup):
        assert self.codec.pending() == 0, "acknowledged before it was taken"
        self.messages.append((topic, payload, retain, dup))

    def out(self):
        out = bytearray()
        while self.codec.pending():
            out += self.codec.take()
        return bytes(out)


def utf8(text):
    data = text.encode()
    return bytes((len(data) >> 8, len(data) & 255)) + data


def test_connect_minimal():
    sink = Sink(client_id="gw", keepalive_s=0x1234)
    assert sink.first == b"\x10\x0e" + BODY + b"\x00\x12\x34" + utf8("gw")


def test_connect_with_everything_counts_bytes():
    will = {"topic": "büro/wë", "payload": "ç" * 100, "qos": 1, "retain": True}
    sink = Sink(client_id="gé", user="jürgen", password="pä", clean_session=True, will=will)
    # user, password, retain, will QoS 1, will, clean session
    body = BODY + bytes((0b11101110, 0, 30)) + utf8("gé") + utf8("büro/wë") + utf8("ç" * 100)
    body += utf8("jürgen") + utf8("pä")
    assert sink.first == b"\x10" + bytes((len(body) & 127 | 128, len(body) >> 7)) + body


def test_connect_with_a_user_but_no_password():
    body = BODY + b"\xc0\x00\x1e" + utf8("g") + utf8("u") + utf8("")
    assert Sink(client_id="g", user="u").first == b"\x10" + bytes((len(body),)) + body


def test_connect_through_a_newer_umqtt():
    """From 1.4 on, ``connect`` has a timeout that it gives to the socket."""

    class Newer(umqtt.MQTTClient):
        def connect(self, clean_session=True, timeout=None):
            umqtt.socket.socket().settimeout(timeout)
            return super().connect(clean_session)

    plain = Sink().first
    old, umqtt.MQTTClient = umqtt.MQTTClient, Newer
    try:
        assert Sink().first == plain
    finally:
        umqtt.MQTTClient = old


def test_umqtt_keeps_its_socket_module():
    module = umqtt.socket
    Sink()
    assert umqtt.socket is module


def test_publish():
    sink = Sink()
    sink.codec.publish("tür".encode(), b"1", 0, 0, 0)
    assert sink.out() == b"\x30\x07" + utf8("tür") + b"1"
    sink.codec.publish(b"t", memoryview(b"abc")[1:], 1, RETAIN, 0xFFFF)
    assert sink.out() == b"\x33\x07" + utf8("t") + b"\xff\xffbc"
    sink.codec.publish(b"t", b"x" * 300, 1, DUP, 1)
    assert sink.out() == b"\x3a\xb1\x02" + utf8("t") + b"\x00\x01" + b"x" * 300
    assert not sink.packets, "umqtt's made-up PUBACK is not a packet"


def test_output_accumulates_until_taken():
    sink = Sink()
    sink.codec.ping()
    sink.codec.publish(b"t", b"", 0, 0, 0)
    assert sink.codec.pending() == 7
    assert sink.out() == b"\xc0\x00\x30\x03" + utf8("t")
    assert sink.codec.pending() == 0


def test_subscribe_and_unsubscribe():
    sink = Sink()
    sink.codec.subscribe("ä/#".encode(), 1, 0x0102)
    assert sink.out() == b"\x82\x09\x01\x02" + utf8("ä/#") + b"\x01"
    sink.codec.subscribe(b"a", -1, 3)
    assert sink.out() == b"\xa2\x05\x00\x03" + utf8("a")


def test_output_comes_in_pieces():
    """No piece is large, wherever packets begin and end."""
    sink, single = Sink(), Sink()
    wanted = b""
    for n in range(24):
        for codec in (sink.codec, single.codec):
            codec.publish(b"t", bytes((n,)) * (n * 15), 0, 0, 0)
        wanted += single.out()
    pieces = []
    while sink.codec.pending():
        pieces.append(bytes(sink.codec.take()))
    assert b"".join(pieces) == wanted
    assert max(len(piece) for piece in pieces) <= 1024
    assert not sink.codec.take()


def test_subscribe_to_a_long_filter():
    """umqtt.simple has one byte for the length of SUBSCRIBE."""
    for size in (122, 123, 300, 20000):
        sink = Sink()
        sink.codec.subscribe(b"f" * size, 1, 1)
        out = sink.out()
        length, at, shift = 0, 1, 0
        while True:
            length |= (out[at] & 127) << shift
            shift += 7
            at += 1
            if out[at - 1] < 128:
                break
        assert length == len(out) - at == size + 5
        assert out[at:] == b"\x00\x01" + utf8("f" * size) + b"\x01"


def test_publish_that_fails_leaves_no_half_packet():
    for before in range(2030, 2060):
        sink = Sink()
        sink.codec.publish(b"", bytes(before - 5), 0, 0, 0)
        raises(Exception, sink.codec.publish, b"topic", ["not bytes"], 1, 0, 1)
        assert sink.codec.pending() == before
        assert len(sink.out()) == before


STREAM = (
    (b"\x20\x02\x01\x00", (CONNACK, 0x100, 0)),
    (b"\x40\x02\x12\x34", (PUBACK, 0x1234, 0)),
    (b"\x90\x03\x00\x07\x80", (SUBACK, 7, 0x80)),
    (b"\xb0\x02\x00\x08", (UNSUBACK, 8, 0)),
    (b"\xd0\x00", (PINGRESP, 0, 0)),
)
MESSAGES = (
    (b"\x30\x09" + utf8("tür") + b"pay", ("tür", b"pay", False, False)),
    (b"\x31\x03" + utf8("t"), ("t", b"", True, False)),
    (b"\x3b\x06" + utf8("t") + b"\x00\x2a!", ("t", b"!", True, True)),
    (
        b"\x32\xd0\x0f" + utf8("big") + b"\x00\x2b" + b"x" * 1993,
        ("big", b"x" * 1993, False, False),
    ),
)


def test_feed_whatever_the_pieces():
    for size in (1, 2, 3, 7, 64, 5000):
        sink = Sink()
        for data, _ in STREAM + MESSAGES:
            for at in range(0, len(data), size):
                sink.codec.feed(data[at : at + size])
            out = sink.out()
            qos = data[0] >> 1 & 3 if data[0] >> 4 == 3 else 0
            assert out == (b"\x40\x02\x00" + bytes((42 + (data[0] == 0x32),)) if qos else b"")
        assert sink.packets == [item[1] for item in STREAM]
        assert sink.messages == [item[1] for item in MESSAGES]


def test_feed_many_packets_in_one_piece():
    sink = Sink()
    sink.codec.feed(b"".join([item[0] for item in STREAM + MESSAGES[:3]]))
    assert len(sink.packets) == 5
    assert len(sink.messages) == 3


def test_long_message_is_skipped_not_stored():
    sink = Sink(limit=64)
    sink.codec.feed(b"\x33\xa8\x8d\x06" + utf8("long") + b"\x12\x34")  # 100008 bytes
    for _ in range(100):
        assert not sink.messages and not sink.out()
        sink.codec.feed(b"x" * 1000)
        assert len(sink.codec._in) <= 64 + 4
    assert sink.messages == [("long", None, True, False)]
    assert sink.out() == b"\x40\x02\x12\x34"
    sink.codec.feed(b"\xd0\x00")
    assert sink.packets == [(PINGRESP, 0, 0)]


def test_limit_is_of_the_packet_after_its_fixed_header():
    exact = utf8("t") + b"\x00\x01" + b"x" * 59
    for extra, payload in ((b"", b"x" * 59), (b"y", None)):
        sink = Sink(limit=64)
        sink.codec.feed(b"\x32" + bytes((len(exact + extra),)) + exact + extra)
        assert sink.messages == [("t", payload, False, False)]
        assert sink.out() == b"\x40\x02\x00\x01"
        sink.codec.feed(b"\xd0\x00")
        assert sink.packets == [(PINGRESP, 0, 0)]


def test_topic_longer_than_the_limit_is_skipped_too():
    sink = Sink(limit=64)
    sink.codec.feed(b"\x33\xb2\x01" + utf8("t" * 170) + b"\x00\x01" + b"pppp" + b"\xd0\x00")
    assert sink.messages == [("", None, False, False)]
    assert sink.out() == b""
    assert sink.packets == [(PINGRESP, 0, 0)]


def test_refused_input():
    for data in (
        b"\x00\x00",  # no such packet
        b"\x10\x00",  # CONNECT, PUBLISH QoS 2 and 3, PUBREC, PUBREL, SUBSCRIBE: not for a client
        b"\x34\x05\x00\x01t\x00\x01",
        b"\x36\x05\x00\x01t\x00\x01",
        b"\x50\x02\x00\x01",
        b"\x62\x02\x00\x01",
        b"\x82\x06\x00\x01\x00\x01t\x00",
        b"\x41\x02\x00\x01",  # flags
        b"\x40\x03\x00\x01\x00",  # lengths
        b"\x40\x00",
        b"\x20\x04\x00\x00\x00\x00",
        b"\xd0\x01\x00",
        b"\x90\x02\x00\x01",
        b"\x40\x82\x80\x80\x80\x00",
        b"\x30\xff\xff\xff\xff",
        b"\x30\x00",
        b"\x30\x01\x00",
        b"\x30\x02\x00\x00",  # empty topic
        b"\x30\x03\x00\x02t",  # topic longer than the packet
        b"\x32\x03\x00\x01t",  # no packet id
        b"\x32\x04\x00\x01t\x00",
        b"\x30\x04\x00\x02\xc3\x28",  # not UTF-8
    ):
        sink = Sink()
        raises(LinkError, sink.codec.feed, data)
        assert not sink.messages and not sink.packets and not sink.out(), data


def test_publish_inside_the_callback():
    sink = Sink()

    def answer(topic, payload, retain, dup):
        sink.codec.publish(b"answer", payload, 1, 0, 9)

    codec = sink.codec = Codec(CONFIG, sink.packet, answer)
    sink.out()
    codec.feed(b"\x32\x06" + utf8("t") + b"\x00\x05?" + b"\xd0\x00")
    assert sink.out() == b"\x32\x0b" + utf8("answer") + b"\x00\x09?" + b"\x40\x02\x00\x05"
    assert sink.packets == [(PINGRESP, 0, 0)]
