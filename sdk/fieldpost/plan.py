"""The plan: a validated configuration in the form a node is built from.

Validating takes several times the memory of what results, so it is done once for each
configuration, here or already on the host, and its result is kept beside the node's state. The
file ``config.plan`` has a line that says what it was made from (version of the SDK, CRC of the
configuration file) and which modules it needs, one for the node and one for each device, each
JSON behind its CRC.
"""

import json
import os

from . import __version__
from .compat import crc32, tidy, unload
from .smallfile import seal, unseal

_FILE = "/config.plan"
_READ_BYTES = 512
#: Keys of a subscription that shape its log, which outlives a change of configuration.
_SHAPE_KEYS = ("ring_bytes", "frame_bytes", "overflow", "max_age")
#: Keys of a point that are the node's, not its driver's.
_OWN_KEYS = ("id", "name", "unit", "log", "tags", "description")
_PARTS = ("mqtt", "subscriptions", "subscribers", "publish")
_SETTINGS = ("node", "revision", "state_interval", "watchdog_ms", "clock", "api")


class Plan:
    """What a node is built from.

    ``modules`` are names in the SDK. To import them before the rest is read saves much memory:
    a text that a module has anyway is not kept once more for each row it is in.

    ``head()`` has ``settings`` (the node's scalars), the sections ``mqtt``, ``subscriptions``,
    ``subscribers`` and ``publish``, and ``digests``: ``{kind: {key: CRC-32}}`` of all rows, enough
    to tell what a new configuration changes, as JSON text, which takes a third of the memory.

    ``devices()`` yields ``(row, watch)`` one at a time; ``watch`` is
    ``{subscription id: {acquisition rule: [point ids]}}``. The row's ``points`` are
    ``[id, name, unit, own]``; ``own`` holds the driver's keys that differ from ``shared``.
    """

    def __init__(self, modules, head=None, devices=None, path=None):
        self.modules = modules
        self._head = head
        self._devices = devices
        self._path = path

    def head(self):
        """What does not belong to a device. ValueError if the file is damaged."""
        if self._path is None:
            return self._head
        with open(self._path) as file:
            file.readline()
            return _unseal(file.readline())

    def devices(self):
        """Yield the devices; those of a file are read one by one. ValueError if it is damaged."""
        if self._path is None:
            yield from self._devices
            return
        with open(self._path) as file:
            file.readline()
            file.readline()
            for line in file:
                yield _unseal(line)
                tidy()


def load(config, folder):
    """The plan of a configuration: a dict, or the path of a JSON file.

    Of a file, the plan in ``folder`` is used where it was made from just this file by this
    version of the SDK; otherwise the file is validated and the plan written. Raises ConfigError;
    OSError or ValueError for a file that cannot be read or is no JSON.
    """
    if not isinstance(config, str):
        return _make(config)
    made = [__version__, _crc_of(config)]
    path = folder + _FILE
    origin = _origin(path)
    if origin is None or origin["made"] != made:
        with open(config) as file:
            plan = _make(json.load(file))
        try:
            _save(path, plan, made)
        except OSError:
            return plan
        origin = {"modules": plan.modules}
    return Plan(origin["modules"], path=path)


def _make(config):
    from .config import validate

    config = validate(config)
    head = {name: config[name] for name in _PARTS}
    head["settings"] = {key: config[key] for key in _SETTINGS}
    head["digests"] = json.dumps(_digests(config))
    devices = _watches(config)
    _check_drivers(config)
    for name in ("config", "rows", "schema", "topics"):
        unload("fieldpost." + name)
    return Plan(_modules(config), head, devices)


def _check_drivers(config):
    """Let the drivers refuse what only they can judge, before anything is built."""
    from .point import Point

    for row in config["devices"]:
        points = [
            Point(point["id"], row["id"], point["name"], point["unit"], point)
            for point in row["points"]
        ]
        module = __import__("fieldpost.drivers." + row["driver"], None, None, ("driver",))
        module.driver(row, points)
        tidy()


def _modules(config):
    names = {"acquisition", "device", "outlet", "point", "subscription"}
    names.update("drivers." + row["driver"] for row in config["devices"])
    names.update("log" if row["store"]["disk"] else "ring" for row in config["subscriptions"])
    if config["mqtt"]:
        names.add("mqtt")
    if any(row["format"] == "json" for row in config["subscribers"]):
        names.add("outlet_json")
    if any(config["publish"].values()):
        names.add("publisher")
    return sorted(names)


def _watches(config):
    """``[(device row, watch), ...]``"""
    from .config import select

    watches = {row["id"]: {} for row in config["devices"]}
    owners = {point["id"]: row["id"] for row in config["devices"] for point in row["points"]}
    for i, row in enumerate(config["subscriptions"]):
        for id, rule, own in select(row, config["devices"], "subscriptions[%d]" % i):
            rules = watches[owners[id]].setdefault(row["id"], {})
            rules.setdefault(rule.replace("adr.log", own), []).append(id)
    return [(_compact(row), watches[row["id"]]) for row in config["devices"]]


def _compact(row):
    """A device's row whose points carry only what distinguishes them from the first one."""
    shared = {}
    points = []
    for point in row["points"]:
        own = {key: point[key] for key in point if key not in _OWN_KEYS}
        shared = shared or own
        differing = {key: own[key] for key in own if not _same(own[key], shared[key])}
        points.append([point["id"], point["name"], point["unit"], differing])
    return dict(row, points=points, shared=shared)


def _same(a, b):
    return a == b and type(a) is type(b)


def _digests(config):
    subscriptions = config["subscriptions"]
    return {
        "shape": {
            row["id"]: _digest([row["store"]["disk"]] + [row[key] for key in _SHAPE_KEYS])
            for row in subscriptions
        },
        "mqtt": {row["name"]: _digest(row) for row in config["mqtt"]},
        "device": {row["id"]: _digest(row) for row in config["devices"]},
        "subscription": {row["id"]: _digest(row) for row in subscriptions},
        "subscriber": {
            row["subscription"] + ":" + row["subscriber"]: _digest(row)
            for row in config["subscribers"]
        },
        "publish": {"": _digest(config["publish"])},
    }


def _digest(row):
    return crc32(json.dumps(row).encode())


def _crc_of(path):
    crc = 0
    with open(path, "rb") as file:
        while True:
            data = file.read(_READ_BYTES)
            if not data:
                return crc
            crc = crc32(data, crc)


def _unseal(line):
    return unseal(line.rstrip())


def _origin(path):
    try:
        with open(path) as file:
            return _unseal(file.readline())
    except (OSError, ValueError):
        return None


def _save(path, plan, made):
    with open(path + "~", "w") as file:
        file.write(seal({"made": made, "modules": plan.modules}) + "\n")
        file.write(seal(plan.head()) + "\n")
        for device in plan.devices():
            file.write(seal(device) + "\n")
            tidy()
    os.rename(path + "~", path)
