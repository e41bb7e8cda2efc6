"""Changes a running node to another configuration, touching only what differs.

Links reconnect only when a field of their connection changed. Devices that changed are stopped,
rebuilt and started; the others keep their schedule and their last values. Flush rules and
acquisition rules take effect at once; logs and cursors that remain are not touched.
"""

import json

from . import attach, build, plan
from .changes import differences, fixed
from .compat import unload


async def apply(node, config):
    """Apply ``config`` (a dict or the path of a JSON file) to a running ``Node``.

    Validates first: on ConfigError nothing has changed. After any other error, for want of memory
    or flash, a part of it has; to apply the former configuration again undoes that.

    Returns the names of what was changed: ``mqtt:main`` (``mqtt:main reconnect`` where it
    reconnects), ``device:ahu-1``, ``subscription:default``, ``subscriber:default:collector``,
    ``alarm:hot``, ``publish`` ... Raises ConfigError as well for what only a restart can change:
    the node's name, its network, the watchdog, the shape of a log.
    """
    made = plan.load(config, node.folder, plan.NEXT)
    head = made.head()
    error = fixed(node, head)
    if error:
        made.discard()
        raise error
    old, new = json.loads(node.digests), json.loads(head["digests"])
    changes = {kind: differences(old[kind], new[kind]) for kind in new}
    node.digests = _in_doubt(old, new)
    done = await _parts(node, made, head, changes)
    done += await _settings(node, head["settings"])
    made.adopt(node.folder)
    node.plan_path = made.path
    node.digests = head["digests"]
    node.announce()
    return sorted(done)


async def _parts(node, made, head, changes):
    """Change all parts of the node; returns the names of those."""
    done = []
    await _links(node, head["mqtt"], changes["mqtt"], done)
    fresh = _subscriptions(node, head["subscriptions"], changes["subscription"])
    if changes["device"] or changes["subscription"]:
        await _devices(node, made, changes["device"])
    _subscribers(node, head["subscribers"], changes["subscriber"], fresh)
    if changes["publish"]:
        build.configure_publisher(node, head["publish"])
        done.append("publish")
    if changes["webhooks"] or (changes["mqtt"] and node.webhooks):
        build.configure_webhooks(node, head["webhooks"])
        node.start_webhooks()
        done.append("webhooks")
    done += ["alarm:" + id for id in build.configure_alarms(node, made)]
    node.start_alarms()
    for kind in ("device", "subscription", "subscriber"):
        done += [kind + ":" + key for key in changes[kind]]
    return done


async def _settings(node, settings):
    """Change the node's scalars; returns the name of what had to start anew."""
    old, node.settings = node.settings, settings
    if node.api:
        node.api.settings.update(settings["api"])
    if settings["clock"] == old["clock"]:
        return []
    await node.supervisor.stop("ntp")
    node.start_ntp()
    return ["clock"]


def _in_doubt(old, new):
    """Digests that equal none: until the end, no part is known to be as either says."""
    doubt = {kind: dict.fromkeys(list(old[kind]) + list(new[kind]), 0) for kind in new}
    doubt["shape"] = old["shape"]
    return json.dumps(doubt)


async def _links(node, rows, changed, done):
    wanted = {row["name"]: row for row in rows}
    known = {link.name: link for link in node.links}
    for name in changed:
        what = "mqtt:" + name
        if name not in wanted:
            await node.supervisor.stop(what)
            if name in known:
                node.links.remove(known[name])
        elif name not in known:
            node.start_link(build.add_link(node, wanted[name]))
        elif known[name].reconfigure(build.link_config(node, wanted[name])):
            what += " reconnect"
        done.append(what)


async def _devices(node, made, changed):
    for id in changed:
        if id in node.devices:
            await node.supervisor.stop("device:" + id)
            points = node.devices.pop(id).points
            node.recorder.forget(points)
            for point in points:
                del node.points[point.id]
    node.recorder.forget(list(node.points.values()))
    rules = {}
    for row, watch in made.devices():
        device = None if row["id"] in node.devices else build.add_device(node, row)
        build.watch_points(node, watch, rules)
        if device:
            node.start_device(device)


def _subscriptions(node, rows, changed):
    """Change the subscriptions; returns the new ones."""
    wanted = {row["id"]: row for row in rows}
    made = []
    for id in changed:
        if id not in wanted:
            if id in node.subscriptions:
                node.subscriptions.pop(id).close()
        elif id not in node.subscriptions:
            made.append(build.add_subscription(node, wanted[id]))
        else:
            _change(node, node.subscriptions[id], wanted[id])
    return made


def _change(node, subscription, row):
    encoded = subscription.config["encoding"] != row["encoding"]
    subscription.config = row
    subscription.rules = row["flush"]
    subscription.ring.options = row["store"]
    for subscriber in subscription.subscribers.values():
        attach.equip(node, subscriber)
        if encoded:
            subscriber.again()
        subscriber.wake()


def _subscribers(node, rows, changed, fresh):
    """Change the subscribers; those of prefixes read the fresh subscriptions, too."""
    wanted = {row["subscription"] + ":" + row["subscriber"]: row for row in rows}
    for key in changed:
        id, _, name = key.partition(":")
        for subscription in node.subscriptions.values():
            subscriber = subscription.subscribers.get(name)
            if key not in wanted and subscriber and subscriber.config["subscription"] == id:
                subscription.remove(name)
    started = []
    for key in wanted:
        if key in changed:
            started += attach.add(node, wanted[key])
        elif fresh:
            started += attach.add(node, wanted[key], fresh)
    for subscriber in started + attach.add_guests(node, fresh):
        node.start_subscriber(subscriber)
    unload("fieldpost.attach")
