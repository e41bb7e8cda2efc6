"""What every store does, whatever its engine: tests that take a fixture ``store``.

A test module imports all of it and has a fixture ``store``, empty, of the engine it is about.
"""

import math

from fieldpost_tools import arrivals, query
from fieldpost_tools.flush import Chunk, Flush, JsonText, Points, State

T0 = 1_700_000_000_000


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


def follow(store, position=arrivals.START, limit=1000):
    """Keys of what comes from a position on, and the position behind."""
    keys = []
    while True:
        rows, position = query.after(store, position, limit)
        keys += [(row.node, row.stream, row.seq) for row in rows]
        if not rows:
            return keys, position


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


def test_a_stream_number_used_again_is_a_conflict_not_a_duplicate(store):
    store.write([flush(0, 10, point=1)])
    conflict = flush(0, 10, point=2)
    written = store.write([conflict, flush(10, 5, point=1)])
    assert written.conflicts == [conflict]
    assert written[:2] == (5, 0)
    other_boot = flush(15, 5, point=1, boot=2)
    assert store.write([other_boot]).conflicts == [other_boot]
    assert store.totals().records == 15


def test_points_and_states_are_kept_per_node(store):
    store.write([flush(0, 1)], [Points("gw-1", "ahu", "modbus", [(7, "dat", "°C")])])
    store.write(
        [], [Points("gw-1", "ahu", "modbus", [(7, "sat", "K")])], [State("gw-1", '{"b":1}')]
    )
    (row,) = query.records(store)
    assert row[:4] == ("gw-1", "ahu", "sat", "K")
    assert store.nodes() == {"gw-1": {"b": 1}}


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
