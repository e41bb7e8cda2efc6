"""Configurations for property tests: anything, mostly valid ones, and those with damage."""

from hypothesis import strategies as st

from fieldpost.config import SCHEMA, load_driver, rows
from fieldpost.rows import Row

DRIVERS = ("virtual", "modbus", "host")

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-10, 70000)
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(
        ["a", "b/c", "default", "main", "all", "always", "adr.log", "1000", "virtual"]
    )
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "name", "x"]) | st.text(max_size=3), inner, max_size=3
        )
    ),
    max_leaves=12,
)


def _limits(row, low, high):
    return (low if row.lo is None else row.lo, high if row.hi is None else min(row.hi, high))


def _texts(row):
    low, high = _limits(row, 0, 64)
    return st.text("abcDEF019_-.", min_size=low, max_size=min(high, low + 8))


@st.composite
def valid(draw, row, depth=0):
    """A value that a row mostly accepts."""
    kind = row.kind
    if kind == "obj":
        return draw(table(row.words[0], depth + 1))
    if kind == "list":
        low, high = _limits(row, 0, 3)
        inner = Row("obj " + row.words[0] if row.words[0] in SCHEMA else row.words[0])
        return draw(st.lists(valid(inner, depth), min_size=low, max_size=high))
    if kind == "int":
        return draw(st.integers(*_limits(row, 0, 2**40)))
    if kind == "num":
        return draw(st.floats(*_limits(row, -1e9, 1e9)) | st.integers(0, 100))
    by_kind = {
        "bool": st.booleans(),
        "enum": st.sampled_from(row.words or ["x"]),
        "map": st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
        "rule": st.sampled_from(["adr.log", "always", 500, "on_cov 1 0 60000 or */5 * * * *"]),
        "log": st.sampled_from(["", "always", 500, "on_update"]),
        "timer": st.sampled_from([500, "0 * * * *"]),
        "topic": st.sampled_from(["a/{node}", "{node_id}/value"]),
        "any": st.sampled_from(["all", 1, ["all"], {"address": "all"}]),
    }
    return draw(by_kind[kind] if kind in by_kind else _texts(row))


@st.composite
def table(draw, name, depth=0):
    """An object that a table mostly accepts, with every required key and some of the others."""
    own = dict(SCHEMA[name])
    made = {}
    if name == "device":
        made["driver"] = draw(st.sampled_from(DRIVERS))
        own.update(rows(load_driver(made["driver"]).DEVICE))
        own.pop("driver")
        own.pop("points")
    for key, text in own.items():
        row = Row(text)
        if row.required or draw(st.integers(0, 3)) == 0:
            made[key] = draw(valid(row, depth))
    return made


def places(value):
    """Every container in ``value``, with each of its keys or indices."""
    if isinstance(value, dict):
        for key in value:
            yield value, key
            yield from places(value[key])
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield value, i
            yield from places(item)


@st.composite
def damaged(draw):
    """A mostly valid configuration with a few places replaced, removed or added."""
    config = draw(table("node"))
    for _ in range(draw(st.integers(0, 3))):
        spots = list(places(config))
        if not spots:
            break
        where, key = spots[draw(st.integers(0, len(spots) - 1))]
        if draw(st.booleans()) or isinstance(where, list):
            where[key] = draw(anything)
        else:
            del where[key]
    return config
