"""outlet: flush messages byte by byte, their limits, the one buffer, the choice of the link."""

import json
from struct import unpack_from

from core_kit import UNIX_MS
from flow_kit import BOOT, PREFIX, STREAM, Flow, Link, flush_of, values

from fieldpost.outlet_json import json_value
from fieldpost.record import decode
from fieldpost.ring import Reader
from fieldpost.subscriber import Flush


def send(flow, subscriber, reader=None, most=100, max_bytes=4096, number=7, skipped=0):
    """Send one flush; returns ``(Flush, payload)``."""
    flush = Flush(number, 0)
    flush.skipped = skipped
    reader = reader or Reader(flow.ring, flow.ring.oldest)
    assert flow.outlet.send(subscriber, flush, reader, most, max_bytes, None)
    return flush, flow.link.sent.pop().payload


def json_text(*values, **keys):
    """The text of a JSON flush of ``values``."""
    flow = Flow(**keys)
    flow.append(*values)
    return send(flow, flow.subscriber())[1].decode()


# -- JSON


def test_json_flush_to_the_letter():
    flow = Flow()
    flow.append(1)
    flow.pass_ms(40)
    flow.ring.append(2, True, "on")
    flush, payload = send(flow, flow.subscriber())
    assert payload.decode() == (
        '{"module":"loggers","method":"subscribe","subscription":"default","event":"flush",'
        '"flush":7,"stream":70,"seq":0,"value":[[%d,1,1],[%d,2,true,"on"]]}'
        % (UNIX_MS, UNIX_MS + 40)
    )
    assert (flush.count, flush.first, flush.digest) == (2, (STREAM, 0), None)


def test_md5_vector():
    try:
        from hashlib import md5
    except ImportError:  # the 32-bit build; boards have it
        return
    assert md5
    flow = Flow(unix_ms=1746619446731)
    flow.ring.append(111905, 27.407)
    flow.pass_ms(5)
    flow.ring.append(111654, 12)
    flush, payload = send(flow, flow.subscriber(ack="md5"))
    assert b'"value":[[1746619446731,111905,27.407],[1746619446736,111654,12]]}' in payload
    assert flush.digest == "6035d08d6aa19995e8ce50f6ceca286c"


def test_numbers_that_json_does_not_have_become_null():
    nan, infinity = float("nan"), float("inf")
    text = json_text(nan, infinity, -infinity, 1.5)
    assert [record[2] for record in json.loads(text)["value"]] == [None, None, None, 1.5]
    assert "n" not in text.split("value")[1].replace("null", "").lower()


def test_integers_are_exact_to_64_bit():
    numbers = [-(1 << 63), (1 << 64) - 1, (1 << 53) + 1, -1, 0]
    text = json_text(*numbers)
    for number in numbers:
        assert ",1,%d]" % number in text, text


def test_values_keep_their_type():
    mixed = [None, True, False, 0, 1.25, "", "text", [1, "a"], {"b": None}]
    made = json.loads(json_text(*mixed))
    assert values(made) == mixed
    assert [type(value) for value in values(made)] == [type(value) for value in mixed]


def test_text_is_escaped():
    texts = ['say "x"', "back\\slash", "a\nb\tc\r\x00\x1f", "°C ä 漢 🌡", "</script>"]
    flow = Flow()
    for text in texts:
        flow.ring.append(1, text, text)
    _, payload = send(flow, flow.subscriber())
    assert [record[2:] for record in json.loads(payload)["value"]] == [[t, t] for t in texts]
    assert not any(byte < 32 for byte in payload)


def test_json_value():
    assert json_value(12) == "12"
    assert json_value(True) == "true"
    assert json_value(None) == "null"
    assert json_value(0.5) == "0.5"
    assert json_value(float("-inf")) == "null"
    assert json_value("a") == '"a"'


def test_undated_records_say_so():
    flow = Flow(unix_ms=None)
    flow.pass_ms(50)
    flow.append(1)
    subscriber = flow.subscriber()
    made = json.loads(send(flow, subscriber)[1])
    assert made["value"] == [[50, 1, 1]]
    assert (made["ts_trusted"], made["boot"]) == (False, BOOT)
    # Known by now: dated after the fact.
    flow.clock.set_unix_ms(UNIX_MS, "ntp")
    made = json.loads(send(flow, subscriber)[1])
    assert made["value"] == [[UNIX_MS, 1, 1]]
    assert "ts_trusted" not in made and "boot" not in made


def test_one_flush_never_mixes_boots():
    flow = Flow(unix_ms=None)
    flow.append(1, 2)
    # As records of an earlier boot would come from flash.
    flow.ring.close_frame()
    flow.ring.boot = BOOT + 1
    flow.append(3)
    reader = Reader(flow.ring, 0)
    subscriber = flow.subscriber()
    first = json.loads(send(flow, subscriber, reader)[1])
    second = json.loads(send(flow, subscriber, reader)[1])
    assert (first["boot"], values(first)) == (BOOT, [1, 2])
    assert (second["boot"], second["seq"], values(second)) == (BOOT + 1, 2, [3])


def test_skipped_records_are_reported():
    flow = Flow(frames=2, frame_bytes=64)
    flow.append(*range(40))
    reader = Reader(flow.ring, 0)
    _, payload = send(flow, flow.subscriber(), reader, skipped=5)
    made = json.loads(payload)
    assert made["skipped"] == reader.skipped + 5 == made["seq"] + 5
    assert values(made) == list(range(made["seq"], 40))


def test_an_empty_flush_is_a_keepalive():
    flow = Flow()
    flush, payload = send(flow, flow.subscriber())
    assert payload == (
        b'{"module":"loggers","method":"subscribe","subscription":"default","event":"flush",'
        b'"flush":7,"value":[]}'
    )
    assert (flush.count, flush.first) == (0, None)
    flush, payload = send(flow, flow.subscriber("packed", format="packed"))
    assert payload == b"\xfb\x01\x07\0\0\0\0\0\0\0\x07default"
    assert flush.count == 0


# -- packed


def test_packed_flush_to_the_letter():
    flow = Flow(unix_ms=None)
    flow.append(1, 2.5)
    flow.ring.close_frame()
    flow.append("x")
    flow.log.id = "a/b"
    number, skipped = 0x3FF00001, 0x01020304
    subscriber = flow.subscriber(format="packed")
    flush, payload = send(flow, subscriber, number=number, skipped=skipped)
    assert unpack_from("<BBIIB3s", payload, 0) == (0xFB, 1, number, skipped, 3, b"a/b")
    header, records, end = decode(payload, 14)
    assert (header.stream, header.seq, header.boot, header.dated) == (STREAM, 0, BOOT, False)
    assert records == [(0, 1, 1, None), (0, 1, 2.5, None)]
    header, records, end = decode(payload, end)
    assert (header.seq, records, end) == (2, [(0, 1, "x", None)], len(payload))
    assert (flush.count, flush.first) == (3, (STREAM, 0))


def test_packed_flush_begins_within_a_frame():
    flow = Flow()
    flow.append(*range(10))
    reader = Reader(flow.ring, 4)
    flush, payload = send(flow, flow.subscriber(format="packed"), reader, most=3)
    made = flush_of_payload(payload)
    assert (made["seq"], values(made)) == (4, [4, 5, 6])
    assert (flush.first, reader.index) == ((STREAM, 4), 7)


def flush_of_payload(payload):
    link = Link()
    link.publish("", payload)
    return flush_of(link.sent[0])


# -- limits


def drain(flow, subscriber, most, max_bytes):
    """``(lengths, values)`` of the flushes that send all of the log."""
    reader = Reader(flow.ring, flow.ring.oldest)
    lengths, seen = [], []
    while reader.index < flow.ring.next:
        flush, payload = send(flow, subscriber, reader, most, max_bytes)
        made = flush_of_payload(payload)
        assert made["seq"] == len(seen)
        assert flush.count == len(made["value"]) <= most
        lengths.append(len(payload))
        seen += values(made)
    return lengths, seen


def test_flushes_stay_below_both_limits():
    for form in ("json", "packed"):
        flow = Flow()
        flow.append(*range(150))
        subscriber = flow.subscriber(format=form)
        for most, max_bytes in ((1, 4096), (7, 4096), (1000, 250), (1000, 400), (30, 300)):
            lengths, seen = drain(flow, subscriber, most, max_bytes)
            assert seen == list(range(150))
            assert max(lengths) <= max_bytes
            # Each as full as a limit allows; frames end flushes of packed ones early.
            assert len(lengths) < 150 // most + 150 * 26 // (max_bytes - 130) + 10


def test_one_record_goes_whatever_the_limit():
    for form in ("json", "packed"):
        flow = Flow()
        texts = ["x" * 180, "y" * 180, "z"]
        flow.append(*texts)
        lengths, seen = drain(flow, flow.subscriber(format=form), 100, 128)
        assert seen == texts
        assert len(lengths) == 3


def test_the_buffer_is_reused_and_bounded():
    flow = Flow(buffer_bytes=512)
    buffer = flow.outlet.buf
    json_reader, packed_reader = flow.subscriber(), flow.subscriber("p", format="packed")
    for i in range(300):
        flow.append(i, i + 0.5, "text")
        send(flow, json_reader, max_bytes=500)
        send(flow, packed_reader, max_bytes=500)
    assert flow.outlet.buf is buffer
    assert len(buffer) == 512


def test_the_buffer_grows_for_what_needs_more():
    flow = Flow(buffer_bytes=16)
    flow.append("\n" * 200, "b")
    made = flush_of_payload(send(flow, flow.subscriber(), max_bytes=128)[1])
    assert values(made) == ["\n" * 200]
    # A log of larger frames, added by a new configuration.
    flow = Flow(buffer_bytes=16, frame_bytes=1024, frames=4)
    flow.append(*range(300))
    made = flush_of_payload(send(flow, flow.subscriber(format="packed"), most=1000)[1])
    assert values(made) == list(range(300))
    assert len(flow.outlet.buf) == 4096


# -- links


def test_flushes_are_confirmed_messages_that_the_link_need_not_keep():
    flow = Flow()
    flow.append(1)
    subscriber = flow.subscriber("c-1")
    flush = Flush(1, 0)
    marks = []
    assert flow.outlet.send(subscriber, flush, Reader(flow.ring, 0), 9, 999, marks.append)
    [message] = flow.link.sent
    assert message.topic == PREFIX + "/flush/c-1"
    assert (message.qos, message.retain, message.keep) == (1, False, False)
    message.done(True)
    assert marks == [True]


def test_the_first_connected_link_that_takes_flushes_is_used():
    flow = Flow()
    flow.append(1)
    subscriber = flow.subscriber()
    live, main, spare = Link("live", flush=False), Link("main"), Link("spare")
    flow.outlet.links[:] = [live, main, spare]

    def taken():
        return flow.outlet.send(subscriber, Flush(1, 0), Reader(flow.ring, 0), 9, 999, None)

    assert flow.outlet.ready() and taken()
    main.connected = False
    assert flow.outlet.ready() and taken()
    spare.connected = False
    assert not flow.outlet.ready()
    assert not taken()
    assert [len(link.sent) for link in (live, main, spare)] == [0, 1, 1]
    main.connected = True
    main.room = 0
    assert flow.outlet.ready()
    assert not taken()


def test_the_end_is_told():
    flow = Flow()
    flow.outlet.tell(flow.subscriber("c"), 'end of "life"')
    [message] = flow.link.sent
    assert message.topic == PREFIX + "/flush/c"
    assert json.loads(message.payload) == {
        "module": "loggers",
        "method": "subscribe",
        "subscription": "default",
        "error": 'end of "life"',
    }


def test_numbers_that_json_does_not_have_are_null_at_any_depth():
    nan, infinite = float("nan"), float("inf")
    for value, text in (
        (nan, "null"),
        (-infinite, "null"),
        (1.5, "1.5"),
        ([1, nan, [infinite, "x"]], [1, None, [None, "x"]]),
        ((1.5, nan), [1.5, None]),
        ({"a": {"b": nan}, "c": 0.5}, {"a": {"b": None}, "c": 0.5}),
        (["nan", "information"], ["nan", "information"]),
        ("NaN", '"NaN"'),
        (None, "null"),
    ):
        made = json_value(value)
        assert made == text if isinstance(text, str) else json.loads(made) == text, value
