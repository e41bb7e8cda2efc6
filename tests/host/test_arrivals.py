"""Following a store by a cursor: every record once, whatever the order of arrival."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldpost_tools import arrivals, query
from fieldpost_tools import store as stores
from fieldpost_tools.store import Store
from store_cases import T0, flush, follow


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", create=True) as opened:
        yield opened


FLUSHES = st.tuples(
    st.integers(0, 30), st.integers(1, 8), st.integers(1, 2), st.sampled_from(["a", "b"])
)


@settings(max_examples=40)
@given(st.lists(st.lists(FLUSHES, max_size=5), max_size=8), st.integers(1, 7))
def test_every_record_comes_once_in_any_order(tmp_path_factory, batches, limit):
    with Store(tmp_path_factory.mktemp("feed") / "a.db", create=True) as store:
        seen, position = [], arrivals.START
        for batch in batches:
            store.write([flush(*one[:3], node=one[3]) for one in batch])
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
