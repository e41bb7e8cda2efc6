"""Subscriptions and subscribers as the API finds and shows them."""

from ..errors import ApiError, ConfigError
from ..subscriber import covers

_SHOWN = ("paused", "inactive", "pending", "delivered", "resent", "ack_timeouts")


def normal(prefix):
    """The one way to write a prefix of all."""
    return "" if prefix == "/" else prefix


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
    found = [one for one in named(node, args["subscriber"]) if covers(wanted, one.subscription.id)]
    if not found:
        raise ApiError("unsubscribed")
    return found


def named(node, name):
    """All subscribers of this name, one for each subscription that it reads."""
    found = [one.subscribers.get(name) for one in node.subscriptions.values()]
    return [reader for reader in found if reader]


def log(node, id):
    """A subscription by its id. Raises ConfigError."""
    if id not in node.subscriptions:
        raise ConfigError("subscription", id, "one of " + ", ".join(sorted(node.subscriptions)))
    return node.subscriptions[id]


def shown_log(subscription):
    """A subscription as the API shows it."""
    made = dict(subscription.config)
    for key in ("maxEntries", "maxBytes"):
        made[key] = made["store"][key]
    made["encoding"] = plain(made["encoding"])
    made["state"] = state = subscription.state()
    del state["subscribers"]
    made["subscribers"] = [shown(one) for one in subscription.subscribers.values()]
    return made
