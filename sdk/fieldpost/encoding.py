"""How records look in JSON flushes: the ``encoding`` of subscriptions and subscribers.

============= ================================================================================
key           value
============= ================================================================================
address       ``id``; ``logger``: ``gateway/name``; or a text with ``$id $name $gateway_id
              $description $json.x``, the last being the point's tag ``x``
value         ``json``: as it is; ``numerical``: null unless a number, false and true as 0 and
              1; ``none``: null
value_string  ``driver``: the driver's text where there is one; ``none``
============= ================================================================================

A point that is no more goes by its id, and what a point has not is left empty. Packed flushes are
not encoded. ``fieldpost collect`` wants them as they are: ``id``, ``json``. Loaded only where a
configuration has an ``encoding``.
"""

import json

from .errors import ConfigError
from .outlet_json import json_value

_LOGGER = "$gateway_id/$name"
_NAMES = ("id", "name", "gateway_id", "description", "json.")
_KEY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


class Encoder:
    """Encodes records by a validated ``encoding`` table; ``points`` are the node's, by id."""

    def __init__(self, encoding, points):
        pattern = encoding["address"]
        self._parts = parse(_LOGGER if pattern == "logger" else pattern)
        self._by_id = pattern == "id"
        self._value = encoding["value"]
        self._text = encoding["value_string"] == "driver"
        self._points = points
        known = encoding.get("names") or {}
        self._names = {int(id): known[id] for id in known}

    def item(self, ms, point_id, value, text, position):
        """A record as bytes of JSON, behind a comma unless its position is 0."""
        address = point_id if self._by_id else self.address(point_id)
        tail = "]" if text is None or not self._text else "," + json.dumps(text) + "]"
        start = ",[%d,%s,%s%s" if position else "[%d,%s,%s%s"
        return (start % (ms, json.dumps(address), self.value(value), tail)).encode()

    def address(self, point_id):
        """What stands for a point."""
        point = self._points.get(point_id)
        if point is None:
            return point_id
        if point_id in self._names:
            return self._names[point_id]
        known = {"id": str(point_id), "name": point.name, "gateway_id": point.device}
        return _render(self._parts, known, {})

    def value(self, value):
        """JSON text of a value."""
        if self._value == "numerical":
            value = int(value) if isinstance(value, bool) else value
            value = value if isinstance(value, (int, float)) else None
        return json_value(None if self._value == "none" else value)


def parse(pattern):
    """``[text, name, text, name, ..., text]`` of a pattern; ValueError for an unknown name."""
    texts = pattern.split("$")
    parts = [texts[0]]
    for text in texts[1:]:
        name = ([name for name in _NAMES if text.startswith(name)] or [""])[0]
        end = len(name)
        while name == "json." and text[end : end + 1] and text[end] in _KEY:
            end += 1
        if end == len(name) and name in ("", "json."):
            raise ValueError("no $ but $id $name $gateway_id $description $json.x")
        parts += [text[:end], text[end:]]
    return parts


def _render(parts, known, tags):
    made = ""
    for i, part in enumerate(parts):
        if i % 2:
            part = tags.get(part[5:]) if part.startswith("json.") else known[part]
        made += part or ""
    return made


def resolve(config):
    """Check the encodings of a validated configuration. Raises ConfigError.

    Where a pattern has what a node does not keep, the ``encoding`` gets ``names``: texts by id.
    """
    for section in ("subscriptions", "subscribers"):
        for i, row in enumerate(config[section]):
            if row["encoding"]:
                _resolve(row["encoding"], config["devices"], "%s[%d].encoding" % (section, i))


def _resolve(encoding, devices, path):
    pattern = encoding["address"]
    if pattern in ("id", "logger"):
        return
    try:
        parts = parse(pattern)
    except ValueError as error:
        raise ConfigError(path + ".address", pattern, str(error)) from None
    if len(parts) == 1:
        raise ConfigError(path + ".address", pattern, "id, logger or a pattern with $")
    # The node keeps for its points neither descriptions nor tags.
    if any(part == "description" or part.startswith("json.") for part in parts[1::2]):
        encoding["names"] = {
            str(point["id"]): _render(parts, _known(device, point), point["tags"] or {})
            for device in devices
            for point in device["points"]
        }


def _known(device, point):
    return {
        "id": str(point["id"]),
        "name": point["name"],
        "gateway_id": device["id"],
        "description": point["description"],
    }
