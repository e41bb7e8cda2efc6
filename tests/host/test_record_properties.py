"""record against a decoder written from the format's description, and against any damage."""

import json
import math
import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fieldpost import record
from fieldpost.record import RecordError

HEADER = struct.Struct("<BBHHHIIIQI")
NUMBERS = {3: "<b", 4: "<h", 5: "<i", 6: "<q", 7: "<Q", 8: "<f", 9: "<d"}
TEXT, JSON, HAS_TEXT = 10, 11, 0x80
U32 = 2**32 - 1

edges = [
    sign * (1 << bits) + step for bits in range(65) for sign in (1, -1) for step in (-1, 0, 1)
]
integers = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([edge for edge in edges if -(2**63) <= edge < 2**64]),
)
floats = st.one_of(st.floats(), st.floats(width=32), st.floats(width=16))
scalars = st.one_of(st.none(), st.booleans(), integers, floats, st.text(max_size=40))
finite = st.floats(allow_nan=False, allow_infinity=False)
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), integers, finite, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
jsons = st.one_of(st.lists(trees, max_size=4), st.dictionaries(st.text(max_size=5), trees))
ids = st.one_of(st.integers(0, 200), st.integers(0, U32))
deltas = st.one_of(st.just(0), st.integers(0, 5000), st.integers(0, 2**30))
texts = st.one_of(st.none(), st.text(max_size=20))
records = st.tuples(ids, deltas, st.one_of(scalars, jsons), texts)
headers = st.tuples(
    st.booleans(),
    st.integers(0, U32),
    st.integers(0, U32),
    st.integers(0, U32),
    st.integers(0, 2**50),
)


class Body:
    """Reads a chunk's body as the format is described; any surprise is a ValueError."""

    def __init__(self, data):
        self.data = data
        self.pos = 0

    def take(self, length):
        piece = self.data[self.pos : self.pos + length]
        if len(piece) < length:
            raise ValueError("short")
        self.pos += length
        return piece

    def varint(self):
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value += (byte % 128) << shift
            if byte < 128:
                return value
        raise ValueError("long")

    def text(self):
        return self.take(self.varint()).decode()

    def value(self, kind):
        if kind < 3:
            return (None, False, True)[kind]
        if kind in NUMBERS:
            return struct.unpack(NUMBERS[kind], self.take(struct.calcsize(NUMBERS[kind])))[0]
        if kind == TEXT:
            return self.text()
        if kind == JSON:
            return json.loads(self.text())
        raise ValueError("kind")

    def record(self):
        tag = self.take(1)[0]
        point_id, delta = self.varint(), self.varint()
        value = self.value(tag & 0x0F)
        return point_id, delta, value, self.text() if tag & HAS_TEXT else None


def decode(data):
    """``(header fields, [(ms, id, value, text), ...])`` of exactly one chunk."""
    magic, flags, length, count, zero, stream, boot, seq, ms, crc = HEADER.unpack(data[:32])
    body = data[32:]
    assert (magic, flags & ~1, zero) == (0xF5, 0x10, 0)
    assert length == len(body)
    assert crc == zlib.crc32(data[:28] + body)
    header = (bool(flags & 1), stream, boot, seq, ms)
    reader = Body(body)
    found = []
    for _ in range(count):
        point_id, delta, value, text = reader.record()
        ms += delta
        found.append((ms, point_id, value, text))
    if reader.pos != len(body):
        raise ValueError("rest")
    return header, found


def encode(header, entries):
    """One chunk, by ``fieldpost.record``."""
    dated, stream, boot, seq, base = header
    buf = bytearray(60000)
    pos = record.HEADER_BYTES
    for point_id, delta, value, text in entries:
        pos = record.write(buf, pos, len(buf), point_id, delta, value, text)
        assert pos > 0
    length = pos - record.HEADER_BYTES
    record.put_header(buf, 0, dated, stream, boot, seq, base, len(entries), length)
    record.seal(buf, 0, length)
    return bytes(buf[:pos])


def sealed(body, count):
    """A chunk with a right CRC around any body, without ``fieldpost.record``."""
    head = HEADER.pack(0xF5, 0x11, len(body), count, 0, 1, 2, 3, 4, 0)[:28]
    return head + struct.pack("<I", zlib.crc32(head + body)) + body


def plain(value):
    """A form in which equal means: same type, same bits (any NaN is every NaN)."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value), value


@given(headers, st.lists(records, max_size=8))
def test_whatever_is_written_is_read_by_both_decoders(header, entries):
    data = encode(header, entries)
    expected = []
    ms = header[4]
    for point_id, delta, value, text in entries:
        ms += delta
        expected.append((ms, point_id, value, text))
    found_header, found = decode(data)
    assert found_header == header
    assert plain(found) == plain(expected)
    own, own_found, end = record.decode(data)
    assert (own.dated, own.stream, own.boot, own.seq, own.base) == header
    assert (own.count, own.length, end) == (len(entries), len(data) - 32, len(data))
    assert plain(own_found) == plain(expected)


@given(records)
def test_every_reader_agrees_where_a_record_ends(entry):
    data = encode((True, 1, 1, 0, 0), [entry])[record.HEADER_BYTES :]
    end, point_id, delta, value, text = record.read(data, 0)
    assert record.skip(data, 0) == (end, entry[1])
    assert end == len(data)
    assert (point_id, delta, plain(value), text) == (*entry[:2], plain(entry[2]), entry[3])


def float32_bits_suffice(value):
    """By struct: the value survives float32, and is no subnormal there (those take 8 bytes)."""
    if math.isnan(value):
        return not struct.unpack("<Q", struct.pack("<d", value))[0] & 0x1FFFFFFF
    try:
        back = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return False
    return back == value and not 0 < abs(value) < 2.0**-126


@given(floats)
@example(2.0**-126)
@example(-(2.0**-126))
@example(2.0**-127)
@example(2.0**-149)
@example(2.0**-1074)
@example(2.0**127 * (2 - 2.0**-23))
@example(2.0**128)
@example(-0.0)
@example(struct.unpack("<d", b"\1\0\0\0\0\0\xf0\x7f")[0])
def test_float32_where_that_is_exact(value):
    body = encode((True, 1, 1, 0, 0), [(1, 0, value, None)])[record.HEADER_BYTES :]
    assert len(body) == 3 + (4 if float32_bits_suffice(value) else 8)
    assert plain(record.read(body, 0)[3]) == plain(value)


@given(integers)
def test_integers_take_the_fewest_bytes(value):
    body = encode((True, 1, 1, 0, 0), [(1, 0, value, None)])[record.HEADER_BYTES :]
    for size in (1, 2, 4, 8):
        if -(1 << 8 * size - 1) <= value < 1 << (8 * size - (size < 8)):
            assert len(body) == 3 + size
            break
    assert record.read(body, 0)[3] == value


@given(headers, st.lists(records, min_size=1, max_size=3), st.data())
def test_truncation_and_bit_flips_are_noticed(header, entries, data):
    chunk = encode(header, entries)
    with pytest.raises(RecordError):
        record.decode(chunk[: data.draw(st.integers(0, len(chunk) - 1))])
    damaged = bytearray(chunk)
    damaged[data.draw(st.integers(0, len(chunk) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(RecordError):
        record.decode(damaged)


def test_every_truncation_and_every_bit_flip_of_one_chunk():
    entries = [(1, 0, 5, "five"), (300, 1000, 20.1, None), (70000, 2**29, [1, {"ä": None}], "x")]
    chunk = encode((True, 2, 3, 4, 1732233600123), [*entries, (2, 0, "text", None)])
    for length in range(len(chunk)):
        with pytest.raises(RecordError):
            record.decode(chunk[:length])
    for bit in range(8 * len(chunk)):
        damaged = bytearray(chunk)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordError):
            record.decode(damaged)


@given(st.binary(max_size=200), st.integers(0, 210))
def test_arbitrary_bytes(data, pos):
    with pytest.raises(RecordError):
        record.decode(data, pos)
    with pytest.raises(RecordError):
        record.decode(b"\xf5\x11" + data, 0)


headlines = st.builds(
    lambda tag, number, delta: bytes((tag, number, delta)),
    st.integers(0, 255),
    st.integers(0, 127),
    st.integers(0, 127),
)
pieces = st.one_of(
    headlines,
    st.binary(max_size=12),
    st.sampled_from(
        [b"\x04null", b"\x02[]", b"\x05\xc3\xa4\xed\xa0\x80", b"\xff\xff\xff\xff\x7f"]
    ),
)


@given(st.lists(pieces, max_size=12).map(b"".join), st.integers(0, 8))
@example(b"\x0b\x01\x00\xe0\xd4\x03" + b"[" * 60000, 1)
@example(b"\x0b\x01\x00\xb0\xea\x01" + b"[" * 15000 + b"]" * 15000, 1)
@example(b"\x0b\x01\x00\x88\x27" + b"9" * 5000, 1)
def test_sealed_nonsense_is_refused_or_read_as_described(body, count):
    chunk = sealed(body, count)
    try:
        _, found, end = record.decode(chunk)
    except RecordError:
        return
    assert end == len(chunk)
    assert plain(found) == plain(decode(chunk)[1])


@given(st.binary(max_size=20), headers, st.lists(records, max_size=3), st.binary(max_size=20))
def test_chunk_in_the_middle_of_other_bytes(before, header, entries, after):
    chunk = encode(header, entries)
    for data in (before + chunk + after, bytearray(before + chunk + after)):
        _, found, end = record.decode(data, len(before))
        assert end == len(before) + len(chunk)
        assert plain(found) == plain(decode(chunk)[1])


@given(records, st.integers(0, 5), st.integers(0, 120))
def test_write_stays_inside_its_room(entry, start, room):
    buf = bytearray(b"\xaa" * 4000)
    end = -1
    while end < 0:
        end = record.write(buf, start, start + room, *entry)
        assert not buf[:start].strip(b"\xaa")
        assert not buf[start + room :].strip(b"\xaa")
        assert end > 0 or -end > room
        room = max(room, -end)
    assert bytes(buf[start:end]) == encode((True, 1, 1, 0, 0), [entry])[record.HEADER_BYTES :]


class Odd:
    """No kind of value."""


unfit = st.one_of(
    st.binary(max_size=9),
    st.complex_numbers(),
    st.integers(2**64),
    st.integers(max_value=-(2**63) - 1),
    st.sets(st.integers(), max_size=3),
    st.builds(Odd),
    st.lists(st.one_of(st.builds(Odd), st.binary(), st.sets(st.integers())), min_size=1),
    st.dictionaries(st.text(), st.builds(Odd), min_size=1),
    st.dictionaries(st.tuples(st.integers()), st.integers(), min_size=1),
)


@given(unfit, texts)
def test_what_is_no_value_is_refused(value, text):
    with pytest.raises(RecordError):
        record.write(bytearray(9999), 0, 9999, 1, 0, value, text)


@given(st.one_of(st.integers(2**32), st.integers(max_value=-1)))
def test_what_is_no_point_id_is_refused(point_id):
    with pytest.raises(RecordError):
        record.write(bytearray(99), 0, 99, point_id, 0, 1)


surrogates = st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=12)


@given(surrogates)
def test_text_of_any_code_points_can_be_read(text):
    chunk = encode((True, 1, 1, 0, 0), [(1, 0, text, text), (1, 0, [text], None)])
    expected = "".join("�" if 0xD800 <= ord(char) <= 0xDFFF else char for char in text)
    found = decode(chunk)[1]
    assert found == record.decode(chunk)[1]
    assert found[0][2:] == (expected, expected)
