"""Builds a node's parts from its plan; loaded for that only, and forgotten again.

What a part needs is imported when the part is made. The node keeps no copy of its configuration,
which would cost more memory than the parts made from it; the plan's digests remain.
"""

import json
import os

from .compat import const, unload

#: Room for a node's state, for which the buffer of flushes is used as well.
_STATE_BYTES = const(1024)
#: Room for topic and signature of a request.
_REQUEST_FRAME_BYTES = const(512)


def build(node, head, devices):
    """Make everything that a plan asks for; the big buffers first, while the heap is whole."""
    from .outlet import HEAD_BYTES, Outlet

    sizes = [row["flush"]["maxBytes"] for row in head["subscriptions"]]
    sizes += [row["frame_bytes"] + HEAD_BYTES for row in head["subscriptions"]]
    node.outlet = Outlet(node.prefix, node.links, max(sizes + [_STATE_BYTES]))
    node.guests = []
    for row in head["subscriptions"]:
        add_subscription(node, row)
    for row in head["mqtt"]:
        add_link(node, row)
    _add_subscribers(node, head["subscribers"])
    configure_publisher(node, head["publish"])
    rules = {}
    for row, watch in devices:
        add_device(node, row)
        watch_points(node, watch, rules)
    configure_webhooks(node, head["webhooks"])
    node.digests = head["digests"]


def configure_webhooks(node, row):
    """Have the endpoints of a plan from now on; ``row`` is None where it has none."""
    if node.webhooks is None:
        if row is None:
            return
        from .webhook.dispatcher import Webhooks

        node.webhooks = Webhooks(node, row)
    else:
        node.webhooks.configure(row)


def configure_alarms(node, made):
    """Have the alarms and faults of a plan from now on; returns the ids of those that changed."""
    path = node.folder + "/alarms"
    if node.alarms is None:
        # What a former configuration raised is still to be cleared.
        if "alarms.engine" not in made.modules and not _exists(path):
            return []
        from .alarms.engine import Alarms

        node.alarms = Alarms(node.bus, node.clock, path, lambda: node.number("alarm"))
    return node.alarms.configure(made.alarms(), node.points)


def add_subscription(node, row):
    """Make a subscription and its log; returns the ``Subscription``."""
    from .subscription import Subscription

    shape = (
        row["ring_bytes"],
        node.clock,
        node.new_stream,
        node.boot,
        row["frame_bytes"],
        row["overflow"],
        row["max_age"],
    )
    if row["store"]["disk"]:
        from .log import Log
        from .smallfile import make_folder

        # Parts of an id become levels of a folder that holds nothing else.
        folder = node.folder + "/logs/" + row["id"].replace("/", "/_")
        make_folder(folder)
        log = Log(folder, row["store"], *shape)
    else:
        from .ring import Ring

        log = Ring(*shape)
    subscription = Subscription(row["id"], log, row["flush"], node.bus)
    subscription.config = row
    node.subscriptions[row["id"]] = subscription
    return subscription


def add_device(node, row):
    """Make a device, its driver and its points; returns the ``Device``."""
    from .device import Device
    from .point import Point, Settings

    points = []
    units = {}
    shared = row.pop("shared")
    for id, name, unit, own in row.pop("points"):
        config = Settings(own, shared) if own else shared
        point = Point(id, row["id"], name, units.setdefault(unit, unit), config)
        point.bus = node.bus
        node.points[point.id] = point
        points.append(point)
    module = __import__("fieldpost.drivers." + row["driver"], None, None, ("driver",))
    device = Device(row, module.driver(row, points), points, node.bus)
    node.devices[device.id] = device
    return device


def watch_points(node, watch, rules):
    """Let subscriptions record points; ``rules`` collects the compiled rules by their text."""
    from .acquisition import compile

    for name in watch:
        for text in watch[name]:
            if text not in rules:
                rules[text] = compile(text)
            for id in watch[name][text]:
                node.recorder.watch(node.points[id], node.subscriptions[name], rules[text])


def _add_subscribers(node, rows):
    from . import attach

    for row in rows:
        attach.add(node, row)
    unload("fieldpost.attach")


def _exists(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def link_config(node, row):
    """A broker's configuration, completed by what follows from the node."""
    row = dict(row)
    row["client_id"] = row["client_id"] or "fieldpost-" + node.name
    api = node.settings["api"]
    # One that is a little too long shall be answered; signed, its quotes are escaped.
    longest = api["max_request"] * (2 if api["mqtt_secret"] else 1) + _REQUEST_FRAME_BYTES
    row["receive_max_bytes"] = max(row["receive_max_bytes"], longest)
    row["port"] = row["port"] or (8883 if row["tls"] else 1883)
    offline = {"state": "offline", "node": node.name, "boot": node.boot}
    row["will"] = {
        "topic": node.prefix + "/state",
        "payload": json.dumps(offline),
        "qos": 1,
        "retain": True,
    }
    return row


def add_link(node, row):
    """Make the link to a broker; returns it."""
    from .mqtt import Link

    def receive(topic, payload, retain, dup):
        node.on_message(topic, payload, retain, dup, link)

    link = Link(link_config(node, row), node.bus, receive)
    link.subscribe(node.prefix + "/api/#", 1)
    node.links.append(link)
    if node.webhooks:
        node.webhooks.watch([link])
    return link


def configure_publisher(node, patterns):
    """Publish live events by the patterns of the ``publish`` section from now on."""
    if node.publisher is None:
        if not any(patterns.values()):
            return
        from .publisher import Publisher

        node.publisher = Publisher(node.name, node.bus, node.clock, node.links)
    node.publisher.configure(patterns)
