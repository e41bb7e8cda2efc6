"""history: buckets of time, figures of a bucket, filled gaps, points just outside.

Compared with a brute-force model in ``tests/host/test_history_properties.py``.
"""

from core_kit import refused

from fieldpost.history import Aggregate, Bucket, Interval, raw

DAY = 86400000
#: 2024-02-29, 12:34:56.789 UTC, a Thursday.
LEAP_DAY = 1709164800000
MOMENT = LEAP_DAY + 45296789


def records(*items, id=1):
    """Records of one point from (ms, value) pairs."""
    return [(ms, id, value, None) for ms, value in items]


def aggregated(items, interval=10, start=0, end=1000, **keys):
    """Rows of an aggregate as (ts, first, last, count)."""
    rows = Aggregate(Interval(interval), start, end, **keys).rows(items)
    keys = ("ts", "value_first", "value_last", "value_count")
    return [tuple([row[key] for key in keys]) for row in rows if row is not None]


def figures(*values):
    """The figures of one bucket."""
    bucket = Bucket(0, 1)
    for value in values:
        bucket.add(value)
    return bucket.low, bucket.high, bucket.mean(), bucket.variance(), bucket.count


# -- time


def test_buckets_of_fixed_length():
    for text, start, end in (
        (60000, LEAP_DAY + 45240000, LEAP_DAY + 45300000),
        ("60000", LEAP_DAY + 45240000, LEAP_DAY + 45300000),
        ("60s", LEAP_DAY + 45240000, LEAP_DAY + 45300000),
        ("15m", LEAP_DAY + 45000000, LEAP_DAY + 45900000),
        ("12h", LEAP_DAY + 43200000, LEAP_DAY + DAY),
        ("1d", LEAP_DAY, LEAP_DAY + DAY),
        # 1970-01-01 + 7 * 2826 days.
        ("7d", 1709164800000, 1709164800000 + 7 * DAY),
        # Monday 2024-02-26.
        ("1w", LEAP_DAY - 3 * DAY, LEAP_DAY + 4 * DAY),
        ("2w", LEAP_DAY - 10 * DAY, LEAP_DAY + 4 * DAY),
    ):
        assert Interval(text).span(MOMENT) == (start, end), text
        assert Interval(text).span(start)[0] == start
        assert Interval(text).span(end)[0] == end


def test_buckets_of_months():
    for text, start, days in (
        ("1o", LEAP_DAY - 28 * DAY, 29),
        ("3o", LEAP_DAY - 59 * DAY, 91),
        ("12o", LEAP_DAY - 59 * DAY, 366),
        # From 2020-01-01.
        ("60o", LEAP_DAY - (59 + 4 * 365 + 1) * DAY, 5 * 365 + 2),
    ):
        assert Interval(text).span(MOMENT) == (start, start + days * DAY), text
    month = Interval("1o")
    at = 0
    lengths = []
    for _ in range(3 * 12):
        assert month.span(at)[0] == at
        assert month.span(at)[1] == month.span(month.span(at)[1] - 1)[1]
        lengths.append((month.span(at)[1] - at) // DAY)
        at = month.span(at)[1]
    year = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    assert lengths == year * 2 + [31, 29] + year[2:]


def test_intervals_that_are_none():
    for text in ("", "0", 0, -1, 1.5, True, None, "m", "1.5h", "1y", "10ms", "-5m", "9" * 12):
        assert "s m h d w or o" in refused(ValueError, Interval, text), text


# -- figures


def test_integers_are_exact():
    big = (1 << 53) + 1
    assert figures(big, big) == (big, big, big, 0, 2)
    assert figures(1, 2, 3, 4) == (1, 4, 2.5, 1.25, 4)
    low, high, mean, variance, _ = figures(-(1 << 63), (1 << 64) - 1)
    assert (low, high) == (-(1 << 63), (1 << 64) - 1)
    assert mean == (1 << 62) - 0.5 and variance > 1e38
    # A mean far from zero does not swallow the variance.
    assert figures(*[(1 << 31) + i for i in (0, 2)])[2:4] == ((1 << 31) + 1, 1)


def test_floats():
    assert figures(0.5, 1.5) == (0.5, 1.5, 1.0, 0.25, 2)
    # Sums of squares would be wrong in single precision.
    base = 16384.0
    mean, variance = figures(base, base + 0.5, base + 1)[2:4]
    assert abs(mean - base - 0.5) < 0.01 and abs(variance - 1 / 6) < 0.01


def test_integers_then_floats():
    low, high, mean, variance, count = figures(1, 2, 3, 0.5, 1)
    assert (low, high, count) == (0.5, 3, 5)
    assert abs(mean - 1.5) < 1e-5 and abs(variance - 0.8) < 1e-5


def test_bools_are_0_and_1_and_text_only_counts():
    assert figures(True, False, True, True) == (0, 1, 0.75, 0.1875, 4)
    assert figures("on", "off") == (None, None, None, None, 2)
    assert figures(4, "off", 6) == (4, 6, 5, 1, 3)
    assert figures() == (None, None, None, None, 0)


# -- raw rows


def test_raw_range_is_half_open():
    found = records((9, 0), (10, 1), (19, 2), (20, 3))
    assert [row["value"] for row in raw(found, 10, 20)] == [1, 2]
    assert list(raw(iter([(10, 5, 1.5, "warm")]), 0, 99)) == [
        {"ts": 10, "address": 5, "value": 1.5, "value_string": "warm"}
    ]


def test_points_just_outside():
    found = records((1, "a"), (2, "b")) + records((1, "c"), id=2) + records((10, "d"))
    found += records((20, "e"), (21, "f")) + records((22, "g"), id=2)

    def seen(before, after):
        return [row["value"] for row in raw(found, 10, 20, before, after)]

    assert seen(False, False) == ["d"]
    assert seen(True, False) == ["c", "b", "d"]
    assert seen(False, True) == ["d", "e", "g"]
    assert seen(True, True) == ["c", "b", "d", "e", "g"]
    # Without a record inside.
    assert [row["value"] for row in raw(found, 11, 20, True)] == ["c", "d"]


def test_raw_rows_where_the_clock_was_set_back():
    found = records((5, "a"), (12, "b"), (6, "c"), (13, "d"), (25, "e"), (14, "f"), (26, "g"))
    rows = raw(found, 10, 20, True, True)
    assert [row["value"] for row in rows] == ["a", "b", "d", "e", "f"]


def test_turns_are_passed_on():
    assert list(raw([None, (1, 1, 1, None), None], 5, 6)) == [None, None]
    assert list(Aggregate(Interval(10), 0, 9).rows([None, None])) == [None, None]


# -- aggregates


def test_a_row_has_every_figure():
    found = records((1000, 4), (1500, 8), (1999, 6), (2000, 5))
    rows = list(Aggregate(Interval("1s"), 1000, 2000).rows(found))
    assert rows == [
        {
            "ts": 1000,
            "address": 1,
            "value_first": 4,
            "value_last": 6,
            "value_min": 4,
            "value_max": 8,
            "value_avg": 6,
            "value_var": 8 / 3,
            "value_count": 3,
            "start": 1000,
            "end": 2000,
        }
    ]
    (row,) = Aggregate(Interval("1s"), 1000, 2000, align="center").rows(found)
    assert (row["ts"], row["start"], row["end"]) == (1500, 1000, 2000)


def test_only_what_is_in_the_range_counts():
    found = records((3, 1), (5, 2), (14, 3), (15, 4), (19, 5))
    assert aggregated(found, start=5, end=15) == [(0, 2, 2, 1), (10, 3, 3, 1)]


def test_points_do_not_mix():
    found = [(1, 1, "a", None), (2, 2, "b", None), (11, 2, "c", None), (3, 1, "d", None)]
    rows = list(Aggregate(Interval(10), 0, 99).rows(found))
    assert [(row["address"], row["ts"], row["value_first"]) for row in rows] == [
        (2, 0, "b"),
        (1, 0, "a"),
        (2, 10, "c"),
    ]
    assert rows[1]["value_last"] == "d"


def test_values_that_are_none_are_left_out():
    nan, infinite = float("nan"), float("inf")
    found = records((1, nan), (2, None), (3, infinite), (4, 7), (5, -infinite), (12, nan))
    assert aggregated(found) == [(0, 7, 7, 1)]


def test_a_clock_that_was_set_back():
    found = records((35, 1), (12, 2), (13, 3), (36, 4))
    assert aggregated(found) == [(30, 1, 1, 1), (10, 2, 3, 2), (30, 4, 4, 1)]
    # From before the range: it belongs to no bucket.
    assert aggregated(found, start=30) == [(30, 1, 4, 2)]
    # From after its end and back.
    assert aggregated(found, end=30) == [(10, 2, 3, 2)]


# -- gaps

GAP = records((5, 10), (12, 20), (45, 53), (47, 70))


def test_without_filling():
    assert aggregated(GAP) == [(0, 10, 10, 1), (10, 20, 20, 1), (40, 53, 70, 2)]


def test_fill_last():
    assert aggregated(GAP, end=61, fill="last") == [
        (0, 10, 10, 1),
        (10, 20, 20, 1),
        (20, 20, 20, 0),
        (30, 20, 20, 0),
        (40, 53, 70, 2),
        (50, 70, 70, 0),
        (60, 70, 70, 0),
    ]
    # From the value before the range.
    assert aggregated(GAP, start=25, end=41, fill="last") == [
        (20, 20, 20, 0),
        (30, 20, 20, 0),
        (40, 20, 20, 0),
    ]
    assert aggregated(records((5, "on")), end=20, fill="last")[1] == (10, "on", "on", 0)
    assert aggregated(records((25, 1)), end=30, fill="last") == [(20, 1, 1, 1)]


def test_fill_linear():
    # From (12, 20) to (45, 53): as much as the time.
    assert aggregated(GAP, fill="linear")[2:4] == [(20, 28, 28, 0), (30, 38, 38, 0)]
    centered = aggregated(GAP, fill="linear", align="center")
    assert centered[2:4] == [(25, 33, 33, 0), (35, 43, 43, 0)]
    # Into the range from outside, and out of it; never beyond the values themselves.
    assert aggregated(GAP, start=20, end=40, fill="linear") == [(20, 28, 28, 0), (30, 38, 38, 0)]
    assert aggregated(GAP, start=15, end=20, fill="linear") == [(10, 20, 20, 0)]
    # Nothing is known behind the last value.
    assert aggregated(GAP, end=99, fill="linear")[-1] == (40, 53, 70, 2)
    assert len(aggregated(records((5, "on"), (35, 1)), fill="linear")) == 2


def test_fill_boundaries():
    assert aggregated(GAP, fill="boundaries")[2:4] == [(20, 28, 38, 0), (30, 38, 48, 0)]
    rows = list(Aggregate(Interval(10), 20, 30, "boundaries").rows(GAP))
    assert [rows[0][key] for key in ("value_min", "value_max", "value_avg")] == [28, 38, 33]
    assert abs(rows[0]["value_var"] - 100 / 12) < 1e-4
    assert aggregated(GAP, start=35, end=40, fill="boundaries") == [(30, 38, 48, 0)]


def test_a_long_gap_gives_others_a_turn():
    longest = run = total = 0
    for row in Aggregate(Interval(1), 0, 1000, "last").rows(records((5, 10))):
        run = run + 1 if row else 0
        longest = max(longest, run)
        total += row is not None
    assert total == 995 and longest < 40


def test_times_stay_exact():
    found = records((MOMENT, 1.5), (MOMENT + 3 * DAY, 4.5))
    rows = aggregated(found, "1d", MOMENT - DAY, MOMENT + 9 * DAY, fill="linear")
    assert [row[0] for row in rows] == [LEAP_DAY + i * DAY for i in range(4)]
    assert abs(rows[2][1] - (1.5 + 3 * (2 * DAY - (MOMENT - LEAP_DAY)) / (3 * DAY))) < 1e-5
