"""Properties of I2C registers: what is written is read back, beside it nothing changes."""

import math
import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fieldpost.config import Row, rows
from fieldpost.drivers.i2c import I2c, decode, encode, place
from fieldpost.errors import ConfigError, DriverError
from fieldpost.point import Point

ROWS = rows(I2c.POINT)
TYPES = Row(ROWS["type"]).words
INTEGERS = [name for name in TYPES if "int" in name]
STRUCT = {8: "b", 16: "h", 32: "i", 64: "q"}
orders = st.sampled_from(["big", "little"])


def field(**config):
    own = {key: Row(row).default for key, row in ROWS.items()}
    own.update(config)
    return place(Point(1, "dev", "p", config=own)), own


@st.composite
def parts(draw):
    """An integer field within its type, its configuration, the limits of its numbers."""
    kind = draw(st.sampled_from(INTEGERS))
    width = int(kind.lstrip("uint"))
    shift = draw(st.integers(0, width - 1))
    bits = draw(st.integers(1, width - shift))
    low = -(1 << bits - 1) if kind[0] == "i" else 0
    one, config = field(type=kind, order=draw(orders), shift=shift, bits=bits)
    return one, config, low, low + (1 << bits) - 1


@given(parts(), st.data())
def test_a_part_comes_back_and_leaves_the_rest(part, data):
    one, config, low, high = part
    size, _, shift, bits = one
    before = data.draw(st.binary(min_size=size, max_size=size))
    value = data.draw(st.integers(low, high) | st.sampled_from([low, high]))
    after = encode(one, value, before, config)
    assert len(after) == size
    assert decode(one, after, config) == value
    changed = int.from_bytes(before, config["order"]) ^ int.from_bytes(after, config["order"])
    assert changed & ~((1 << bits) - 1 << shift) == 0
    assert encode(one, decode(one, before, config), after, config) == before


@given(parts(), st.integers())
def test_integers_beyond_their_part_are_refused(part, value):
    one, config, low, high = part
    assume(not low <= value <= high)
    with pytest.raises(DriverError, match=r"^invalid value$"):
        encode(one, value, bytes(one[0]), config)


@pytest.mark.parametrize("width", STRUCT)
@given(data=st.data(), order=orders)
def test_whole_integers_are_those_of_struct(width, data, order):
    raw = data.draw(st.binary(min_size=width // 8, max_size=width // 8))
    form = (">" if order == "big" else "<") + STRUCT[width]
    for kind, code in ((f"int{width}", form), (f"uint{width}", form.upper())):
        one, config = field(type=kind, order=order)
        assert decode(one, raw, config) == struct.unpack(code, raw)[0]


@given(st.floats(), orders)
def test_floats_come_back_or_are_refused(value, order):
    for kind, form in (("float64", "d"), ("float32", "f")):
        one, config = field(type=kind, order=order)
        try:
            wanted = struct.unpack(form, struct.pack(form, value))[0]
        except OverflowError:
            wanted = math.inf
        if math.isfinite(wanted):
            assert decode(one, encode(one, value, b"", config), config) == wanted
        else:
            with pytest.raises(DriverError):
                encode(one, value, b"", config)


@given(st.binary(min_size=8, max_size=8), orders)
def test_bytes_that_are_no_number_are_none(raw, order):
    for kind in ("float32", "float64"):
        one, config = field(type=kind, order=order)
        found = decode(one, raw[: one[0]], config)
        assert found is None or math.isfinite(found)


@given(
    st.integers(-32768, 32767),
    st.sampled_from([0.1, 0.01, 0.25, 0.5, 2.5, 10]),
    st.sampled_from([0, -40, 0.5, 273.15]),
)
def test_scaled_values_are_the_decimal_and_go_back(raw, scale, offset):
    one, config = field(type="int16", scale=scale, offset=offset, decimals=2)
    data = struct.pack(">h", raw)
    value = decode(one, data, config)
    assert value == pytest.approx(raw * scale + offset, abs=0.006)
    assert len(repr(value).partition(".")[2]) <= 2
    assert encode(one, value, data, config) == data


@given(st.sampled_from(TYPES), st.integers(0, 63), st.none() | st.integers(1, 64))
def test_a_field_is_within_its_type_or_refused(kind, shift, bits):
    try:
        one, config = field(type=kind, shift=shift, bits=bits)
    except ConfigError:
        return
    assert one[2] == shift
    assert shift + one[3] <= 8 * one[0]
    decode(one, bytes(one[0]), config)


@given(st.none() | st.text() | st.binary() | st.lists(st.integers()) | st.complex_numbers())
def test_nonsense_is_refused(value):
    for kind in TYPES:
        for more in ({}, {"scale": 0.1}, {"scale": 0}, {"min": 0, "max": 1}):
            one, config = field(type=kind, **more)
            with pytest.raises(DriverError, match=r"^invalid value$"):
                encode(one, value, bytes(one[0]), config)
