"""Alarms and device status on their way into the store."""

import json

import pytest

from fieldpost_tools import events
from fieldpost_tools.errors import FlushError
from fieldpost_tools.store import Store

ALARM = {
    "alarm_id": 7,
    "node_id": "ahu-1/dat",
    "device_id": "ahu-1",
    "point_id": "dat",
    "type": "high_limit",
    "severity": "critical",
    "state": "raised",
    "value": 31.5,
    "message": "too warm",
    "timestamp_ms": 1_700_000_000_000,
}
STATUS = {"device_key": "ahu-1", "event": "down", "protocol": "modbus", "timestamp_ms": None}


def encoded(body, **changes):
    return json.dumps(body | changes).encode()


def test_an_event_is_stored_once_per_node_and_text(tmp_path):
    raised = events.decode("gw-1", "alarms", encoded(ALARM))
    cleared = events.decode("gw-1", "alarms", encoded(ALARM, state="cleared"))
    other = events.decode("gw-2", "alarms", encoded(ALARM))
    down = events.decode("gw-1", "status", encoded(STATUS))
    with Store(tmp_path / "a.db", create=True) as store:
        assert store.write(happened=[raised, raised, down]).events == 2
        assert store.write(happened=[cleared, raised, other]).events == 2
        found = events.after(store)
        assert [(one.node, one.kind, one.key, one.state) for one in found] == [
            ("gw-1", "alarm", "ahu-1/dat", "raised"),
            ("gw-1", "status", "ahu-1", "down"),
            ("gw-1", "alarm", "ahu-1/dat", "cleared"),
            ("gw-2", "alarm", "ahu-1/dat", "raised"),
        ]
        assert found[0].severity == "critical"
        assert found[0].body == ALARM
        assert found[1].ts_ms is None
        assert events.after(store, found[1].position, 1) == found[2:3]
        assert events.last(store) == found[3].position


@pytest.mark.parametrize(
    ("level", "body"),
    [
        ("alarms", ALARM | {"state": "burning"}),
        ("alarms", ALARM | {"severity": None}),
        ("alarms", ALARM | {"timestamp_ms": 1.5}),
        ("alarms", ALARM | {"timestamp_ms": 2**63}),
        ("alarms", STATUS),
        ("status", STATUS | {"device_key": ""}),
        ("value", STATUS),
    ],
)
def test_what_is_no_event_is_refused(level, body):
    with pytest.raises(FlushError):
        events.decode("gw-1", level, encoded(body))
