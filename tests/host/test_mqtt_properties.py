"""The MQTT codec on arbitrary input: any split gives the same packets, garbage only LinkError."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_peer import CONFIG

from fieldpost.errors import LinkError
from fieldpost.mqtt import Link
from fieldpost.mqtt_codec import Codec

LIMIT = 64

topics = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())
packet_ids = st.integers(1, 65535)


def sized(head, body):
    out = bytearray([head])
    size = len(body)
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes(out) + bytes([size]) + body


@st.composite
def messages(draw):
    """A PUBLISH as bytes, and what is to be delivered."""
    topic = draw(topics)
    payload = draw(st.binary(max_size=3 * LIMIT))
    retain, dup, qos = draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 1))
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name
    if qos:
        body += draw(packet_ids).to_bytes(2, "big")
    fits = len(body) + len(payload) <= LIMIT
    packet = sized(0x30 | retain | qos << 1 | dup << 3, body + payload)
    if not fits and len(body) > LIMIT:
        return packet, ("message", "", None, False, False)
    return packet, ("message", topic, payload if fits else None, retain, dup)


def acknowledgement(kind):
    return packet_ids.map(lambda pid: (sized(kind, pid.to_bytes(2, "big")), (kind, pid, 0)))


packets = st.one_of(
    messages(),
    acknowledgement(0x40),
    acknowledgement(0xB0),
    st.just((b"\xd0\x00", (0xD0, 0, 0))),
    st.integers(0, 1).map(lambda flag: (bytes([0x20, 2, flag, 0]), (0x20, flag << 8, 0))),
)


class Sink:
    def __init__(self):
        self.events = []
        self.codec = Codec(
            CONFIG,
            lambda *packet: self.events.append(packet),
            lambda *message: self.events.append(("message", *message)),
            LIMIT,
        )
        self.out()

    def out(self):
        return b"".join(iter(self.codec.take, b""))

    def feed(self, data, cuts):
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            self.codec.feed(data[start:end])
            assert len(self.codec._in) <= LIMIT + 5


@st.composite
def cut(draw, lists):
    items = draw(lists)
    data = b"".join(item[0] for item in items)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return data, cuts, [item[1] for item in items]


@given(cut(st.lists(packets, max_size=8)))
def test_any_split_gives_the_same(case):
    data, cuts, events = case
    sink = Sink()
    sink.feed(data, cuts)
    assert sink.events == events
    one_by_one = Sink()
    one_by_one.feed(data, range(len(data)))
    assert one_by_one.events == events
    assert one_by_one.out() == sink.out()


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_garbage_raises_only_link_error(data, cuts):
    with suppress(LinkError):
        Sink().feed(data, sorted(min(at, len(data)) for at in cuts))


@given(cut(st.lists(packets, min_size=1, max_size=4)), st.data())
def test_damaged_packets_raise_only_link_error(case, data):
    stream = bytearray(case[0])
    for _ in range(data.draw(st.integers(1, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    sink = Sink()
    with suppress(LinkError):
        sink.feed(bytes(stream), case[1])
    for event in sink.events:
        assert event[0] != "message" or event[2] is None or len(event[2]) <= LIMIT


def parse(data):
    """(head, body) of each packet, by a reader of its own."""
    found, at = [], 0
    while at < len(data):
        head, size, shift = data[at], 0, 0
        while True:
            at += 1
            size |= (data[at] & 127) << shift
            shift += 7
            if data[at] < 128:
                break
        found.append((head, bytes(data[at + 1 : at + 1 + size])))
        at += 1 + size
    assert at == len(data)
    return found


@given(
    st.lists(
        st.tuples(
            topics, st.binary(max_size=400), st.integers(0, 1), st.sampled_from([0, 1, 8, 9])
        ),
        max_size=6,
    ),
    packet_ids,
)
def test_output_is_what_was_asked_for(asked, pid):
    sink = Sink()
    wanted = []
    for topic, payload, qos, flags in asked:
        name = topic.encode()
        sink.codec.publish(name, payload, qos, flags, pid)
        body = len(name).to_bytes(2, "big") + name + (pid.to_bytes(2, "big") if qos else b"")
        wanted.append((0x30 | flags | qos << 1, body + payload))
        sink.codec.subscribe(name, qos, pid)
        head = pid.to_bytes(2, "big") + len(name).to_bytes(2, "big") + name
        wanted.append((0x82, head + bytes([qos])))
    assert parse(sink.out()) == wanted
    assert not sink.events


def test_topic_of_65536_bytes_is_refused():
    link = Link(dict(CONFIG, keep_bytes=1 << 20))
    assert link.publish("x" * 65535, "", 1)
    with pytest.raises(ValueError, match="topic"):
        link.publish("x" * 65536, "", 1)
