"""The SQLite store: exactness of values, deduplication, the book of gaps, sharing, bad files."""

import math
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldpost_tools import query
from fieldpost_tools.errors import StoreError
from fieldpost_tools.flush import Chunk, Flush, JsonText, Points, State
from fieldpost_tools.store import Store

T0 = 1_700_000_000_000


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", create=True) as opened:
        yield opened


def flush(first, count, stream=1, skipped=0, node="gw-1", point=7, boot=1, subscription="default"):
    records = [(T0 + seq, point, seq, None) for seq in range(first, first + count)]
    chunk = Chunk(stream, first, boot, True, records)
    return Flush(node, subscription, first, skipped, [chunk])


def holes(store):
    return [(g.stream, g.from_seq, g.to_seq, g.explained) for g in store.gaps()]


def same(one, other):
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other


VALUES = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64 - 1,
    0.1,
    -0.0,
    5e-324,
    3.4028234663852886e38,
    math.inf,
    -math.inf,
    math.nan,
    "",
    'text, with "quotes"\r\nand ünïcödé \0 nul',
    "123",
    "null",
]


def test_every_value_comes_back_with_its_type(store):
    records = [(T0, 1, value, "as sent") for value in VALUES]
    records.append((T0, 1, JsonText('{"a":[1,null]}'), None))
    store.write([Flush("gw", "default", 1, 0, [Chunk(1, 0, 1, True, records)])])
    rows = list(query.records(store))
    assert all(same(row.value, value) for row, value in zip(rows, VALUES, strict=False))
    assert rows[-1].value == {"a": [1, None]}
    assert [row.value_text for row in rows] == ["as sent"] * len(VALUES) + [None]


def test_a_repeated_flush_changes_nothing(store):
    assert store.write([flush(0, 100)])[:2] == (100, 0)
    assert store.write([flush(0, 100)])[:2] == (0, 100)
    assert store.write([flush(50, 100)])[:2] == (50, 50)
    assert store.totals().records == 150
    assert [row.seq for row in query.records(store)] == list(range(150))


def test_same_numbers_of_other_nodes_and_streams_are_other_records(store):
    store.write([flush(0, 5), flush(0, 5, stream=2), flush(0, 5, node="gw-2")])
    assert store.totals().records == 15


def test_untrusted_time_is_kept_as_monotonic(store):
    chunk = Chunk(3, 0, 9, False, [(1234, 1, 1, None)])
    store.write([Flush("gw", "default", 1, 0, [chunk])])
    assert list(store.read("SELECT ts_ms, mono_ms FROM records")) == [(None, 1234)]
    assert list(store.read("SELECT boot FROM streams")) == [(9,)]


def test_a_late_flush_closes_its_gap(store):
    store.write([flush(0, 10), flush(20, 10)])
    assert holes(store) == [(1, 10, 19, None)]
    store.write([flush(13, 2)])
    assert holes(store) == [(1, 10, 12, None), (1, 15, 19, None)]
    store.write([flush(10, 3), flush(15, 5)])
    assert holes(store) == []


def test_what_the_node_dropped_is_explained(store):
    store.write([flush(0, 10)])
    store.write([flush(30, 10, skipped=15)])
    assert holes(store) == [(1, 10, 14, None), (1, 15, 29, "dropped")]
    assert (store.totals().missing, store.totals().dropped) == (5, 15)
    # The same flush again says the same.
    store.write([flush(30, 10, skipped=15)])
    assert (store.totals().missing, store.totals().dropped) == (5, 15)


def test_drops_are_seen_also_where_flushes_follow_one_another(store):
    store.write([flush(0, 10), flush(20, 10), flush(30, 10, skipped=15)])
    assert holes(store) == [(1, 10, 14, None), (1, 15, 19, "dropped")]


def test_a_record_that_arrived_is_not_dropped_even_if_the_node_thinks_so(store):
    store.write([flush(0, 10)])
    store.write([flush(20, 10, skipped=20)])
    assert store.totals().dropped == 10
    store.write([flush(10, 10)])
    assert holes(store) == []


def test_drops_in_an_older_stream_are_counted_once(store):
    store.write([flush(0, 10)])
    store.write([flush(5, 10, stream=2, skipped=12)])
    store.write([flush(5, 10, stream=2, skipped=12)])
    assert store.totals().dropped == 12
    assert holes(store) == [(2, 0, 4, "dropped")]


def test_only_the_first_contact_may_start_late(store):
    store.write([flush(100, 10)])
    assert holes(store) == [(1, 0, 99, "before")]
    assert store.totals().missing == 0
    store.write([flush(3, 10, stream=2)])
    assert holes(store)[1:] == [(2, 0, 2, None)]


RUNS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.integers(0, 8)), max_size=30)


@given(RUNS, st.integers(1, 4))
def test_the_book_agrees_with_a_plain_set(tmp_path_factory, runs, at_once):
    """Whatever the order, overlap and grouping: stored + dropped + missing is what went by."""
    flushes = [flush(first, count, skipped=skipped) for first, count, skipped in runs]
    stored, dropped = set(), set()
    with Store(tmp_path_factory.mktemp("book") / "a.db", create=True) as store:
        for start in range(0, len(flushes), at_once):
            store.write(flushes[start : start + at_once])
        for first, count, skipped in runs:
            dropped |= set(range(max(0, first - skipped), first)) - stored
            stored |= set(range(first, first + count))
        dropped -= stored
        end = max(stored, default=-1) + 1
        totals = store.totals()
        assert totals.records == len(stored) == len(list(query.records(store)))
        in_gaps = {
            explained: {
                seq
                for g in store.gaps()
                if g.explained == explained
                for seq in range(g.from_seq, g.to_seq + 1)
            }
            for explained in ("dropped", "before", None)
        }
        assert in_gaps["dropped"] == dropped
        assert in_gaps["before"] | in_gaps[None] == set(range(end)) - stored - dropped


def test_a_stream_number_used_again_is_a_conflict_not_a_duplicate(store):
    store.write([flush(0, 10, point=1)])
    conflict = flush(0, 10, point=2)
    written = store.write([conflict, flush(10, 5, point=1)])
    assert written.conflicts == [conflict]
    assert written[:2] == (5, 0)
    other_boot = flush(15, 5, point=1, boot=2)
    assert store.write([other_boot]).conflicts == [other_boot]
    assert store.totals().records == 15


def test_a_failed_transaction_leaves_nothing_and_the_store_goes_on(store):
    broken = Flush("new-node", "default", 1, 0, [Chunk(1, 0, 1, True, [(2**63, 1, 1, None)])])
    with pytest.raises(OverflowError):
        store.write([flush(0, 10), broken])
    assert store.totals()[:3] == (0, 0, 0)
    store.write([flush(0, 10, node="new-node"), flush(0, 10)])
    rows = [(row.node, row.seq) for row in query.records(store)]
    assert rows == [(node, seq) for node in ("new-node", "gw-1") for seq in range(10)]


def test_points_and_states_are_kept_per_node(store):
    store.write([flush(0, 1)], [Points("gw-1", "ahu", "modbus", [(7, "dat", "°C")])])
    store.write(
        [], [Points("gw-1", "ahu", "modbus", [(7, "sat", "K")])], [State("gw-1", '{"b":1}')]
    )
    (row,) = query.records(store)
    assert row[:4] == ("gw-1", "ahu", "sat", "K")
    assert store.nodes() == {"gw-1": {"b": 1}}


def test_the_view_for_people(store):
    store.write([flush(0, 1)], [Points("gw-1", "ahu", "modbus", [(7, "dat", "°C")])])
    sql = "SELECT node, device, point, unit, time, value FROM point_values"
    assert list(store.read(sql)) == [("gw-1", "ahu", "dat", "°C", "2023-11-14T22:13:20.000Z", 0)]


def test_it_stays_durable_and_readable_while_written(store, tmp_path):
    assert list(store.read("PRAGMA journal_mode")) == [("wal",)]
    assert list(store.read("PRAGMA synchronous")) == [(2,)]
    with Store(tmp_path / "a.db") as reader:
        rows = reader.read("SELECT seq FROM records")
        assert list(rows) == []
        store.write([flush(0, 3)])
        assert reader.totals().records == 3


def test_several_processes_make_and_fill_one_file(tmp_path):
    program = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from fieldpost_tools.flush import Chunk, Flush\n"
        "from fieldpost_tools.store import Store\n"
        "with Store(sys.argv[1], create=True) as store:\n"
        "    for first in range(0, 400, 10):\n"
        "        rows = [(1, 1, seq, None) for seq in range(first, first + 10)]\n"
        "        store.write([Flush('gw', 'default', 1, 0, [Chunk(1, first, 1, True, rows)])])\n"
    )
    path = str(tmp_path / "a.db")
    command = [sys.executable, "-c", program, path, *[p for p in sys.path if p]]
    writers = [subprocess.Popen(command) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with Store(path) as store:
        assert store.totals()[:4] == (1, 1, 400, 0)
        assert [row.value for row in query.records(store)] == list(range(400))


def test_files_that_are_no_store(tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        Store(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("this is not a database, but long enough" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(tmp_path / "text.db")
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE t(x)")
    foreign.close()
    with pytest.raises(StoreError, match="not a Fieldpost store"):
        Store(tmp_path / "foreign.db", create=True)
    with pytest.raises(StoreError, match="unable to open"):
        Store(tmp_path / "no folder" / "a.db", create=True)


def test_a_store_of_a_newer_version_is_refused(store, tmp_path):
    list(store.read("PRAGMA user_version = 99"))
    with pytest.raises(StoreError, match="version 99 is newer"):
        Store(tmp_path / "a.db")


def test_damage_found_while_reading_is_a_store_error(store, tmp_path):
    store.write([flush(0, 5000)])
    store.close()
    raw = bytearray((tmp_path / "a.db").read_bytes())
    raw[8192:] = b"\xff" * (len(raw) - 8192)
    (tmp_path / "a.db").write_bytes(raw)
    with Store(tmp_path / "a.db") as damaged, pytest.raises(StoreError, match="malformed"):
        list(query.records(damaged))
