"""RainMaker's envelope, with those of its event names that a node has an event for.

The fields of its alerts and values are not public: here ``NodeId`` and ``Payload``. The option
``user_id`` is the ``UserId`` of connections.
"""

from ..filters_rainmaker import event_type
from ..text import encode
from ..when import split


def render(event, endpoint, node):
    """See the package. None for events that RainMaker has no name for."""
    type = event_type(event["event"], isinstance(event["data"], list))
    if type is None:
        return None
    data = {"NodeId": node.name}
    if type.endswith("connected"):
        data["UserId"] = (endpoint.get("options") or {}).get("user_id") or ""
        data["Connected"] = type.endswith("node_connected")
    else:
        data["Payload"] = event["data"]
    body = {
        "EventVersion": "v1",
        "Id": event["id"],
        "EventType": type,
        "Timestamp": _time(event["ts_ms"]),
        "Description": event["event"].replace("_", " "),
        "EventData": data,
    }
    return endpoint["url"], {"Content-Type": "application/json"}, encode(body)


def _time(ms):
    if ms is None:
        return None
    year, month, day, hour, minute, second, _ = split(ms)
    return "%02d-%02d-%04d %02d:%02d:%02d" % (month, day, year, hour, minute, second)
