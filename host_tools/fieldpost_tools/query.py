"""Reads records back: which points, which time, as rows with names.

A point is named ``device/name``; shell patterns (``ahu-*/dat``) name several, and a point whose
name never came is named by its id. Times are Unix milliseconds inside; ``parse_time`` takes what
people write.
"""

import fnmatch
import functools
import heapq
import json
import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from fieldpost_tools.arrivals import Position
from fieldpost_tools.errors import InputError

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_RELATIVE = re.compile(r"-(\d+)(ms|s|m|h|d|w)")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME = (
    "ISO 8601 (2026-11-21T08:30:00Z; UTC if it says nothing else), Unix ms,"
    " or time ago as -15m (ms s m h d w)"
)
_COLUMNS = """n.name, r.point, p.device, p.name, p.unit, r.ts_ms, r.kind, {value}, r.text,
    r.stream, r.seq"""
_NAMES = """JOIN nodes n ON n.id = r.node
    LEFT JOIN points p ON p.node = r.node AND p.id = r.point"""
_SELECT = f"SELECT {_COLUMNS} FROM records r {_NAMES}"
_AFTER = """SELECT a.position, r.node, r.point, r.ts_ms, r.kind, {value}, r.text, r.stream, r.seq
    FROM arrivals a JOIN records r ON r.node = a.node
    AND r.stream = a.stream AND r.seq >= a.first_seq AND r.seq < a.end_seq
    WHERE a.position >= ? AND (r.seq >= ? OR a.position > ?)
    ORDER BY a.position, r.seq LIMIT ?"""
_POINTS = """SELECT p.node, p.id, n.name, p.device, p.name, p.unit
    FROM points p JOIN nodes n ON n.id = p.node"""


class Row(NamedTuple):
    """One record. ``device`` is "" and ``point`` the id where the node never named the point.

    ``ts_ms`` is None where the node never knew the time. ``value`` has the type it was sent with:
    None, bool, int, float, str, or a parsed JSON array or object.
    """

    node: str
    device: str
    point: str
    unit: str
    ts_ms: int | None
    value: Any
    value_text: str | None
    stream: int
    seq: int


class Selection(NamedTuple):
    """What to read: names and patterns (empty = all), ``since <= ts_ms < until``.

    With a time limit, records without a time are left out.
    """

    nodes: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None


EVERYTHING = Selection()


def parse_time(name, text, now_ms):
    """Unix ms of ``text``: ISO 8601, Unix ms, or ``-15m`` before ``now_ms``; None stays None.

    ``name`` is the option's, for the InputError.
    """
    if text is None:
        return None
    relative = _RELATIVE.fullmatch(text)
    try:
        if relative:
            return now_ms - int(relative[1]) * _UNITS[relative[2]]
        if re.fullmatch(r"\d{1,15}", text):
            return int(text)
        when = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
    except ValueError:
        raise InputError(name, text, _TIME) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return (when - _EPOCH) // timedelta(milliseconds=1)


def format_time(ts_ms):
    """ISO 8601 in UTC with milliseconds; "" for None and for what no calendar holds."""
    if ts_ms is None:
        return ""
    try:
        return f"{_second(ts_ms // 1000)}.{ts_ms % 1000:03d}Z"
    except OverflowError:
        return ""


@functools.lru_cache(4096)
def _second(seconds):
    # Neighbouring records share their second, and the calendar is what costs.
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def format_value(value):
    """A value as text: ``true``, ``NaN``, ``-Infinity``, shortest exact float; "" for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)


def records(store, selection=EVERYTHING):
    """Iterate ``Row`` objects in the order in which each node recorded them.

    Memory does not grow with their number. Raises InputError for a node or point that the store
    does not know.
    """
    where, parameters = _where(store, selection)
    sql = f"{_select(store)} {where} ORDER BY r.node, r.stream, r.seq"
    return (_row(store, row) for row in store.stream(sql, parameters))


def after(store, position, limit=1000):
    """``(rows, Position)``: up to ``limit`` rows in order of arrival, and where to go on."""
    parameters = (*position, position.run, limit)
    found = list(store.read(_AFTER.format(value=store.VALUE), parameters))
    if not found:
        return [], position
    names = _names(store)
    decode = store.decode
    # In one go, without a join for the names: this is where an export spends its time.
    rows = [
        Row(*(names.get((node, point)) or names.lack(node, point)), ms, decode(kind, value), *rest)
        for _, node, point, ms, kind, value, *rest in found
    ]
    return rows, Position(found[-1][0], rows[-1].seq + 1)


class _Names(dict):
    """(node, device, point, unit) by (node key, point id)."""

    def lack(self, node, point):
        """The names of a point that never got any."""
        return self.setdefault((node, point), (self.nodes[node], "", str(point), ""))


def _names(store):
    names = _Names({row[:2]: row[2:] for row in store.read(_POINTS)})
    names.nodes = dict(store.read("SELECT id, name FROM nodes"))
    return names


class Range:
    """Records of a selection in the order of their keys, batch by batch, from any place on.

    A place is ``(node, stream, seq)``; None is before the first. Raises InputError like records.
    """

    def __init__(self, store, selection):
        self._store = store
        # The plus keeps other indexes out of it: in the order of keys nothing is sorted.
        self._where, self._parameters = _where(store, selection, "+r")

    def total(self):
        """How many there are."""
        sql = f"SELECT count(*) FROM records r {self._where}"
        return next(self._store.read(sql, self._parameters))[0]

    def after(self, place, limit):
        """List of the next ``limit`` rows behind a place."""
        where, parameters = self._where, self._parameters
        if place:
            node = next(self._store.read("SELECT id FROM nodes WHERE name = ?", place[:1]))[0]
            where = f"{where} AND (r.node, r.stream, r.seq) > (?, ?, ?)"
            parameters = (*parameters, node, *place[1:])
        sql = f"{_select(self._store)} {where} ORDER BY r.node, r.stream, r.seq LIMIT ?"
        return [_row(self._store, row) for row in self._store.read(sql, (*parameters, limit))]


class Series(NamedTuple):
    """One point of one node: ``key`` in the database, ``names`` (node, device, point, unit)."""

    key: tuple[int, int]
    names: tuple[str, str, str, str]


def series(store, selection=EVERYTHING):
    """Iterate the ``Series`` of a selection that have records. Raises InputError like records."""
    nodes = dict(store.read("SELECT id, name FROM nodes"))
    sql = "SELECT device, name, unit FROM points WHERE node = ? AND id = ?"
    for key in _series(store, selection):
        names = next(store.read(sql, key), ("", str(key[1]), ""))
        yield Series(key, (nodes[key[0]], *names))


def newest(store, selection=EVERYTHING, limit=100):
    """List of the newest ``limit`` rows by time, the oldest of them first. Raises like records.

    Looks at the end of each point's series only, so it is as fast in a big store as in a small.
    """
    where, parameters = _between(selection)
    order = "ORDER BY r.ts_ms DESC, r.stream DESC, r.seq DESC"
    sql = f"{_select(store)} WHERE r.node = ? AND r.point = ? {where} {order} LIMIT ?"
    rows = (
        _row(store, row)
        for pair in _series(store, selection)
        for row in store.read(sql, (*pair, *parameters, limit))
    )
    return sorted(heapq.nlargest(limit, rows, key=_age), key=_age)


def _age(row):
    # Records without a time count as older than all others.
    return row.ts_ms is not None, row.ts_ms or 0, row.stream, row.seq


def _select(store):
    return _SELECT.format(value=store.VALUE)


def _row(store, row):
    node, point, device, name, unit, ts_ms, kind, value, text, stream, seq = row
    value = store.decode(kind, value)
    named = (device, name, unit) if name is not None else ("", str(point), "")
    return Row(node, *named, ts_ms, value, text, stream, seq)


def _where(store, selection, table="r"):
    between, parameters = _between(selection, table)
    if selection.points:
        pairs = ", ".join(f"({node}, {point})" for node, point in _points(store, selection))
        names = f"({table}.node, {table}.point)"
        return f"WHERE {names} IN (VALUES {pairs}) {between}", parameters
    nodes = ", ".join(map(str, _nodes(store, selection)))
    return f"WHERE {table}.node IN ({nodes}) {between}", parameters


def _between(selection, table="r"):
    terms = ((">=", selection.since), ("<", selection.until))
    terms = [(f"AND {table}.ts_ms {sign} ?", value) for sign, value in terms if value is not None]
    return " ".join(term for term, _ in terms), [value for _, value in terms]


def _nodes(store, selection):
    """Keys of the chosen nodes, or of all."""
    known = {name: key for key, name in store.read("SELECT id, name FROM nodes")}
    for name in selection.nodes:
        if name not in known:
            raise InputError("node", name, _known(known))
    return [known[name] for name in selection.nodes or known]


def _series(store, selection):
    """(node key, point id) of every series the selection may hold."""
    if selection.points:
        return _points(store, selection)
    nodes = _nodes(store, selection)
    return [(node, point) for node in nodes for point in _points_of(store, node)]


def _points_of(store, node):
    # One step in the index for each point, where DISTINCT would read every record.
    sql = "SELECT point FROM records WHERE node = ? AND point > ? ORDER BY point LIMIT 1"
    point = -1
    while found := next(store.read(sql, (node, point)), None):
        point = found[0]
        yield point


def _points(store, selection):
    """(node key, point id) pairs; each pattern must name at least one point."""
    nodes = _nodes(store, selection)
    named = list(store.read("SELECT node, id, device || '/' || name FROM points"))
    named = [row for row in named if row[0] in nodes]
    chosen = {}
    for pattern in selection.points:
        found = [(node, point) for node, point, key in named if _matches(key, pattern)]
        if pattern.isdecimal():
            found += [(node, int(pattern)) for node in nodes if _has(store, node, int(pattern))]
        if not found:
            raise InputError("point", pattern, _known(sorted({key for *_, key in named})))
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _matches(key, pattern):
    # A name may itself hold [ or *.
    return key == pattern or fnmatch.fnmatchcase(key, pattern)


def _has(store, node, point):
    if point >= 2**63:
        return False
    sql = "SELECT 1 FROM records WHERE node = ? AND point = ? LIMIT 1"
    return next(store.read(sql, (node, point)), None) is not None


def _known(names):
    names = list(names)
    if not names:
        return "nothing: the store holds none"
    more = f" … ({len(names)} in all)" if len(names) > 8 else ""
    return "one of " + ", ".join(names[:8]) + more
