"""The default store: one SQLite file (WAL), unique on (node, stream, seq).

Everything that arrived together is written in one transaction: records, the book of sequence
numbers, point names and node states. ``synchronous=FULL``: a committed record survives a power
cut, because acknowledging it makes the node forget it (NORMAL may lose the last commits in WAL
mode). A value keeps its exact type by ``kind``:

====  =======  ===========================================
kind  type     column ``value``
====  =======  ===========================================
0     null     NULL
1     bool     0 or 1
2     integer  INTEGER
3     integer  TEXT, beyond 64 bit signed
4     float    REAL; NULL is NaN, which SQLite cannot hold
5     text     TEXT
6     JSON     TEXT
====  =======  ===========================================

Several processes may share one file. Every failure is a ``StoreError``.
"""

import json
import math
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fieldpost_tools import arrivals, events, gaps
from fieldpost_tools.errors import StoreError
from fieldpost_tools.flush import Flush, JsonText

APPLICATION_ID = 0x46504F53
BUSY_TIMEOUT_S = 20

NULL, BOOL, INT, BIG, FLOAT, TEXT, JSON = range(7)
_KINDS = {type(None): NULL, bool: BOOL, int: INT, float: FLOAT, str: TEXT, JsonText: JSON}
_INT64 = 2**63

_SCHEMA_1 = (
    "CREATE TABLE nodes(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, state TEXT,"
    " state_ms INTEGER)",
    """CREATE TABLE points(
        node INTEGER NOT NULL, id INTEGER NOT NULL, device TEXT NOT NULL, name TEXT NOT NULL,
        unit TEXT NOT NULL, driver TEXT NOT NULL, PRIMARY KEY(node, id)) WITHOUT ROWID""",
    """CREATE TABLE records(
        node INTEGER NOT NULL, stream INTEGER NOT NULL, seq INTEGER NOT NULL,
        ts_ms INTEGER, mono_ms INTEGER, point INTEGER NOT NULL, kind INTEGER NOT NULL,
        value, text TEXT, PRIMARY KEY(node, stream, seq)) WITHOUT ROWID""",
    "CREATE INDEX records_by_point ON records(node, point, ts_ms)",
    *gaps.SCHEMA,
    """CREATE VIEW point_values AS SELECT n.name AS node, p.device, p.name AS point, p.unit,
        strftime('%Y-%m-%dT%H:%M:%S', r.ts_ms / 1000, 'unixepoch')
            || printf('.%03dZ', r.ts_ms % 1000) AS time,
        r.value, r.text AS value_text, r.point AS point_id, r.ts_ms, r.stream, r.seq
        FROM records r JOIN nodes n ON n.id = r.node
        LEFT JOIN points p ON p.node = r.node AND p.id = r.point""",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
# Written and read by retention.py.
_TIERS = (
    """CREATE TABLE tiers(
        size_ms INTEGER NOT NULL, node INTEGER NOT NULL, point INTEGER NOT NULL,
        start_ms INTEGER NOT NULL, min REAL, max REAL, sum REAL, numbers INTEGER NOT NULL,
        count INTEGER NOT NULL, last_ms INTEGER NOT NULL, last_kind INTEGER NOT NULL, last,
        PRIMARY KEY(size_ms, node, point, start_ms)) WITHOUT ROWID""",
    """CREATE VIEW tier_values AS SELECT n.name AS node, p.device, p.name AS point, p.unit,
        t.size_ms, t.start_ms, t.min, t.max, t.sum / nullif(t.numbers, 0) AS avg, t.last, t.count
        FROM tiers t JOIN nodes n ON n.id = t.node
        LEFT JOIN points p ON p.node = t.node AND p.id = t.point""",
)
#: Statements that lead from schema version i to i + 1.
MIGRATIONS = (_SCHEMA_1, (*arrivals.SCHEMA, *events.SCHEMA, *_TIERS))

_INSERT = """INSERT INTO records VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT(node, stream, seq) DO NOTHING"""
_UPSERT_POINT = """INSERT INTO points(node, id, device, name, unit, driver)
    VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(node, id) DO UPDATE SET device = excluded.device,
    name = excluded.name, unit = excluded.unit, driver = excluded.driver"""
_SET_STATE = "UPDATE nodes SET state = ?, state_ms = ? WHERE id = ?"
_POINT_OF = "SELECT point FROM records WHERE node = ? AND stream = ? AND seq = ?"
_TOTALS = """SELECT (SELECT count(*) FROM nodes), (SELECT count(*) FROM streams),
    (SELECT coalesce(sum(next_seq), 0) FROM streams),
    (SELECT coalesce(sum(dropped_before), 0) FROM streams)"""
_HOLES = "SELECT explained, count(*), sum(to_seq - from_seq + 1) FROM gaps GROUP BY explained"
_GAPS = """SELECT n.name, g.stream, s.subscription, g.from_seq, g.to_seq, g.explained, g.seen_ms
    FROM gaps g JOIN nodes n ON n.id = g.node
    JOIN streams s ON s.node = g.node AND s.stream = g.stream
    ORDER BY n.name, g.stream, g.from_seq"""


class Written(NamedTuple):
    """What one ``Store.write`` did. ``conflicts`` were not stored: see ``Store.write``."""

    records: int
    duplicates: int
    conflicts: list[Flush]
    events: int = 0


class Gap(NamedTuple):
    """Records ``from_seq`` to ``to_seq`` (both included) of a stream that are not stored."""

    node: str
    stream: int
    subscription: str
    from_seq: int
    to_seq: int
    explained: str | None
    seen_ms: int


class Totals(NamedTuple):
    """Sums over the store: ``missing`` records are unexplained, ``dropped`` the nodes reported."""

    nodes: int
    streams: int
    records: int
    gaps: int
    missing: int
    dropped: int


def encode_value(value):
    """``(kind, column value)`` of a record's value."""
    kind = _KINDS[type(value)]
    if kind == INT and not -_INT64 <= value < _INT64:
        return BIG, str(value)
    return kind, value


def decode_value(kind, stored):
    """The value of a record from its columns; JSON as the parsed object."""
    if kind == FLOAT and stored is not None:
        return stored
    if kind == BOOL:
        return bool(stored)
    if kind == BIG:
        return int(stored)
    if kind == FLOAT and stored is None:
        return math.nan
    if kind == JSON:
        return json.loads(stored)
    return stored


class Store:
    """An open store. ``create`` makes the file if there is none; otherwise it must exist.

    Raises StoreError for a file that is missing, not a Fieldpost store, or of a newer version.
    One thread at a time.
    """

    #: The expression that ``decode`` takes as a record's value; ``r`` is the table.
    VALUE = "r.value"

    def __init__(self, path, create=False):
        self.path = Path(path)
        #: Where it is, as text: the same for every process that opens it.
        self.place = str(self.path.absolute())
        self._ids = {}
        with self._errors():
            self._db = self._connect(create)
        try:
            with self._errors():
                self._prepare()
        except BaseException:
            self._db.close()
            raise
        self._book = gaps.SequenceBook(self._db)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Close the file; what was written is committed already."""
        self._db.close()

    def write(self, flushes=(), points=(), states=(), happened=()):
        """Store ``Flush``, ``Points``, ``State`` and ``Event`` objects in one transaction.

        Returns a ``Written``.

        Records that are stored already are counted as duplicates. A flush that claims the
        numbers of other records (another boot or point under the same stream and number: the
        node's stream counter went back) is left out whole and returned in ``conflicts``.
        """
        now_ms = time.time_ns() // 1_000_000
        with self._errors(), self._transaction():
            keyed, conflicts = self._sorted(flushes)
            count = sum(len(chunk.records) for _, flush in keyed for chunk in flush.chunks)
            runs = arrivals.new_runs(self._db, self._book, keyed)
            new = self._insert(arrivals.chosen(runs, _rows(keyed), count)) if runs else 0
            arrivals.enter(self._db, runs)
            self._book.book(_runs(keyed), now_ms)
            self._write_points(points)
            self._write_states(states, now_ms)
            seen = [(self._node_id(event.node), now_ms, event) for event in happened]
            fresh = events.insert(self._db, seen)
        return Written(new, count - new, conflicts, fresh)

    def read(self, sql, parameters=()):
        """Iterator over the rows of a SELECT, fetched as they are asked for."""
        with self._errors():
            yield from self._db.execute(sql, parameters)

    #: The same for results that may be large.
    stream = read

    @staticmethod
    def decode(kind, stored):
        """The value of a record, from its kind and ``VALUE``; JSON as the parsed object."""
        return decode_value(kind, stored)

    @contextmanager
    def maintain(self):
        """A transaction on the database itself, for ``retention``."""
        with self._errors(), self._transaction():
            yield self._db

    def totals(self):
        """``Totals`` in a time that grows with streams and gaps, not with records."""
        nodes, streams, numbers, dropped = map(int, next(self.read(_TOTALS)))
        holes = {row[0]: (row[1], int(row[2])) for row in self.read(_HOLES)}
        missing_gaps, missing = holes.get(None, (0, 0))
        absent = sum(records for _, records in holes.values())
        dropped += holes.get("dropped", (0, 0))[1]
        return Totals(nodes, streams, numbers - absent, missing_gaps, missing, dropped)

    def gaps(self):
        """Every ``Gap``, explained or not, by node and stream."""
        return [Gap(*row) for row in self.read(_GAPS)]

    def nodes(self):
        """``{name: last state object, or None}`` of every node."""
        rows = self.read("SELECT name, state FROM nodes ORDER BY name")
        return {name: json.loads(state) if state else None for name, state in rows}

    @contextmanager
    def _errors(self):
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"store '{self.path}': {error}") from error

    @contextmanager
    def _transaction(self):
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # Node ids handed out in this transaction never came to be.
            self._ids.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _connect(self, create):
        if not create and not self.path.exists():
            raise StoreError(f"store '{self.path}': no such file")
        mode = "rwc" if create else "rw"
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )

    def _pragma(self, name):
        return self._db.execute(f"PRAGMA {name}").fetchone()[0]

    def _prepare(self):
        self._require_ours()
        if self._pragma("user_version") < len(MIGRATIONS):
            if self._pragma("journal_mode") != "wal":
                self._db.execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                self._migrate()
        self._db.execute("PRAGMA synchronous = FULL")

    def _require_ours(self):
        version = self._pragma("user_version")
        ours = self._pragma("application_id") == APPLICATION_ID
        if not ours and self._pragma("schema_version"):
            raise StoreError(f"store '{self.path}': a database, but not a Fieldpost store")
        if version > len(MIGRATIONS):
            raise StoreError(
                f"store '{self.path}': schema version {version} is newer than this program's"
                f" {len(MIGRATIONS)}; upgrade fieldpost"
            )

    def _migrate(self):
        # Asked again under the lock: another process may have been faster.
        for version in range(self._pragma("user_version"), len(MIGRATIONS)):
            for statement in MIGRATIONS[version]:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {version + 1}")

    def _node_id(self, name):
        if name not in self._ids:
            self._db.execute("INSERT INTO nodes(name) VALUES(?) ON CONFLICT DO NOTHING", (name,))
            row = self._db.execute("SELECT id FROM nodes WHERE name = ?", (name,)).fetchone()
            self._ids[name] = row[0]
        return self._ids[name]

    def _sorted(self, flushes):
        keyed, conflicts = [], []
        for flush in flushes:
            node = self._node_id(flush.node)
            if any(self._conflicts(node, chunk) for chunk in flush.chunks):
                conflicts.append(flush)
            else:
                keyed.append((node, flush))
        return keyed, conflicts

    def _conflicts(self, node, chunk):
        next_seq, boot = self._book.stream(node, chunk.stream)
        if None not in (chunk.boot, boot) and chunk.boot != boot:
            return True
        if chunk.seq >= next_seq:
            return False
        row = self._db.execute(_POINT_OF, (node, chunk.stream, chunk.seq)).fetchone()
        return row is not None and row[0] != chunk.records[0][1]

    def _insert(self, found):
        return self._db.executemany(_INSERT, found).rowcount

    def _write_states(self, states, now_ms):
        for state in states:
            self._db.execute(_SET_STATE, (state.text, now_ms, self._node_id(state.node)))

    def _write_points(self, points):
        for group in points:
            node = self._node_id(group.node)
            rows = [
                (node, point, group.device, name, unit, group.driver)
                for point, name, unit in group.points
            ]
            self._db.executemany(_UPSERT_POINT, rows)


def _rows(keyed):
    """The columns of table ``records`` for each record."""
    return (row for node, flush in keyed for chunk in flush.chunks for row in _chunk(node, chunk))


def _chunk(node, chunk):
    stream, dated = chunk.stream, chunk.dated
    for seq, (ms, point, value, text) in enumerate(chunk.records, chunk.seq):
        kind, stored = encode_value(value)
        dates = (ms, None) if dated else (None, ms)
        yield (node, stream, seq, *dates, point, kind, stored, text)


def _runs(keyed):
    for node, flush in keyed:
        skipped = flush.skipped
        for chunk in flush.chunks:
            end = chunk.seq + len(chunk.records)
            yield gaps.Run(
                node, chunk.stream, flush.subscription, chunk.boot, chunk.seq, end, skipped
            )
            skipped = 0
