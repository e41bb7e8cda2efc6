"""Subscribers for the API: found, shown, checked, and kept in the configuration or as guests.

A subscriber is named by a ``row``: what it reads (``subscription``, an id or a prefix) and its
name (``subscriber``). It is *filed*, a row of the configuration file, or one of the node's
``guests``, which have a lifetime; see ``attach``.
"""

import json

from ..compat import unload
from ..errors import ApiError, ConfigError
from ..subscriber import covers

#: The rows of a subscriber, which are those of the schema's table.
ROW = """\
subscription: str 0..64 = default
subscriber: id 1..64
ack: enum id md5 false auto = id
format: enum json packed = json
keepalive: int 0..86400000 = 0
lifetime: int 0.. = 0
encoding: obj encoding = ?
"""
_KEYS = ("subscriber", "ack", "format", "keepalive", "lifetime", "encoding")
_SHOWN = ("paused", "inactive", "pending", "delivered", "resent", "ack_timeouts")


def normal(prefix):
    """The one way to write a prefix of all."""
    return "" if prefix == "/" else prefix


def row_of(args):
    """The row that a request's arguments name."""
    return dict(args, subscription=normal(args["subscription"]))


def plain(encoding):
    """An encoding as it was given."""
    return encoding and {key: encoding[key] for key in encoding if key != "names"}


def shown(reader):
    """A subscriber of one subscription as the API shows it."""
    made = dict(reader.config, encoding=plain(reader.config["encoding"]))
    for key in _SHOWN:
        made[key] = getattr(reader, key)
    ring = reader.subscription.ring
    made["reads"] = reader.subscription.id
    made["inflight"] = len(reader.inflight)
    made["unacked"] = ring.next - reader.acked
    lifetime = made["lifetime"]
    made["remaining"] = lifetime and max(reader.born + lifetime - ring.clock.mono_ms(), 1)
    return made


def find(node, args):
    """The readers that arguments name, by the subscription that they read or a prefix of it.

    Raises ApiError("unsubscribed") where there is none.
    """
    wanted = normal(args["subscription"])
    found = [
        one for one in _named(node, args["subscriber"]) if covers(wanted, one.subscription.id)
    ]
    if not found:
        raise ApiError("unsubscribed")
    return found


def of_row(node, row):
    """The readers that are there because of just this row."""
    return [
        one
        for one in _named(node, row["subscriber"])
        if one.config["subscription"] == row["subscription"]
    ]


async def change(node, edit):
    """Change the configuration file by ``edit(config)``, and the node with it."""
    from ..staging import change

    await change(node, edit)


async def subscribe(node, row):
    """Make or change a subscriber; where it is like that already, let its lifetime begin anew."""
    _check(node, row)
    if _is_known(node, row):
        now = node.clock.mono_ms()
        for reader in of_row(node, row):
            reader.born = now
        node.guests = [(one, now if _same(one, row) else born) for one, born in node.guests]
    elif row["lifetime"]:
        await _host(node, row)
    else:
        await change(node, lambda config: _put(config, row))
        _forget(node, row)


async def unsubscribe(node, row):
    """End a subscriber. Raises ApiError("unsubscribed") where there is none."""
    if _is_filed(node, row):
        await change(node, lambda config: _drop(config, row))
    elif not of_row(node, row) and not any(_same(one, row) for one, _ in node.guests):
        raise ApiError("unsubscribed")
    _forget(node, row)
    for reader in of_row(node, row):
        reader.subscription.remove(reader.name)


def put_all(config, id, rows):
    """Replace the subscribers of one subscription in the configuration; None leaves them."""
    if rows is None:
        return
    kept = [
        row for row in config.get("subscribers") or () if row.get("subscription", "default") != id
    ]
    for row in rows:
        if row.get("subscription", id) == id:
            known = {key: row[key] for key in _KEYS if key in row}
            kept.append(dict(known, subscription=id))
    config["subscribers"] = kept


def _named(node, name):
    found = [one.subscribers.get(name) for one in node.subscriptions.values()]
    return [reader for reader in found if reader]


def _same(row, other):
    return (row["subscription"], row["subscriber"]) == (other["subscription"], other["subscriber"])


def _is_filed(node, row):
    key = row["subscription"] + ":" + row["subscriber"]
    return key in json.loads(node.digests)["subscriber"]


def _is_known(node, row):
    """Whether it reads with just this configuration whatever it covers."""
    found = of_row(node, row)
    return (
        bool(found)
        and len(found) == len([id for id in node.subscriptions if covers(row["subscription"], id)])
        and all(dict(one.config, encoding=plain(one.config["encoding"])) == row for one in found)
    )


def _check(node, row):
    """Refuse what the configuration would refuse."""
    wanted = row["subscription"]
    if wanted not in node.subscriptions and wanted[-1:] not in ("", "/"):
        allowed = "one of %s, or a prefix that ends with /" % ", ".join(sorted(node.subscriptions))
        raise ConfigError("subscription", wanted, allowed)
    if row["ack"] == "md5" and row["format"] == "packed":
        raise ConfigError("ack", "md5", "id, auto or false with the format packed")
    for reader in _named(node, row["subscriber"]):
        other = reader.config["subscription"]
        if other != wanted and (covers(other, wanted) or covers(wanted, other)):
            raise ConfigError("subscriber", reader.name, "a name used only once")


async def _host(node, row):
    """Make or change a guest, which no longer is in the file if it was."""
    if row["encoding"]:
        from ..encoding import resolve

        resolve({"subscriptions": (), "subscribers": (row,), "devices": ()})
        if "names" in row["encoding"]:
            raise ConfigError(
                "encoding.address",
                row["encoding"]["address"],
                "no $description or $json with a lifetime",
            )
    if _is_filed(node, row):
        await change(node, lambda config: _drop(config, row))
    _forget(node, row)
    node.guests.append((row, node.clock.mono_ms()))
    from .. import attach

    for reader in attach.add(node, row):
        node.start_subscriber(reader)
    unload("fieldpost.attach")


def _forget(node, row):
    node.guests = [guest for guest in node.guests if not _same(guest[0], row)]


def _put(config, row):
    _drop(config, row)
    known = {key: row[key] for key in row if row[key] is not None}
    config["subscribers"].append(known)


def _drop(config, row):
    config["subscribers"] = [
        one
        for one in config.get("subscribers") or ()
        if (normal(one.get("subscription", "default")), one["subscriber"])
        != (row["subscription"], row["subscriber"])
    ]
