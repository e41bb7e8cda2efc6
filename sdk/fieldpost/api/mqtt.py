"""Module ``mqtt``: the node's brokers, and the patterns by which it publishes live events.

A **broker** has the keys of the configuration's ``mqtt`` entries, with ``has_password`` instead of
the password, which is never shown. Its ``name`` identifies it.

A **pattern** is ``{kind, index, topic, qos, retain, nodes, broker}``: ``kind`` is ``value``,
``alarm`` or ``status``, ``index`` its place, from 0, among those of its kind.

Changes last, and take effect at once: a broker whose connection changes is connected anew, which
may be the one that the request came by.
"""

from ..errors import ApiError
from .call import READ, WRITE

_KIND = "kind: enum value alarm status"


def get_brokers(node, _args):
    """All brokers, with every key as it is in effect."""
    return [_broker(link.config) for link in node.links]


def get_status(node, _args):
    """Of every broker: ``{name, connected, reason, session_present, inflight, counters}``.

    ``reason`` says why the last connection ended or could not be made, null before that.
    ``inflight`` counts the messages that wait for a confirmation, ``counters`` what happened since
    the start: ``connects``, ``disconnects``, ``failures``, ``sent``, ``received``, ``acked``,
    ``resent``, ``oversize``, ``refused``, ``dropped``, ``errors``.
    """
    return [
        {
            "name": link.name,
            "connected": link.connected,
            "reason": link.reason,
            "session_present": link.session_present,
            "inflight": link.inflight,
            "counters": link.counters,
        }
        for link in node.links
    ]


async def insert_broker(node, args):
    """Add a broker: an object with at least ``host``; ``name`` is by default ``main``.

    ``{"broker": {"name": "backup", "host": "10.0.0.6", "user": "gw-1", "password": "..."}}``.
    Returns its name. Errors: ``invalid value`` for what is no object, or what the configuration
    does not allow.
    """
    row = _row(args["broker"])
    await _staging().change(node, lambda config: _append(config, "mqtt", row))
    return row.get("name") or "main"


async def update_broker(node, args):
    """Change keys of the broker of that name; those not mentioned stay, null sets one to its
    default. Returns its name, which cannot change.

    ``{"broker": "main", "changes": {"host": "10.0.0.9", "tls": null}}``; ``tls`` is replaced as a
    whole. Errors: ``invalid value`` without such a broker; what the configuration does not allow.
    """
    name = args["broker"]
    changes = _row(args["changes"])
    if changes.pop("name", name) != name:
        raise ApiError("invalid value")
    await _staging().change(node, lambda config: _staging().merge(_found(config, name), changes))
    return name


async def delete_broker(node, args):
    """Remove the broker of that name. Returns true. Errors: ``invalid value`` without such a
    broker; what the configuration does not allow: a pattern may name it.
    """
    name = args["broker"]
    await _staging().change(node, lambda config: config["mqtt"].remove(_found(config, name)))
    return True


def get_patterns(node, args):
    """The patterns of one ``kind``, or all of them."""
    patterns = node.publisher.patterns if node.publisher else {}
    return [
        dict(pattern[2], kind=kind, index=i)
        for kind in ("value", "alarm", "status")
        if args["kind"] in (None, kind)
        for i, pattern in enumerate(patterns.get(kind, ()))
    ]


async def insert_pattern(node, args):
    """Add a pattern behind those of its kind; returns its ``index``.

    ``{"kind": "value", "pattern": {"topic": "site/{device_id}/{point_id}", "nodes": "ahu-"}}``.
    Errors: ``invalid value`` for what is no object, or what the configuration does not allow.
    """
    row = _row(args["pattern"])

    def edit(config):
        config["publish"] = config.get("publish") or {}
        return _append(config["publish"], args["kind"], row)

    return await _staging().change(node, edit)


async def update_pattern(node, args):
    """Change keys of a pattern, named by ``kind`` and ``index``; those not mentioned stay, null
    sets one to its default. Returns true. Errors: ``invalid value`` without such a pattern; what
    the configuration does not allow.
    """
    changes = _row(args["changes"])

    def edit(config):
        patterns, index = _place(config, args)
        _staging().merge(patterns[index], changes)

    await _staging().change(node, edit)
    return True


async def delete_pattern(node, args):
    """Remove a pattern, named by ``kind`` and ``index``; those behind it move up. Returns true.
    Error: ``invalid value`` without such a pattern.
    """

    def edit(config):
        patterns, index = _place(config, args)
        patterns.pop(index)

    await _staging().change(node, edit)
    return True


def _staging():
    """What only those need who change something."""
    from .. import staging

    return staging


def _broker(config):
    shown = {key: config[key] for key in config if key not in ("will", "password")}
    shown["has_password"] = config["password"] is not None
    return shown


def _row(given):
    """What an object says of a configuration's row: nothing that only tells."""
    if not isinstance(given, dict):
        raise ApiError("invalid value")
    return {
        key: given[key]
        for key in given
        if key not in ("kind", "index") and not key.startswith("has_")
    }


def _found(config, name):
    return _staging().find(config.get("mqtt"), "name", name, "main")


def _append(table, key, row):
    """Add a row to a list of a table; returns its place."""
    table[key] = (table.get(key) or []) + [row]
    return len(table[key]) - 1


def _place(config, args):
    """``(list, index)`` of a pattern."""
    patterns = (config.get("publish") or {}).get(args["kind"]) or ()
    if args["index"] >= len(patterns):
        raise ApiError("invalid value")
    return patterns, args["index"]


METHODS = {
    "getBrokers": (get_brokers, "", READ),
    "getStatus": (get_status, "", READ),
    "insertBroker": (insert_broker, "broker: any", WRITE),
    "updateBroker": (update_broker, "broker: any\nchanges: any", WRITE),
    "deleteBroker": (delete_broker, "broker: any", WRITE),
    "getPatterns": (get_patterns, _KIND + " = ?", READ),
    "insertPattern": (insert_pattern, _KIND + "\npattern: any", WRITE),
    "updatePattern": (update_pattern, _KIND + "\nindex: int 0..\nchanges: any", WRITE),
    "deletePattern": (delete_pattern, _KIND + "\nindex: int 0..", WRITE),
}
