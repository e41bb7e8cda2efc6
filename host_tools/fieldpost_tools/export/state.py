"""Where each connector stands: a small SQLite file that survives every kill.

A connector's row has its position in the store (records and events), what it wrote, its mark, and
how it is: ``idle`` (has all there is), ``syncing``, ``error`` (see ``error``) or
``backfilling``. Backfills have rows of their own.
"""

import json
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fieldpost_tools.arrivals import START, Position
from fieldpost_tools.errors import StoreError

IDLE, SYNCING, ERROR, BACKFILLING = "idle", "syncing", "error", "backfilling"
RUNNING, STOPPED, DONE = "running", "stopped", "done"
_VERSION = 1
_SCHEMA = (
    """CREATE TABLE connectors(
        name TEXT PRIMARY KEY, run INTEGER NOT NULL, seq INTEGER NOT NULL, event INTEGER NOT NULL,
        rows INTEGER NOT NULL, events INTEGER NOT NULL, skipped INTEGER NOT NULL,
        dead INTEGER NOT NULL, state TEXT NOT NULL, error TEXT, error_ms INTEGER, mark TEXT,
        updated_ms INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE backfills(
        connector TEXT NOT NULL, job TEXT NOT NULL, place TEXT, rows INTEGER NOT NULL,
        total INTEGER NOT NULL, skipped INTEGER NOT NULL, dead INTEGER NOT NULL, mark TEXT,
        state TEXT NOT NULL, error TEXT, updated_ms INTEGER NOT NULL,
        PRIMARY KEY(connector, job)) WITHOUT ROWID""",
    f"PRAGMA user_version = {_VERSION}",
)
_COLUMNS = "name, run, seq, event, rows, events, skipped, dead, state, error, error_ms, mark"
_ADD = f"""INSERT INTO connectors({_COLUMNS}, updated_ms)
    VALUES(?, ?, ?, ?, 0, 0, 0, 0, 'idle', NULL, NULL, NULL, ?) ON CONFLICT DO NOTHING"""
_ADVANCE = """UPDATE connectors SET run = ?, seq = ?, event = ?, rows = rows + ?,
    events = events + ?, skipped = skipped + ?, dead = dead + ?, mark = ?, updated_ms = ?
    WHERE name = ?"""


_JOB = "connector, job, place, rows, total, skipped, dead, mark, state, error"
_SAVE_JOB = f"INSERT OR REPLACE INTO backfills({_JOB}, updated_ms) VALUES({', '.join('?' * 11)})"


class Standing(NamedTuple):
    """Where one connector stands."""

    name: str
    position: Position
    event: int
    rows: int
    events: int
    skipped: int
    dead: int
    state: str
    error: str | None
    error_ms: int | None
    mark: object


class Job(NamedTuple):
    """One backfill: ``place`` is (node, stream, seq) of the last record written, None at first.

    ``state`` is ``running`` (or was when its process died), ``stopped``, ``done`` or ``error``.
    """

    connector: str
    job: str
    place: list | None = None
    rows: int = 0
    total: int = 0
    skipped: int = 0
    dead: int = 0
    mark: object = None
    state: str = "running"
    error: str | None = None


class Done(NamedTuple):
    """What one step wrote: records, events, those the sink cannot hold, and dead letters."""

    rows: int = 0
    events: int = 0
    skipped: int = 0
    dead: int = 0


class States:
    """The open file, made if there is none; any thread. Raises StoreError."""

    def __init__(self, path):
        self.path = Path(path)
        self._lock = threading.Lock()
        with self._errors():
            self._db = sqlite3.connect(
                self.path, timeout=20, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._prepare()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Close the file."""
        self._db.close()

    def _prepare(self):
        self._db.execute("BEGIN IMMEDIATE")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            self._db.execute("ROLLBACK")
            raise StoreError(f"'{self.path}': version {version} is not known; upgrade fieldpost")
        if version == 0:
            for statement in _SCHEMA:
                self._db.execute(statement)
        self._db.execute("COMMIT")

    def add(self, name, position=START, event=0):
        """Begin a connector, which reads from there on; nothing for one that is known."""
        self.execute(_ADD, (name, *position, event, _now_ms()))

    def standing(self, name):
        """The ``Standing`` of a connector; None for an unknown one."""
        return next((one for one in self.all() if one.name == name), None)

    def all(self):
        """Every ``Standing``, by name."""
        rows = self.execute(f"SELECT {_COLUMNS} FROM connectors ORDER BY name")
        return [
            Standing(row[0], Position(*row[1:3]), *row[3:11], json.loads(row[11] or "null"))
            for row in rows
        ]

    def advance(self, name, position, event, done, mark):
        """What is before these positions is written; in one transaction with the mark."""
        numbers = (*position, event, *done, json.dumps(mark), _now_ms(), name)
        self.execute(_ADVANCE, numbers)

    def set_state(self, name, state, error=None):
        """How a connector is. An error's text stays until the next one, for people to read."""
        now_ms = _now_ms()
        self.execute(
            "UPDATE connectors SET state = ?, updated_ms = ? WHERE name = ?", (state, now_ms, name)
        )
        if error is not None:
            self.execute(
                "UPDATE connectors SET error = ?, error_ms = ? WHERE name = ?",
                (error, now_ms, name),
            )

    def job(self, name, job):
        """The ``Job`` of a connector's backfill; None for a new one."""
        rows = self.execute(
            f"SELECT {_JOB} FROM backfills WHERE connector = ? AND job = ?", (name, job)
        )
        return _job(rows[0]) if rows else None

    def jobs(self):
        """Every ``Job``, the one that was busy last at the end."""
        return [
            _job(row) for row in self.execute(f"SELECT {_JOB} FROM backfills ORDER BY updated_ms")
        ]

    def save_job(self, job):
        """Save a ``Job``, in one transaction with its mark."""
        cells = (*job[:2], json.dumps(job.place), *job[3:7], json.dumps(job.mark), *job[8:])
        self.execute(_SAVE_JOB, (*cells, _now_ms()))

    def remove(self, name):
        """Forget a connector and its backfills."""
        self.execute("DELETE FROM connectors WHERE name = ?", (name,))
        self.execute("DELETE FROM backfills WHERE connector = ?", (name,))

    def execute(self, sql, parameters=()):
        """All rows of one statement, which is a transaction of its own."""
        with self._errors(), self._lock:
            return self._db.execute(sql, parameters).fetchall()

    @contextmanager
    def _errors(self):
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"export state '{self.path}': {error}") from error


def _job(row):
    return Job(*row[:2], json.loads(row[2]), *row[3:7], json.loads(row[7]), *row[8:])


def _now_ms():
    return time.time_ns() // 1_000_000
