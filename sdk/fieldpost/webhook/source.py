"""What the bus tells, as the data of an event; loaded with the dispatcher."""

from .filters import TOGGLES

#: Kinds of the bus that have another name as an event of the MQTT client.
_LINK = {"link_up": "client_connected", "link_down": "client_disconnected"}
_CONNECTED = ("keepalive", "proto_ver", "clean_session", "session_present")


def kinds(rows):
    """The kinds of the bus that some endpoint may want: ``{kind: event}``."""
    wanted = set()
    for row in rows:
        if row["rules"]:
            wanted.update(rule["event"] for rule in row["rules"])
        else:
            wanted.update(name for name in TOGGLES if row[name])
    found = {name: name for name in wanted}
    for kind in _LINK:
        if _LINK[kind] in found:
            del found[_LINK[kind]]
            found[kind] = _LINK[kind]
    return found


def data_of(node, kind, key, data):
    """The data of an event of the bus: what JSON can say, and no object that changes later."""
    if kind == "value_changed":
        return {
            "node_id": key,
            "value": data.value,
            "value_string": data.text,
            "unit": data.unit,
        }
    if kind in _LINK:
        return _link(node, kind, key, data)
    if isinstance(data, dict):
        return data
    return {"device_id": key, "protocol": data}


def _link(node, kind, name, reason):
    """RMQTT's fields of the node's own client."""
    link = next(link for link in node.links if link.name == name)
    config = link.config
    made = {
        "node": node.name,
        "ipaddress": None,
        "clientid": config["client_id"],
        "username": config["user"] or "undefined",
    }
    if kind == "link_down":
        made["disconnected_at"] = node.clock.unix_ms()
        made["reason"] = reason
        return made
    values = (config["keepalive_s"], 4, config["clean_session"], link.session_present)
    made.update(zip(_CONNECTED, values))
    made["connected_at"] = node.clock.unix_ms()
    return made
