"""Following a store by a cursor: every record once, whatever the order of arrival."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldpost_tools import arrivals, query
from fieldpost_tools import store as stores
from fieldpost_tools.flush import Chunk, Flush
from fieldpost_tools.store import Store

T0 = 1_700_000_000_000


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", create=True) as opened:
        yield opened


def flush(first, count, stream=1, node="gw-1"):
    records = [(T0 + seq, 7, seq, None) for seq in range(first, first + count)]
    return Flush(node, "default", first, 0, [Chunk(stream, first, 1, True, records)])


def follow(store, position=arrivals.START, limit=1000):
    """Keys of what comes from a position on, and the position behind."""
    keys = []
    while pairs := query.after(store, position, limit):
        keys += [(row.node, row.stream, row.seq) for row, _ in pairs]
        position = pairs[-1][1]
    return keys, position


def test_late_records_come_after_those_that_were_there(store):
    store.write([flush(0, 2), flush(5, 2)])
    first, position = follow(store)
    assert [seq for *_, seq in first] == [0, 1, 5, 6]
    store.write([flush(1, 5)])
    late, position = follow(store, position)
    assert [seq for *_, seq in late] == [2, 3, 4]
    assert follow(store, position) == ([], position)


def test_a_position_at_the_end_gets_only_what_comes_later(store):
    assert follow(store, arrivals.last(store)) == ([], arrivals.last(store))
    store.write([flush(0, 3)])
    end = arrivals.last(store)
    store.write([flush(3, 2)])
    assert [seq for *_, seq in follow(store, end)[0]] == [3, 4]


def test_runs_that_go_on_are_one(store):
    store.write([flush(0, 2), flush(0, 2, node="other"), flush(2, 3), flush(2, 3, node="other")])
    assert next(store.read("SELECT count(*) FROM arrivals"))[0] == 2


FLUSHES = st.tuples(
    st.integers(0, 30), st.integers(1, 8), st.integers(1, 2), st.sampled_from(["a", "b"])
)


@given(st.lists(st.lists(FLUSHES, max_size=5), max_size=8), st.integers(1, 7))
def test_every_record_comes_once_in_any_order(tmp_path_factory, batches, limit):
    with Store(tmp_path_factory.mktemp("feed") / "a.db", create=True) as store:
        seen, position = [], arrivals.START
        for batch in batches:
            store.write([flush(*one) for one in batch])
            keys, position = follow(store, position, limit)
            seen += keys
        assert len(set(seen)) == len(seen)
        stored = {(row.node, row.stream, row.seq) for row in query.records(store)}
        assert set(seen) == stored


def test_a_store_of_version_1_is_followed_from_its_first_record(tmp_path):
    path = tmp_path / "old.db"
    db = sqlite3.connect(path)
    for statement in (*stores.MIGRATIONS[0], "PRAGMA user_version = 1"):
        db.execute(statement)
    db.execute("INSERT INTO nodes(name) VALUES('gw-1')")
    db.executemany(
        "INSERT INTO records VALUES(1, 4, ?, ?, NULL, 7, 2, ?, NULL)",
        [(seq, T0 + seq, seq) for seq in (0, 1, 3)],
    )
    db.execute("INSERT INTO streams VALUES(1, 4, 'default', 1, 4, 0)")
    db.commit()
    db.close()
    with Store(path) as store:
        assert [seq for *_, seq in follow(store)[0]] == [0, 1, 3]
        store.write([flush(4, 1, stream=4)])
        assert [seq for *_, seq in follow(store)[0]] == [0, 1, 3, 4]
