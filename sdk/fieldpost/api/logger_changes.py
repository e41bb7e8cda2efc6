"""Changes of subscriptions and subscribers, in the configuration and in the running node.

A subscriber is named by a ``row``: what it reads (``subscription``, an id or a prefix) and its
name (``subscriber``). It is *filed*, a row of the configuration file, or one of the node's
``guests``, which have a lifetime; see ``attach``.
"""

import json

from ..compat import unload
from ..errors import ApiError, ConfigError
from ..staging import change
from ..subscriber import covers
from .readers import log, named, normal, plain, shown_log

_KEYS = ("subscriber", "ack", "format", "keepalive", "lifetime", "encoding")


# -- subscriptions


async def insert(node, args):
    """See ``loggers.insertSubscription``."""
    given, subscribers = _given(args)

    def edit(config):
        if given["id"] in node.subscriptions:
            raise ConfigError("subscription.id", given["id"], "an id that is not used yet")
        _row_of(config, given["id"]).update(given)
        _put_all(config, given["id"], subscribers)

    return await _changed(node, edit, given["id"])


async def update(node, args):
    """See ``loggers.updateSubscription``."""
    given, subscribers = _given(args)
    log(node, given["id"])

    def edit(config):
        row = _row_of(config, given["id"])
        for key in given:
            value = given[key]
            row[key] = dict(row.get(key) or {}, **value) if isinstance(value, dict) else value
        _put_all(config, given["id"], subscribers)

    return await _changed(node, edit, given["id"])


async def replace(node, args):
    """See ``loggers.replaceSubscription``."""
    given, subscribers = _given(args)

    def edit(config):
        row = _row_of(config, given["id"])
        row.clear()
        row.update(given)
        _put_all(config, given["id"], subscribers)

    return await _changed(node, edit, given["id"])


async def delete(node, args):
    """See ``loggers.deleteSubscription``."""
    id = args["subscription"]
    if id == "default":
        raise ConfigError("subscription", id, "any but default")
    log(node, id)

    def edit(config):
        config["subscriptions"] = [row for row in config["subscriptions"] if row["id"] != id]
        _put_all(config, id, ())

    await change(node, edit)
    return True


async def _changed(node, edit, id):
    await change(node, edit)
    return shown_log(node.subscriptions[id])


def _given(args):
    """``(row for the configuration, its subscribers or None)`` from a subscription object.

    What only ``getSubscription`` says is left out, so that its answer can be given back.
    """
    given = dict(args["subscription"])
    if not isinstance(given.get("id"), str):
        raise ApiError("missing parameter: subscription.id")
    given.pop("state", None)
    store = dict(given.get("store") or {})
    for key in ("maxEntries", "maxBytes"):
        if key in given:
            store[key] = given.pop(key)
    if store:
        given["store"] = store
    return given, given.pop("subscribers", None)


def _row_of(config, id):
    """The row of a subscription in the configuration, added where it is missing."""
    rows = config["subscriptions"] = config.get("subscriptions") or []
    for row in rows:
        if row["id"] == id:
            return row
    rows.append({"id": id})
    return rows[-1]


def _put_all(config, id, rows):
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


# -- subscribers


async def subscribe(node, args):
    """See ``loggers.subscribe``; where it is like that already, only its lifetime begins anew."""
    row = _row(args)
    _check(node, row)
    if _is_known(node, row):
        now = node.clock.mono_ms()
        for reader in _of_row(node, row):
            reader.born = now
        node.guests = [(one, now if _same(one, row) else born) for one, born in node.guests]
    elif row["lifetime"]:
        await _host(node, row)
    else:
        await change(node, lambda config: _put(config, row))
        _forget(node, row)
    return sorted([reader.subscription.id for reader in _of_row(node, row)])


async def unsubscribe(node, args):
    """See ``loggers.unsubscribe``."""
    row = _row(args)
    if _is_filed(node, row):
        await change(node, lambda config: _drop(config, row))
    elif not _of_row(node, row) and not any(_same(one, row) for one, _ in node.guests):
        raise ApiError("unsubscribed")
    _forget(node, row)
    for reader in _of_row(node, row):
        reader.subscription.remove(reader.name)
    return True


def _row(args):
    """The row that a request's arguments name."""
    return dict(args, subscription=normal(args["subscription"]))


def _of_row(node, row):
    """The readers that are there because of just this row."""
    return [
        one
        for one in named(node, row["subscriber"])
        if one.config["subscription"] == row["subscription"]
    ]


def _same(row, other):
    return (row["subscription"], row["subscriber"]) == (other["subscription"], other["subscriber"])


def _is_filed(node, row):
    key = row["subscription"] + ":" + row["subscriber"]
    return key in json.loads(node.digests)["subscriber"]


def _is_known(node, row):
    """Whether it reads with just this configuration whatever it covers."""
    found = _of_row(node, row)
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
    for reader in named(node, row["subscriber"]):
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
