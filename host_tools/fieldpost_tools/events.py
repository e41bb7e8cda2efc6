"""Alarms and device status that nodes publish: decoded, stored once, read in order of arrival.

Payloads are those of the topic engine (alarm: ``alarm_id``, ``node_id``, ``type``, ``severity``,
``state``, ``value``, ``message``, ``timestamp_ms``; status: ``device_key``, ``event``,
``protocol``, ``timestamp_ms``). MQTT delivers them at least once and retained ones again and
again; one with the same text as a stored one of its node is the same event.
"""

import json
from typing import Any, NamedTuple

from fieldpost_tools.errors import FlushError
from fieldpost_tools.flush import json_object, storable

ALARM, STATUS = "alarm", "status"
#: Topic level behind the node -> kind of event.
LEVELS = {"alarms": ALARM, "status": STATUS}
_MAX_INT = 2**63 - 1
_STATES = ("raised", "cleared", "acknowledged")

SCHEMA = (
    """CREATE TABLE events(
        position INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL, kind TEXT NOT NULL,
        key TEXT NOT NULL, state TEXT NOT NULL, severity TEXT, ts_ms INTEGER,
        seen_ms INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE(node, kind, body))""",
    "CREATE INDEX events_by_time ON events(ts_ms)",
)
_INSERT = """INSERT INTO events(node, kind, key, state, severity, ts_ms, seen_ms, body)
    VALUES(?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_AFTER = """SELECT e.position, n.name, e.kind, e.key, e.state, e.severity, e.ts_ms, e.seen_ms,
    e.body FROM events e JOIN nodes n ON n.id = e.node WHERE e.position > ?
    ORDER BY e.position LIMIT ?"""
_LAST = "SELECT coalesce(max(position), 0) FROM events"


class Event(NamedTuple):
    """One event. ``key`` is ``device/point`` of an alarm, the device of a status.

    ``state`` is raised, cleared or acknowledged; down, discovered or recovered. ``ts_ms`` is None
    where the node did not know the time. ``text`` is the JSON object as it came.
    """

    node: str
    kind: str
    key: str
    state: str
    severity: str | None
    ts_ms: int | None
    text: str


class Stored(NamedTuple):
    """A stored event: ``position`` orders by arrival, ``body`` is the parsed object."""

    position: int
    node: str
    kind: str
    key: str
    state: str
    severity: str | None
    ts_ms: int | None
    seen_ms: int
    body: dict[str, Any]


def decode(node, level, payload):
    """An ``Event`` of a message on ``fieldpost/{node}/{level}/…``. Raises FlushError."""
    kind = LEVELS.get(level)
    if kind is None:
        raise FlushError("not a topic that was asked for")
    body = json_object(payload)
    names = ("node_id", "state") if kind == ALARM else ("device_key", "event")
    key, state = (_text(body, name) for name in names)
    if kind == ALARM and state not in _STATES:
        raise FlushError(f"state: {state!r:.40} is not allowed, expected one of {_STATES}")
    severity = _text(body, "severity") if kind == ALARM else None
    ts_ms = body.get("timestamp_ms")
    if ts_ms is not None and not (type(ts_ms) is int and 0 <= ts_ms <= _MAX_INT):
        raise FlushError(f"timestamp_ms: {ts_ms!r:.40} is not allowed, expected Unix ms or null")
    return Event(node, kind, key, state, severity, ts_ms, storable(payload.decode()))


def _text(body, name):
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise FlushError(f"{name}: {value!r:.40} is not allowed, expected a text")
    return storable(value)


def insert(db, rows):
    """Store ``(node key, seen ms, Event)`` rows; how many were new."""
    values = [(node, *event[1:6], seen_ms, event.text) for node, seen_ms, event in rows]
    return db.executemany(_INSERT, values).rowcount if values else 0


def after(store, position=0, limit=1000):
    """List of up to ``limit`` ``Stored`` events behind ``position``."""
    return [
        Stored(*row[:-1], json.loads(row[-1])) for row in store.read(_AFTER, (position, limit))
    ]


def last(store):
    """Position of the newest event, 0 where there is none."""
    return next(store.read(_LAST))[0]
