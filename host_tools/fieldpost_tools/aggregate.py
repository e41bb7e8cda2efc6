"""Aggregates of stored records, by the rules of a node's own query (``fieldpost.history``)."""

import itertools
from typing import Any, NamedTuple

from fieldpost import history
from fieldpost_tools import query
from fieldpost_tools.errors import InputError

_VALUES = """SELECT r.ts_ms, r.kind, {value} FROM records r
    WHERE r.node = ? AND r.point = ? AND r.ts_ms {range}
    ORDER BY r.ts_ms {order}, r.stream {order}, r.seq {order} {limit}"""
_EDGE = "SELECT {which}(ts_ms) FROM records WHERE node = ? AND point = ?"


class Row(NamedTuple):
    """One bucket of one point; ``ts_ms`` stands for it, it holds ``start_ms <= ts < end_ms``.

    Figures but ``first``, ``last`` and ``count`` are of the numbers only, None without one.
    """

    node: str
    device: str
    point: str
    unit: str
    ts_ms: int
    first: Any
    last: Any
    min: float | int | None
    max: float | int | None
    avg: float | int | None
    var: float | int | None
    count: int
    start_ms: int
    end_ms: int


def rows(store, selection, every, fill="none", align="left"):
    """Iterate ``Row`` objects, one point after the other, by time.

    ``every``: ms, ``60s``, ``15m``, ``12h``, ``7d``, ``2w`` or ``3o`` (calendar months, UTC).
    Without limits the buckets of each point go from its first record to its last. Memory does not
    grow with the records. Raises InputError.
    """
    try:
        interval = history.Interval(every)
    except ValueError as error:
        raise InputError("every", every, str(error)) from None
    for series in query.series(store, selection):
        yield from _series(store, series, selection, interval, fill, align)


def values(store, series, since, until):
    """Iterate ``(Unix ms, value)`` of a ``query.Series``, by time, ``since <= ms < until``."""
    sql = _VALUES.format(value=store.VALUE, range=">= ? AND r.ts_ms < ?", order="", limit="")
    for ms, kind, stored in store.stream(sql, (*series.key, since, until)):
        yield ms, store.decode(kind, stored)


def _series(store, series, selection, interval, fill, align):
    since, until = selection.since, selection.until
    edges = [next(store.read(_EDGE.format(which=one), series.key))[0] for one in ("min", "max")]
    if edges[0] is None:
        return
    since = edges[0] if since is None else since
    until = edges[1] + 1 if until is None else until
    aggregate = history.Aggregate(interval, since, until, fill, align, min(until, edges[1] + 1))
    for row in aggregate.rows(_records(store, series, since, until, fill != "none")):
        if row is not None:
            figures = [row["value_" + name] for name in ("min", "max", "avg", "var", "count")]
            ends = row["value_first"], row["value_last"]
            yield Row(*series.names, row["ts"], *ends, *figures, row["start"], row["end"])


def _records(store, series, since, until, outside):
    """Records as ``history`` takes them; with those just ``outside`` of the range."""
    found = values(store, series, since, until)
    if outside:
        before = _neighbour(store, series, "< ?", since, "DESC")
        after = _neighbour(store, series, ">= ?", until, "")
        found = itertools.chain(before, found, after)
    for ms, value in found:
        yield ms, 0, value, None


def _neighbour(store, series, limit, ms, order):
    sql = _VALUES.format(value=store.VALUE, range=limit, order=order, limit="LIMIT 1")
    return [(at, store.decode(*rest)) for at, *rest in store.read(sql, (*series.key, ms))]
