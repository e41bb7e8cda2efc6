"""What the bus tells, as events of webhooks; loaded with the dispatcher."""

from .filters import TOGGLES


def wanted(rows):
    """The names of the events that some endpoint may want."""
    found = set()
    for row in rows:
        if row["rules"]:
            found.update(rule["event"] for rule in row["rules"])
        else:
            found.update(name for name in TOGGLES if row[name])
    return found


def watch(node, links, events):
    """Have the events of these links of the node's own MQTT client emitted; returns the
    ``Watch``es."""
    if all(name in TOGGLES for name in events):
        return []
    from ..mqtt_events import watch

    return [watch(link, node.bus, node.clock, node.name, events) for link in links]


def data_of(kind, key, data):
    """The data of an event of the bus: what JSON can say, and no object that changes later."""
    if kind == "value_changed":
        return {"node_id": key, "value": data.value, "value_string": data.text, "unit": data.unit}
    if isinstance(data, dict):
        return data
    return {"device_id": key, "protocol": data}
