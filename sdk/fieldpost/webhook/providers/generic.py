"""OpenCrate's own body: the event, its node with all that is known of it, and where it is from."""

from ..text import encode
from ..when import iso

_ALARM = ("device_id", "point_id", "type", "severity", "value", "message")


def render(event, endpoint, node):
    """The body of an alarm, a fault or a device; anything else is shown as ``data``."""
    name, data = event["event"], event["data"]
    body = {
        "event": name,
        "timestamp": iso(event["ts_ms"]),
        "source": {"project": "fieldpost", "system": node.name},
    }
    if name.startswith("alarm_"):
        body["alarm"] = alarm = {"id": data["alarm_id"]}
        if name != "alarm_acknowledged":
            alarm.update({key: data.get(key) for key in _ALARM})
            body["node"] = event["point"]
    elif name.startswith("fdd_fault_"):
        body["fault"] = {key: data.get(key) for key in ("equipment", "severity", "message")}
        body["fault"]["id"] = data["fault_id"]
    elif name.startswith("device_"):
        body["device"] = {"protocol": data["protocol"], "device_id": data["device_id"]}
    else:
        body["data"] = data
        body["node"] = event["point"]
    return endpoint["url"], {"Content-Type": "application/json"}, encode(body)


def part(event, endpoint, node):
    """One value of several: the body that it would have alone."""
    return render(event, endpoint, node)[2]


def batch(parts, _event, endpoint, _node):
    """Several values: a list of bodies."""
    return endpoint["url"], {"Content-Type": "application/json"}, b"[%s]" % b",".join(parts)
