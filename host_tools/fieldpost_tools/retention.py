"""Retention and downsampling of a SQLite store; nothing happens unless it is asked for.

Records older than their limit are first reckoned into tiers (1 minute, 15 minutes, 1 hour: min,
max, avg, last, count of each point and bucket), then deleted. The book of sequence numbers keeps
what was there, so a flush that comes again later adds nothing. What an exports file has not
exported yet stays.

A tier is made of whole buckets: the limit is rounded down to the hour. Buckets of a later run add
to those that are there, as records may arrive late.
"""

import time
from typing import NamedTuple

from fieldpost_tools.errors import InputError
from fieldpost_tools.store import BOOL, FLOAT, INT

MINUTE, QUARTER, HOUR = 60_000, 900_000, 3_600_000
#: Tier -> its name for people.
TIERS = {MINUTE: "1m", QUARTER: "15m", HOUR: "1h"}
_NUMBERS = f"kind IN ({BOOL}, {INT}, {FLOAT}) AND value IS NOT NULL AND abs(value) < 9e999"
# SQLite gives the bare columns of a group from the row that has its maximum.
_REDUCE = f"""INSERT INTO tiers
    SELECT :size, node, point, ts_ms - ts_ms % :size AS start_ms,
        min(CASE WHEN {_NUMBERS} THEN value END), max(CASE WHEN {_NUMBERS} THEN value END),
        sum(CASE WHEN {_NUMBERS} THEN value END), sum(CASE WHEN {_NUMBERS} THEN 1 ELSE 0 END),
        count(*), 0, 0, NULL
    FROM {{source}} GROUP BY node, point, start_ms
    ON CONFLICT(size_ms, node, point, start_ms) DO UPDATE SET
        min = coalesce(min(min, excluded.min), min, excluded.min),
        max = coalesce(max(max, excluded.max), max, excluded.max),
        sum = coalesce(sum + excluded.sum, sum, excluded.sum),
        numbers = numbers + excluded.numbers, count = count + excluded.count"""
_LAST = """UPDATE tiers SET last_ms = found.ts_ms, last_kind = found.kind, last = found.value
    FROM (SELECT node, point, ts_ms - ts_ms % :size AS start_ms, max(ts_ms) AS ts_ms, kind, value
        FROM {source} GROUP BY node, point, start_ms) AS found
    WHERE tiers.size_ms = :size AND tiers.node = found.node AND tiers.point = found.point
        AND tiers.start_ms = found.start_ms AND found.ts_ms >= tiers.last_ms"""


class Kept(NamedTuple):
    """For how many ms records (``raw``) and the buckets of each tier are kept; None: for ever.

    A tier with 0 is not made.
    """

    raw: int | None = None
    minute: int | None = None
    quarter: int | None = None
    hour: int | None = None


class Removed(NamedTuple):
    """What one run removed and made."""

    records: int = 0
    buckets_made: int = 0
    buckets_removed: int = 0
    held_back: int = 0


def apply(store, kept, now_ms=None, exported=None, batch=50_000):
    """Bring a store within its limits; a ``Removed``.

    ``exported`` is the ``arrivals.Position`` up to which every connector has been; what came
    later is held back. Works in transactions of about ``batch`` records, so that a collector
    can write in between; memory does not grow with the store. Raises InputError, StoreError.
    """
    if store.maintain is None:
        raise InputError("store", store.place, "a SQLite file: a database has its own retention")
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    total = Removed()
    if kept.raw is not None:
        limit = (now_ms - kept.raw) // HOUR * HOUR
        sizes = _sizes(kept)
        place = (-1, -1, -1)
        while place is not None:
            with store.maintain() as db:
                place, one = _reduce(db, limit, sizes, place, exported, batch)
            total = Removed(*map(sum, zip(total, one, strict=True)))
        with store.maintain() as db:
            _forget_runs(db, exported)
    for size, lifetime in ((MINUTE, kept.minute), (QUARTER, kept.quarter), (HOUR, kept.hour)):
        if lifetime:
            with store.maintain() as db:
                sql = "DELETE FROM tiers WHERE size_ms = ? AND start_ms < ?"
                gone = db.execute(sql, (size, now_ms - lifetime)).rowcount
            total = total._replace(buckets_removed=total.buckets_removed + gone)
    return total


def _sizes(kept):
    lifetimes = {MINUTE: kept.minute, QUARTER: kept.quarter, HOUR: kept.hour}
    return [size for size, lifetime in lifetimes.items() if lifetime != 0]


def _reduce(db, limit, sizes, place, exported, batch):
    """Reckon and delete the old ones of the next ``batch`` records in the order of their keys."""
    db.execute(
        """CREATE TEMP TABLE IF NOT EXISTS old(node, stream, seq, ts_ms, point, kind, value)"""
    )
    db.execute("DELETE FROM temp.old")
    sql = """SELECT node, stream, seq FROM records WHERE (node, stream, seq) > (?, ?, ?)
        ORDER BY node, stream, seq LIMIT 1 OFFSET ?"""
    end = db.execute(sql, (*place, batch - 1)).fetchone()
    between = "(node, stream, seq) > (:n, :s, :q)"
    names = {"n": place[0], "s": place[1], "q": place[2], "limit": limit}
    if end:
        between += " AND (node, stream, seq) <= (:n2, :s2, :q2)"
        names |= {"n2": end[0], "s2": end[1], "q2": end[2]}
    db.execute(
        f"""INSERT INTO temp.old SELECT node, stream, seq, ts_ms, point, kind, value
        FROM records WHERE {between} AND ts_ms < :limit""",
        names,
    )
    held = _hold_back(db, exported)
    made = 0
    for size in sizes:
        before = db.execute("SELECT count(*) FROM tiers WHERE size_ms = ?", (size,)).fetchone()[0]
        db.execute(_REDUCE.format(source="temp.old WHERE true"), {"size": size})
        db.execute(_LAST.format(source="temp.old"), {"size": size})
        after = db.execute("SELECT count(*) FROM tiers WHERE size_ms = ?", (size,)).fetchone()[0]
        made += after - before
    gone = db.execute(
        "DELETE FROM records WHERE (node, stream, seq) IN (SELECT node, stream, seq FROM temp.old)"
    ).rowcount
    return end, Removed(gone, made, 0, held)


def _hold_back(db, exported):
    """Leave what has arrived from a position on; how many records that are."""
    if exported is None:
        return 0
    return db.execute(
        """DELETE FROM temp.old WHERE EXISTS (SELECT 1 FROM arrivals a WHERE a.node = old.node
        AND a.stream = old.stream AND old.seq >= a.first_seq AND old.seq < a.end_seq
        AND (a.position > :run OR (a.position = :run AND old.seq >= :seq)))""",
        {"run": exported.run, "seq": exported.seq},
    ).rowcount


def _forget_runs(db, exported):
    """Remove the runs of arrivals whose records are all gone, except the newest."""
    db.execute(
        """DELETE FROM arrivals WHERE position < ? AND position < (SELECT max(position) FROM
        arrivals) AND NOT EXISTS (SELECT 1 FROM records r WHERE r.node = arrivals.node
        AND r.stream = arrivals.stream AND r.seq >= first_seq AND r.seq < end_seq)""",
        (2**62 if exported is None else exported.run,),
    )
