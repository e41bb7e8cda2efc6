"""Decoding of what nodes publish, and what a collector refuses before it connects."""

import contextlib
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flush_wire as wire
from fieldpost_tools import broker, collect
from fieldpost_tools.errors import FlushError, InputError
from fieldpost_tools.flush import Chunk, Flush, JsonText, decode_flush, decode_points, decode_state
from fieldpost_tools.store import Store

FLOAT32 = struct.unpack("<f", struct.pack("<f", 21.37))[0]
RECORDS = [
    (1, 0, None),
    (1, 5, True),
    (2, 0, False),
    (127, 1, -128, None, wire.I8),
    (128, 1, -32768, None, wire.I16),
    (16384, 1, 2**31 - 1, None, wire.I32),
    (2**32 - 1, 1, -(2**63)),
    (3, 300, 2**64 - 1),
    (3, 1, FLOAT32, "21.37 °C", wire.F32),
    (3, 1, 0.1),
    (3, 1, math.inf),
    (4, 1, "ein Täxt", "driver's"),
    (4, 1, {"a": [1, 2.5, None]}),
]


def test_packed_flush_by_an_independent_encoder():
    chunks = [
        wire.chunk(5, 100, 1_700_000_000_000, RECORDS, boot=3),
        wire.chunk(6, 0, 70_000, [(9, 0, 1)], boot=4, dated=False),
    ]
    flush = decode_flush("gw-1", wire.packed(77, chunks, "a/b", skipped=12))
    assert flush[:4] == ("gw-1", "a/b", 77, 12)
    first, second = flush.chunks
    assert first[:4] == (5, 100, 3, True)
    assert second == Chunk(6, 0, 4, False, [(70_000, 9, 1, None)])
    assert [row[1] for row in first.records] == [row[0] for row in RECORDS]
    times = [row[0] - 1_700_000_000_000 for row in first.records]
    assert times == [sum(row[1] for row in RECORDS[: n + 1]) for n in range(len(RECORDS))]
    values = [row[2] for row in first.records]
    assert values[:-1] == [row[2] for row in RECORDS[:-1]]
    assert [type(value) for value in values[:-1]] == [type(row[2]) for row in RECORDS[:-1]]
    assert values[-1] == JsonText('{"a":[1,2.5,null]}')
    assert isinstance(values[-1], JsonText)
    assert first.records[8][3] == "21.37 °C"


def test_json_flush():
    rows = [[1_700_000_000_000, 1, 20.5], [1_700_000_000_001, 2, True, "on"], [3, 4, {"a": []}]]
    flush = decode_flush("gw", wire.json_flush(9, 3, 40, rows, skipped=2))
    records = [(rows[0][0], 1, 20.5, None), (rows[1][0], 2, True, "on"), (3, 4, '{"a":[]}', None)]
    assert flush == Flush("gw", "default", 9, 2, [Chunk(3, 40, None, True, records)])
    assert isinstance(flush.chunks[0].records[2][2], JsonText)


def test_json_flush_of_a_node_that_does_not_know_the_time():
    message = wire.json_flush(1, 3, 0, [[500, 1, 1]], ts_trusted=False, boot=8)
    assert decode_flush("gw", message).chunks == [Chunk(3, 0, 8, False, [(500, 1, 1, None)])]


def test_keepalive_and_notice_carry_no_records():
    assert decode_flush("gw", wire.json_flush(1, 0, 0, [])).chunks == []
    assert decode_flush("gw", wire.packed(1, [])).chunks == []
    ended = {"subscription": "default", "method": "subscribe", "error": "end of life"}
    assert decode_flush("gw", json.dumps(ended).encode()).notice == "end of life"


def test_lone_surrogates_are_made_storable():
    message = b'{"subscription":"d","event":"flush","flush":1,"stream":1,"seq":0,"value":'
    flush = decode_flush("gw", message + b'[[1,1,"a\\ud800b","\\udfff"],[1,1,["\\ud800"]]]}')
    assert [row[2:] for row in flush.chunks[0].records] == [("a?b", "?"), ('["?"]', None)]


BAD_JSON = [
    b"{",
    b"{}",
    b'{"subscription":"d"' + b"[" * 100_000,
    b'{"subscription":7,"event":"flush","value":[]}',
    wire.json_flush(1, 1, 0, [[1, 1]]),
    wire.json_flush(1, 1, 0, [[1, 1, 1, "a", 2]]),
    wire.json_flush(1, 1, 0, [[1.5, 1, 1]]),
    wire.json_flush(1, 1, 0, [[True, 1, 1]]),
    wire.json_flush(1, 1, 0, [[1, "name", 1]]),
    wire.json_flush(1, 1, 0, [[2**63, 1, 1]]),
    wire.json_flush(1, 1, 0, [[1, 2**63, 1]]),
    wire.json_flush(1, 1, 0, [[1, 1, 1, 5]]),
    wire.json_flush(1, 1, 0, {"a": 1}),
    wire.json_flush(1, 1, -1, [[1, 1, 1]]),
    wire.json_flush(1, 2**32, 0, [[1, 1, 1]]),
    wire.json_flush(None, 1, 0, [[1, 1, 1]]),
    wire.json_flush(1, 1, 0, [[1, 1, 1]], skipped="many"),
    wire.json_flush(1, 1, 0, [[1, 1, 1]], ts_trusted=False),
    b'{"subscription":"d","event":"flush","flush":1,"stream":1,"seq":0,"value":[[1,1,'
    + b"[" * 5000
    + b"]" * 5000
    + b"]]}",
]
GOOD = wire.packed(1, [wire.chunk(1, 0, 5, [(1, 1, 1.5), (2, 1, "text")])])
BAD_PACKED = [
    b"",
    b"\xfb",
    b"\x00" + GOOD,
    b"\xfb\x02" + GOOD[2:],
    GOOD + b"\x00",
    wire.packed(1, [wire.chunk(1, 0, 2**63, [(1, 0, 1)])]),
    wire.packed(1, [wire.seal(1, 0, 5, wire.record(1, 1, 1, tag=15), 1)]),
    wire.packed(1, [wire.seal(1, 0, 5, bytes((10, 1, 1, 2)) + b"\xff\xfe", 1)]),
    wire.packed(1, [wire.seal(1, 0, 5, bytes((11, 1, 1)) + wire.varint(9000) + b"[" * 9000, 1)]),
    wire.packed(1, [wire.seal(1, 0, 5, wire.record(1, 1, 1), 2)]),
]


@pytest.mark.parametrize("payload", BAD_JSON + BAD_PACKED)
def test_malformed_flushes_are_refused(payload):
    with pytest.raises(FlushError) as error:
        decode_flush("gw", payload)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("cut", range(1, len(GOOD)))
def test_a_torn_packed_flush_is_refused(cut):
    try:
        assert decode_flush("gw", GOOD[:cut]).chunks == []
    except FlushError:
        return
    # What is left is a whole keepalive: the header and the name without a chunk.
    assert cut == len(wire.packed(1, []))


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_flipped_byte_never_invents_records(position, flip):
    torn = bytearray(GOOD)
    torn[position] ^= flip
    in_prefix = position < len(wire.packed(1, []))
    try:
        flush = decode_flush("gw", bytes(torn))
    except FlushError:
        return
    # Only what stands before the chunks has no checksum of its own.
    assert in_prefix
    assert flush.chunks == decode_flush("gw", GOOD).chunks or flush.chunks == []


@given(
    st.one_of(
        st.binary(), st.binary().map(lambda b: b"{" + b), st.binary().map(lambda b: b"\xfb\1" + b)
    )
)
def test_garbage_is_a_flush_error_at_worst(payload):
    for decode in (decode_flush, decode_points, decode_state):
        with contextlib.suppress(FlushError):
            decode("gw", payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "subscription": JSON,
            "event": st.just("flush") | JSON,
            "flush": st.just(1) | JSON,
            "stream": st.just(1) | JSON,
            "seq": st.just(0) | JSON,
            "skipped": JSON,
            "boot": JSON,
            "value": st.lists(st.lists(JSON, max_size=5)) | JSON,
            "points": JSON,
            "device": JSON,
            "state": JSON,
            "ts_trusted": JSON,
            "driver": JSON,
        },
    )
)
def test_any_json_object_is_stored_or_refused(tmp_path_factory, message):
    payload = json.dumps(message).encode()
    found = {decode_flush: None, decode_points: None, decode_state: None}
    for decode in found:
        try:
            found[decode] = [decode("gw", payload)]
        except FlushError:
            found[decode] = []
    with Store(tmp_path_factory.mktemp("any") / "a.db", create=True) as store:
        store.write(*found.values())
        store.nodes()


def test_points_and_state():
    message = {"device": "ahu-1", "driver": "modbus", "points": [[1, "dat", "°C"], [2, "fan"]]}
    points = decode_points("gw", json.dumps(message).encode())
    assert points == ("gw", "ahu-1", "modbus", [(1, "dat", "°C"), (2, "fan", "")])
    assert decode_state("gw", b'{"state":"online","boot":1}').text == '{"state":"online","boot":1}'


@pytest.mark.parametrize(
    "message",
    [
        b"[]",
        b"{}",
        b'{"device":"a","points":{}}',
        b'{"device":"a","points":[[1]]}',
        b'{"device":"a","points":[["1","n"]]}',
        b'{"device":"a","points":[[1,"n",2]]}',
        b'{"device":1,"points":[]}',
        b'{"device":"a","driver":1,"points":[]}',
        b'{"state":1}',
    ],
)
def test_malformed_points_and_states_are_refused(message):
    for decode in (decode_points, decode_state):
        with pytest.raises(FlushError):
            decode("gw", message)


def test_broker_urls():
    address = broker.parse_url("mqtt://us%40er:p%3Ass@host:1999")
    assert (address.host, address.port, address.tls) == ("host", 1999, False)
    assert (address.user, address.password) == ("us@er", "p:ss")
    assert broker.parse_url("mqtts://host").port == 8883
    assert broker.parse_url("mqtt://user@host", "env").password == "env"
    assert broker.parse_url("mqtt://user:url@host", "env").password == "url"
    assert broker.parse_url("mqtt://[::1]:7").host == "::1"
    assert "p:ss" not in repr(address) + str(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "host:1883",
        "http://u:secret@host",
        "mqtt://",
        "mqtt://u:secret@host:x",
        "mqtt://u:secret@host:99999",
        "mqtt://u:secret@host/topic",
        "mqtt://u:secret@[::1",
    ],
)
def test_bad_broker_urls_are_named_without_the_password(url):
    with pytest.raises(InputError) as error:
        broker.parse_url(url)
    assert "mqtt" in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "option",
    [
        {"nodes": [""]},
        {"nodes": ["a/b"]},
        {"nodes": ["#"]},
        {"subscriber": "+"},
        {"subscriber": "a\0b"},
        {"share": ""},
        {"share": "a/b"},
        {"ca": "/no/such.pem"},
    ],
)
def test_a_collector_refuses_names_that_are_no_topic_level(tmp_path, option):
    with Store(tmp_path / "a.db", create=True) as store, pytest.raises(InputError):
        collect.Collector("mqtts://127.0.0.1:1", store, **option)
    with Store(tmp_path / "a.db") as store, pytest.raises(InputError, match="ca:"):
        collect.Collector("mqtt://127.0.0.1:1", store, ca=str(tmp_path))


def test_the_client_id_is_stable_for_a_store_and_its_own_in_a_share_group(tmp_path):
    with (
        Store(tmp_path / "a.db", create=True) as one,
        Store(tmp_path / "b.db", create=True) as two,
    ):
        assert _id(one) == _id(one)
        assert len({_id(one), _id(two), _id(one, nodes=["gw"]), _id(one, subscriber="x")}) == 4
        assert _id(one, share="g") != _id(one, share="g")
        assert len(_id(one)) <= 23


def _id(store, nodes=("+",), subscriber="collector", share=None):
    return collect._client_id(store.place, nodes, subscriber, share)
