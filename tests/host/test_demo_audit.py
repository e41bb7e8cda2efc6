"""The demo's account: every way in which records can be lost or doubled is found."""

import pytest

from fieldpost_tools.demo import audit, site
from fieldpost_tools.flush import Chunk, Flush, Points
from fieldpost_tools.store import Store

T0 = 1_700_000_000_000
STREAM = 3
COUNTER, FREE = 1, 2


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", create=True) as store:
        names = [(site.COUNTER, COUNTER), (site.HEAP_FREE, FREE)]
        groups = [
            Points(site.NODE, device, "x", [(key, name, "")]) for (device, name), key in names
        ]
        store.write(points=groups)
        yield store


def record(seq):
    """Record ``seq`` of a stream in which the counter and the free heap take turns."""
    value = seq // 2 if seq % 2 == 0 else 1000 + seq
    return T0 + seq, COUNTER if seq % 2 == 0 else FREE, value, None


def put(store, first, end, skipped=0, rows=None):
    chunk = Chunk(STREAM, first, 1, True, rows or [record(seq) for seq in range(first, end)])
    store.write([Flush(site.NODE, "default", 1, skipped, [chunk])])


def account(store, tmp_path, end, acquired=None, dropped=None):
    log = {"stream": STREAM, "next": end, "acquired": acquired or end, "dropped": dropped or {}}
    cut = audit.cut(log)
    return audit.covered(store, cut), audit.account(store, cut, tmp_path / "a.csv")


def test_a_whole_stream_has_no_problem_and_later_records_do_not_count(store, tmp_path):
    put(store, 0, 60)
    covered, result = account(store, tmp_path, 50)
    assert covered
    assert result == {
        "records_acquired": 50,
        "records_stored": 50,
        "lost": 0,
        "duplicates": 0,
        "dropped": 0,
        "csv_rows": 50,
        "unexplained_gaps": 0,
        "counter_holes": 0,
        "points": 2,
        "problems": [],
    }
    assert (tmp_path / "a.csv").read_bytes().count(b"\r\n") == 51


def test_what_is_not_here_yet_is_not_covered_and_counts_as_lost(store, tmp_path):
    put(store, 0, 40)
    covered, result = account(store, tmp_path, 50)
    assert not covered
    assert result["lost"] == 10
    assert result["problems"] == ["10 records are lost"]


def test_a_hole_is_lost_until_it_is_filled(store, tmp_path):
    put(store, 0, 20)
    put(store, 26, 50)
    covered, result = account(store, tmp_path, 50)
    assert not covered
    assert (result["lost"], result["unexplained_gaps"], result["counter_holes"]) == (6, 1, 3)
    assert len(result["problems"]) == 3
    put(store, 20, 26)
    covered, result = account(store, tmp_path, 50)
    assert covered
    assert result["problems"] == []


def test_records_that_the_node_dropped_are_not_lost(store, tmp_path):
    put(store, 0, 20)
    put(store, 26, 50, skipped=6)
    covered, result = account(store, tmp_path, 50, dropped={"overflow": 6})
    assert covered
    assert (result["lost"], result["dropped"], result["problems"]) == (0, 6, [])
    _, result = account(store, tmp_path, 50, dropped={"overflow": 5})
    assert result["lost"] == 1
    _, result = account(store, tmp_path, 50, dropped={"overflow": 7})
    assert result["problems"] == ["1 records more than were acquired are stored"]


def test_refused_records_count_as_acquired_and_dropped(store, tmp_path):
    put(store, 0, 50)
    _, result = account(store, tmp_path, 50, acquired=53, dropped={"rejected": 3})
    assert (result["lost"], result["problems"]) == (0, [])


def test_a_value_that_was_numbered_twice_is_a_duplicate(store, tmp_path):
    """The unique key cannot see it: the same reading under two numbers."""
    put(store, 0, 50)
    put(store, 50, 53, rows=[record(0), record(2), record(50)])
    _, result = account(store, tmp_path, 53)
    assert result["duplicates"] == 2
    assert result["problems"] == ["2 records are double"]


def test_a_doubled_line_in_the_csv_is_found(store, tmp_path, monkeypatch):
    put(store, 0, 50)
    write = audit.csv_export.write_file

    def careless(rows, path):
        rows = list(rows)
        return write([*rows, rows[7]], path)

    monkeypatch.setattr(audit.csv_export, "write_file", careless)
    _, result = account(store, tmp_path, 50)
    assert result["duplicates"] == 1
    assert result["csv_rows"] == 51
    assert len(result["problems"]) == 3


def test_a_point_without_records_is_a_problem(store, tmp_path):
    store.write(points=[Points(site.NODE, "ahu-1", "modbus", [(9, "dat", "°C")])])
    put(store, 0, 50)
    _, result = account(store, tmp_path, 50)
    assert result["problems"] == ["nothing recorded of ahu-1/dat"]


def test_the_heap_is_judged_by_what_collections_leave(store):
    for first, values in ((0, (5, 90, 7)), (6, (80, 6, 5)), (12, (4, 3, 70))):
        rows = [(T0, COUNTER + n % 2, values[n // 2], None) for n in range(6)]
        put(store, first, first + 6, rows=rows)
    cut = audit.cut({"stream": STREAM, "next": 18, "acquired": 18, "dropped": {}})
    assert audit.heap_free(store, cut) == [90, 80, 70]
