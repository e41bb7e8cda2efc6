"""Reads records back: which points, which time, as rows with names.

A point is named ``device/name``; shell patterns (``ahu-*/dat``) name several, and a point whose
name never came is named by its id. Times are Unix milliseconds inside; ``parse_time`` takes what
people write.
"""

import fnmatch
import json
import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from fieldpost_tools import store as stores
from fieldpost_tools.errors import InputError

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_RELATIVE = re.compile(r"-(\d+)(ms|s|m|h|d|w)")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME = (
    "ISO 8601 (2026-11-21T08:30:00Z; UTC if it says nothing else), Unix ms,"
    " or time ago as -15m (ms s m h d w)"
)
_COLUMNS = """n.name, r.point, p.device, p.name, p.unit, r.ts_ms, r.kind, r.value, r.text,
    r.stream, r.seq"""
_NAMES = """JOIN nodes n ON n.id = r.node
    LEFT JOIN points p ON p.node = r.node AND p.id = r.point"""


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
        when = _EPOCH + timedelta(milliseconds=ts_ms)
    except OverflowError:
        return ""
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
    sql = f"SELECT {_COLUMNS} FROM records r {_NAMES} {where} ORDER BY r.node, r.stream, r.seq"
    return map(_row, store.read(sql, parameters))


def newest(store, selection=EVERYTHING, limit=100):
    """List of the newest ``limit`` rows by time, the oldest of them first. Raises like records."""
    where, parameters = _where(store, selection)
    order = "r.ts_ms DESC, r.stream DESC, r.seq DESC"
    # The inner query keeps the names out of the sort.
    inner = f"(SELECT * FROM records r {where} ORDER BY {order} LIMIT ?) r"
    sql = f"SELECT {_COLUMNS} FROM {inner} {_NAMES} ORDER BY {order}"
    return [_row(row) for row in store.read(sql, [*parameters, limit])][::-1]


def _row(row):
    node, point, device, name, unit, ts_ms, kind, value, text, stream, seq = row
    value = stores.decode_value(kind, value)
    named = (device, name, unit) if name is not None else ("", str(point), "")
    return Row(node, *named, ts_ms, value, text, stream, seq)


def _where(store, selection):
    terms, parameters = [], []
    if selection.points:
        pairs = ", ".join(f"({node}, {point})" for node, point in _points(store, selection))
        terms.append(f"(r.node, r.point) IN (VALUES {pairs})")
    elif selection.nodes:
        terms.append(f"r.node IN ({', '.join(map(str, _nodes(store, selection.nodes)))})")
    for term, value in (("r.ts_ms >= ?", selection.since), ("r.ts_ms < ?", selection.until)):
        if value is not None:
            terms.append(term)
            parameters.append(value)
    return ("WHERE " + " AND ".join(terms) if terms else ""), parameters


def _nodes(store, names):
    known = {name: key for key, name in store.read("SELECT id, name FROM nodes")}
    for name in names:
        if name not in known:
            raise InputError("node", name, _known(known))
    return [known[name] for name in names]


def _points(store, selection):
    """(node key, point id) pairs; each pattern must name at least one point."""
    nodes = _nodes(store, selection.nodes) if selection.nodes else _all_nodes(store)
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


def _all_nodes(store):
    return [key for (key,) in store.read("SELECT id FROM nodes")]


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
