"""Which events an endpoint wants: toggles or rules, severity, topics, nodes, tags, filters."""

SEVERITIES = ("info", "warning", "critical", "life_safety")
#: Events with a toggle in the schema's table ``webhook``.
TOGGLES = (
    "alarm_raised",
    "alarm_cleared",
    "alarm_acknowledged",
    "device_down",
    "device_recovered",
    "device_discovered",
    "fdd_fault_raised",
    "fdd_fault_cleared",
    "value_changed",
)


def routes(row, event, key, data):
    """What an endpoint makes of an event: ``[(action, URL), ...]``, None for
    what its row says.

    Its rules where it has some, else its toggles; empty where another filter refuses.
    """
    if not _passes(row, key, data):
        return ()
    if not row["rules"]:
        return ((None, None),) if event in TOGGLES and row[event] else ()
    found = []
    for rule in row["rules"]:
        if rule["event"] == event and _on_topic(rule["topics"], data):
            for url in rule["urls"] or (None,):
                found.append((rule["action"], url))
    return found


def _passes(row, key, data):
    severity = data.get("severity")
    if severity in SEVERITIES and _rank(severity) < _rank(row["min_severity"]):
        return False
    return _on_topic(row["topics"], data) and (not row["nodes"] or _of_node(row["nodes"], key))


def _of_node(nodes, key):
    from ..topics import prefixes, selected

    return selected(key, prefixes(nodes))


def _rank(severity):
    return SEVERITIES.index(severity)


def _on_topic(filters, data):
    topic = data.get("topic")
    if not filters or topic is None:
        return True
    from ..topics import matches

    return any(matches(one, topic) for one in filters)


def tagged(filters, tags):
    """Whether every tag filter accepts ``tags``; None, for a node that is not known, passes."""
    return tags is None or all(_accepts(one, tags) for one in filters)


def _accepts(one, tags):
    value = tags.get(one["tag"])
    if one["op"] == "exists":
        return value is not None
    return (value == one["value"]) == (one["op"] == "=")
