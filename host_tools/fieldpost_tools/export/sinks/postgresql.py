"""PostgreSQL by COPY; a batch with rows that are there already goes by a temporary table.

Tables, in ``schema`` with ``prefix`` (made if missing):

* ``history(point_key, device_id, point_id, value, timestamp_ms, …)``: ``value`` is a double, NULL
  where the record has none that a double holds; ``value_exact`` has integers beyond 2**53,
  ``value_text`` texts, ``value_json`` booleans, arrays and objects; ``text`` the driver's words.
* ``alarms(alarm_id, node_id, severity, state, timestamp_ms, value, note, …)``
* ``status(node, device_id, state, timestamp_ms, …)``

The unique keys (node, stream, seq) and (node, body) make what is written twice stand there once.
With the TimescaleDB extension, and ``hypertable``, ``history`` becomes a hypertable, whose unique
key has to contain the time. NUL, which PostgreSQL's text does not hold, becomes U+FFFD.
"""

import hashlib
import json
import math

import psycopg
from psycopg import sql

from fieldpost_tools.errors import InputError
from fieldpost_tools.events import ALARM
from fieldpost_tools.export import columns
from fieldpost_tools.export.connector import Connector, Rejected, Unavailable

_HISTORY = (
    ("node", "text NOT NULL"),
    ("stream", "bigint NOT NULL"),
    ("seq", "bigint NOT NULL"),
    ("point_key", "text NOT NULL"),
    ("device_id", "text NOT NULL"),
    ("point_id", "text NOT NULL"),
    ("unit", "text NOT NULL"),
    ("timestamp_ms", "bigint"),
    ("value", "double precision"),
    ("value_exact", "numeric"),
    ("value_text", "text"),
    ("value_json", "jsonb"),
    ("text", "text"),
    ("tags", "jsonb"),
)
_ALARMS = (
    ("node", "text NOT NULL"),
    ("alarm_id", "bigint"),
    ("node_id", "text NOT NULL"),
    ("severity", "text"),
    ("state", "text NOT NULL"),
    ("timestamp_ms", "bigint"),
    ("value", "double precision"),
    ("note", "text"),
    ("body", "jsonb NOT NULL"),
    ("body_md5", "text NOT NULL"),
)
_STATUS = (
    ("node", "text NOT NULL"),
    ("device_id", "text NOT NULL"),
    ("state", "text NOT NULL"),
    ("timestamp_ms", "bigint"),
    ("body", "jsonb NOT NULL"),
    ("body_md5", "text NOT NULL"),
)
#: Table -> (columns, unique key).
TABLES = {
    "history": (_HISTORY, ("node", "stream", "seq")),
    "alarms": (_ALARMS, ("node", "body_md5")),
    "status": (_STATUS, ("node", "body_md5")),
}


class PostgreSql(Connector):
    """See the module."""

    OPTIONS = {
        "url": "str 8..1024",
        "password": "secret 0..512 = ?",
        "schema": "str 1..63 = opencrate",
        "prefix": "str 0..32 = oc_",
        "create": "bool = true",
        "hypertable": "bool = false",
        "timeout_s": "int 1..600 = 30",
        "sslmode": "enum disable allow prefer require verify-ca verify-full = ?",
        "sslrootcert": "str 1..1024 = ?",
        "sslcert": "str 1..1024 = ?",
        "sslkey": "str 1..1024 = ?",
    }

    def __init__(self, name, options):
        super().__init__(name, options)
        self._parameters = parameters(name, options)
        self._db = None

    def open(self, mark=None):  # noqa: ARG002 – what is written twice stands there once
        """Connect, and make what is missing. Raises Unavailable in words of the server."""
        self.close()
        with self._told():
            self._db = psycopg.connect(**self._parameters)
            try:
                with self._db.transaction():
                    if self.options["create"]:
                        self._create()
                    self._stage()
            except BaseException:
                self.close()
                raise

    def close(self):
        """Close the connection."""
        if self._db:
            self._db.close()
            self._db = None

    def write(self, samples):
        """One COPY and one INSERT in a transaction."""
        self._copy("history", history_rows(samples))
        return 0

    def write_events(self, events):
        """Alarms and status, each into its table."""
        self._copy("alarms", [_alarm_row(one) for one in events if one.kind == ALARM])
        self._copy("status", [_status_row(one) for one in events if one.kind != ALARM])
        return 0

    def health(self):
        """The server's version, and how the connection is encrypted."""
        if not self._db:
            self.open()
        with self._told():
            info = self._db.info
            self._db.execute("SELECT 1")
            secure = "TLS" if self._db.pgconn.ssl_in_use else "no TLS"
        version = f"{info.server_version // 10000}.{info.server_version % 10000}"
        return f"PostgreSQL {version} at {info.host}:{info.port}, {secure}"

    def _table(self, name):
        return sql.Identifier(self.options["schema"], self.options["prefix"] + name)

    def _create(self):
        schema = self.options["schema"]
        self._db.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        for name, (shape, key) in TABLES.items():
            if name == "history" and self.options["hypertable"]:
                key = (*key, "timestamp_ms")
            parts = [sql.SQL("{} " + kind).format(sql.Identifier(one)) for one, kind in shape]
            parts.append(sql.SQL("UNIQUE NULLS NOT DISTINCT ({})").format(_names(key)))
            if self._db.info.server_version < 150000:
                parts[-1] = sql.SQL("UNIQUE ({})").format(_names(key))
            statement = sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})")
            self._db.execute(statement.format(self._table(name), sql.SQL(", ").join(parts)))
        if self.options["hypertable"]:
            self._make_hypertable()

    def _make_hypertable(self):
        found = self._db.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
        if not found.fetchone():
            raise Unavailable(f"{self.name}: hypertable needs the extension timescaledb")
        place = f'"{self.options["schema"]}"."{self.options["prefix"]}history"'
        self._db.execute(
            "SELECT create_hypertable(%s::regclass, 'timestamp_ms',"
            " chunk_time_interval => 604800000, if_not_exists => true, migrate_data => true)",
            (place,),
        )

    def _stage(self):
        for name, (shape, _) in TABLES.items():
            statement = sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} WITH NO DATA")
            self._db.execute(
                statement.format(
                    sql.Identifier("stage_" + name),
                    _names(one for one, _ in shape),
                    self._table(name),
                )
            )

    def _copy(self, name, rows):
        """Straight into the table; where a row is there already, by way of the stage."""
        if not rows:
            return
        with self._told():
            try:
                with self._db.transaction():
                    self._copy_into(self._table(name), name, rows)
            except psycopg.errors.UniqueViolation:
                with self._db.transaction():
                    self._copy_new(name, rows)

    def _copy_into(self, table, name, rows):
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(table, _columns(name))
        with self._db.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def _copy_new(self, name, rows):
        stage, columns = sql.Identifier("stage_" + name), _columns(name)
        self._copy_into(stage, name, rows)
        statement = "INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT DO NOTHING"
        self._db.execute(sql.SQL(statement).format(self._table(name), columns, columns, stage))
        self._db.execute(sql.SQL("TRUNCATE {}").format(stage))

    def _told(self):
        return told(f"{self.name}: PostgreSQL")


class told:  # noqa: N801 – used like a function
    """Tell what psycopg raises: a wrong row as Rejected, all else as Unavailable."""

    def __init__(self, what):
        self._what = what

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _trace):
        if isinstance(error, (psycopg.DataError, psycopg.IntegrityError)):
            raise Rejected(f"{self._what}: {_words(error)}") from error
        if isinstance(error, psycopg.Error):
            raise Unavailable(f"{self._what}: {_words(error)}") from error


def parameters(name, options):
    """Connection parameters for psycopg of a connector's options. Raises InputError for its URL,
    without showing a password."""
    try:
        made = psycopg.conninfo.conninfo_to_dict(options["url"])
    except psycopg.ProgrammingError:
        allowed = "postgresql://[user@]host[:port]/database"
        raise InputError(f"{name}.url", options["url"].rpartition("@")[2], allowed) from None
    for key in ("password", "sslmode", "sslrootcert", "sslcert", "sslkey"):
        if options.get(key) is not None:
            made[key] = options[key]
    timeout_s = options["timeout_s"]
    made["connect_timeout"] = timeout_s
    made["options"] = f"-c statement_timeout={timeout_s * 1000} -c lock_timeout={timeout_s * 1000}"
    # A server that vanished without a word is noticed.
    made |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    made["tcp_user_timeout"] = timeout_s * 1000
    made["application_name"] = "fieldpost"
    made["autocommit"] = True
    return made


def history_rows(samples):
    """List of the rows of ``history`` for samples, in the order of its columns."""
    heads = {}
    rows = []
    for sample in samples:
        # The samples of a point share their tags, and the object that holds them.
        key = sample[:4], id(sample.tags)
        if key not in heads:
            heads[key] = _history_head(sample)
        node, names, tags = heads[key]
        value, text = sample.value, _clean(sample.value_text)
        if type(value) is float:
            cells = value, None, None, None
        else:
            number, exact, words, other = columns.split(value)
            cells = number, exact, _clean(words), _escaped(other)
        rows.append((node, sample[7], sample[8], *names, sample[4], *cells, text, tags))
    return rows


def _history_head(sample):
    """What the rows of a point have in common: node, names, tags."""
    key = f"{sample.device}/{sample.point}"
    names = [_clean(one) for one in (key, sample.device, sample.point, sample.unit)]
    return _clean(sample.node), names, _json(sample.tags) if sample.tags else None


def _alarm_row(event):
    body = event.body
    number, value, note = body.get("alarm_id"), body.get("value"), body.get("message")
    return (
        _clean(event.node),
        number if type(number) is int and abs(number) < 2**63 else None,
        _clean(event.key),
        _clean(event.severity),
        event.state,
        event.ts_ms,
        float(value) if isinstance(value, (int, float)) and abs(value) < 1e308 else None,
        _clean(str(note)) if note is not None else None,
        *_body(body),
    )


def _status_row(event):
    names = _clean(event.node), _clean(event.key), _clean(event.state)
    return (*names, event.ts_ms, *_body(event.body))


def _body(body):
    text = _json(body)
    return text, hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _json(value):
    return _escaped(json.dumps(_finite(value), ensure_ascii=False, sort_keys=True))


def _escaped(text):
    return text and text.replace("\\u0000", "\ufffd")


def _finite(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value


def _clean(text):
    return text.replace("\0", "\ufffd") if text else text


def _columns(name):
    return _names(one for one, _ in TABLES[name][0])


def _names(names):
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _words(error):
    """The server's message as one line, without the hints that may hold data."""
    if error.diag and error.diag.message_primary:
        return error.diag.message_primary
    return " ".join(str(error).split())[:300]


connector = PostgreSql
