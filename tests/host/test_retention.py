"""Retention: tiers are those of a plain reckoning, nothing that is removed comes back."""

import math
import sqlite3

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from export_kit import T0, Scripted, export, flush, make_store, values
from fieldpost_tools import query, retention
from fieldpost_tools.cli import main
from fieldpost_tools.export.pipeline import Exporter
from fieldpost_tools.export.state import States
from fieldpost_tools.retention import HOUR, MINUTE, QUARTER, Kept
from fieldpost_tools.store import Store

DAY = 24 * HOUR
TIERS = "SELECT start_ms, min, max, sum, numbers, count, last FROM tiers WHERE size_ms = ?"
LATER = T0 + 10 * DAY


def tiers(store, size):
    return list(store.read(TIERS + " ORDER BY start_ms", (size,)))


def reckoned(rows, size):
    """The same by hand, of ``(ms, value)``."""
    found = {}
    for ms, value in rows:
        found.setdefault(ms // size * size, []).append(value)
    result = []
    for start, group in sorted(found.items()):
        numbers = [
            float(one) for one in group if isinstance(one, (int, float)) and math.isfinite(one)
        ]
        figures = (min(numbers), max(numbers), sum(numbers)) if numbers else (None,) * 3
        result.append((start, *figures, len(numbers), len(group), group[-1]))
    return result


VALUES = st.lists(
    st.one_of(st.integers(-99, 99), st.sampled_from([0.5, math.inf]), st.none(), st.text("ab")),
    min_size=1,
    max_size=60,
)


@settings(max_examples=25)
@given(VALUES, st.integers(1, 7))
def test_tiers_are_those_of_a_plain_reckoning(tmp_path_factory, found, batch):
    store = make_store(tmp_path_factory.mktemp("retention") / "a.db", values(*found))
    rows = [(T0 + 1000 * seq, value) for seq, value in enumerate(found)]
    with store:
        done = retention.apply(store, Kept(raw=DAY), LATER, batch=batch)
        assert done.records == len(found)
        for size in (MINUTE, QUARTER, HOUR):
            assert tiers(store, size) == reckoned(rows, size)
        assert list(query.records(store)) == []


def test_only_what_is_old_goes_and_late_ones_are_added(tmp_path):
    with make_store(tmp_path / "a.db", flush(0, 100), flush(200, 7400)) as store:
        limit = (T0 + 7200 * 1000) // HOUR * HOUR
        done = retention.apply(store, Kept(raw=DAY, minute=0), T0 + 7200 * 1000 + DAY)
        left = [row.ts_ms for row in query.records(store)]
        assert min(left) == limit
        assert done.records + len(left) == 7500
        assert tiers(store, MINUTE) == []
        counted = sum(row[5] for row in tiers(store, HOUR))
        assert counted == done.records
        store.write([flush(100, 100)])
        assert retention.apply(store, Kept(raw=DAY), T0 + 7200 * 1000 + DAY).records == 100
        assert sum(row[5] for row in tiers(store, HOUR)) == counted + 100
        assert store.totals().records == 7600
        assert store.totals().missing == 0


def test_what_was_removed_does_not_come_back(tmp_path):
    with make_store(tmp_path / "a.db", flush(0, 100)) as store:
        retention.apply(store, Kept(raw=DAY), LATER)
        again = store.write([flush(50, 60)])
        assert again[:2] == (10, 50)
        assert [row.seq for row in query.records(store)] == list(range(100, 110))
        assert store.totals()[2:5] == (110, 0, 0)


def test_what_is_not_exported_stays(tmp_path):
    sink = Scripted()
    with (
        make_store(tmp_path / "a.db", flush(0, 100)) as store,
        States(tmp_path / "s.db") as states,
    ):
        exporter = Exporter(export(sink, tmp_path, batch=40), store, states)
        exporter.step()
        store.write([flush(100, 50)])
        position = states.standing("sink").position
        done = retention.apply(store, Kept(raw=DAY), LATER, position)
        assert (done.records, done.held_back) == (40, 110)
        while exporter.step():
            pass
        assert len(sink.samples) == 150
        done = retention.apply(store, Kept(raw=DAY), LATER, states.standing("sink").position)
        assert done.records == 110
        store.write([flush(150, 5)])
        exporter.step()
        assert len(sink.samples) == 155
        assert next(store.read("SELECT count(*) FROM arrivals"))[0] <= 2


def test_old_buckets_go_by_their_own_limits(tmp_path):
    with make_store(tmp_path / "a.db", flush(0, 7200)) as store:
        retention.apply(store, Kept(raw=DAY), LATER)
        kept = Kept(minute=10 * DAY - HOUR, hour=None)
        done = retention.apply(store, kept, LATER)
        assert done.buckets_removed == len({(T0 + s * 1000) // MINUTE for s in range(3600)})
        assert len(tiers(store, HOUR)) == 3


def test_undated_records_stay(tmp_path):
    with make_store(tmp_path / "a.db", flush(0, 5, dated=False)) as store:
        assert retention.apply(store, Kept(raw=0), LATER).records == 0


def test_nothing_is_removed_unless_asked(tmp_path):
    with make_store(tmp_path / "a.db", flush(0, 5)) as store:
        assert retention.apply(store, Kept(), LATER) == retention.Removed()
        assert store.totals().records == 5


def test_a_kill_in_between_counts_nothing_twice(tmp_path, monkeypatch):
    store = make_store(tmp_path / "a.db", flush(0, 100))
    reduce = retention._reduce
    calls = []

    def failing(*arguments):
        calls.append(reduce(*arguments))
        if len(calls) == 2:
            raise sqlite3.OperationalError("cut")
        return calls[-1]

    monkeypatch.setattr(retention, "_reduce", failing)
    with pytest.raises(Exception, match="cut"):
        retention.apply(store, Kept(raw=DAY), LATER, batch=30)
    monkeypatch.undo()
    store.close()
    with Store(tmp_path / "a.db") as again:
        retention.apply(again, Kept(raw=DAY), LATER, batch=30)
        assert sum(row[5] for row in tiers(again, HOUR)) == 100


def test_the_command(tmp_path):
    make_store(tmp_path / "a.db", flush(0, 500)).close()
    words = ["retention", "--db", str(tmp_path / "a.db")]
    result = CliRunner().invoke(main, [*words, "--raw", "30d", "--minute", "0"])
    assert result.output.startswith("500 records removed, 3 buckets made, 0 removed, 0 records")
    result = CliRunner().invoke(main, [*words, "--raw", "soon"])
    assert result.exit_code == 2
    assert "raw: '-soon' is not allowed" in result.output
