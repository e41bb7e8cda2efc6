"""Aggregates of a store: the figures of a plain reckoning, and the command around them."""

import csv
import io
import json
import math
import statistics

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from export_kit import T0, flush, make_store, values
from fieldpost_tools import aggregate, query
from fieldpost_tools.cli import main
from fieldpost_tools.errors import InputError
from fieldpost_tools.query import EVERYTHING, Selection

NUMBERS = st.lists(st.one_of(st.integers(-1000, 1000), st.booleans(), st.none()), max_size=40)


@settings(max_examples=40)
@given(NUMBERS, st.sampled_from(["1s", "3s", "10s", 7000]))
def test_figures_are_those_of_a_plain_reckoning(tmp_path_factory, numbers, every):
    store = make_store(tmp_path_factory.mktemp("aggregate") / "a.db", values(*numbers))
    size = {"1s": 1000, "3s": 3000, "10s": 10000, 7000: 7000}[every]
    wanted = {}
    for seq, value in enumerate(numbers):
        if value is not None:
            wanted.setdefault((T0 + 1000 * seq) // size * size, []).append(value)
    with store:
        rows = list(aggregate.rows(store, EVERYTHING, every))
    assert [row.start_ms for row in rows] == sorted(wanted)
    for row in rows:
        found = wanted[row.start_ms]
        assert (row.first, row.last, row.count) == (found[0], found[-1], len(found))
        assert (row.min, row.max) == (min(found), max(found))
        assert row.avg == pytest.approx(statistics.fmean(found))
        assert row.var == pytest.approx(statistics.pvariance(map(int, found)))
        assert row.end_ms - row.start_ms == size
        assert row[:4] == ("gw-1", "ahu-1", "dat", "°C")


def test_what_is_just_outside_counts_for_the_fill(tmp_path):
    with make_store(tmp_path / "a.db", flush(0, 1), flush(10, 1)) as store:
        inside = Selection((), (), T0 + 2000, T0 + 6000)
        assert list(aggregate.rows(store, inside, "2s")) == []
        linear = list(aggregate.rows(store, inside, "2s", "linear"))
        assert [(row.ts_ms - T0, row.avg) for row in linear] == [(2000, 1.0), (4000, 2.0)]
        last = list(aggregate.rows(store, inside, "2s", "last", "center"))
        assert [(row.ts_ms - T0, row.last) for row in last] == [(3000, 0.0), (5000, 0.0)]


def test_points_come_one_after_the_other(tmp_path):
    with make_store(tmp_path / "a.db", flush(0, 4), flush(0, 4, node="gw-2")) as store:
        rows = list(aggregate.rows(store, EVERYTHING, "1h"))
        assert [(row.node, row.count) for row in rows] == [("gw-1", 4), ("gw-2", 4)]
        names = [one.names for one in query.series(store)]
        assert names == [(node, "ahu-1", "dat", "°C") for node in ("gw-1", "gw-2")]


def test_a_wrong_interval_is_named(tmp_path):
    store = make_store(tmp_path / "a.db", flush(0, 1))
    with store, pytest.raises(InputError, match="every: '5y' is not allowed"):
        list(aggregate.rows(store, EVERYTHING, "5y"))


@pytest.fixture
def call(tmp_path):
    make_store(
        tmp_path / "a.db",
        flush(0, 600, value=lambda n: math.sin(n / 50)),
        flush(0, 3, stream=2, dated=False),
    ).close()

    def call(*words, code=0):
        result = CliRunner().invoke(main, ["query", "--db", str(tmp_path / "a.db"), *words])
        assert result.exit_code == code, result.output
        return result.output

    return call


def test_table_csv_and_json(call):
    assert "│ gw-1 │ ahu-1  │ dat   │ 2023-11-14T22:13:00.000Z │ 40" in call("--every", "1m")
    rows = list(csv.DictReader(io.StringIO(call("--every", "1m", "--format", "csv"), newline="")))
    assert len(rows) == 11
    assert rows[1]["time"] == "2023-11-14T22:14:00.000Z"
    objects = json.loads(call("--every", "1m", "--format", "json"))
    assert [str(one["avg"]) for one in objects] == [row["avg"] for row in rows]


def test_a_chart(call):
    text = call("--format", "chart")
    assert "gw-1 ahu-1/dat" in text
    assert "22:15:44" in text
    assert "\x1b" not in text
    assert any("⠀" < char <= "⣿" for char in text)


def test_a_chart_of_nothing_or_too_much_is_refused(call, tmp_path):
    flushes = [flush(0, 2, node=f"gw-{n}") for n in range(12)]
    make_store(tmp_path / "b.db", *flushes).close()
    result = CliRunner().invoke(
        main, ["query", "--db", str(tmp_path / "b.db"), "--format", "chart"]
    )
    assert "at most 8 points" in result.output
    make_store(tmp_path / "c.db", values("x", "y")).close()
    result = CliRunner().invoke(
        main, ["query", "--db", str(tmp_path / "c.db"), "--format", "chart"]
    )
    assert "points with numbers" in result.output
