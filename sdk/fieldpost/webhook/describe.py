"""Events in words, for services that people read.

What an event is, ``providers/__init__.py`` says.
"""

from .when import iso

#: Severity of events that have none of their own; of all others: info.
_SEVERITIES = {"device_down": "critical"}
_KINDS = (("alarm_", "alarm"), ("fdd_fault_", "fault"), ("device_", "device"))
#: What a fact is called, and the key of its value in the data.
_FACTS = (
    ("Type", "type"),
    ("Severity", "severity"),
    ("State", "state"),
    ("Protocol", "protocol"),
    ("Client", "clientid"),
    ("Topic", "topic"),
    ("Reason", "reason"),
)
_ENDS = ("alarm_cleared", "fdd_fault_cleared", "device_recovered")


def kind(event):
    """``alarm``, ``fault`` or ``device``; of all other events the first word of their name."""
    name = event["event"]
    for prefix, found in _KINDS:
        if name.startswith(prefix):
            return found
    return name.split("_")[0]


def ends(event):
    """Whether it says that something is well again."""
    return event["event"] in _ENDS


def subject(event, node):
    """What it is about: ``device/point``, equipment or device; else the node."""
    data = event["data"]
    for key in ("node_id", "equipment", "device_id", "device_key"):
        if data.get(key):
            return data[key]
    return node.name


def severity(event):
    """``info``, ``warning``, ``critical`` or ``life_safety``."""
    return event["data"].get("severity") or _SEVERITIES.get(event["event"], "info")


def title(event, node):
    """One line: what happened and to what."""
    what = event["event"].replace("_", " ")
    if event["data"].get("type"):
        what += " (%s)" % event["data"]["type"]
    return "%s: %s" % (what, subject(event, node))


def message(event, node):
    """The event's own message, or its title."""
    return event["data"].get("message") or title(event, node)


def facts(event, node):
    """``(name, text)`` of what is known of it; at most 10, none of them empty."""
    data, point = event["data"], event.get("point") or {}
    found = [("Node", node.name)]
    if subject(event, node) != node.name:
        found.append((kind(event)[0].upper() + kind(event)[1:], subject(event, node)))
    found += [(name, str(data[key])) for name, key in _FACTS if data.get(key)]
    if data.get("value") is not None:
        found.append(("Value", ("%s %s" % (data["value"], point.get("unit") or "")).strip()))
    if point.get("tags"):
        tags = point["tags"]
        found.append(("Tags", ", ".join(["%s=%s" % (key, tags[key]) for key in sorted(tags)])))
    if event["ts_ms"] is not None:
        found.append(("Time", iso(event["ts_ms"])))
    return found[:10]
