"""What another configuration would change in a running node, told from the heads of both plans."""

import json

from .errors import ConfigError

#: Settings that only a restart can change: what was made from them lasts as long as the node.
_FIXED = ("network", "watchdog_ms")


def differences(old, new):
    """Keys whose row came, went or changed."""
    return [key for key in new if old.get(key) != new[key]] + [k for k in old if k not in new]


def names(node, head):
    """The names of what differs: ``mqtt:main``, ``device:ahu-1``, ``alarms``, ``network`` ...

    ``texts`` where nothing does but what only tells: descriptions and tags.
    """
    settings = head["settings"]
    found = [key for key in settings if key != "revision" and settings[key] != node.settings[key]]
    old, new = json.loads(node.digests), json.loads(head["digests"])
    for kind in new:
        if kind != "shape":
            for key in differences(old[kind], new[kind]):
                found.append(kind + ":" + key if key else kind)
    return sorted(found) or ["texts"]


def fixed(node, head):
    """The ConfigError for what only a restart can change; None where there is no such thing."""
    settings = head["settings"]
    if settings["node"] != node.name:
        return ConfigError("node", settings["node"], node.name + " until a restart")
    for key in _FIXED:
        if settings[key] != node.settings[key]:
            return ConfigError(key, "...", "the same until a restart")
    old, new = json.loads(node.digests)["shape"], json.loads(head["digests"])["shape"]
    for i, row in enumerate(head["subscriptions"]):
        id = row["id"]
        if old.get(id, new[id]) != new[id]:
            allowed = "the same size and overflow until a restart"
            return ConfigError("subscriptions[%d]" % i, id, allowed)
    return None


def links(node, head):
    """The links that have to connect before the configuration is known to be good: sorted names.

    Those that came or changed, and where the node changes its name or its network, all. After the
    loss of a link, and a restart, also those that are connected now.
    """
    rows = [row["name"] for row in head["mqtt"]]
    settings = head["settings"]
    if settings["node"] != node.name or settings["network"] != node.settings["network"]:
        return sorted(rows)
    old, new = json.loads(node.digests)["mqtt"], json.loads(head["digests"])["mqtt"]
    wanted = {name for name in new if new[name] != old.get(name)}
    if fixed(node, head) or any(name not in new for name in old):
        wanted.update(link.name for link in node.links if link.connected and link.name in new)
    return sorted(wanted)
