"""Datastream: one route below the base URL each for values, events and alarms.

Options: ``values``, ``events``, ``alarms``, the routes (their own names). What is not known of a
value is null; ``tags`` is never null. Several values at once are a list of bodies.
"""

from .. import describe
from ..text import encode

_KEYS = "receivedAt scaledPayload name unit externalId propertyId equipmentId gatewayInterfaceId"
#: Those that may be null.
NULLABLE = tuple((_KEYS + " slug isOutOfService").split())


def render(event, endpoint, node):
    """See the package."""
    return batch((part(event, endpoint, node),), event, endpoint, node, b"%s")


def batch(parts, event, endpoint, _node, form=b"[%s]"):
    """See ``batch.py``."""
    route = "values" if event["event"] == "value_changed" else "events"
    if describe.kind(event) == "alarm":
        route = "alarms"
    options = endpoint.get("options") or {}
    url = endpoint["url"].rstrip("/") + "/" + (options.get(route) or route).lstrip("/")
    return url, {"Content-Type": "application/json"}, form % b",".join(parts)


def part(event, _endpoint, node):
    """The body of one value, event or alarm."""
    data, point = event["data"], event.get("point") or {}
    body = dict.fromkeys(NULLABLE)
    device, _, name = (data.get("node_id") or "").partition("/")
    value = event["event"] == "value_changed"
    body["deviceId"] = device or data.get("device_id") or data.get("device_key") or node.name
    body["property"] = name or data.get("equipment") or event["event"]
    body["timestamp"] = data.get("timestamp_ms") or event["ts_ms"]
    body["payload"] = data.get("value") if value else data
    body["name"] = point.get("name") or name or None
    body["unit"] = point.get("unit") or None
    body["equipmentId"] = data.get("equipment")
    tags = point.get("tags") or {}
    body["tags"] = {key: str(tags[key]) for key in tags}
    return encode(body)
