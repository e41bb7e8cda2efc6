"""The SQLite store: exactness of values, deduplication, the book of gaps, sharing, bad files."""

import sqlite3
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldpost_tools import query
from fieldpost_tools.errors import StoreError
from fieldpost_tools.flush import Chunk, Flush, Points
from fieldpost_tools.store import Store
from store_cases import *  # noqa: F403 – its tests are ours
from store_cases import flush


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", create=True) as opened:
        yield opened


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


def test_a_failed_transaction_leaves_nothing_and_the_store_goes_on(store):
    broken = Flush("new-node", "default", 1, 0, [Chunk(1, 0, 1, True, [(2**63, 1, 1, None)])])
    with pytest.raises(OverflowError):
        store.write([flush(0, 10), broken])
    assert store.totals()[:3] == (0, 0, 0)
    store.write([flush(0, 10, node="new-node"), flush(0, 10)])
    rows = [(row.node, row.seq) for row in query.records(store)]
    assert rows == [(node, seq) for node in ("new-node", "gw-1") for seq in range(10)]


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
