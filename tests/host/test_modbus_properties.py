"""Properties of the Modbus layer: every type in every order comes back, plans cover and fit."""

import math
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldpost.config import rows
from fieldpost.drivers.modbus import Modbus
from fieldpost.drivers.modbus_pdu import (
    FORMATS,
    MAX_BITS,
    MAX_REGISTERS,
    TABLES,
    check,
    decode,
    encode,
    place,
    plan,
)
from fieldpost.errors import DriverError, LinkError
from fieldpost.point import Point
from fieldpost.rows import Row
from fieldpost.schema import SCHEMA

SIZES = {name: struct.calcsize(form) for name, form in FORMATS.items() if form}
LIMITS = {
    name: (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1)
    if name.startswith("int")
    else (0, (1 << 8 * size) - 1)
    for name, size in SIZES.items()
    if "int" in name
}
ROWS = {**SCHEMA["point"], **rows(Modbus.POINT)}
DEVICE = {"word_order": "big", "byte_order": "big"}
orders = st.sampled_from(["big", "little"])


def field(table="holding", register=0, **config):
    own = dict.fromkeys(ROWS)
    own.update(scale=1, offset=0, bit=0, writable=False, table=table, register=register)
    return place(Point(1, "dev", "p", config={**own, **config}), DEVICE)


def test_every_format_may_be_configured():
    assert sorted(Row(ROWS["type"]).words) == sorted(FORMATS)


def read(one, data):
    return decode(one, bytes((3, len(data))) + data, one[0])


def rearranged(data, words, octets):
    """The registers of a value as big-endian bytes, by plain rearrangement."""
    registers = [data[i : i + 2] for i in range(0, len(data), 2)]
    if octets == "little":
        registers = [register[::-1] for register in registers]
    if words == "little":
        registers.reverse()
    return b"".join(registers)


@pytest.mark.parametrize("kind", sorted(SIZES))
@given(data=st.data(), words=orders, octets=orders)
def test_every_type_reads_in_every_order(kind, data, words, octets):
    raw = data.draw(st.binary(min_size=SIZES[kind], max_size=SIZES[kind]))
    one = field(type=kind, word_order=words, byte_order=octets)
    wanted = struct.unpack(FORMATS[kind], rearranged(raw, words, octets))[0]
    if not math.isfinite(wanted):
        assert read(one, raw) is None
        return
    assert read(one, raw) == wanted
    assert encode(one, wanted) == raw or kind.startswith("float")  # -0.0 and 0.0 are equal


@pytest.mark.parametrize("kind", sorted(LIMITS))
@given(data=st.data(), words=orders, octets=orders)
def test_integers_come_back_or_are_refused(kind, data, words, octets):
    low, high = LIMITS[kind]
    value = data.draw(st.integers() | st.integers(low, high) | st.sampled_from([low, high]))
    one = field(type=kind, word_order=words, byte_order=octets)
    if low <= value <= high:
        assert read(one, encode(one, value)) == value
    else:
        with pytest.raises(DriverError, match=r"^invalid value$"):
            encode(one, value)


@given(st.floats(), orders, orders)
def test_floats_come_back_or_are_refused(value, words, octets):
    wide = field(type="float64", word_order=words, byte_order=octets)
    narrow = field(type="float32", word_order=words, byte_order=octets)
    if not math.isfinite(value):
        for one in (wide, narrow):
            with pytest.raises(DriverError):
                encode(one, value)
        return
    assert read(wide, encode(wide, value)) == value
    try:
        single = struct.unpack(">f", struct.pack(">f", value))[0]
    except OverflowError:
        with pytest.raises(DriverError):
            encode(narrow, value)
    else:
        assert read(narrow, encode(narrow, value)) == single


@given(
    st.integers(-32768, 32767),
    st.sampled_from([0.1, 0.01, 0.001, 0.25, 0.5, 2.5, 10.0]),
    st.sampled_from([0, -40, 0.5, 273.15]),
)
def test_scaled_values_are_the_decimal_and_go_back(raw, scale, offset):
    one = field(type="int16", scale=scale, offset=offset)
    value = read(one, struct.pack(">h", raw))
    assert value == round(raw * scale + offset, 3)
    assert len(repr(value).partition(".")[2]) <= 3
    assert encode(one, value) == struct.pack(">h", raw)


@given(st.integers(0, 65535), st.integers(0, 15), orders)
def test_bits(word, bit, octets):
    data = rearranged(struct.pack(">H", word), "big", octets)
    assert read(field(type="bool", bit=bit, byte_order=octets), data) == bool(word >> bit & 1)


@given(st.none() | st.text() | st.binary() | st.lists(st.integers()) | st.complex_numbers())
def test_nonsense_is_refused(value):
    for config in ({"type": kind} for kind in FORMATS):
        for more in ({}, {"scale": 0.1}, {"min": 0, "max": 1}):
            with pytest.raises(DriverError, match=r"^invalid value$"):
                encode(field(**config, **more), value)


@given(st.binary(min_size=2, max_size=253), st.integers(1, 4), st.integers(1, 125))
def test_an_answer_is_whole_or_refused(pdu, function, count):
    size = 2 * count if function > 2 else (count + 7) // 8
    try:
        check(pdu, function, 0, count)
    except (DriverError, LinkError):
        assert pdu[:2] != bytes((function, size)) or len(pdu) != size + 2
    else:
        assert pdu[:2] == bytes((function, size))
        assert len(pdu) == size + 2


@st.composite
def places(draw):
    """Fields of several tables; near each other more often than not."""
    found = []
    register = 0
    for _ in range(draw(st.integers(1, 60))):
        table = draw(st.sampled_from(TABLES))
        kind = draw(st.sampled_from(sorted(FORMATS))) if table in TABLES[2:] else None
        register += draw(st.integers(0, 12) | st.integers(0, 2500))
        found.append(field(table, min(register, 65532), type=kind))
    return draw(st.permutations(found))


def wanted(one):
    return range(one[0], one[0] + one[1])


@given(places(), st.integers(0, 120))
def test_plans_cover_and_fit(fields, max_gap):
    blocks = plan(fields, max_gap)
    planned = [one for block in blocks for one in block.fields]
    assert sorted(map(id, planned)) == sorted(map(id, fields))
    for block in blocks:
        assert 1 <= block.count <= (MAX_REGISTERS if block.key >> 17 else MAX_BITS)
        assert block.key >> 16 == block.key + block.count - 1 >> 16
        asked = set(range(block.key, block.key + block.count))
        needed = set().union(*map(wanted, block.fields))
        assert needed <= asked
        assert {min(asked), max(asked)} <= needed
        ordered = sorted(needed)
        gaps = [after - before - 1 for before, after in pairwise(ordered)]
        assert max(gaps, default=0) <= max_gap


@given(places(), st.integers(0, 120))
def test_plans_read_no_register_twice(fields, max_gap):
    """Unless fields overlap, which only those who configure two views of a register have."""
    apart = []
    taken = set()
    for one in fields:
        if not taken & set(wanted(one)):
            apart.append(one)
            taken |= set(wanted(one))
    asked = [
        key for block in plan(apart, max_gap) for key in range(block.key, block.key + block.count)
    ]
    assert len(asked) == len(set(asked))


@given(places(), st.integers(0, 120))
def test_plans_join_whatever_they_may(fields, max_gap):
    blocks = plan(fields, max_gap)
    for one, after in pairwise(blocks):
        limit = MAX_REGISTERS if one.key >> 17 else MAX_BITS
        first = after.fields[0]
        apart = first[0] > one.key + one.count + max_gap
        assert apart or first[0] >> 16 != one.key >> 16 or first[0] + first[1] - one.key > limit


@given(places(), st.integers(0, 120))
def test_halving_ends_with_every_field_alone_or_in_one_register(fields, max_gap):
    todo = plan(fields, max_gap)
    ends = []
    while todo:
        block = todo.pop()
        halves = block.halves(max_gap)
        if halves:
            assert sum(len(half.fields) for half in halves) == len(block.fields)
            todo += halves
        else:
            ends.append(block)
    assert all(len(block.fields) == 1 or block.count == 1 for block in ends)
    assert sum(len(block.fields) for block in ends) == len(fields)
