"""Module ``webhooks``: endpoints that the node's events are posted to, and what became of them.

An **endpoint** has the keys of the configuration's ``webhooks.endpoints`` entries. Secrets are
never shown: ``has_secret`` and the like tell whether there is one, ``has_headers`` and
``has_options`` the names of those that are set. Of a URL only the host is shown, as its path may
be a credential itself (Slack, Teams, ntfy): ``https://hooks.example/***``, which is not taken as a
new URL. Beside them ``state`` is ``active``, ``disabled`` (by its configuration) or ``gone`` (it
answered 410; a change of the endpoint ends that), and
``pending`` counts the events to come; ``counters`` are totals since the start: ``delivered``,
``retried``, ``failed`` and ``dropped``.

Changes last, and take effect at once.
"""

from ..errors import ApiError
from .call import READ, WRITE

_LETTER = ("endpoint", "id", "event", "key", "ts_ms", "error")
_SECTION = ("pause", "queue", "concurrency", "history", "dead", "one_tls", "tls", "filters")


def list_endpoints(node, _args):
    """All endpoints."""
    hooks = node.webhooks
    return [_shown(hooks, one) for one in hooks.endpoints.values()] if hooks else []


def get_endpoint(node, args):
    """The endpoint of that name. Errors: ``invalid value`` without such an endpoint."""
    return _shown(node.webhooks, _endpoint(node, args))


async def insert_endpoint(node, args):
    """Add an endpoint: an object with at least ``name`` and ``url``; returns its name.

    ``{"endpoint": {"name": "ops", "url": "https://ops.example/hook", "secret": "..."}}``. It gets
    what happens from now on. Errors: ``invalid value`` for what is no object; what the
    configuration does not allow.
    """
    row = _row(args["endpoint"])

    def edit(config):
        section = _section(config)
        section["endpoints"] = (section.get("endpoints") or []) + [row]

    await _staging().change(node, edit)
    return row["name"]


async def update_endpoint(node, args):
    """Change keys of the endpoint of that name; those not mentioned stay, as do those that are as
    they are shown; null sets one to its default. Returns its name, which cannot change; what waits
    for it, and where it is, remains.

    ``{"endpoint": "ops", "changes": {"min_severity": "critical", "secret": "..."}}``. Errors:
    ``invalid value`` without such an endpoint; what the configuration does not allow.
    """
    name = args["endpoint"]
    changes = _row(args["changes"])
    if changes.pop("name", name) != name:
        raise ApiError("invalid value")
    shown = _shown(node.webhooks, _endpoint(node, args))
    changes = {key: changes[key] for key in changes if changes[key] != shown.get(key, shown)}
    await _staging().change(node, lambda config: _staging().merge(_found(config, name), changes))
    return name


async def delete_endpoint(node, args):
    """Remove the endpoint of that name, and what waits for it. Returns true. Errors: ``invalid
    value`` without such an endpoint.
    """

    def edit(config):
        row = _found(config, args["endpoint"])
        config["webhooks"]["endpoints"].remove(row)

    await _staging().change(node, edit)
    return True


async def test_endpoint(node, args):
    """Send an alarm of the type ``test`` to the endpoint of that name, once and at once, also
    while it is disabled; returns the delivery. Errors: ``invalid value`` without such an endpoint.
    """
    name = _endpoint(node, args).name
    return _delivery(await node.webhooks.test(name))


def get_deliveries(node, args):
    """The newest deliveries, newest first, of all endpoints or one, with that ``status`` if given.

    ``{endpoint, id, event, key, batch, ts_ms, status, attempt, http_status, error, preview}``:
    ``id`` is what the receiver gets as ``webhook-id``, ``key`` what the event is about, ``batch``
    how many values a batch has, ``attempt`` how many were made, ``error`` why the last one failed,
    ``preview`` the beginning of the body, without secrets. Over a restart it has what ended until
    a minute before.
    """
    hooks = node.webhooks
    return [
        _delivery(one)
        for one in reversed(hooks.deliveries if hooks else [])
        if args["endpoint"] in (None, one.endpoint) and args["status"] in (None, one.status)
    ]


async def configure(node, args):
    """Show what is common to all endpoints, changed before by ``changes`` if given.

    ``{"changes": {"pause": true}}``: while ``pause`` is true every event is dropped, and counted.
    Beside ``pause``, ``capacity`` and ``concurrency`` it shows how much is ``queued``, the
    ``counters`` and ``dead``, what failed for good and may be replayed, also after a restart.
    Errors: ``invalid value`` for another key; what the configuration does not allow.
    """
    changes = args["changes"]
    if changes is not None:
        if not isinstance(changes, dict) or any(key not in _SECTION for key in changes):
            raise ApiError("invalid value")
        await _staging().change(node, lambda config: _staging().merge(_section(config), changes))
    hooks = node.webhooks
    if hooks is None:
        return {"pause": False, "counters": {}, "dead": []}
    return {
        "pause": hooks.paused,
        "capacity": hooks.capacity,
        "concurrency": hooks.concurrency,
        "queued": max([_pending(hooks, one) for one in hooks.endpoints.values()] + [0]),
        "counters": hooks.counters,
        "dead": [_shown_as(one, _LETTER) for one in hooks.dead],
    }


def replay(node, args):
    """Queue again what failed for good: all, that of an endpoint, or one ``delivery``.

    ``{"endpoint": "ops"}``. ``delivery`` is an id, which stays the same. Returns how many
    deliveries; those of endpoints that are not active stay where they are.
    """
    hooks = node.webhooks
    return hooks.replay(args["endpoint"], args["delivery"]) if hooks else 0


def _staging():
    """What only those need who change the configuration."""
    from .. import staging

    return staging


def _endpoint(node, args):
    hooks = node.webhooks
    if hooks is None or args["endpoint"] not in hooks.endpoints:
        raise ApiError("invalid value")
    return hooks.endpoints[args["endpoint"]]


def _shown(hooks, endpoint):
    from ..webhook.mask import hide

    shown = hide(endpoint.row)
    state = "active" if endpoint.attached else "gone" if endpoint.row["enabled"] else "disabled"
    shown["state"] = state
    shown["pending"] = _pending(hooks, endpoint)
    shown["counters"] = endpoint.counters
    return shown


def _pending(hooks, endpoint):
    return hooks.queue.log.next - endpoint.acked if endpoint.attached else 0


def _delivery(one):
    shown = _shown_as(one, _LETTER + ("status", "http_status", "preview"))
    shown["attempt"] = one.attempts
    return shown


def _shown_as(one, names):
    shown = {name: getattr(one, name) for name in names}
    shown["batch"] = one.count
    return shown


def _row(given):
    """What an object says of a configuration's row: nothing that only tells."""
    if not isinstance(given, dict):
        raise ApiError("invalid value")
    told = ("state", "pending", "counters")
    return {key: given[key] for key in given if key not in told and not key.startswith("has_")}


def _section(config):
    section = config["webhooks"] = config.get("webhooks") or {}
    return section


def _found(config, name):
    return _staging().find(_section(config).get("endpoints"), "name", name)


_NAMED = "endpoint: id 1..32"
METHODS = {
    "list": (list_endpoints, "", READ),
    "get": (get_endpoint, _NAMED, READ),
    "insert": (insert_endpoint, "endpoint: any", WRITE),
    "update": (update_endpoint, _NAMED + "\nchanges: any", WRITE),
    "delete": (delete_endpoint, _NAMED, WRITE),
    "test": (test_endpoint, _NAMED, WRITE),
    "deliveries": (
        get_deliveries,
        _NAMED + " = ?\nstatus: enum pending success retrying failed = ?",
        READ,
    ),
    "config": (configure, "changes: any = ?", WRITE),
    "replay": (replay, _NAMED + " = ?\ndelivery: str 1..200 = ?", WRITE),
}
