"""Builds a node's parts from its configuration; loaded for that only, and forgotten again.

The node keeps no copy of its configuration, which would cost more memory than the parts made from
it. What remains are digests (CRC-32) of the rows, enough to tell what a new configuration changes.
"""

import json

from . import config as schema
from .acquisition import compile
from .compat import crc32, unload
from .device import Device
from .mqtt import Link
from .outlet import HEAD_BYTES, Outlet
from .point import Point
from .ring import Ring
from .subscription import Subscriber, Subscription

#: Keys of a point that are the node's, not its driver's.
_OWN_KEYS = ("id", "name", "unit", "log", "tags", "description")
#: Keys of a subscription that shape its log, which outlives a change of configuration.
_SHAPE_KEYS = ("ring_bytes", "frame_bytes", "overflow", "max_age")
_SETTINGS = ("node", "revision", "state_interval", "watchdog_ms", "clock")


def load(config):
    """The validated configuration for a dict or for the path of a JSON file.

    Raises ConfigError; OSError or ValueError for a file that cannot be read or is no JSON.
    """
    if isinstance(config, str):
        with open(config) as file:
            config = json.load(file)
    return schema.validate(config)


def settings(config):
    """The scalars that a node keeps of its configuration."""
    return {key: config[key] for key in _SETTINGS}


def digests(config):
    """``{kind: {key: CRC-32 of the row}}`` of everything that a node is built from."""
    return {
        "shape": {
            row["id"]: _digest([row[key] for key in _SHAPE_KEYS])
            for row in config["subscriptions"]
        },
        "mqtt": {row["name"]: _digest(row) for row in config["mqtt"]},
        "device": {row["id"]: _digest(row) for row in config["devices"]},
        "subscription": {row["id"]: _digest(row) for row in config["subscriptions"]},
        "subscriber": {
            row["subscription"] + ":" + row["subscriber"]: _digest(row)
            for row in config["subscribers"]
        },
        "publish": {"": _digest(config["publish"])},
    }


def _digest(row):
    return crc32(json.dumps(row).encode())


def build(node, config):
    """Make everything that ``config`` asks for; the big buffers first, while the heap is whole."""
    sizes = [row["flush"]["maxBytes"] for row in config["subscriptions"]]
    sizes += [row["frame_bytes"] + HEAD_BYTES for row in config["subscriptions"]]
    node.outlet = Outlet(node.prefix, node.links, max(sizes))
    for row in config["subscriptions"]:
        add_subscription(node, row)
    for row in config["devices"]:
        add_device(node, row)
    select(node, config)
    for row in config["mqtt"]:
        add_link(node, row)
    for row in config["subscribers"]:
        add_subscriber(node, row)
    configure_publisher(node, config["publish"])
    node.digests = digests(config)


def forget():
    """Give back the memory of this module and of what only it needs."""
    for name in ("config", "build", "topics"):
        unload("fieldpost." + name)


def add_subscription(node, row):
    """Make a subscription and its log."""
    ring = Ring(
        row["ring_bytes"],
        node.clock,
        node.new_stream,
        node.boot,
        row["frame_bytes"],
        row["overflow"],
        row["max_age"],
    )
    node.subscriptions[row["id"]] = Subscription(row["id"], ring, row["flush"], node.bus)


def add_device(node, row):
    """Make a device, its driver and its points; returns the ``Device``."""
    points = []
    for entry in row["points"]:
        own = {key: entry[key] for key in entry if key not in _OWN_KEYS}
        point = Point(entry["id"], row["id"], entry["name"], entry["unit"], own)
        point.bus = node.bus
        node.points[point.id] = point
        points.append(point)
    options = {key: row[key] for key in row if key != "points"}
    driver = schema.load_driver(row["driver"])(options, points)
    device = Device(options, driver, points, node.bus)
    node.devices[device.id] = device
    return device


def select(node, config):
    """Let the subscriptions record the points they select, and only those."""
    node.recorder.forget(list(node.points.values()))
    rules = {}
    for i, row in enumerate(config["subscriptions"]):
        subscription = node.subscriptions[row["id"]]
        for id, text, own in schema.select(row, config["devices"], "subscriptions[%d]" % i):
            key = (text, own if "adr.log" in text else None)
            if key not in rules:
                rules[key] = compile(text, own)
            node.recorder.watch(node.points[id], subscription, rules[key])


def link_config(node, row):
    """A broker's configuration, completed by what follows from the node."""
    row = dict(row)
    row["client_id"] = row["client_id"] or "fieldpost-" + node.name
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
    link = Link(link_config(node, row), node.bus, node.on_message)
    link.subscribe(node.prefix + "/api/#", 1)
    node.links.append(link)
    return link


def add_subscriber(node, row):
    """Make a subscriber of a subscription; returns it."""
    subscription = node.subscriptions[row["subscription"]]
    # Batch numbers of different boots do not meet soon, and fit a small int.
    first_id = (node.boot & 0x3FF) << 20
    subscriber = Subscriber(subscription, row, node.outlet, first_id)
    subscriber.interval = interval(subscription)
    subscription.add(subscriber)
    return subscriber


def interval(subscription):
    """The compiled ``onInterval`` of a subscription's flush rules, or None."""
    text = subscription.rules["onInterval"]
    return compile(text) if text else None


def configure_publisher(node, patterns):
    """Publish live events by the patterns of the ``publish`` section from now on."""
    if node.publisher is None:
        if not any(patterns.values()):
            return
        from .publisher import Publisher

        node.publisher = Publisher(node.name, node.bus, node.clock, node.links)
    node.publisher.configure(patterns)
