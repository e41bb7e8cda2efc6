"""Signed requests over MQTT: what is let through, once; the envelope, on its way in."""

import json

from api_kit import SETTINGS, Api, until
from core_kit import UNIX_MS, still_clock

from fieldpost.api.over_mqtt import receive
from fieldpost.api.signature import Signatures
from fieldpost.compat import hexlify
from fieldpost.errors import ApiError
from fieldpost.hmac import hmac_sha256

SECRET = "0123456789abcdef"
TOPIC = "fieldpost/nodes/gw/api"
REQUEST = '{"id":1,"module":"kit","method":"echo","value":"é"}'


def signed(ts, nonce="12345678", topic=TOPIC, request=REQUEST, secret=SECRET):
    """An envelope."""
    text = "%d\n%s\n%s\n%s" % (ts, nonce, topic, request)
    mac = hexlify(hmac_sha256(secret.encode(), text.encode()))
    return {"auth": {"ts": ts, "nonce": nonce, "mac": mac}, "request": request}


def made(unix_ms=UNIX_MS):
    """``(Signatures, its clock, its ticks)``, a minute after the boot."""
    clock, ticks = still_clock(0, unix_ms)
    ticks.advance(120000)
    return Signatures(SECRET, clock), clock, ticks


def refusal(signatures, envelope, topic=TOPIC):
    """The error of an envelope; None where it is opened."""
    try:
        signatures.open(topic, envelope)
    except ApiError as error:
        return str(error)
    return None


def test_what_is_signed_is_opened_once():
    signatures, clock, _ticks = made()
    envelope = signed(clock.unix_ms())
    assert signatures.open(TOPIC, envelope) == REQUEST
    assert refusal(signatures, envelope) == "signature used"
    assert refusal(signatures, signed(clock.unix_ms(), "another nonce")) is None
    assert refusal(signatures, signed(clock.unix_ms() - 1)) is None


def test_nothing_may_be_changed():
    signatures, clock, _ticks = made()
    now = clock.unix_ms()
    assert refusal(signatures, signed(now, secret="x" * 16)) == "signature invalid"
    assert refusal(signatures, signed(now), TOPIC + "/kit/echo") == "signature invalid"
    for key, value in (("ts", now + 1), ("nonce", "12345679"), ("mac", "0" * 64), ("mac", "")):
        envelope = signed(now)
        envelope["auth"][key] = value
        assert refusal(signatures, envelope) == "signature invalid"
    envelope = signed(now)
    envelope["request"] += " "
    assert refusal(signatures, envelope) == "signature invalid"
    envelope["request"] = REQUEST
    envelope["auth"]["mac"] = envelope["auth"]["mac"].upper()
    assert refusal(signatures, envelope) == "signature invalid"
    assert refusal(signatures, signed(now)) is None


def test_what_has_no_signature_is_refused():
    signatures, clock, _ticks = made()
    now = clock.unix_ms()
    for envelope in (
        {},
        {"auth": 1, "request": "{}"},
        {"auth": {}, "request": "{}"},
        {"request": ""},
    ):
        assert refusal(signatures, envelope) == "signature missing"
    for key in ("ts", "nonce", "mac"):
        for value in (None, [], {}, 1.5, True):
            envelope = signed(now)
            envelope["auth"][key] = value
            assert refusal(signatures, envelope) in ("signature missing", "signature invalid")
    for nonce in ("1234567", "x" * 65, "1234\n5678"):
        assert refusal(signatures, signed(now, nonce)) == "signature missing"
    envelope = signed(now)
    envelope["request"] = {"module": "kit"}
    assert refusal(signatures, envelope) == "signature missing"


def test_a_time_that_is_no_integer_is_not_another_text_of_the_same():
    signatures, _clock, _ticks = made()
    envelope = signed(UNIX_MS + 120000)
    assert refusal(signatures, envelope) is None
    envelope["auth"]["ts"] += 0.25
    assert refusal(signatures, envelope) == "signature missing"


def test_old_and_early_ones_are_refused():
    signatures, clock, ticks = made()
    now = clock.unix_ms()
    assert refusal(signatures, signed(now - 60001)) == "signature expired"
    assert refusal(signatures, signed(now + 60001)) == "signature expired"
    assert refusal(signatures, signed(now - 60000)) is None
    assert refusal(signatures, signed(now + 60000)) is None
    ticks.advance(60001)
    assert refusal(signatures, signed(now)) == "signature expired"


def test_those_from_before_the_boot_are_refused():
    clock, ticks = still_clock(0, UNIX_MS)
    signatures = Signatures(SECRET, clock)
    ticks.advance(1000)
    assert refusal(signatures, signed(UNIX_MS)) == "signature expired"
    assert refusal(signatures, signed(UNIX_MS + 1)) is None


def test_without_a_clock_nothing_is_opened():
    signatures = Signatures(SECRET, still_clock()[0])
    assert refusal(signatures, signed(UNIX_MS)) == "clock not set"


def test_what_was_forgotten_is_not_opened_again():
    signatures, clock, _ticks = made()
    now = clock.unix_ms()
    envelopes = [signed(now - 1000 + number) for number in range(100)]
    for envelope in envelopes:
        assert refusal(signatures, envelope) is None
    assert len(signatures._known) == signatures.NONCES
    assert {refusal(signatures, envelope) for envelope in envelopes} == {
        "signature used",
        "signature expired",
    }
    # Not even by those who can set the clock back.
    clock.set_unix_ms(now - 30000, "test")
    assert None not in {refusal(signatures, envelope) for envelope in envelopes}


def test_the_oldest_are_forgotten_first():
    signatures, clock, _ticks = made()
    now = clock.unix_ms()
    for number in range(100):
        # Of two clocks: every second one is half a minute ahead.
        assert refusal(signatures, signed(now + number + 30000 * (number % 2))) is None, number
    assert refusal(signatures, signed(now + 100)) is None


class Link:
    """A link with room, or without."""

    def __init__(self):
        self.sent = []
        self.room = True

    async def ready(self, size):
        return self.room

    def publish(self, topic, payload, qos):
        self.sent.append((topic, json.loads(bytes(payload)), qos))
        return True


def node_with(**settings):
    """``(node, its API)``: as much of a node as the transport asks for."""
    api = Api(**settings)
    api.node.prefix = "fieldpost/nodes/gw"
    api.node.counters = {"bad_requests": 0}
    api.node.settings = {"api": api.dispatcher.settings}
    api.node.dispatcher = lambda: api.dispatcher
    return api.node, api


async def asked(node, payload, topic=TOPIC):
    """The reply to a payload."""
    link = Link()
    receive(node, link, topic, json.dumps(payload).encode())
    await until(lambda: link.sent)
    topic, reply, qos = link.sent.pop()
    assert (topic, qos) == ("fieldpost/nodes/gw/reply", 1)
    return reply


async def test_the_topic_may_name_module_and_method():
    node, api = node_with()
    value = {"value": 5}
    assert await asked(node, {"module": "kit", "method": "echo", "value": 5}) == value
    assert await asked(node, {"method": "echo", "value": 5}, TOPIC + "/kit") == value
    assert await asked(node, {"value": 5}, TOPIC + "/kit/echo") == value
    assert await asked(node, 5, TOPIC + "/kit/echo") == value
    assert await asked(node, 5, TOPIC + "/kit/put") == {"error": "invalid method"}
    receive(node, Link(), TOPIC + "/kit/echo/more", b"5")
    assert node.counters["bad_requests"] == 1
    assert api.dispatcher.counters["requests"] == 5


async def test_with_a_secret_every_request_has_to_be_signed():
    node, api = node_with(mqtt_secret=SECRET)
    plain = {"id": 3, "module": "kit", "method": "echo", "value": 5}
    assert await asked(node, plain) == {"id": 3, "error": "signature missing"}
    node.ticks.advance(1000)
    envelope = signed(node.clock.unix_ms())
    assert await asked(node, envelope) == {"id": 1, "value": "é"}
    assert await asked(node, dict(envelope, id=9)) == {"id": 9, "error": "signature used"}
    compact = signed(node.clock.unix_ms(), "n" * 8, TOPIC + "/kit/echo", "[5]")
    assert await asked(node, compact, TOPIC + "/kit/echo") == {"value": 5}
    large = signed(node.clock.unix_ms(), "m" * 8, request=" " * 1025)
    assert await asked(node, large) == {"error": "request longer than 1024"}
    assert api.dispatcher.counters["bad"] == 3
    # Another secret, another key.
    api.dispatcher.settings["mqtt_secret"] = "x" * 16
    assert await asked(node, signed(node.clock.unix_ms(), "o" * 8)) == {
        "error": "signature invalid"
    }


async def test_a_signature_gives_no_permission():
    node, _api = node_with(mqtt_secret=SECRET)
    node.ticks.advance(1000)
    request = '{"module":"kit","method":"put","address":1,"value":2}'
    reply = await asked(node, signed(node.clock.unix_ms(), request=request))
    assert reply == {"error": "invalid method"}


async def test_confirmations_need_no_signature():
    node, _api = node_with(mqtt_secret=SECRET)
    reply = await asked(node, {"x": 1}, TOPIC + "/loggers/ackSubscribe")
    assert "signature" not in reply["error"]


async def test_where_the_dispatcher_finds_no_memory_the_reply_says_so():
    node, _api = node_with()

    def dispatcher():
        raise MemoryError

    node.dispatcher = dispatcher
    assert await asked(node, {}) == {"error": "out of memory"}
    assert len(node.faults) == 1


async def test_a_reply_waits_for_the_link_and_is_given_up_without():
    node, api = node_with()
    link = Link()
    link.room = False
    receive(node, link, TOPIC + "/kit/echo", b"5")
    await until(lambda: api.dispatcher.counters["unsent"] == 1)
    assert link.sent == []
    assert set(api.dispatcher.settings) == set(SETTINGS)
