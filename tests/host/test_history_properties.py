"""history against a naive model that holds everything: datetime, fractions, plain lists."""

import math
from datetime import datetime, timedelta, timezone
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from fieldpost.history import Aggregate, Bucket, Interval, raw

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MS = timedelta(milliseconds=1)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
INTEGERS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(-1e6, 1e6, width=32)
NUMBERS = st.one_of(INTEGERS, FLOATS, st.booleans())
VALUES = st.one_of(NUMBERS, st.sampled_from(["on", None, math.nan, math.inf, [1]]))
FILLS = st.sampled_from(["none", "last", "linear", "boundaries"])


def moments():
    return st.integers(0, 4_102_444_800_000)


@st.composite
def series(draw, values=VALUES, most=30):
    """Records of up to three points in order of time."""
    at = draw(st.integers(1000, 2000))
    found = []
    for _ in range(draw(st.integers(0, most))):
        at += draw(st.integers(0, 40))
        found.append((at, draw(st.integers(1, 3)), draw(values), None))
    return found


def model_span(text, ms):
    """The bucket of ``text`` around ``ms``, by the calendar of datetime."""
    count, unit = int(text[:-1]), text[-1]
    when = EPOCH + ms * MS
    if unit != "o":
        size = count * SECONDS[unit] * 1000
        origin = datetime(1970, 1, 5 if unit == "w" else 1, tzinfo=timezone.utc)
        start = origin + (when - origin) // (size * MS) * (size * MS)
        return (start - EPOCH) // MS, (start - EPOCH) // MS + size
    first = (when.year * 12 + when.month - 1) // count * count
    months = (
        datetime(m // 12, m % 12 + 1, 1, tzinfo=timezone.utc) for m in (first, first + count)
    )
    return tuple((month - EPOCH) // MS for month in months)


@given(moments(), st.integers(1, 60), st.sampled_from("smhdwo"))
def test_buckets_are_those_of_the_calendar(ms, count, unit):
    text = f"{count}{unit}"
    start, end = Interval(text).span(ms)
    assert (start, end) == model_span(text, ms)
    assert start <= ms < end
    assert Interval(text).span(end)[0] == end


@given(st.lists(st.one_of(INTEGERS, st.booleans()), min_size=1))
def test_figures_of_integers_are_those_of_fractions(values):
    bucket = filled(values)
    mean = Fraction(sum(values), len(values))
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    assert (bucket.low, bucket.high) == (min(values), max(values))
    assert math.isclose(bucket.mean(), mean, rel_tol=1e-15)
    assert math.isclose(bucket.variance(), variance, rel_tol=1e-15)
    if mean.denominator == 1:
        assert bucket.mean() == mean


@given(st.lists(st.one_of(FLOATS, st.integers(-1000, 1000)), min_size=1))
def test_figures_of_numbers(values):
    bucket = filled(values)
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / len(exact)
    scale = max(map(abs, values))
    assert (bucket.low, bucket.high, bucket.count) == (min(values), max(values), len(values))
    assert math.isclose(bucket.mean(), mean, abs_tol=scale * 1e-13)
    assert math.isclose(bucket.variance(), variance, rel_tol=1e-9, abs_tol=scale**2 * 1e-13)


def filled(values):
    bucket = Bucket(0, 1)
    for value in values:
        bucket.add(value)
    return bucket


@given(series(), st.integers(0, 3300), st.integers(0, 3300), st.booleans(), st.booleans())
def test_raw_rows(records, start, end, before, after):
    rows = list(raw(records, start, end, before, after))
    inside = [record for record in records if start <= record[0] < end]
    expected = sorted(map(repr, inside))
    for id in (1, 2, 3):
        own = [record for record in records if record[1] == id]
        if before:
            expected += map(repr, [record for record in own if record[0] < start][-1:])
        if after:
            later = [record for record in own if record[0] >= max(start, end)]
            expected += map(repr, later[:1])
    assert sorted(expected) == sorted(repr(tuple(row.values())) for row in rows)
    assert [row["ts"] for row in rows] == sorted(row["ts"] for row in rows)


def is_value(value):
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def is_number(value):
    return isinstance(value, (int, float))


class Model:
    """The rows of one point, from all its values at once."""

    def __init__(self, size, start, end, fill, align):
        self.size, self.start, self.end, self.fill = size, start, end, fill
        self.shift = size // 2 if align == "center" else 0

    def rows(self, items):
        """Rows from the point's (ms, value) pairs."""
        items = [(ms, value) for ms, value in items if is_value(value)]
        inside = [item for item in items if self.start <= item[0] < self.end]
        for begin in range(self.start // self.size * self.size, self.end, self.size):
            own = [value for ms, value in inside if begin <= ms < begin + self.size]
            if own:
                yield begin, own[0], own[-1], len(own)
            elif self.fill != "none":
                yield from self._filled(begin, items)

    def _filled(self, begin, items):
        # A bucket that reaches out of the range stands for its part inside.
        low, high = max(begin, self.start), min(begin + self.size, self.end)
        before = [item for item in items if item[0] < low]
        later = [item for item in items if item[0] >= high]
        if not before:
            return
        if self.fill == "last":
            yield begin, before[-1][1], before[-1][1], 0
        elif later and is_number(before[-1][1]) and is_number(later[0][1]):
            moments = [begin + self.shift] * 2
            if self.fill == "boundaries":
                moments = [begin, begin + self.size]
            yield begin, *(self._on_line(at, before[-1], later[0]) for at in moments), 0

    def _on_line(self, at, before, later):
        at = min(max(at, before[0]), later[0])
        share = Fraction(at - before[0], later[0] - before[0])
        return Fraction(before[1]) + (Fraction(later[1]) - Fraction(before[1])) * share


def close(a, b, scale):
    if not is_number(a) or isinstance(a, bool):
        return a == b
    return a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=scale * 1e-9)


@given(
    series(),
    st.integers(1, 100),
    st.integers(900, 2500),
    st.integers(0, 1500),
    FILLS,
    st.sampled_from(["left", "center"]),
)
def test_aggregates(records, size, start, length, fill, align):
    end = start + length
    rows = list(Aggregate(Interval(size), start, end, fill, align).rows(records))
    rows = [row for row in rows if row]
    scale = max([1, *(abs(r[2]) for r in records if is_number(r[2]) and is_value(r[2]))])
    model = Model(size, start, end, fill, align)
    for id in (1, 2, 3):
        expected = list(model.rows([(ms, value) for ms, own, value, _ in records if own == id]))
        found = [row for row in rows if row["address"] == id]
        assert [row["start"] for row in found] == [begin for begin, *_ in expected]
        for row, (begin, first, last, count) in zip(found, expected, strict=True):
            assert row["end"] == begin + size
            assert row["ts"] == begin + model.shift
            assert row["value_count"] == count
            assert close(row["value_first"], first, scale)
            assert close(row["value_last"], last, scale)


@given(series(), st.integers(1, 100), FILLS)
def test_turns_change_nothing(records, size, fill):
    def rows(items):
        return [row for row in Aggregate(Interval(size), 1100, 1900, fill).rows(items) if row]

    assert repr(rows(records)) == repr(rows([item for r in records for item in (None, r)]))
