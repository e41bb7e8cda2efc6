"""Validation of a configuration against the tables of ``schema.py``.

null counts as absent. Unknown keys are errors. Every error is a ``ConfigError`` naming path, value
and what is allowed. It shows neither secrets nor what may hold one: the value of an unknown key,
an object or list where none belongs.
"""

import json

from .compat import tidy
from .errors import ConfigError
from .schema import SCHEMA

_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
#: Names that would collide with the control topics.
_RESERVED = ("nodes",)
_NOUNS = {
    "int": "an integer",
    "num": "a number",
    "bool": "true or false",
    "id": "letters, digits and _ - . (not 'nodes')",
    "path": "letters, digits and _ - . with / between parts",
    "any": "a value",
    "list": "a list",
    "obj": "an object",
    "map": "an object",
}


class Row:
    """One parsed schema row: ``kind``, ``words`` (enum words or the inner type), ``lo``, ``hi``,
    ``required`` and ``default`` (a fresh value for each use)."""

    def __init__(self, text):
        spec, _, default = text.partition("=")
        self.required = "=" not in text
        self._default = default.strip()
        words = spec.split()
        self.kind = words[0]
        self.lo = self.hi = None
        if len(words) > 1 and ".." in words[-1]:
            lo, _, hi = words.pop().partition("..")
            self.lo = json.loads(lo) if lo else None
            self.hi = json.loads(hi) if hi else None
        self.words = words[1:]

    @property
    def default(self):
        """The default as a value; None for an optional key."""
        text = self._default
        if text == "?":
            return None
        if self.kind in ("str", "id", "path", "enum", "rule", "log", "any", "topic", "secret"):
            return False if text == "false" else text
        return json.loads(text)


class Validator:
    """Validates values against a set of tables.

    ``driver(name)`` returns the driver class of a device, whose ``DEVICE`` and ``POINT`` rows
    join the tables; it raises ImportError for an unknown driver. Without it (a schema check
    only) the drivers' own keys are not accepted.
    """

    def __init__(self, tables=SCHEMA, driver=None):
        self.tables = tables
        self.driver = driver
        self._point_rows = {}

    def table(self, name, value, path):
        """Validate an object against the table ``name``; returns it completed by defaults."""
        if not isinstance(value, dict):
            raise _refusal(path, value, "an object")
        rows = dict(self.tables[name])
        if name == "device":
            rows.update(self._driver_rows(value, path))
        elif name == "point":
            rows.update(self._point_rows)
        for key in value:
            if key not in rows:
                raise _refusal(_join(path, key), key, _one_of(rows))
        result = {}
        for key in rows:
            result[key] = self._field(Row(rows[key]), value, key, path)
        return result

    def _driver_rows(self, device, path):
        """The rows of a device's own keys; those of its points are remembered meanwhile."""
        name = device.get("driver")
        self._point_rows = {}
        if not self.driver or name is None:
            return {}
        path = _join(path, "driver")
        try:
            driver = self.driver(self.value(Row(self.tables["device"]["driver"]), name, path))
        except (ImportError, AttributeError):
            # Missing, or a module of that folder that is not a driver.
            raise _refusal(path, name, "the name of a driver") from None
        self._point_rows = rows(driver.POINT)
        return rows(driver.DEVICE)

    def _field(self, row, value, key, path):
        path = _join(path, key)
        if key in value and value[key] is not None:
            return self.value(row, value[key], path)
        if row.required:
            raise _refusal(path, None, describe(row))
        default = row.default
        return default if default is None else self.value(row, default, path)

    def value(self, row, value, path):
        """Validate one value; returns it, completed by defaults where it is an object."""
        return getattr(self, "_" + row.kind)(row, value, path)

    def _int(self, row, value, path):
        good = isinstance(value, int) and not isinstance(value, bool)
        return _need(good and _within(row, value), row, value, path)

    def _num(self, row, value, path):
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        # Neither NaN nor infinite.
        return _need(good and value - value == 0 and _within(row, value), row, value, path)

    def _bool(self, row, value, path):
        return _need(isinstance(value, bool), row, value, path)

    def _str(self, row, value, path):
        return _need(isinstance(value, str) and _within(row, len(value)), row, value, path)

    def _secret(self, row, value, path):
        _need(isinstance(value, str) and _within(row, len(value)), row, "***", path)
        return value

    def _id(self, row, value, path):
        self._str(row, value, path)
        return _need(_is_plain(value) and value not in _RESERVED, row, value, path)

    def _path(self, row, value, path):
        self._str(row, value, path)
        return _need(all(_is_plain(part) for part in value.split("/")), row, value, path)

    def _enum(self, row, value, path):
        word = ("true" if value else "false") if isinstance(value, bool) else value
        _need(word in row.words, row, value, path)
        return False if word == "false" else word

    def _any(self, _row, value, _path):
        return value

    def _topic(self, row, value, path):
        from .topics import Template

        self._str(row, value, path)
        try:
            Template(value)
        except ValueError as error:
            raise _refusal(path, value, str(error)) from None
        return value

    def _rule(self, row, value, path):
        from .acquisition import compile

        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        self._str(row, value, path)
        try:
            if row.kind == "log":
                compile("adr.log", value)
            else:
                rule = compile(value)
                if row.kind == "timer" and (rule.terms or not rule.timed):
                    raise ValueError("ms or a 5-field cron expression")
        except ValueError as error:
            raise _refusal(path, value, str(error)) from None
        return value

    _log = _timer = _rule

    def _list(self, row, value, path):
        _need(isinstance(value, list) and _within(row, len(value)), row, value, path)
        item = row.words[0]
        kind = Row("obj " + item if item in self.tables else item)
        result = []
        for i, entry in enumerate(value):
            result.append(self.value(kind, entry, "%s[%d]" % (path, i)))
            # What stays must not be scattered over the heap by what does not.
            tidy()
        return result

    def _obj(self, row, value, path):
        return self.table(row.words[0], value, path)

    def _map(self, row, value, path):
        _need(isinstance(value, dict), row, value, path)
        kind = Row(row.words[0])
        return {key: self.value(kind, value[key], _join(path, key)) for key in value}


def rows(table):
    """The rows of a driver's ``DEVICE`` or ``POINT``: a dict, made of text if need be."""
    if isinstance(table, str):
        return dict(line.strip().split(": ", 1) for line in table.strip().split("\n"))
    return table


def describe(row):
    """What a row allows, in words."""
    kind = row.kind
    if kind == "enum":
        return _one_of(row.words)
    text = _NOUNS.get(kind, "text")
    if row.lo is not None:
        text += (" from %s" if kind in ("int", "num") else ", length from %s") % row.lo
    return text if row.hi is None else "%s to %s" % (text, row.hi)


def _need(good, row, value, path):
    if not good:
        raise _refusal(path, value, describe(row))
    return value


def _refusal(path, value, allowed):
    """The error for a value, which is not shown where it may hold a secret, nor at any length."""
    if isinstance(value, dict):
        value = "{...}"
    elif isinstance(value, list):
        value = "[...]"
    elif isinstance(value, str):
        value = value[:60]
    return ConfigError(path or "configuration", value, allowed)


def _is_plain(text):
    return text != "" and all(char in _PLAIN for char in text)


def _one_of(words):
    return "one of " + (", ".join(sorted(words)) or "none")


def _join(path, key):
    return path + "." + str(key) if path else str(key)


def _within(row, value):
    return (row.lo is None or value >= row.lo) and (row.hi is None or value <= row.hi)


def load_driver(name):
    """The driver class of ``fieldpost.drivers.<name>``. Raises ImportError."""
    return __import__("fieldpost.drivers." + name, None, None, ("driver",)).driver


def validate(config, driver=load_driver):
    """Validate a node's whole configuration; returns it complete, with every default and id.

    Raises ConfigError at the first thing that is wrong. The argument is not changed.
    """
    result = Validator(SCHEMA, driver).table("node", config, "")
    _unique(result["mqtt"], "mqtt", "name")
    _unique(result["devices"], "devices", "id")
    _unique(result["subscriptions"], "subscriptions", "id")
    if not any(item["id"] == "default" for item in result["subscriptions"]):
        default = Validator(SCHEMA, driver).table("subscription", {"id": "default"}, "")
        result["subscriptions"].append(default)
    _check_subscribers(result)
    _check_brokers(result)
    _number_points(result["devices"])
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
            raise _refusal(path + ".ring_bytes", item["ring_bytes"], allowed)
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
        raise _refusal(path, address, "an id, device/name or name of exactly one point")
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
            raise _refusal("%s[%d].%s" % (path, i, key), item[key], "a value used only once")
        seen.add(item[key])


def _check_subscribers(config):
    known = [item["id"] for item in config["subscriptions"]]
    seen = set()
    for i, item in enumerate(config["subscribers"]):
        path = "subscribers[%d]" % i
        if item["subscription"] not in known:
            raise _refusal(path + ".subscription", item["subscription"], _one_of(known))
        if item["ack"] == "md5" and item["format"] == "packed":
            raise _refusal(path + ".ack", "md5", "id, auto or false with the format packed")
        pair = (item["subscription"], item["subscriber"])
        if pair in seen:
            raise _refusal(path + ".subscriber", item["subscriber"], "a name used only once")
        seen.add(pair)


def _check_brokers(config):
    known = [item["name"] for item in config["mqtt"]]
    for kind in config["publish"]:
        for i, item in enumerate(config["publish"][kind]):
            if item["broker"] not in known and item["broker"] is not None:
                path = "publish.%s[%d].broker" % (kind, i)
                raise _refusal(path, item["broker"], _one_of(known))


def _number_points(devices):
    """Give every point without an id the lowest free one, in the order of the configuration."""
    taken = set()
    for i, device in enumerate(devices):
        _unique(device["points"], "devices[%d].points" % i, "name")
        for j, point in enumerate(device["points"]):
            number = point["id"]
            if number in taken:
                path = "devices[%d].points[%d].id" % (i, j)
                raise _refusal(path, number, "an id used only once on the node")
            if number is not None:
                taken.add(number)
    free = 1
    for device in devices:
        for point in device["points"]:
            if point["id"] is None:
                while free in taken:
                    free += 1
                point["id"] = free
                taken.add(free)
