"""A store in PostgreSQL, for several collectors on a shared subscription.

The same as ``store.Store`` in every way that matters: one transaction for all that arrived
together, unique on (node, stream, seq), the same book of gaps, the same order of arrival. A lock
that every writer takes puts the writers of one database in a row, so that what one of them reads
of the book and of the order is true until it commits. Tables are in the schema ``fieldpost``.

A value is in ``value_int`` (integers, booleans as 0 and 1), ``value_float`` or ``value_text``
(texts, JSON, integers beyond 64 bit), its type in ``kind`` as in SQLite; kind 7 is a text with
NUL, which PostgreSQL's text cannot hold, written as JSON.
"""

import json
from contextlib import contextmanager

import psycopg

from fieldpost_tools import gaps
from fieldpost_tools import store as sqlite
from fieldpost_tools.errors import InputError, StoreError
from fieldpost_tools.store import BIG, BOOL, FLOAT, INT, TEXT

SCHEMA = "fieldpost"
_TEXT_NUL = 7
_LOCK = 0x46504F53
_VERSION = 1
_TABLES = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    "CREATE TABLE IF NOT EXISTS version(number integer NOT NULL)",
)
_SCHEMA_1 = (
    """CREATE TABLE nodes(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE, state text, state_ms bigint)""",
    """CREATE TABLE points(node bigint NOT NULL, id bigint NOT NULL, device text NOT NULL,
        name text NOT NULL, unit text NOT NULL, driver text NOT NULL, PRIMARY KEY(node, id))""",
    """CREATE TABLE records(node bigint NOT NULL, stream bigint NOT NULL, seq bigint NOT NULL,
        ts_ms bigint, mono_ms bigint, point bigint NOT NULL, kind smallint NOT NULL,
        value_int bigint, value_float double precision, value_text text, text text,
        PRIMARY KEY(node, stream, seq))""",
    "CREATE INDEX records_by_point ON records(node, point, ts_ms)",
    """CREATE TABLE streams(node bigint NOT NULL, stream bigint NOT NULL,
        subscription text NOT NULL, boot bigint, next_seq bigint NOT NULL,
        dropped_before bigint NOT NULL DEFAULT 0, PRIMARY KEY(node, stream))""",
    """CREATE TABLE gaps(node bigint NOT NULL, stream bigint NOT NULL, from_seq bigint NOT NULL,
        to_seq bigint NOT NULL, explained text, seen_ms bigint NOT NULL,
        PRIMARY KEY(node, stream, from_seq))""",
    """CREATE TABLE arrivals(position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        node bigint NOT NULL, stream bigint NOT NULL, first_seq bigint NOT NULL,
        end_seq bigint NOT NULL)""",
    """CREATE TABLE events(position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        node bigint NOT NULL, kind text NOT NULL, key text NOT NULL, state text NOT NULL,
        severity text, ts_ms bigint, seen_ms bigint NOT NULL, body text NOT NULL,
        body_md5 text GENERATED ALWAYS AS (md5(body)) STORED, UNIQUE(node, kind, body_md5))""",
    "CREATE INDEX events_by_time ON events(ts_ms)",
    """CREATE VIEW point_values AS SELECT n.name AS node, p.device, p.name AS point, p.unit,
        to_timestamp(r.ts_ms / 1000.0) AS time,
        coalesce(r.value_float, r.value_int) AS value, r.value_text, r.text,
        r.point AS point_id, r.ts_ms, r.stream, r.seq
        FROM records r JOIN nodes n ON n.id = r.node
        LEFT JOIN points p ON p.node = r.node AND p.id = r.point""",
)
_STAGE = """CREATE TEMPORARY TABLE IF NOT EXISTS stage(LIKE records)
    ON COMMIT DELETE ROWS"""
_COPY = "COPY stage FROM STDIN"
_MOVE = "INSERT INTO records SELECT * FROM stage ON CONFLICT DO NOTHING"


class _Db:
    """A psycopg connection that takes the SQL of the SQLite store."""

    def __init__(self, connection):
        self.connection = connection

    def execute(self, sql, parameters=()):
        """A cursor; placeholders are ``?``, parameters are texts without NUL."""
        clean = [_clean(one) for one in parameters]
        return self.connection.execute(sql.replace("?", "%s"), clean)

    def executemany(self, sql, rows):
        """The same for many rows; ``rowcount`` is their sum."""
        cursor = self.connection.cursor()
        clean = [[_clean(one) for one in row] for row in rows]
        if clean:
            cursor.executemany(sql.replace("?", "%s"), clean)
        return cursor


class PostgresStore(sqlite.Store):
    """An open store at a ``postgresql://`` URL; ``create`` makes the tables if there are none.

    Raises StoreError, InputError for a malformed URL; neither shows a password.
    """

    maintain = None
    VALUE = "coalesce(r.value_text, r.value_int::text, r.value_float::text)"
    TIMEOUT_S = 20

    def __init__(self, url, create=False):
        self._parameters = _parameters(url, self.TIMEOUT_S)
        #: Where it is, without user and password.
        self.place = self.path = url.rpartition("@")[2].partition("?")[0]
        self._ids = {}
        with self._errors():
            self._connection = psycopg.connect(**self._parameters)
            self._db = _Db(self._connection)
        try:
            with self._errors():
                self._prepare_tables(create)
        except BaseException:
            self.close()
            raise
        self._book = gaps.SequenceBook(self._db)

    def close(self):
        """Close the connection; what was written is committed already."""
        self._connection.close()

    def read(self, sql, parameters=()):
        """Rows of a SELECT, all at once."""
        with self._errors():
            return iter(self._db.execute(sql, parameters).fetchall())

    def stream(self, sql, parameters=()):
        """Rows of a SELECT on a connection of its own, as they are asked for."""
        with (
            self._errors(),
            psycopg.connect(**self._parameters) as connection,
            connection.transaction(),
            connection.cursor("stream") as cursor,
        ):
            cursor.itersize = 5000
            yield from cursor.execute(sql.replace("?", "%s"), list(parameters))

    @staticmethod
    def decode(kind, stored):
        """See ``Store``; ``stored`` is a text."""
        if stored is None:
            return None
        if kind == _TEXT_NUL:
            return json.loads(stored)
        if kind in (BOOL, INT):
            stored = int(stored)
        elif kind == FLOAT:
            stored = float(stored)
        return sqlite.decode_value(kind, stored)

    @contextmanager
    def _errors(self):
        try:
            yield
        except psycopg.Error as error:
            words = error.diag.message_primary or " ".join(str(error).split())
            raise StoreError(f"store '{self.place}': {words}") from error

    @contextmanager
    def _transaction(self):
        if self._connection.broken or self._connection.closed:
            self._connection.close()
            self._connection = psycopg.connect(**self._parameters)
            self._db.connection = self._connection
        try:
            with self._connection.transaction():
                self._db.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
                yield
        except BaseException:
            # Node ids handed out in this transaction never came to be.
            self._ids.clear()
            raise

    def _prepare_tables(self, create):
        found = self._db.execute("SELECT to_regclass(?)", (f"{SCHEMA}.version",)).fetchone()[0]
        if not found and not create:
            raise StoreError(f"store '{self.place}': no tables; a collector makes them")
        with self._transaction():
            if not found:
                for statement in _TABLES:
                    self._db.execute(statement)
            version = self._db.execute("SELECT max(number) FROM version").fetchone()[0]
            if version is None:
                for statement in _SCHEMA_1:
                    self._db.execute(statement)
                self._db.execute("INSERT INTO version VALUES(?)", (_VERSION,))
            elif version > _VERSION:
                text = f"schema version {version} is newer than this program's {_VERSION}"
                raise StoreError(f"store '{self.place}': {text}; upgrade fieldpost")

    def _insert(self, found):
        self._db.execute(_STAGE)
        with self._connection.cursor() as cursor:
            with cursor.copy(_COPY) as copy:
                for row in found:
                    copy.write_row(_row(row))
            cursor.execute(_MOVE)
            return cursor.rowcount


def _row(row):
    *place, kind, value, text = row
    columns = [None, None, None]
    if kind in (BOOL, INT):
        columns[0] = int(value)
    elif kind == FLOAT:
        columns[1] = value
    elif kind == TEXT and "\0" in value:
        kind, columns[2] = _TEXT_NUL, json.dumps(value)
    elif value is not None:
        columns[2] = str(value) if kind == BIG else _clean(value)
    return (*place, kind, *columns, _clean(text))


def _clean(value):
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _parameters(url, timeout_s):
    try:
        made = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        allowed = "postgresql://[user[:password]@]host[:port]/database"
        raise InputError("store", url.rpartition("@")[2], allowed) from None
    made.setdefault("connect_timeout", timeout_s)
    limits = f"-c lock_timeout={timeout_s * 1000} -c search_path={SCHEMA}"
    made["options"] = f"{made.get('options', '')} {limits}".strip()
    made |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    made["tcp_user_timeout"] = timeout_s * 1000
    made.setdefault("application_name", "fieldpost")
    made["autocommit"] = True
    return made
