"""Builds a node's parts from its configuration; loaded for that only, and forgotten again.

What a part needs is imported when the part is made, so that the schema and its validation are
gone before the rest comes in.

The node keeps no copy of its configuration, which would cost more memory than the parts made from
it. What remains are digests (CRC-32) of the rows, enough to tell what a new configuration changes.
"""

import gc
import json

from .compat import crc32, unload

#: Keys of a point that are the node's, not its driver's.
_OWN_KEYS = ("id", "name", "unit", "log", "tags", "description")
#: Keys of a subscription that shape its log, which outlives a change of configuration.
_SHAPE_KEYS = ("ring_bytes", "frame_bytes", "overflow", "max_age")
_SETTINGS = ("node", "revision", "state_interval", "watchdog_ms", "clock")


def load(config):
    """Validate a configuration, a dict or the path of a JSON file.

    Returns it completed by every default, and for each subscription its selection of points (see
    ``config.select``). Raises ConfigError; OSError or ValueError for a file that cannot be read
    or is no JSON.
    """
    from .config import select, validate

    if isinstance(config, str):
        with open(config) as file:
            config = json.load(file)
    config = validate(config)
    selections = {
        row["id"]: select(row, config["devices"], "subscriptions[%d]" % i)
        for i, row in enumerate(config["subscriptions"])
    }
    return config, selections


def settings(config):
    """The scalars that a node keeps of its configuration."""
    return {key: config[key] for key in _SETTINGS}


def digests(config):
    """``{kind: {key: CRC-32 of the row}}`` of everything that a node is built from."""
    return {
        "shape": {
            row["id"]: _digest([row["store"]["disk"]] + [row[key] for key in _SHAPE_KEYS])
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


def build_logs(node, config):
    """Make the logs and the outlet: the big buffers come first, while the heap is whole."""
    from .outlet import HEAD_BYTES, Outlet

    sizes = [row["flush"]["maxBytes"] for row in config["subscriptions"]]
    sizes += [row["frame_bytes"] + HEAD_BYTES for row in config["subscriptions"]]
    node.outlet = Outlet(node.prefix, node.links, max(sizes))
    for row in config["subscriptions"]:
        add_subscription(node, row)


def build(node, config, selections):
    """Make everything else that ``config`` asks for."""
    for row in config["devices"]:
        add_device(node, row)
    select(node, selections)
    for row in config["mqtt"]:
        add_link(node, row)
    for row in config["subscribers"]:
        add_subscriber(node, row)
    configure_publisher(node, config["publish"])
    node.digests = digests(config)


def forget(*names):
    """Give back the memory of modules that are not needed any more."""
    for name in names:
        unload("fieldpost." + name)
    gc.collect()


def add_subscription(node, row):
    """Make a subscription and its log."""
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
    node.subscriptions[row["id"]] = Subscription(row["id"], log, row["flush"], node.bus)


def add_device(node, row):
    """Make a device, its driver and its points; returns the ``Device``."""
    from .device import Device
    from .point import Point, Settings

    points = []
    shared = {}
    for entry in row["points"]:
        own = {key: entry[key] for key in entry if key not in _OWN_KEYS}
        shared = shared or own
        own = Settings(own, shared)
        point = Point(entry["id"], row["id"], entry["name"], entry["unit"], own)
        point.bus = node.bus
        node.points[point.id] = point
        points.append(point)
    options = {key: row[key] for key in row if key != "points"}
    module = __import__("fieldpost.drivers." + row["driver"], None, None, ("driver",))
    device = Device(options, module.driver(options, points), points, node.bus)
    node.devices[device.id] = device
    return device


def select(node, selections):
    """Let the subscriptions record the points they select, and only those."""
    from .acquisition import compile

    node.recorder.forget(list(node.points.values()))
    rules = {}
    for name in selections:
        for id, text, own in selections[name]:
            key = (text, own if "adr.log" in text else None)
            if key not in rules:
                rules[key] = compile(text, own)
            node.recorder.watch(node.points[id], node.subscriptions[name], rules[key])


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
    from .mqtt import Link

    link = Link(link_config(node, row), node.bus, node.on_message)
    link.subscribe(node.prefix + "/api/#", 1)
    node.links.append(link)
    return link


def add_subscriber(node, row):
    """Make a subscriber of a subscription; returns it."""
    from .subscription import Subscriber

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
    if text is None:
        return None
    from .acquisition import compile

    return compile(text)


def configure_publisher(node, patterns):
    """Publish live events by the patterns of the ``publish`` section from now on."""
    if node.publisher is None:
        if not any(patterns.values()):
            return
        from .publisher import Publisher

        node.publisher = Publisher(node.name, node.bus, node.clock, node.links)
    node.publisher.configure(patterns)
