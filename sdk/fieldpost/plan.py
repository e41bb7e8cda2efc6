"""The plan: a validated configuration in the form a node is built from.

Validating takes several times the memory of what results, so it is done once for each
configuration, here or already on the host, and its result is kept beside the node's state. The
file ``config.plan`` has a line that says what it was made from (version of the SDK, CRC of the
configuration) and which modules it needs, one for the node and one for each device and each alarm,
each JSON behind its CRC. After an empty line there is what only those ask for who look at a
configuration, in lines of the same kind (see ``texts.py``), and in the end where that begins.
"""

import json
import os

from . import __version__
from .compat import crc32, tidy, unload
from .smallfile import remove, seal, unseal

_FILE = "/config.plan"
#: The plan of a configuration that is being applied.
NEXT = "/config.next"
_READ_BYTES = 512
#: Where the JSON of a line begins.
_BODY = 9
#: Keys of a subscription that shape its log, which outlives a change of configuration.
_SHAPE_KEYS = ("ring_bytes", "frame_bytes", "overflow", "max_age")
#: Keys of a device or point that nothing depends on.
_TEXT_KEYS = ("description", "tags")
#: Keys of a point that are the node's, not its driver's.
_OWN_KEYS = ("id", "name", "unit", "log")
#: Keys of a device that are parts of its own in the API.
_DEVICE_KEYS = ("id", "driver", "enabled", "points")
_PARTS = ("mqtt", "subscriptions", "subscribers", "publish")
_SETTINGS = (
    "node",
    "revision",
    "state_interval",
    "watchdog_ms",
    "clock",
    "network",
    "api",
    "fleet_key",
)


class Plan:
    """What a node is built from.

    ``modules`` are names in the SDK. To import them before the rest is read saves much memory:
    a text that a module has anyway is not kept once more for each row it is in.

    ``head()`` has ``settings`` (the node's scalars), the sections ``mqtt``, ``subscriptions``,
    ``subscribers``, ``publish`` and ``webhooks`` (None without endpoints), and ``digests``:
    ``{kind: {key: CRC-32}}`` of all rows, enough to tell what a new configuration changes, as JSON
    text, which takes a third of the memory.

    ``devices()`` yields ``(row, watch)`` one at a time; ``watch`` is
    ``{subscription id: {acquisition rule: [point ids]}}``. The row's ``points`` are
    ``[id, name, unit, own]``; ``own`` holds the driver's keys that differ from ``shared``.
    ``alarms()`` yields alarms and faults, see ``alarms.check.rows``.

    ``texts`` are the rows of ``texts.py``. ``path`` is its file, None while it is in memory.
    """

    def __init__(self, modules, head=None, devices=None, texts=(), alarms=(), path=None):
        self.modules = modules
        self._alarms = alarms
        self._head = head
        self._devices = devices
        self.texts = texts
        self.path = path

    def head(self):
        """What does not belong to a device. ValueError if the file is damaged."""
        if self.path is None:
            return self._head
        with open(self.path) as file:
            file.readline()
            return _unseal(file.readline())

    def devices(self):
        """Yield the devices; those of a file are read one by one. ValueError if it is damaged."""
        return self._rows("[", self._devices)

    def alarms(self):
        """Yield the alarms and faults in the same way."""
        return self._rows("{", self._alarms)

    def _rows(self, mark, rows):
        """Yield ``rows``, or the lines of the file whose JSON begins with ``mark``."""
        if self.path is None:
            yield from rows
            return
        with open(self.path) as file:
            file.readline()
            file.readline()
            for line in file:
                if line == "\n":
                    break
                if line[_BODY] == mark or line[_BODY] not in "[{":
                    yield _unseal(line)
                    tidy()

    def adopt(self, folder):
        """Make a plan that was loaded as ``NEXT`` the one of the next boot. Raises OSError."""
        if self.path:
            os.rename(self.path, folder + _FILE)
            self.path = folder + _FILE
        else:
            remove(folder + _FILE)

    def discard(self):
        """Remove the file of a plan that was loaded as ``NEXT``."""
        if self.path:
            remove(self.path)


def load(config, folder, name=_FILE):
    """The plan of a configuration: a dict, or the path of a JSON file.

    The plan in ``folder`` is used where it was made from just this file by this version of the
    SDK; otherwise the configuration is validated and the plan written. Raises ConfigError; OSError
    or ValueError for a file that cannot be read or is no JSON.
    """
    plan = None
    path = folder + name
    if isinstance(config, str):
        made = [__version__, _crc_of(config)]
        if name != NEXT:
            _settle(config, folder, made)
    else:
        plan = _make(config)
        made = [__version__, _digest(config)]
    origin = _origin(path)
    if origin is not None and origin["made"] == made:
        return Plan(origin["modules"], path=path)
    if plan is None:
        plan = _make(_read(config), True)
    try:
        _save(path, plan, made)
    except OSError:
        # Not one of another configuration either.
        remove(path)
        return plan
    return Plan(plan.modules, path=path)


def _settle(config, folder, made):
    """Finish a change of the configuration that the power, or a restart, ended."""
    remove(config + ".next")
    origin = _origin(folder + NEXT)
    if origin is not None and origin["made"] == made:
        # It had become the configuration.
        os.rename(folder + NEXT, folder + _FILE)
    else:
        remove(folder + NEXT)


def _read(path):
    """What a file says, with the secrets that are kept apart from it."""
    from . import secrets

    with open(path) as file:
        config = json.load(file)
    if isinstance(config, dict):
        secrets.merge(config, secrets.load(path, config.pop("secrets", None)))
    return config


def _make(config, consume=False):
    from .config import validate

    config = validate(config, consume=consume)
    texts = _texts(config)
    head = {name: config[name] for name in _PARTS}
    head["settings"] = {key: config[key] for key in _SETTINGS}
    head["webhooks"] = _webhooks(config)
    head["digests"] = json.dumps(_digests(config))
    devices = _watches(config)
    _check_drivers(config)
    alarms = _alarms(config)
    for name in ("config", "rows", "schema", "secrets", "topics"):
        unload("fieldpost." + name)
    return Plan(_modules(config), head, devices, texts, alarms)


def _alarms(config):
    if not (config["alarms"] or config["faults"]):
        return ()
    check = __import__("fieldpost.alarms.check", None, None, ("rows",))
    unload("fieldpost.alarms.check")
    return list(check.rows(config))


def _webhooks(config):
    if not config["webhooks"]["endpoints"]:
        return None
    check = __import__("fieldpost.webhook.check", None, None, ("compact",))
    unload("fieldpost.webhook.check")
    return check.compact(config["webhooks"])


def _texts(config):
    """The rows of ``texts.py``; what nothing else needs is taken out of the configuration."""
    from .config import load_driver, rows

    texts = []
    for device in config["devices"]:
        driver = load_driver(device["driver"])
        hidden = _secrets(rows(driver.DEVICE))
        private = {"has_" + key: device[key] is not None for key in hidden}
        words = [device.pop(key) for key in _TEXT_KEYS]
        public = {
            key: device[key]
            for key in device
            if device[key] is not None and key not in _DEVICE_KEYS and key not in hidden
        }
        texts.append([device["id"]] + words + [public, private, _secrets(rows(driver.POINT))])
        for point in device["points"]:
            texts.append([point["id"], point["log"]] + [point.pop(key) for key in _TEXT_KEYS])
    return texts


def _secrets(rows):
    return [key for key in rows if rows[key].split()[0] == "secret"]


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
    if config["alarms"] or config["faults"]:
        names.add("alarms.engine")
    if config["webhooks"]["endpoints"]:
        names.add("webhook.dispatcher")
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
        "webhooks": {"": _digest(config["webhooks"])},
        "alarms": {"": _digest([config["alarms"], config["faults"]])},
    }


def _digest(row):
    """The same for the same content, on any interpreter: MicroPython's dicts have no order."""
    from .canonical import canonical

    crc = 0
    for text in canonical(row):
        crc = crc32(text.encode(), crc)
    return crc


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
    with open(path + "~", "wb") as file:
        end = _put(file, {"made": made, "modules": plan.modules}) + _put(file, plan.head())
        for device in plan.devices():
            end += _put(file, device)
            tidy()
        for alarm in plan.alarms():
            end += _put(file, alarm)
        file.write(b"\n")
        for row in plan.texts:
            _put(file, row)
        file.write(b"%010d\n" % (end + 1))
    os.rename(path + "~", path)


def _put(file, value):
    return file.write((seal(value) + "\n").encode())
