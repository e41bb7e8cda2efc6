"""PagerDuty Events API v2: alarms, faults and devices open incidents, and end them again.

Options: ``routing_key`` (the secret where it is missing), ``project`` (first part of the
``dedup_key``; ``fieldpost``). The URL is PagerDuty's own, unless the endpoint has one.
"""

from ...compat import const, crc32
from .. import describe
from ..text import cut, encode
from ..when import iso

URL = "https://events.pagerduty.com/v2/enqueue"
_SUMMARY_CHARS = const(1024)
_KEY_CHARS = const(255)
_ACTIONS = {
    "alarm_raised": "trigger",
    "alarm_acknowledged": "acknowledge",
    "alarm_cleared": "resolve",
    "fdd_fault_raised": "trigger",
    "fdd_fault_cleared": "resolve",
    "device_down": "trigger",
    "device_recovered": "resolve",
}


def render(event, endpoint, node):
    """See the package. None for what is no incident."""
    action = _ACTIONS.get(event["event"])
    if action is None:
        return None
    options = endpoint.get("options") or {}
    body = {
        "routing_key": options.get("routing_key") or endpoint.get("secret") or "",
        "event_action": action,
        "dedup_key": dedup_key(event, options.get("project") or "fieldpost", node),
    }
    if action == "trigger":
        body["payload"] = _payload(event, node)
    return endpoint["url"] or URL, {"Content-Type": "application/json"}, encode(body)


def dedup_key(event, project, node):
    """``project/kind/node/type``, the same for all that happens to one alarm, fault or device.

    The node's part is the board and the point, equipment or device; the type of a device is
    ``down``. One that is too long ends with the CRC of the whole.
    """
    kind = describe.kind(event)
    type = event["data"].get("type") or ("down" if kind == "device" else kind)
    subject = describe.subject(event, node)
    where = node.name if subject == node.name else "%s/%s" % (node.name, subject)
    key = "%s/%s/%s/%s" % (project, kind, where, type)
    short = cut(key, _KEY_CHARS - 8)
    return key if short == key else short + "%08x" % crc32(key.encode())


def _payload(event, node):
    severity = describe.severity(event)
    summary = "%s: %s" % (describe.subject(event, node), describe.message(event, node))
    payload = {
        "summary": cut(summary, _SUMMARY_CHARS),
        "source": node.name,
        "severity": "critical" if severity == "life_safety" else severity,
        "component": describe.subject(event, node),
        "custom_details": dict(event["data"], point=event.get("point")),
    }
    if event["ts_ms"] is not None:
        payload["timestamp"] = iso(event["ts_ms"])
    return payload
