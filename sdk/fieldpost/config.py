"""Validation of a node's configuration against the tables of ``schema.py``."""

from .errors import ConfigError
from .rows import Checker, Row, join, one_of, refusal
from .schema import SCHEMA


class Validator(Checker):
    """Validates objects of the schema's tables; see ``rows`` for what every check does.

    ``driver(name)`` returns the driver class of a device, whose ``DEVICE`` and ``POINT`` rows
    join the tables; it raises ImportError for an unknown driver. Without it (a schema check
    only) the drivers' own keys are not accepted.
    """

    def __init__(self, tables=SCHEMA, driver=None):
        super().__init__(tables)
        self.driver = driver
        self._point_rows = {}

    def rows(self, name, value, path):
        """The rows of the table, for devices and points with those of the driver."""
        rows = dict(self.tables[name])
        if name == "device":
            rows.update(self._driver_rows(value, path))
        elif name == "point":
            rows.update(self._point_rows)
        return rows

    def _driver_rows(self, device, path):
        """The rows of a device's own keys; those of its points are remembered meanwhile."""
        name = device.get("driver")
        self._point_rows = {}
        if not self.driver or name is None:
            return {}
        path = join(path, "driver")
        try:
            driver = self.driver(self.value(Row(self.tables["device"]["driver"]), name, path))
        except (ImportError, AttributeError):
            # Missing, or a module of that folder that is not a driver.
            raise refusal(path, name, "the name of a driver") from None
        self._point_rows = rows(driver.POINT)
        return rows(driver.DEVICE)


def rows(table):
    """The rows of a driver's ``DEVICE`` or ``POINT``: a dict, made of text if need be."""
    if isinstance(table, str):
        return dict(line.strip().split(": ", 1) for line in table.strip().split("\n"))
    return table


def load_driver(name):
    """The driver class of ``fieldpost.drivers.<name>``. Raises ImportError."""
    return __import__("fieldpost.drivers." + name, None, None, ("driver",)).driver


def validate(config, driver=load_driver, consume=False):
    """Validate a node's whole configuration; returns it complete, with every default and id.

    Raises ConfigError at the first thing that is wrong. The argument is not changed, unless with
    ``consume``, which leaves it useless and takes less memory.
    """
    validator = Validator(SCHEMA, driver)
    validator.consume = consume
    result = validator.table("node", config, "")
    _unique(result["mqtt"], "mqtt", "name")
    _unique(result["devices"], "devices", "id")
    _unique(result["subscriptions"], "subscriptions", "id")
    if not any(item["id"] == "default" for item in result["subscriptions"]):
        default = Validator(SCHEMA, driver).table("subscription", {"id": "default"}, "")
        result["subscriptions"].append(default)
    _check_subscribers(result)
    _check_brokers(result)
    _check_points(result["devices"])
    number_points(result["devices"])
    if any(item["encoding"] for item in result["subscriptions"] + result["subscribers"]):
        from .encoding import resolve

        resolve(result)
    if result["alarms"] or result["faults"]:
        # Like the drivers, a part that a node may be without.
        __import__("fieldpost.alarms.check", None, None, ("check",)).check(result)
    if result["webhooks"]["endpoints"]:
        __import__("fieldpost.webhook.check", None, None, ("check",)).check(result["webhooks"])
    rtc = [i for i, item in enumerate(result["subscriptions"]) if item["store"]["rtc"]]
    if len(rtc) > 1:
        raise ConfigError("subscriptions[%d].store.rtc" % rtc[1], True, "one subscription only")
    for i, item in enumerate(result["subscriptions"]):
        path = "subscriptions[%d]" % i
        if item["frame_bytes"] * 9 > item["store"]["segment"] * 8:
            raise ConfigError(
                path + ".store.segment", item["store"]["segment"], "at least 9/8 of frame_bytes"
            )
        select(item, result["devices"], path)
        if item["ring_bytes"] < 2 * item["frame_bytes"]:
            allowed = "at least two times frame_bytes"
            raise refusal(path + ".ring_bytes", item["ring_bytes"], allowed)
    return result


def select(subscription, devices, path):
    """The points of a subscription: ``[(point id, acquisition rule, its own rule), ...]``.

    ``addresses`` may be ``all``, an id, ``device/name``, a name that only one device has,
    ``gateway_id=device``, an object with ``address`` and ``acquisition``, or a list of these; the
    last mention of a point counts. Raises ConfigError for what names no point.
    """
    chosen = {}
    path += ".addresses"
    items = subscription["addresses"]
    listed = isinstance(items, list)
    for i, item in enumerate(items if listed else [items]):
        where = "%s[%d]" % (path, i) if listed else path
        rule = subscription["acquisition"]
        if isinstance(item, dict):
            rows = {"address": "any", "acquisition": "rule = " + rule}
            item = Validator({"address": rows}).table("address", item, where)
            item, rule = item["address"], item["acquisition"]
            where += ".address"
        for point in _found(item, devices, where):
            chosen[point["id"]] = (point["id"], rule, point["log"])
    return [chosen[id] for id in sorted(chosen)]


def _found(address, devices, path):
    points = [point for device in devices for point in _named(address, device)]
    by_name = isinstance(address, str) and "/" not in address and "=" not in address
    if address != "all" and (not points or (by_name and len(points) > 1)):
        raise refusal(path, address, "an id, device/name or name of exactly one point")
    return points


def _named(address, device):
    """The points of ``device`` that ``address`` means."""
    if address in ("all", "gateway_id=" + device["id"]):
        return device["points"]
    key = "id"
    if isinstance(address, str):
        key = "name"
        gateway, separator, name = address.replace("\u00ac", "/").partition("/")
        if separator:
            if gateway != device["id"]:
                return ()
            address = name
    elif isinstance(address, bool):
        return ()
    return [point for point in device["points"] if point[key] == address]


def _unique(items, path, key):
    seen = set()
    for i, item in enumerate(items):
        if item[key] in seen:
            raise refusal("%s[%d].%s" % (path, i, key), item[key], "a value used only once")
        seen.add(item[key])


def _check_subscribers(config):
    from .subscriber import covers

    known = [item["id"] for item in config["subscriptions"]]
    seen = []
    for i, item in enumerate(config["subscribers"]):
        path = "subscribers[%d]" % i
        wanted = item["subscription"]
        if wanted == "/":
            item["subscription"] = wanted = ""
        if wanted not in known and wanted[-1:] not in ("", "/"):
            allowed = one_of(known) + ", or a prefix that ends with /"
            raise refusal(path + ".subscription", wanted, allowed)
        if item["ack"] == "md5" and item["format"] == "packed":
            raise refusal(path + ".ack", "md5", "id, auto or false with the format packed")
        name = item["subscriber"]
        if any(name == one and (covers(a, wanted) or covers(wanted, a)) for one, a in seen):
            raise refusal(path + ".subscriber", name, "a name used only once")
        seen.append((name, wanted))


def _check_brokers(config):
    known = [item["name"] for item in config["mqtt"]]
    for kind in config["publish"]:
        for i, item in enumerate(config["publish"][kind]):
            if item["broker"] not in known and item["broker"] is not None:
                path = "publish.%s[%d].broker" % (kind, i)
                raise refusal(path, item["broker"], one_of(known))


def _check_points(devices):
    taken = set()
    for i, device in enumerate(devices):
        _unique(device["points"], "devices[%d].points" % i, "name")
        for j, point in enumerate(device["points"]):
            number = point["id"]
            if number in taken:
                path = "devices[%d].points[%d].id" % (i, j)
                raise refusal(path, number, "an id used only once on the node")
            if number is not None:
                taken.add(number)


def number_points(devices):
    """Give every point without an id the lowest free one, in the order of the configuration."""
    points = [point for device in devices for point in device.get("points") or ()]
    taken = {point.get("id") for point in points}
    free = 1
    for point in points:
        if point.get("id") is None:
            while free in taken:
                free += 1
            point["id"] = free
            taken.add(free)
