"""The book of sequence numbers: what arrived of every stream, and what is missing.

A stream's records are numbered from 0 without holes, so one row in ``streams`` (``next_seq``, one
past the highest number seen) and one row in ``gaps`` for every hole below it say exactly what is
stored, however long the stream: ``stored = next_seq - sum of its gaps``. A record that arrives
late, out of order or by another collector simply closes its part of a hole. A hole's ``explained``
is NULL (a fault, or records still on their way), ``dropped`` (the node said that it dropped them)
or ``before`` (older than this store's first contact with the subscription).
"""

from typing import NamedTuple

SCHEMA = (
    """CREATE TABLE streams(
        node INTEGER NOT NULL, stream INTEGER NOT NULL, subscription TEXT NOT NULL,
        boot INTEGER, next_seq INTEGER NOT NULL, dropped_before INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY(node, stream)) WITHOUT ROWID""",
    """CREATE TABLE gaps(
        node INTEGER NOT NULL, stream INTEGER NOT NULL, from_seq INTEGER NOT NULL,
        to_seq INTEGER NOT NULL, explained TEXT, seen_ms INTEGER NOT NULL,
        PRIMARY KEY(node, stream, from_seq)) WITHOUT ROWID""",
)

_READ = "SELECT next_seq, boot FROM streams WHERE node = ? AND stream = ?"
_KNOWN = "SELECT 1 FROM streams WHERE node = ? AND subscription = ? LIMIT 1"
_SAVE = """INSERT INTO streams VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(node, stream) DO UPDATE SET
    boot = coalesce(excluded.boot, streams.boot),
    next_seq = CASE WHEN excluded.next_seq > streams.next_seq
        THEN excluded.next_seq ELSE streams.next_seq END,
    dropped_before = CASE WHEN excluded.dropped_before > streams.dropped_before
        THEN excluded.dropped_before ELSE streams.dropped_before END"""
_BELOW = """SELECT from_seq, to_seq, explained, seen_ms FROM gaps
    WHERE node = ? AND stream = ? AND from_seq < ? ORDER BY from_seq DESC"""


class Run(NamedTuple):
    """Records ``first`` to ``end - 1`` of a stream; ``skipped`` before ``first`` were dropped."""

    node: int
    stream: int
    subscription: str
    boot: int | None
    first: int
    end: int
    skipped: int


class SequenceBook:
    """Keeps ``streams`` and ``gaps`` of one database; every call runs in the caller's transaction.

    Nothing is cached, so any number of processes may share the database.
    """

    def __init__(self, db):
        self._db = db

    def stream(self, node, stream):
        """``(next_seq, boot)`` of a stream; ``(0, None)`` before its first record."""
        return self._db.execute(_READ, (node, stream)).fetchone() or (0, None)

    def book(self, runs, now_ms):
        """Enter runs of records in the order in which they arrived."""
        for run in _joined(runs):
            self._enter(run, now_ms)

    def _enter(self, run, now_ms):
        next_seq, _ = self.stream(run.node, run.stream)
        if run.first > next_seq:
            self._open_gap(run, next_seq, now_ms)
        elif run.first < next_seq:
            self._carve(run, run.first, run.end, None)
        if run.skipped:
            self._carve(run, max(0, run.first - run.skipped), run.first, "dropped")
        before = max(0, run.skipped - run.first)
        self._db.execute(_SAVE, (*run[:4], run.end, before))

    def _open_gap(self, run, next_seq, now_ms):
        known = next_seq or self._db.execute(_KNOWN, (run.node, run.subscription)).fetchone()
        self._insert(run, next_seq, run.first - 1, None if known else "before", now_ms)

    def _carve(self, run, first, end, explained):
        """Cut ``first .. end - 1`` out of the gaps; with a reason, put them back explained."""
        rows = self._db.execute(_BELOW, (run.node, run.stream, end))
        # Gaps do not overlap: once one ends below `first`, all the others do.
        touched = []
        for row in rows:
            if row[1] < first:
                break
            touched.append(row)
        for low, high, reason, seen_ms in touched:
            if explained and reason == explained:
                continue
            self._db.execute(
                "DELETE FROM gaps WHERE node = ? AND stream = ? AND from_seq = ?",
                (run.node, run.stream, low),
            )
            self._insert(run, low, min(high, first - 1), reason, seen_ms)
            if explained:
                self._insert(run, max(low, first), min(high, end - 1), explained, seen_ms)
            self._insert(run, max(low, end), high, reason, seen_ms)

    def _insert(self, run, low, high, explained, seen_ms):
        if low <= high:
            self._db.execute(
                "INSERT INTO gaps VALUES(?, ?, ?, ?, ?, ?)",
                (run.node, run.stream, low, high, explained, seen_ms),
            )


def _joined(runs):
    """Runs with those that continue one another made one, which is nearly all of them.

    Streams interleave freely; within a stream the order of arrival is kept.
    """
    last = {}
    for run in runs:
        key = run.node, run.stream
        before = last.get(key)
        if before and run.first == before[-1].end and not run.skipped:
            before[-1] = before[-1]._replace(end=run.end)
        else:
            last.setdefault(key, []).append(run)
    return [run for joined in last.values() for run in joined]
