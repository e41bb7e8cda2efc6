"""Modbus without a wire: places, plans, values, answers."""

import struct

from driver_kit import values

from fieldpost.drivers.base import Driver
from fieldpost.drivers.modbus_pdu import (
    FORMATS,
    RefusedError,
    check,
    decode,
    encode,
    place,
    plan,
)
from fieldpost.errors import ConfigError, DriverError, LinkError
from fieldpost.point import Point

DEVICE = {"word_order": "big", "byte_order": "big"}
DEFAULTS = {
    "table": "holding",
    "register": 0,
    "type": None,
    "bit": 0,
    "word_order": None,
    "byte_order": None,
    "scale": 1,
    "offset": 0,
    "decimals": None,
    "writable": True,
    "min": None,
    "max": None,
}


def field(device=None, **config):
    return place(Point(1, "dev", "p", config=dict(DEFAULTS, **config)), device or DEVICE)


def answer(data, function=3):
    return bytes((function, len(data))) + data


def read(data, **config):
    """What a holding register point reads out of the bytes of its registers."""
    one = field(**config)
    return decode(one, answer(data), one[0])


def refused(function, *arguments):
    try:
        function(*arguments)
    except (ConfigError, DriverError, LinkError) as error:
        return error
    raise AssertionError("not refused")


def test_every_type_in_the_standard_order():
    assert read(b"\xff\xfe", type="int16") == -2
    assert read(b"\xff\xfe") == 65534
    assert read(b"\x80\x00\x00\x01", type="int32") == -2147483647
    assert read(b"\x80\x00\x00\x01", type="uint32") == 2147483649
    assert read(b"\x80" + bytes(6) + b"\x01", type="int64") == -(1 << 63) + 1
    assert read(b"\x80" + bytes(6) + b"\x01", type="uint64") == (1 << 63) + 1
    assert read(b"\x41\xac\x00\x00", type="float32") == 21.5
    assert read(b"\xc0\x35\x80" + bytes(5), type="float64") == -21.5
    assert read(b"\x80\x01", type="bool") is True
    assert read(b"\x7f\xfe", type="bool") is False
    assert read(b"\x80\x00", type="bool", bit=15) is True


def test_the_four_orders_of_a_value():
    # The classic naming of 32-bit orders: ABCD, CDAB, BADC, DCBA.
    for words, octets, data in (
        ("big", "big", b"\x0a\x0b\x0c\x0d"),
        ("little", "big", b"\x0c\x0d\x0a\x0b"),
        ("big", "little", b"\x0b\x0a\x0d\x0c"),
        ("little", "little", b"\x0d\x0c\x0b\x0a"),
    ):
        of_point = {"type": "uint32", "word_order": words, "byte_order": octets}
        of_device = {"word_order": words, "byte_order": octets}
        assert read(data, **of_point) == 0x0A0B0C0D
        one = field(of_device, type="uint32")
        assert decode(one, answer(data), one[0]) == 0x0A0B0C0D
        assert encode(one, 0x0A0B0C0D) == data
    assert read(b"\x02\x01", byte_order="little") == 0x0102
    words = b"\x09\x0a\x07\x08\x05\x06\x03\x04"
    assert read(words, type="uint64", word_order="little") == 0x030405060708090A


def test_bits_of_a_register_follow_its_byte_order():
    for bit in range(16):
        data = struct.pack(">H", 1 << bit)
        assert read(data, type="bool", bit=bit) is True
        assert read(data, type="bool", bit=bit ^ 1) is False
        swapped = struct.pack("<H", 1 << bit)
        assert read(swapped, type="bool", bit=bit, byte_order="little") is True


def test_coils_are_packed_from_the_lowest_bit():
    pdu = answer(b"\x05\x82", 1)
    found = []
    for at in range(16):
        one = field(table="coil", register=100 + at)
        found.append(decode(one, pdu, 100))
    assert [i for i in range(16) if found[i]] == [0, 2, 9, 15]


def test_scale_offset_and_decimals():
    assert read(b"\x00\xd5", scale=0.1) == 21.3
    assert read(b"\x00\x03", scale=0.1) == 0.3
    assert read(b"\x00\x07", scale=0.25) == 1.75
    assert read(b"\x00\xd5", scale=0.1, offset=-40) == -18.7
    assert read(b"\x00\xd5", scale=0.1, decimals=0) == 21
    assert read(b"\x00\x01", scale=1e-9) == 1e-9
    assert abs(read(b"\x00\x03", scale=1 / 3) - 1) < 1e-6
    assert read(b"\x41\xac\x51\xec", type="float32", decimals=2) == 21.54
    assert abs(read(b"\x41\xac\x51\xec", type="float32") - 21.54) < 1e-5


def test_integers_stay_exact():
    big = b"\xff" * 8
    assert read(big, type="uint64") == (1 << 64) - 1
    assert read(big, type="uint64", scale=10, offset=-5) == ((1 << 64) - 1) * 10 - 5
    assert read(big, type="uint64", scale=1.0) == (1 << 64) - 1
    assert isinstance(read(b"\x00\x05", scale=2.0), int)
    assert isinstance(read(b"\x00\x05"), int)


def test_what_is_no_number_is_none():
    for text in ("nan", "inf", "-inf"):
        assert read(struct.pack(">f", float(text)), type="float32") is None
        assert read(struct.pack(">d", float(text)), type="float64", decimals=1) is None


def test_encoding_is_the_inverse():
    assert encode(field(type="int16", scale=0.1), 21.3) == b"\x00\xd5"
    assert encode(field(type="int16", scale=0.1), 21.34) == b"\x00\xd5"
    assert encode(field(type="int16", scale=0.1, offset=-40), -40.1) == b"\xff\xff"
    assert encode(field(type="uint64"), (1 << 64) - 1) == b"\xff" * 8
    assert encode(field(type="int64"), -(1 << 63)) == b"\x80" + bytes(7)
    assert encode(field(type="float32"), 21.5) == b"\x41\xac\x00\x00"
    assert encode(field(table="coil"), 1) is True
    assert encode(field(type="bool"), False) is False


def test_values_that_cannot_be_written():
    nan, inf = float("nan"), float("inf")
    for value, config in (
        (32768, {"type": "int16"}),
        (-32769, {"type": "int16"}),
        (-1, {"type": "uint16"}),
        (65536, {}),
        (3276.75, {"type": "int16", "scale": 0.1}),
        (1 << 31, {"type": "int32"}),
        (1 << 32, {"type": "uint32"}),
        (1 << 63, {"type": "int64"}),
        (1 << 64, {"type": "uint64"}),
        (1e39, {"type": "float32"}),
        (nan, {}),
        (inf, {}),
        (nan, {"type": "float32"}),
        (-inf, {"type": "float64"}),
        (nan, {"type": "float64", "min": 0, "max": 1}),
        ("21", {}),
        (None, {"type": "float32"}),
        ([1], {"min": 0}),
        (1, {"scale": 0}),
        (9.9, {"min": 10}),
        (30.1, {"max": 30, "scale": 0.1}),
        (2, {"type": "bool"}),
        ("on", {"table": "coil"}),
        (None, {"table": "coil"}),
    ):
        assert str(refused(encode, field(**config), value)) == "invalid value", (value, config)
    assert encode(field(min=10, max=30), 10) == b"\x00\x0a"
    assert encode(field(min=10, max=30), 30) == b"\x00\x1e"


def spans(blocks):
    return [(block.key >> 16, block.key & 0xFFFF, block.count) for block in blocks]


def at(*places, **config):
    """Fields of a type at these registers."""
    return [field(register=register, **config) for register in places]


def test_neighbours_share_a_request():
    assert spans(plan(at(7, 5, 6), 0)) == [(2, 5, 3)]
    assert spans(plan(at(5, 7), 0)) == [(2, 5, 1), (2, 7, 1)]
    assert spans(plan(at(5, 7, 11), 1)) == [(2, 5, 3), (2, 11, 1)]
    assert spans(plan(at(5, 7, 11), 3)) == [(2, 5, 7)]
    assert spans(plan(at(0, 4, type="float64") + at(2, 8), 0)) == [(2, 0, 9)]
    assert spans(plan([], 0)) == []
    bits = [field(type="bool", register=3, bit=bit) for bit in range(16)]
    assert spans(plan(bits, 0)) == [(2, 3, 1)]


def test_tables_never_share_a_request():
    ends = [field(table="coil", register=65535, type="bool"), field(table="holding")]
    ends += [field(table="discrete", writable=False), field(table="input", writable=False)]
    assert spans(plan(ends, 100)) == [(0, 65535, 1), (1, 0, 1), (2, 0, 1), (3, 0, 1)]


def test_requests_stay_within_the_limits():
    assert spans(plan(at(*range(250)), 0)) == [(2, 0, 125), (2, 125, 125)]
    wide = at(*range(1, 125, 4), type="uint64")  # the last would end at 125
    assert spans(plan(at(0) + wide, 0)) == [(2, 0, 125)]
    assert spans(plan(at(0, 1) + at(*range(2, 126, 4), type="uint64"), 0)) == [
        (2, 0, 122),
        (2, 122, 4),
    ]
    coils = [field(table="coil", register=i) for i in range(0, 2001, 20)]
    assert spans(plan(coils, 19)) == [(0, 0, 1981), (0, 2000, 1)]


def test_halves_end_with_single_registers():
    (block,) = plan(at(*range(8)), 0)
    assert spans(block.halves(0)) == [(2, 0, 4), (2, 4, 4)]
    (block,) = plan(at(0, 9), 8)
    assert spans(block.halves(8)) == [(2, 0, 1), (2, 9, 1)]
    (block,) = plan(at(3, type="uint64"), 0)
    assert block.halves(0) is None
    (block,) = plan([field(type="bool", bit=bit) for bit in range(3)], 0)
    assert block.halves(0) is None


def test_a_block_gives_its_points_values():
    places = [
        field(register=10),
        field(register=11, type="float32"),
        field(type="bool", register=13),
    ]
    driver = Driver({}, [one[5] for one in places])
    (block,) = plan(places, 0)
    block.refused = "illegal data address"
    block.update(answer(b"\x00\x07" + struct.pack(">f", 0.5) + b"\x00\x01"))
    assert values(driver) == [7, 0.5, True]
    assert block.refused is None
    block.update(answer(b"\x00\x08" + struct.pack(">f", float("nan")) + b"\x00\x00"))
    assert values(driver) == [8, "not a number", False]
    block.fail("server device busy")
    assert values(driver) == ["server device busy"] * 3
    assert places[0][5].value == 8


def test_absurd_places_are_refused():
    for key, config in (
        ("type", {"table": "coil", "type": "uint16"}),
        ("type", {"table": "discrete", "type": "float32", "writable": False}),
        ("writable", {"table": "input"}),
        ("writable", {"table": "discrete"}),
        ("register", {"register": 65535, "type": "uint32"}),
        ("register", {"register": 65533, "type": "float64"}),
    ):
        point = Point(1, "dev", "p", config=dict(DEFAULTS, **config))
        assert refused(place, point, DEVICE).path == "dev/p." + key
    for name in FORMATS:
        field(register=65532, type=name)


def test_answers_are_checked():
    check(b"\x03\x04\x00\x01\x00\x02", 3, 17, 2)
    check(b"\x01\x02\xff\x01", 1, 0, 9)
    check(b"\x06\x00\x11\x00\x02", 6, 0x11, 2)
    check(b"\x10\x00\x11\x00\x02", 16, 0x11, 2)
    for pdu, request in (
        (b"\x04\x04\x00\x01\x00\x02", (3, 17, 2)),  # other function
        (b"\x03\x02\x00\x01", (3, 17, 2)),  # too short
        (b"\x03\x04\x00\x01\x00", (3, 17, 2)),  # shorter than it says
        (b"\x03\x04\x00\x01\x00\x02\x00", (3, 17, 2)),  # longer
        (b"\x01\x01\xff", (1, 0, 9)),
        (b"\x06\x00\x11\x00\x03", (6, 0x11, 2)),  # other value
        (b"\x10\x00\x10\x00\x02", (16, 0x11, 2)),  # other address
        (b"\x84\x02", (3, 17, 2)),  # exception of other function
        (b"\x83\x02\x00", (3, 17, 2)),
    ):
        assert str(refused(check, pdu, *request)) == "bad answer", pdu


def test_exceptions_have_their_names():
    names = {
        1: "illegal function",
        2: "illegal data address",
        3: "illegal data value",
        4: "server device failure",
        5: "acknowledge",
        6: "server device busy",
        7: "negative acknowledge",
        8: "memory parity error",
        10: "gateway path unavailable",
        11: "gateway target failed to respond",
        12: "exception 12",
        0: "exception 0",
    }
    for code in names:
        error = refused(check, bytes((0x83, code)), 3, 0, 1)
        assert isinstance(error, RefusedError) and error.code == code
        assert str(error) == names[code]
