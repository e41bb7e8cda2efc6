"""The order in which records came into a store, for those who follow it with a cursor.

Sequence numbers order the records of one stream, but flushes of many nodes and late ones arrive
in any order. Table ``arrivals`` has a row for each run of consecutive records that a transaction
added. A ``Position`` is a place in that order: whoever reads from it on gets every record once,
also those that fill a gap later. Records that came twice are in no second run.
"""

from typing import NamedTuple

SCHEMA = (
    """CREATE TABLE arrivals(
        position INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL,
        stream INTEGER NOT NULL, first_seq INTEGER NOT NULL, end_seq INTEGER NOT NULL)""",
    """INSERT INTO arrivals(node, stream, first_seq, end_seq)
        SELECT node, stream, 0, next_seq FROM streams WHERE next_seq > 0 ORDER BY node, stream""",
)

_HOLES = """SELECT from_seq, to_seq FROM gaps WHERE node = ? AND stream = ? AND to_seq >= ?
    AND from_seq < ? ORDER BY from_seq"""
_INSERT = "INSERT INTO arrivals(node, stream, first_seq, end_seq) VALUES(?, ?, ?, ?)"
_LAST = "SELECT coalesce(max(position), 0) FROM arrivals"


class Position(NamedTuple):
    """Up to which record one has read: all runs before ``run``, and of that one those below
    ``seq``."""

    run: int = 0
    seq: int = 0


#: Before the first record.
START = Position()


def new_runs(db, book, keyed):
    """``[node, stream, first, end]`` of what flushes hold and neither ``db`` nor one before has.

    ``keyed`` are pairs of a node's key and a ``Flush``; to be asked before they are entered into
    the ``book``, which knows what was stored even where retention has removed it.
    """
    runs, last, ends = [], {}, {}
    for node, flush in keyed:
        for chunk in flush.chunks:
            key = node, chunk.stream
            if key not in ends:
                ends[key] = book.stream(*key)[0]
            end = chunk.seq + len(chunk.records)
            spans = [(chunk.seq, end)]
            if chunk.seq < ends[key]:
                spans = _absent(db, book, runs, key, chunk.seq, end)
            for span in spans:
                _add(runs, last, key, *span)
            ends[key] = max(ends[key], end)
    return runs


def chosen(runs, rows, count):
    """Those of ``count`` rows (node, stream, seq, …) that are in ``runs``, nearly always all."""
    if sum(end - first for *_, first, end in runs) == count:
        return rows
    numbers = {}
    for node, stream, first, end in runs:
        numbers.setdefault((node, stream), set()).update(range(first, end))
    return (row for row in rows if row[2] in numbers.get(row[:2], ()))


def enter(db, runs):
    """Give runs their positions, in the transaction that inserts their records."""
    db.executemany(_INSERT, runs)


def last(store):
    """``Position`` behind every record that is stored now."""
    return Position(next(store.read(_LAST))[0] + 1, 0)


def _add(runs, last, key, first, end):
    before = last.get(key)
    if before and before[3] == first:
        before[3] = end
    else:
        last[key] = [*key, first, end]
        runs.append(last[key])


def _absent(db, book, runs, key, first, end):
    """Spans of ``first .. end - 1`` that are not there yet; flushes overlap rarely."""
    missing = set(range(max(first, book.stream(*key)[0]), end))
    for low, high in db.execute(_HOLES, (*key, first, end)):
        missing.update(range(max(low, first), min(high + 1, end)))
    for node, stream, low, high in runs:
        if (node, stream) == key:
            missing.difference_update(range(max(low, first), min(high, end)))
    spans = []
    for seq in sorted(missing):
        if spans and spans[-1][1] == seq:
            spans[-1][1] = seq + 1
        else:
            spans.append([seq, seq + 1])
    return spans
