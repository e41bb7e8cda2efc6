"""Changes a running node to another configuration, touching only what differs.

Links reconnect only when a field of their connection changed. Devices and points that changed are
stopped, rebuilt and started; the others keep their schedule and their last values. Flush rules
and acquisition rules take effect at once; the logs and cursors are never touched.
"""

from .errors import ConfigError
from .node import validate

#: Keys of a subscription that shape its log, which outlives a change of configuration.
_FIXED = ("ring_bytes", "frame_bytes", "overflow", "max_age")


async def apply(node, config):
    """Apply ``config`` to a running ``Node``.

    Validates first: on ConfigError nothing has changed. Returns the names of what was changed:
    ``mqtt:main`` (``mqtt:main reconnect`` where it reconnects), ``device:ahu-1``,
    ``subscription:default``, ``publish`` ... Raises ConfigError as well for what only a restart
    can change: the node's name, the shape of a log.
    """
    new, selections = validate(config)
    old = node.config
    _check_fixed(old, new)
    changed = []
    node.config = new
    await _apply_links(node, new["mqtt"], changed)
    await _apply_devices(node, old["devices"], new["devices"], changed)
    await _apply_subscriptions(node, old, new, changed)
    if changed or selections != node.selections:
        node.select(selections)
    if old["publish"] != new["publish"] or any(name.startswith("mqtt:") for name in changed):
        node.configure_publisher(new["publish"])
        changed.append("publish")
    node.announce()
    return changed


def _check_fixed(old, new):
    if new["node"] != old["node"]:
        raise ConfigError("node", new["node"], old["node"] + " until a restart")
    before = {item["id"]: item for item in old["subscriptions"]}
    for i, item in enumerate(new["subscriptions"]):
        known = before.get(item["id"])
        for key in _FIXED if known else ():
            if item[key] != known[key]:
                path = "subscriptions[%d].%s" % (i, key)
                raise ConfigError(path, item[key], "%s until a restart" % known[key])


async def _apply_links(node, rows, changed):
    wanted = {row["name"]: row for row in rows}
    for link in list(node.links):
        if link.name not in wanted:
            await node.remove_link(link)
            changed.append("mqtt:" + link.name)
    known = {link.name: link for link in node.links}
    for name, row in wanted.items():
        if name not in known:
            node.start_link(node.add_link(row))
            changed.append("mqtt:" + name)
            continue
        config = node.link_config(row)
        if config != known[name].config:
            again = known[name].reconfigure(config)
            changed.append("mqtt:" + name + (" reconnect" if again else ""))


async def _apply_devices(node, old, new, changed):
    before = {row["id"]: row for row in old}
    after = {row["id"]: row for row in new}
    for id in before:
        if before[id] != after.get(id):
            await node.remove_device(id)
            changed.append("device:" + id)
    for id in after:
        if id not in node.devices:
            node.start_device(node.add_device(after[id]))
            if id not in before:
                changed.append("device:" + id)


async def _apply_subscriptions(node, old, new, changed):
    before = {row["id"]: row for row in old["subscriptions"]}
    after = {row["id"]: row for row in new["subscriptions"]}
    for id in before:
        if id not in after:
            await node.remove_subscription(id)
            changed.append("subscription:" + id)
    for id in after:
        if id not in before:
            node.add_subscription(after[id])
        if before.get(id) != after[id]:
            changed.append("subscription:" + id)
    await _apply_subscribers(node, old["subscribers"], new["subscribers"], changed)


async def _apply_subscribers(node, old, new, changed):
    for row in new:
        subscription = node.subscriptions[row["subscription"]]
        subscriber = subscription.subscribers.get(row["subscriber"])
        if subscriber is None:
            node.start_subscriber(node.add_subscriber(row))
        elif row in old:
            # Flush rules may have changed with the subscription.
            subscriber.rules = node.rules(row["subscription"])
            subscriber.wake()
            continue
        else:
            subscription.remove(row["subscriber"])
            node.start_subscriber(node.add_subscriber(row))
        changed.append("subscriber:" + row["subscriber"])
    for row in old:
        gone = not any(
            row["subscriber"] == other["subscriber"]
            and row["subscription"] == other["subscription"]
            for other in new
        )
        subscription = node.subscriptions.get(row["subscription"])
        if gone and subscription and row["subscriber"] in subscription.subscribers:
            subscription.remove(row["subscriber"])
            changed.append("subscriber:" + row["subscriber"])
