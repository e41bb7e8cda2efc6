"""RainMaker's envelope, with those of its event names that a node has an event for.

The fields of its alerts and values are not public: here ``NodeId`` and ``Payload``. The option
``user_id`` is the ``UserId`` of connections.
"""

from ..filters_rainmaker import event_type
from ..text import encode
from ..when import split

_HEADERS = {"Content-Type": "application/json"}


def render(event, endpoint, node):
    """See the package. None for events that RainMaker has no name for."""
    type = event_type(event["event"])
    if type is None:
        return None
    data = {"NodeId": node.name}
    if type.endswith("connected"):
        data["UserId"] = (endpoint.get("options") or {}).get("user_id") or ""
        data["Connected"] = type.endswith("node_connected")
    else:
        data["Payload"] = event["data"]
    body = dict(_envelope(event, type), EventData=data)
    return endpoint["url"], _HEADERS, encode(body)


def part(event, _endpoint, _node):
    """One of several values: its data, and ``timestamp_ms``."""
    return encode(dict(event["data"], timestamp_ms=event["ts_ms"]))


def batch(parts, event, endpoint, node):
    """Several values: one ``node_ts_data`` whose ``Payload`` is the list of them."""
    envelope = encode(_envelope(event, event_type(event["event"], True)))
    data = b'{"NodeId":"%s","Payload":[%s]}' % (node.name.encode(), b",".join(parts))
    return endpoint["url"], _HEADERS, b'%s,"EventData":%s}' % (envelope[:-1], data)


def _envelope(event, name):
    return {
        "EventVersion": "v1",
        "Id": event["id"],
        "EventType": name,
        "Timestamp": _time(event["ts_ms"]),
        "Description": event["event"].replace("_", " "),
    }


def _time(ms):
    if ms is None:
        return None
    year, month, day, hour, minute, second, _ = split(ms)
    return "%02d-%02d-%04d %02d:%02d:%02d" % (month, day, year, hour, minute, second)
