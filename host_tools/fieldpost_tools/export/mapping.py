"""Which records and events a connector gets, and under which names.

Templates take ``{node}``, ``{device}``, ``{point}``, ``{unit}`` and tags as ``{tag.site}``; what
a record lacks is empty.
"""

import fnmatch
import functools
import re

from fieldpost_tools.errors import InputError
from fieldpost_tools.export.connector import Sample

_FIELD = re.compile(r"\{([^{}]*)\}")
_NAMES = ("node", "device", "point", "unit")


class Template:
    """A text with fields. Raises InputError for an unknown field or a stray brace."""

    def __init__(self, option, text):
        self._text = text
        for field in _FIELD.findall(text):
            if field not in _NAMES and not field.startswith("tag."):
                raise InputError(option, text, "{node} {device} {point} {unit} or {tag.NAME}")
        if "{" in _FIELD.sub("", text) or "}" in _FIELD.sub("", text):
            raise InputError(option, text, "no stray brace")

    def render(self, values, tags):
        """The text for ``values``, a dict of the four names, and ``tags``."""

        def value(match):
            field = match[1]
            return tags.get(field[4:], "") if field.startswith("tag.") else values[field]

        return _FIELD.sub(value, self._text)


class Mapping:
    """Of one connector's configuration: ``nodes``, ``points``, ``rename``, ``units``, ``tags``.

    ``nodes`` and ``points`` are shell patterns, of which one must match (``device/point``; none
    given: all). ``rename`` has templates for ``node``, ``device``, ``point``; ``units`` new words
    for units; ``tags`` templates of what to add to each record.
    """

    def __init__(self, config):
        self._nodes = config["nodes"]
        self._points = config["points"]
        self._units = config["units"]
        self._rename = _templates("rename", config["rename"])
        for name in self._rename:
            if name not in ("node", "device", "point"):
                raise InputError("rename", name, "one of node, device, point")
        self._tags = _templates("tags", config["tags"])
        self._names = functools.lru_cache(65536)(self._map)

    def selects(self, node, key):
        """Does the connector want what ``node`` says of ``key``, a ``device/point`` or device?"""
        return _matches(node, self._nodes) and _matches(key, self._points)

    def samples(self, rows):
        """``Sample`` objects of those ``query.Row`` that the connector wants."""
        found = []
        for row in rows:
            names = self._names(row.node, row.device, row.point, row.unit)
            if names:
                found.append(Sample(*names[:4], *row[4:], names[4]))
        return found

    def _map(self, node, device, point, unit):
        """The mapped names and tags; None for what is not wanted. They are few, records many."""
        if not self.selects(node, f"{device}/{point}"):
            return None
        unit = self._units.get(unit, unit)
        values = {"node": node, "device": device, "point": point, "unit": unit}
        tags = {}
        for name, template in self._tags.items():
            tags[name] = template.render(values, tags)
        renamed = {name: made.render(values, tags) for name, made in self._rename.items()}
        values |= {name: text or values[name] for name, text in renamed.items()}
        return values["node"], values["device"], values["point"], unit, tags


def _templates(option, texts):
    return {name: Template(f"{option}.{name}", text) for name, text in texts.items()}


def _matches(text, patterns):
    if not patterns:
        return True
    # A name may itself hold [ or *.
    return any(text == one or fnmatch.fnmatchcase(text, one) for one in patterns)
