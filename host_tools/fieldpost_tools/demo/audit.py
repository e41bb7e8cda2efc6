"""The account at the end: what the node acquired against what is stored and exported.

A node's state names the stream, the number that its next record gets, and what it acquired and
dropped before. So the comparison needs no pause in the sampling: everything of the stream below
that number must be stored, whatever has come since. That much is exported, read back and counted
again; the database's unique key is not taken as proof.
"""

import csv
from collections import Counter
from typing import NamedTuple

from fieldpost_tools import query
from fieldpost_tools.demo import site
from fieldpost_tools.export import csv as csv_export

_RECORDS = "FROM records r JOIN nodes n ON n.id = r.node WHERE n.name = ? AND r.stream = ?"
_STORED = f"SELECT count(*) {_RECORDS} AND r.seq < ?"
_BY_POINT = """SELECT p.device, p.name, count(r.seq) FROM points p JOIN nodes n ON n.id = p.node
    LEFT JOIN records r ON r.node = p.node AND r.point = p.id AND r.stream = ? AND r.seq < ?
    WHERE n.name = ? GROUP BY p.id"""
_NEXT = """SELECT s.next_seq FROM streams s JOIN nodes n ON n.id = s.node
    WHERE n.name = ? AND s.stream = ?"""
_VALUES = f"SELECT r.value {_RECORDS} AND r.seq < ? AND r.point = ? ORDER BY r.seq"
_POINT = "SELECT p.id FROM points p WHERE p.device = ? AND p.name = ?"
#: Events that a node did not queue, or gave up.
_LOST_EVENTS = ("failed", "paused", "full", "dropped", "refused", "gone")


class Cut(NamedTuple):
    """A state of the node's log: ``acquired`` and ``dropped`` records before number ``end``."""

    stream: int
    end: int
    acquired: int
    dropped: int


def cut(log):
    """The ``Cut`` of ``logs.default`` in a node's state."""
    return Cut(log["stream"], log["next"], log["acquired"], sum(log["dropped"].values()))


def covered(store, cut):
    """Is every record before the cut stored, or known to be dropped?"""
    row = next(store.read(_NEXT, (site.NODE, cut.stream)), (0,))
    return row[0] >= cut.end and not _gaps(store, cut)


def account(store, cut, path):
    """Export the records before ``cut`` to the CSV file ``path`` and compare everything.

    A dict of figures; ``problems`` lists in words what is not as it should be.
    """
    stored = next(store.read(_STORED, (site.NODE, cut.stream, cut.end)))[0]
    rows = (row for row in query.records(store) if row.stream == cut.stream)
    written = csv_export.write_file((row for row in rows if row.seq < cut.end), path)
    exported = _read_back(path)
    result = {
        "records_acquired": cut.acquired,
        "records_stored": stored,
        "lost": cut.acquired - cut.dropped - stored,
        "duplicates": exported.duplicates,
        "dropped": cut.dropped,
        "csv_rows": exported.rows,
        "unexplained_gaps": len(_gaps(store, cut)),
        "counter_holes": exported.holes,
        "points": len(exported.points),
    }
    result["problems"] = _problems(result, written, exported, _by_point(store, cut))
    return result


def heap_free(store, cut, parts=3):
    """Most bytes of heap free in each part of the run: what is left after garbage collections."""
    values = _values(store, cut, site.HEAP_FREE)
    size = max(1, len(values) // parts)
    return [max(values[i * size : (i + 1) * size], default=0) for i in range(parts)]


def queued(counters):
    """How many webhooks must arrive, by the counters of a node's state."""
    return counters.get("webhook_events", 0)


def webhooks(store, cut, counters, receiver, whole):
    """The account of alarms, which came as webhooks to a ``Receiver``; a dict like ``account``'s.

    The node says how many it queued. If the records are ``whole``, they tell once more what was
    raised and cleared, and at which value.
    """
    crossed = crossings(_values(store, cut, site.WATCHED))
    arrived = [_event(one.body) for one in receiver.arrivals[: queued(counters)]]
    result = {
        "alarms_raised": sum(event == "alarm_raised" for event, _ in crossed),
        "alarms_cleared": sum(event == "alarm_cleared" for event, _ in crossed),
        "webhooks_delivered": len(arrived),
        "webhooks_missing": queued(counters) - len(arrived),
        "webhooks_again": receiver.again,
        "webhooks_refused": receiver.refused,
    }
    lost = {name: counters["webhook_" + name] for name in _LOST_EVENTS}
    checks = (
        (result["webhooks_missing"], f"{result['webhooks_missing']} webhooks never arrived"),
        (receiver.refused, f"{receiver.refused} webhooks with a wrong signature"),
        (any(lost.values()), f"the node has lost alarms: {lost}"),
        (whole and not crossed, "no alarm was raised"),
        (whole and arrived != crossed, f"webhooks tell of {arrived}, records of {crossed}"),
    )
    return result | {"problems": [text for wrong, text in checks if wrong]}


def crossings(values):
    """What an alarm of ``site`` makes of these values: ``[(event, value), ...]``."""
    made = []
    raised = False
    for value in values:
        if raised != (value > site.LIMIT - site.DEADBAND * raised):
            raised = not raised
            event = "alarm_raised" if raised else "alarm_cleared"
            made.append((event, round(value, site.DECIMALS)))
    return made


def _event(body):
    return body["event"], round(body["alarm"]["value"], site.DECIMALS)


def _values(store, cut, point):
    key = next(store.read(_POINT, point), (None,))[0]
    return [row[0] for row in store.read(_VALUES, (site.NODE, cut.stream, cut.end, key))]


class _Exported(NamedTuple):
    rows: int
    duplicates: int
    holes: int
    points: Counter


def _read_back(path):
    """Count a CSV: a row is double if its identity, or its value of the counter, came before."""
    seen, counted, points = set(), set(), Counter()
    rows = duplicates = 0
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            point = row["device"], row["point"]
            identity = row["node"], row["stream"], row["seq"]
            number = int(row["value"]) if point == site.COUNTER else None
            rows += 1
            duplicates += identity in seen or number in counted
            seen.add(identity)
            points[point] += 1
            if number is not None:
                counted.add(number)
    holes = max(counted) + 1 - len(counted) if counted else 0
    return _Exported(rows, duplicates, holes, points)


def _gaps(store, cut):
    return [
        gap
        for gap in store.gaps()
        if gap.stream == cut.stream and gap.from_seq < cut.end and gap.explained is None
    ]


def _by_point(store, cut):
    rows = store.read(_BY_POINT, (cut.stream, cut.end, site.NODE))
    return {(device, name): count for device, name, count in rows}


def _problems(result, written, exported, by_point):
    missing = [f"{device}/{name}" for (device, name), count in by_point.items() if not count]
    checks = (
        (result["lost"] > 0, f"{result['lost']} records are lost"),
        (result["lost"] < 0, f"{-result['lost']} records more than were acquired are stored"),
        (result["duplicates"], f"{result['duplicates']} records are double"),
        (result["unexplained_gaps"], f"{result['unexplained_gaps']} gaps without a reason"),
        (
            not result["records_stored"] == written == exported.rows,
            f"{result['records_stored']} stored records, {written} exported, {exported.rows} read",
        ),
        (exported.points != Counter(by_point), "points differ between database and CSV"),
        (not by_point, "the node has not told its points' names"),
        (missing, f"nothing recorded of {', '.join(missing)}"),
        (
            exported.holes and not result["dropped"],
            f"{exported.holes} values of the counter are missing",
        ),
    )
    return [text for wrong, text in checks if wrong]
