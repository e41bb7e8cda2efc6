"""record: the bytes of each kind of value, exactness, what is refused, damaged chunks."""

import json
import struct

from core_kit import UNIX_MS, allocated, refused

from fieldpost import record
from fieldpost.errors import FieldpostError
from fieldpost.record import HEADER_BYTES, Header, RecordError

#: No record of the tests is longer.
ROOM = 300
LIMITS = (
    (0, 127, -128, -1),  # i8
    (128, -129, 32767, -32768),  # i16
    (32768, -32769, 2**31 - 1, -(2**31)),  # i32
    (2**31, -(2**31) - 1, 2**30, 2**63 - 1, -(2**63)),  # i64, and what is no small int on 32 bit
    (2**63, 2**64 - 1),  # u64
)
FLOAT32 = (0.0, -0.0, 1.5, -2.25, 20.5, 2.0**-126, 2.0**127, 16777216.0, float("inf"))
DOUBLE = struct.unpack("<f", struct.pack("<f", 20.1))[0] != 20.1  # not on single-precision ports


def write(value, text=None, point_id=1, delta_ms=0):
    """One record's bytes."""
    buf = bytearray(ROOM)
    end = record.write(buf, 0, ROOM, point_id, delta_ms, value, text)
    assert 0 < end <= ROOM
    assert not any(buf[end + 8 :])
    return bytes(buf[:end])


def back(value, text=None, point_id=1, delta_ms=0):
    """What is read of a written record; every reader agrees on where it ends."""
    data = write(value, text, point_id, delta_ms)
    end, *fields = record.read(data, 0)
    assert end == len(data)
    assert record.skip(data, 0) == (end, delta_ms)
    assert fields[:2] == [point_id, delta_ms]
    return fields[2], fields[3]


def chunk(records=((1, 5, None),), dated=True, stream=7, boot=3, seq=100, base=UNIX_MS):
    """A sealed chunk of ``(delta ms, value, text)`` of point 9."""
    body = b"".join(write(value, text, 9, delta) for delta, value, text in records)
    buf = bytearray(HEADER_BYTES) + body
    record.put_header(buf, 0, dated, stream, boot, seq, base, len(records), len(body))
    record.seal(buf, 0, len(body))
    return bytes(buf)


def sealed(body, count):
    """A chunk with a right CRC around any body."""
    buf = bytearray(HEADER_BYTES) + body
    record.put_header(buf, 0, True, 1, 1, 0, UNIX_MS, count, len(body))
    record.seal(buf, 0, len(body))
    return buf


def test_bytes_of_each_kind():
    for value, expected in (
        (None, "000500"),
        (False, "010500"),
        (True, "020500"),
        (-2, "030500fe"),
        (300, "0405002c01"),
        (-70000, "05050090eefeff"),
        (2**40, "060500000000000001" + "0000"),
        (2**64 - 1, "070500" + "ff" * 8),
        (1.5, "0805000000c03f"),
        ("°C", "0a050003c2b043"),
    ):
        assert write(value, None, 5).hex() == expected, value
    if DOUBLE:
        assert write(0.1, None, 5).hex() == "0905009a9999999999b93f"


def test_json_is_compact_and_text_of_the_driver_follows():
    assert write([1, 2], None, 5) == b"\x0b\x05\x00\x05[1,2]"
    assert write({"a": 1}, "on", 5) == b'\x8b\x05\x00\x07{"a":1}\x02on'
    assert write(7, "seven", 5) == b"\x83\x05\x00\x07\x05seven"
    assert write(None, "", 5) == b"\x80\x05\x00\x00"


def test_ids_and_times_take_one_to_five_bytes():
    for number, expected in (
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16383, "ff7f"),
        (16384, "808001"),
        (2**28, "8080808001"),
        (2**30, "8080808004"),
        (2**32 - 1, "ffffffff0f"),
    ):
        assert write(None, None, number).hex() == "00" + expected + "00"
        assert write(None, None, 1, number).hex() == "0001" + expected
        assert back(True, None, number, number) == (True, None)


def test_every_integer_is_exact_in_the_smallest_size():
    for values, size in zip(LIMITS, (1, 2, 4, 8, 8)):
        for value in values:
            assert back(value) == (value, None)
            assert type(back(value)[0]) is int
            if value != 2**30:
                assert len(write(value)) == 3 + size, value


def test_values_of_each_type_come_back():
    for value in (None, True, False, "", "x", "Zähler ✓ 😀", "x" * 200, [], {}, [1, [None, "ä"]]):
        got, text = back(value, "wörtlich")
        assert got == value and type(got) is type(value)
        assert text == "wörtlich"
    assert back({"a": [1, 2.5, True, None], "b": {"c": ""}})[0] == {
        "a": [1, 2.5, True, None],
        "b": {"c": ""},
    }
    assert back((1, 2))[0] == [1, 2]


def test_floats_that_float32_holds_take_four_bytes():
    for value in FLOAT32 + (-float("inf"),):
        got = back(value)[0]
        assert got == value and str(got) == str(value)
        assert len(write(value)) == 7, value
    got = back(float("nan"))[0]
    assert got != got and type(got) is float
    assert len(write(float("nan"))) == 7


def test_other_floats_take_eight_bytes_and_are_exact():
    if not DOUBLE:
        return
    for value in (20.1, 1 / 3, 1e39, -1e-300, 2.0**128, 2.0**-1074, 16777217.0, 1.7976931e308):
        assert back(value) == (value, None)
        assert len(write(value)) == 11, value


def test_every_bit_of_a_float_counts():
    if not DOUBLE:
        return
    for bit in range(52):
        for exponent in (0, 896, 897, 1023, 1150, 1151, 2047):
            bits = exponent << 52 | 1 << bit
            value = struct.unpack("<d", struct.pack("<Q", bits))[0]
            short = bit >= 29 and 897 <= exponent != 1151
            data = write(value)
            assert len(data) == (7 if short else 11), (exponent, bit)
            if value == value:
                assert back(value) == (value, None)


def test_subnormal_float32_takes_eight_bytes_and_is_exact():
    if not DOUBLE:
        return
    value = 2.0**-126 / 8
    assert back(value) == (value, None)
    assert len(write(value)) == 11


def test_integer_beyond_64_bit_is_refused():
    for value in (2**64, -(2**63) - 1, 10**40):
        assert "64 bit" in refused(RecordError, write, value)


def test_values_that_are_no_record_are_refused():
    for value in (b"bytes", object(), 1j, {1, 2}, range(3), write):
        assert type(value).__name__ in refused(RecordError, write, value)


def test_json_that_cannot_be_read_back_is_refused():
    endless = []
    endless.append(endless)
    for value in ([object()], {"a": [write]}, endless):
        assert "JSON" in refused(RecordError, write, value)


def test_json_with_nan_is_never_unreadable():
    try:
        data = write([float("nan")])
    except RecordError:
        return
    assert str(record.read(data, 0)[3]) == "[nan]"


def test_point_id_beyond_32_bit_is_refused():
    for point_id in (-1, -(2**31), 2**32, 2**40):
        assert "point id" in refused(RecordError, write, 1, None, point_id)


def test_half_a_surrogate_pair_never_makes_a_chunk_unreadable():
    half = json.loads('"a\\ud83d"')
    for value in (half, [half], {half: half}):
        _, records, _ = record.decode(chunk([(0, value, half)]))
        assert records[0][3] == "a\ufffd"
        if value is half:
            assert records[0][2] == "a\ufffd"
    # Other characters have the same lead byte.
    for text in ("\ud7ff", "é\ud000", "\ud000\ud7ffa"):
        assert back(text) == (text, None)
    for text in (half[1], half[1] + "b", half + half, "\ud000" + half, half + "é\ud000" + half[1]):
        assert back(text)[0] == text.replace(half[1], "\ufffd")


def test_write_says_how_much_room_it_needs_at_least():
    cases = ((1, None), (2**63, None), ("x" * 40, None), ([1] * 30, None), (1, "y" * 60))
    for value, text in cases:
        size = len(write(value, text, 2**32 - 1, 2**28))
        wanted = 0
        for room in range(size + 30):
            buf = bytearray(ROOM)
            end = record.write(buf, 10, 10 + room, 2**32 - 1, 2**28, value, text)
            assert not any(buf[:10]) and not any(buf[10 + room :])
            if end > 0:
                break
            assert room < -end <= size + 20
            wanted = max(wanted, -end)
        assert end == 10 + size
        assert room == wanted


def test_room_for_the_longest_record_of_all():
    text = "x" * 16384
    size = 1 + 5 + 5 + 8 + 3 + len(text)
    buf = bytearray(size + 5)
    assert record.write(buf, 0, len(buf), 2**32 - 1, 2**29, 2**64 - 1, text) == size
    assert record.write(buf, 0, size - 1, 2**32 - 1, 2**29, 2**64 - 1, text) < 0


def test_value_that_is_refused_leaves_its_neighbours_alone():
    buf = bytearray(ROOM)
    end = record.write(buf, 0, ROOM, 1, 0, "first")
    before = bytes(buf[:end])
    refused(RecordError, record.write, buf, end, ROOM, 1, 0, 2**64)
    refused(RecordError, record.write, buf, end, ROOM, 1, 0, b"")
    assert bytes(buf[:end]) == before


def test_write_takes_no_heap():
    buf = bytearray(ROOM)
    write_to = record.write
    for value in (5, 300, 70000, 2**31 - 1, 2**40, 2**64 - 1, -(2**63), 1.5, 20.1, True, None):
        for point_id in (1, 300, 2**21):
            assert allocated(lambda: write_to(buf, 9, ROOM, point_id, 1000, value), 20) == 0  # noqa: B023


def test_header_is_as_documented():
    data = chunk([(1, 5, None), (1000, 20.5, None)], True, 0x01020304, 0x05060708, 0x090A0B0C)
    assert data[0] == 0xF5 and data[1] == 0x11
    assert data[2:8].hex() == "%02x00" % (len(data) - 32) + "0200" + "0000"
    assert data[8:20].hex() == "04030201" + "08070605" + "0c0b0a09"
    assert data[20:28].hex() == "7b1c2b5193010000"
    assert chunk(dated=False)[1] == 0x10


def test_chunk_comes_back():
    records = ((1, 5, None), (0, 20.5, "warm"), (70000, None, None), (2**28, "x", None))
    header, got, end = record.decode(chunk(records, False, 2**32 - 1, 2**31, 2**32 - 2, 2**40))
    assert isinstance(header, Header)
    assert (header.dated, header.stream, header.boot) == (False, 2**32 - 1, 2**31)
    assert (header.seq, header.base, header.count) == (2**32 - 2, 2**40, 4)
    assert end == 32 + header.length
    ms = 2**40
    for (delta, value, text), found in zip(records, got):
        ms += delta
        assert found == (ms, 9, value, text)
    assert len(got) == 4


def test_chunks_stand_one_behind_the_other():
    first, second = chunk(), chunk([], seq=101)
    data = b"?" + first + second
    header, records, pos = record.decode(data, 1)
    assert (header.seq, len(records), pos) == (100, 1, 1 + len(first))
    for view in (data, bytearray(data), memoryview(data)):
        header, records, end = record.decode(view, pos)
        assert (header.seq, records, end) == (101, [], len(data))


def test_every_torn_chunk_is_refused():
    data = chunk([(1, 5, "text"), (2, "värde", None), (3, [1], None)])
    for length in range(len(data)):
        refused(RecordError, record.decode, data[:length])
    assert issubclass(RecordError, FieldpostError)


def test_every_flipped_bit_is_noticed():
    data = chunk([(1, 5, None), (2, 20.5, None)])
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            refused(RecordError, record.decode, damaged)


def test_other_versions_and_other_bytes_are_refused():
    data = bytearray(chunk())
    data[1] = data[1] & 0x0F | 0x20
    record.seal(data, 0, len(data) - HEADER_BYTES)
    assert "version" in refused(RecordError, record.decode, data)
    for data in (b"", b"{", b"\xfb" * 99, b"\xf5", bytes(64)):
        refused(RecordError, record.decode, data)
    refused(RecordError, record.decode, chunk(), 1)
    refused(RecordError, record.decode, chunk(), 1000)


def test_body_that_no_encoder_wrote_is_refused():
    for body, count in (
        (b"", 1),
        (b"\x00\x01\x00", 0),
        (b"\x00\x01\x00", 2),
        (b"\x0c\x01\x00\x00", 1),  # unknown type
        (b"\x0f\x01\x00", 1),
        (b"\x00\x81\x82\x83\x84\x85\x06\x00", 1),  # varint of six bytes
        (b"\x00\x01\xff\xff\xff\xff\xff\xff", 1),
        (b"\x0a\x01\x00\x05abc", 1),  # text past the end
        (b"\x0a\x01\x00\xff\xff\xff\xff\x0fabc", 1),
        (b"\x80\x01\x00\x05abc", 1),
        (b"\x0b\x01\x00\x02[1", 1),  # JSON that is none
        (b"\x0b\x01\x00\x00", 1),
        (b"\x09\x01\x00\x00", 1),  # half a number
        (b"\x03\x01\x00", 1),
    ):
        refused(RecordError, record.decode, sealed(body, count))


def test_record_never_reaches_into_the_next_chunk():
    body = b"\x0a\x01\x00\x23abc"  # a text that ends with the next chunk
    refused(RecordError, record.decode, sealed(body, 1) + chunk([]))


def test_deeply_nested_json_is_decoded_or_refused():
    body = b"\x0b\x01\x00\x98\x11" + b"[" * 1100 + b"]" * 1100
    try:
        _, records, _ = record.decode(sealed(body, 1))
    except RecordError:
        return
    assert type(records[0][2]) is list
