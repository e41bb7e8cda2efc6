"""For tests of what happens to records: a log on a still clock, a link that keeps messages."""

import json
from struct import unpack_from

from core_kit import UNIX_MS, still_clock

from fieldpost.bus import Bus
from fieldpost.config import Validator
from fieldpost.outlet import Outlet
from fieldpost.record import decode
from fieldpost.ring import DROP_OLDEST, Ring
from fieldpost.subscription import Subscription

PREFIX = "fieldpost/nodes/gw"
BOOT = 3
STREAM = 70


class Message:
    """One published message."""

    def __init__(self, topic, payload, qos, retain, keep, done):
        self.topic = topic
        self.payload = payload.encode() if isinstance(payload, str) else bytes(payload)
        self.qos = qos
        self.retain = retain
        self.keep = keep
        self.done = done


class Link:
    """Takes ``room`` messages while it is connected."""

    def __init__(self, name="main", **config):
        self.name = name
        self.config = dict({"flush": True, "publish": True}, **config)
        self.connected = True
        self.room = 1 << 20
        self.sent = []

    def publish(self, topic, payload, qos=0, retain=False, keep=True, done=None):
        """As ``mqtt.Link.publish``; the payload is copied, as the buffer may change."""
        if not self.connected or not self.room:
            return False
        self.room -= 1
        self.sent.append(Message(topic, payload, qos, retain, keep, done))
        return True

    def flushes(self):
        """The flushes sent since the last call, decoded."""
        sent, self.sent = self.sent, []
        return [flush_of(message) for message in sent]


def flush_of(message):
    """A flush message as one dict, whatever its format; with the link's ``done``."""
    payload = message.payload
    if payload[:1] == b"{":
        made = json.loads(payload)
        made.setdefault("skipped", 0)
    else:
        made = packed_flush(payload)
    made["done"] = message.done
    return made


def packed_flush(payload):
    """The same from packed bytes."""
    magic, version, number, skipped, length = unpack_from("<BBIIB", payload, 0)
    assert (magic, version) == (0xFB, 1)
    pos = 11 + length
    made = {"flush": number, "skipped": skipped, "value": []}
    made["subscription"] = str(payload[11:pos], "utf-8")
    while pos < len(payload):
        header, records, pos = decode(payload, pos)
        if made["value"]:
            assert (header.stream, header.seq) == (
                made["stream"],
                made["seq"] + len(made["value"]),
            )
        else:
            made.update(stream=header.stream, seq=header.seq, dated=header.dated)
        made["value"] += [list(record[:3]) for record in records]
    return made


class Flow:
    """A log with its clock, outlet and link; time moves by ``pass_ms`` only."""

    def __init__(self, unix_ms=UNIX_MS, frames=8, frame_bytes=256, buffer_bytes=512, **rules):
        policy = rules.pop("policy", DROP_OLDEST)
        self.shape = frames * frame_bytes, frame_bytes, policy, rules.pop("max_age_ms", 0)
        self.rules = Validator().table("flush", rules, "")
        self.buffer_bytes = buffer_bytes
        self.start(unix_ms)

    def start(self, unix_ms):
        """Make everything anew, as a boot does."""
        self.clock, self.ticks = still_clock(1000, unix_ms)
        self.ring = self.make_ring(*self.shape)
        self.bus = Bus()
        self.log = Subscription("default", self.ring, self.rules, self.bus)
        self.link = Link()
        self.outlet = Outlet(PREFIX, [self.link], self.buffer_bytes)

    def make_ring(self, size, *shape):
        """The log of this flow."""
        return Ring(size, self.clock, lambda: STREAM, BOOT, *shape)

    def subscriber(self, name="collector", **config):
        """A new subscriber of the log."""
        config["subscriber"] = name
        config = Validator().table("subscriber", config, "")
        return self.log.subscribe(config, self.outlet, 1000)

    def pass_ms(self, ms):
        """Let time pass."""
        self.ticks.advance(ms)

    def append(self, *values):
        """Record values of point 1, now."""
        for value in values:
            assert self.ring.append(1, value)


def values(flush):
    """The bare values of a flush."""
    return [record[2] for record in flush["value"]]


def make(**rules):
    """``(flow, subscriber)`` with the flush rules given, long after its last flush."""
    config = rules.pop("subscriber", {})
    flow = Flow(**rules)
    subscriber = flow.subscriber(**config)
    flow.pass_ms(3600000)
    return flow, subscriber


def sent(flow, subscriber):
    """The bare values of each flush that one step sends."""
    subscriber.step()
    return [values(flush) for flush in flow.link.flushes()]


def taken(flow, subscriber):
    """The same, each flush confirmed."""
    subscriber.step()
    flushes = flow.link.flushes()
    for flush in flushes:
        assert subscriber.ack(flush["flush"])
    return [values(flush) for flush in flushes]


def waits(flow, subscriber):
    """ms that a step says it may sleep, which has to send nothing."""
    wait = subscriber.step()
    assert not flow.link.sent
    return wait


def overflowing(**rules):
    """A log of two frames of some 7 small records each, and its subscriber."""
    rules.setdefault("minDelay", 0)
    return make(frames=2, frame_bytes=80, maxEntries=6, ackTimeout=1000, **rules)


def overflow(flow, least):
    """Append, each value its own index, until at least so many records were given up."""
    while flow.ring.oldest < least:
        flow.append(flow.ring.next)
