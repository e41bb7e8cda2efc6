"""Events as providers get them, one of each kind, and texts that are hard to carry."""

#: Quotes, markup, control characters, many bytes a character.
AWKWARD = 'say "no" \\ <b>&amp; \t\n\x01\x7f äöü \u2028 😀'
LONG = "0123456789" * 1024
EMOJI = "😀" * 3000
TS = 1785556800123  # 2026-08-01 04:00:00.123
TS_ISO = "2026-08-01T04:00:00.123Z"
SEVERITIES = ("info", "warning", "critical", "life_safety")


class Node:
    """What providers see of a node."""

    name = "gw-1"


ENDPOINT = {
    "url": "https://hooks.example/in",
    "secret": "s3cret",
    "headers": {},
    "options": {"topic": "plant", "routing_key": "R" * 32, "project": "hq", "user_id": "u-1"},
}
POINT = {
    "node_id": "ahu-1/dat",
    "name": "dat",
    "unit": "°C",
    "device_id": "ahu-1",
    "protocol": "modbus",
    "description": None,
    "tags": {"site": "hq", "area": "roof"},
}


def alarm(state="raised", **more):
    """An alarm event."""
    data = {
        "type": "high_limit",
        "severity": "warning",
        "state": state,
        "value": 31.5,
        "message": "too hot",
        "timestamp_ms": TS,
        "alarm_id": 7,
        "node_id": "ahu-1/dat",
        "device_id": "ahu-1",
        "point_id": "dat",
    }
    data.update(more)
    return event("alarm_" + state, data, "ahu-1/dat", POINT)


def fault(state="raised", **more):
    """A fault event."""
    data = {
        "type": "expression",
        "severity": "critical",
        "state": state,
        "value": None,
        "message": "heats and cools",
        "timestamp_ms": TS,
        "fault_id": 3,
        "equipment": "AHU & Co",
    }
    data.update(more)
    return event("fdd_fault_" + state, data, data["equipment"])


def device(state):
    """A device event."""
    data = {"device_id": "ahu-1", "protocol": "modbus"}
    return event("device_" + state, data, "ahu-1", dict(POINT, unit=None, name="ahu-1"))


def value(value=21.5, **more):
    """A value event."""
    data = {"node_id": "ahu-1/dat", "value": value, "value_string": None, "unit": "°C"}
    data.update(more)
    return event("value_changed", data, "ahu-1/dat", POINT)


def mqtt(name, **more):
    """An event of the node's MQTT client."""
    data = {"node": "gw-1", "ipaddress": None, "clientid": "c", "username": "undefined"}
    data.update(more)
    return event(name, data, "main")


def event(name, data, key, point=None):
    """Any event."""
    return {
        "event": name,
        "action": name,
        "id": "gw-1-5-17",
        "ts_ms": TS,
        "key": key,
        "data": data,
        "point": point,
    }


def every():
    """One of each kind."""
    return (
        [alarm(state) for state in ("raised", "cleared", "acknowledged")]
        + [fault(state) for state in ("raised", "cleared")]
        + [device(state) for state in ("down", "recovered", "discovered")]
        + [value(), value(None), value(True), value("text")]
        + [mqtt("client_connected", session_present=False), mqtt("message_publish", topic="t")]
    )


def awkward():
    """Events with texts that are hard to carry, and with next to none."""
    events = [alarm(message=text) for text in (AWKWARD, LONG, EMOJI, AWKWARD * 300, "")]
    events += [alarm(value=text) for text in (AWKWARD, LONG, EMOJI)]
    events += [fault(equipment=text) for text in (AWKWARD, EMOJI, "a" * 149 + "😀")]
    events.append(alarm(value=None, message=None))
    bare = alarm(value=float("nan"))
    bare["point"] = dict(POINT, unit="", tags={})
    events.append(bare)
    bare = alarm()
    bare["point"] = bare["ts_ms"] = None
    events.append(bare)
    # All that can be said of an event, and more than a service shows.
    events.append(alarm(protocol="modbus", clientid="c", topic="t", reason="timeout"))
    tagged = alarm()
    tagged["point"] = dict(POINT, tags={"tag%d" % i: AWKWARD for i in range(64)})
    events.append(tagged)
    return events
