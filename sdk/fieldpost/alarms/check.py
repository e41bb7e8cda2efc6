"""Checks what the tables of the schema cannot say of alarms and faults; loaded for that only."""

import json

from ..compat import crc32
from ..errors import ConfigError
from .message import render

#: Keys that a type needs; "range" wants one of low and high.
_NEEDS = {
    "high_limit": "point limit",
    "low_limit": "point limit",
    "deviation": "point other limit",
    "command_mismatch": "point other",
    "state_fault": "point states",
    "multi_state": "point states",
    "state_change": "point",
    "stale": "point window_ms",
    "rate_of_change": "point limit window_ms",
    "stuck": "point window_ms",
    "range": "point",
    "flapping": "point window_ms changes",
    "expression": "expression",
}
#: Keys that a type may have beside them.
_TAKES = {
    "high_limit": "deadband",
    "low_limit": "deadband",
    "deviation": "deadband",
    "command_mismatch": "limit",
    "state_change": "states",
    "rate_of_change": "deadband",
    "stuck": "deadband",
    "range": "low high deadband",
    "flapping": "deadband",
}
_OWN = ("point", "other", "limit", "low", "high", "deadband", "states", "window_ms", "changes")
_OWN += ("expression",)
#: What a running node wants to know of a row, unless it is the same for all that do not say.
_KEPT = ("type", "severity", "limit", "low", "high", "deadband", "states", "window_ms", "changes")
_KEPT += ("expression", "on_delay_ms", "off_delay_ms", "latching", "message", "equipment")
#: Of these, keys that need not be kept while they are 0 or false.
_OFF = ("deadband", "on_delay_ms", "off_delay_ms", "latching")
_NAMES = ("id", "node_id", "device_id", "point_id", "type", "severity", "value", "unit")


def check(config):
    """Check the ``alarms`` and ``faults`` of a configuration whose tables are valid and whose
    points are numbered; puts ids in the place of points' names. Raises ConfigError."""
    points = _points(config["devices"])
    seen = set()
    for section in ("alarms", "faults"):
        for i, row in enumerate(config[section]):
            path = "%s[%d]" % (section, i)
            if row["id"] in seen:
                raise ConfigError(path + ".id", row["id"], "an id used only once")
            seen.add(row["id"])
            _check_keys(row, path)
            _check_values(row, path)
            _check_points(row, points, path)
            _check_message(row, path)


def rows(config):
    """Yield the rows that a node is built from, of a checked configuration: the keys that matter,
    ``points`` (ids), ``digest`` of all of it, and for faults ``fault`` and ``equipment``."""
    points = _points(config["devices"])
    keys = {points[key]: key for key in points if isinstance(key, str)}
    for section in ("alarms", "faults"):
        for row in config[section]:
            if not row["enabled"]:
                continue
            made = {key: row[key] for key in _KEPT if row.get(key) is not None}
            for key in _OFF:
                if not made.get(key, True):
                    del made[key]
            made["points"] = _ids(row, points)
            if section == "faults":
                made["fault"] = True
                if "equipment" not in made:
                    made["equipment"] = keys[made["points"][0]].partition("/")[0]
            # Sorted, as MicroPython's dicts have no order.
            made["digest"] = crc32(json.dumps([[key, made[key]] for key in sorted(made)]).encode())
            made["id"] = row["id"]
            yield made


def _points(devices):
    """The id of each point by its ``device/name`` and by itself."""
    points = {}
    for device in devices:
        for point in device["points"]:
            points[device["id"] + "/" + point["name"]] = points[point["id"]] = point["id"]
    return points


def _check_keys(row, path):
    type = row["type"]
    needs = _NEEDS[type].split()
    for key in needs:
        if row.get(key) is None:
            raise ConfigError(path + "." + key, None, "a value for " + type)
    if type == "range" and row["low"] is None and row["high"] is None:
        raise ConfigError(path + ".low", None, "low, high or both for range")
    takes = needs + _TAKES.get(type, "").split()
    for key in _OWN:
        idle = row.get(key) is None or (key == "deadband" and not row[key])
        if not idle and key not in takes:
            raise ConfigError(path + "." + key, row[key], "nothing for " + type)


def _check_values(row, path):
    type = row["type"]
    if type in ("deviation", "rate_of_change", "command_mismatch") and (row["limit"] or 0) < 0:
        raise ConfigError(path + ".limit", row["limit"], "a number from 0")
    if type == "range" and None not in (row["low"], row["high"]) and row["low"] > row["high"]:
        raise ConfigError(path + ".low", row["low"], "a number to high")
    if type == "state_change" and not row["states"] and row["on_delay_ms"]:
        # A change is but a moment.
        raise ConfigError(path + ".on_delay_ms", row["on_delay_ms"], "0 without states")
    for i, state in enumerate(row.get("states") or ()):
        if isinstance(state, (list, dict)):
            raise ConfigError("%s.states[%d]" % (path, i), "...", "a number, boolean or text")


def _check_points(row, points, path):
    for key in ("point", "other"):
        value = row.get(key)
        if value is None:
            continue
        if isinstance(value, (bool, list, dict)) or value not in points:
            raise ConfigError(path + "." + key, value, "the id or device/name of a point")
        row[key] = points[value]
    if row.get("expression") is not None:
        for name in _expression(row, path).points:
            if name not in points:
                raise ConfigError(path + ".expression", name, "the device/name of a point")


def _expression(row, path):
    from ..expression import Expression

    try:
        expression = Expression(row["expression"])
    except ValueError as error:
        raise ConfigError(path + ".expression", row["expression"], str(error)) from None
    if not expression.points:
        raise ConfigError(path + ".expression", row["expression"], "at least one {device/name}")
    return expression


def _ids(row, points):
    if row.get("expression") is not None:
        return [points[name] for name in _expression(row, "").points]
    return [row[key] for key in ("point", "other") if row.get(key) is not None]


def _check_message(row, path):
    if row["message"] is None:
        return
    values = dict.fromkeys(_NAMES, "")
    for name in ("limit", "other"):
        if row.get(name) is not None:
            values[name] = ""
    try:
        render(row["message"], values)
    except ValueError as error:
        raise ConfigError(path + ".message", row["message"], str(error)) from None
