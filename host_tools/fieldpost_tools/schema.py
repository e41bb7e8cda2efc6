"""JSON Schema (draft 2020-12) of a node's configuration, for editors and for other programs.

Generated from the one table in ``fieldpost.schema`` and the rows of the drivers, so it accepts
whatever ``fieldpost.config.validate`` accepts. It cannot say what rows say of each other (names
used only once, subscriptions that exist) nor check the inside of templates and rules: what it
accepts may still be refused by ``validate``.

``python -m fieldpost_tools.schema`` writes it to the standard output.
"""

import importlib
import json
import pkgutil
import sys

import fieldpost.drivers
from fieldpost.config import rows
from fieldpost.rows import Row
from fieldpost.schema import SCHEMA

_PLAIN = "[A-Za-z0-9_.-]+"
_RULE = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]}
_KINDS = {
    "int": {"type": "integer"},
    "num": {"type": "number"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "secret": {"type": "string", "writeOnly": True},
    "id": {"type": "string", "pattern": f"^{_PLAIN}$", "not": {"const": "nodes"}},
    "path": {"type": "string", "pattern": f"^{_PLAIN}(/{_PLAIN})*$"},
    "topic": {"type": "string", "minLength": 1},
    "rule": _RULE,
    "log": _RULE,
    "timer": _RULE,
    "any": {},
}
#: Names of a row's limits, by the type of what they limit.
_LIMITS = {
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
}


def json_schema():
    """The schema as a dict that ``json`` can write."""
    tables = {
        name: _table(table) for name, table in SCHEMA.items() if name not in ("device", "point")
    }
    known = drivers()
    for name, driver in known.items():
        own = {**SCHEMA["device"], **rows(driver.DEVICE)}
        tables[f"device.{name}"] = _table(own, {"point": f"point.{name}"})
        tables[f"point.{name}"] = _table({**SCHEMA["point"], **rows(driver.POINT)})
    tables["device"] = _by_driver(known)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a Fieldpost node",
        "$ref": "#/$defs/node",
        "$defs": tables,
    }


def drivers():
    """``{name: class}`` of the drivers of the device package."""
    found = {}
    for module in pkgutil.iter_modules(fieldpost.drivers.__path__):
        driver = importlib.import_module(f"fieldpost.drivers.{module.name}")
        if hasattr(driver, "driver"):
            found[module.name] = driver.driver
    return found


def text():
    """The schema as the text of ``docs/config.schema.json``."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _by_driver(names):
    """A device, whose other keys follow from its driver."""
    return {
        "type": "object",
        "properties": {"driver": {"enum": list(names)}},
        "required": ["driver"],
        "allOf": [
            {
                "if": {"properties": {"driver": {"const": name}}, "required": ["driver"]},
                "then": {"$ref": f"#/$defs/device.{name}"},
            }
            for name in names
        ],
    }


def _table(table, renamed=None):
    """An object with these rows; ``renamed`` tables stand for others."""
    parsed = {key: Row(row) for key, row in table.items()}
    required = [key for key, row in parsed.items() if row.required]
    made = {
        "type": "object",
        "properties": {key: _property(row, renamed or {}) for key, row in parsed.items()},
        "additionalProperties": False,
    }
    return made | ({"required": required} if required else {})


def _property(row, renamed):
    made = _type(row, renamed)
    if row.required:
        return made
    made = _nullable(made)
    return made if row.default is None else {**made, "default": row.default}


def _nullable(made):
    """The same, or null, which counts as absent."""
    if "type" in made:
        return {**made, "type": [made["type"], "null"]}
    if "enum" in made:
        return {"enum": [*made["enum"], None]}
    return {"anyOf": [made, {"type": "null"}]} if made else made


def _type(row, renamed):
    if row.kind == "enum":
        literals = [word == "true" for word in row.words if word in ("false", "true")]
        return {"enum": [*row.words, *literals]}
    if row.kind == "obj":
        return _reference(row.words[0], renamed)
    if row.kind == "map":
        return {"type": "object", "additionalProperties": _type(Row(row.words[0]), renamed)}
    if row.kind == "list":
        item = row.words[0]
        items = _reference(item, renamed) if item in SCHEMA else _type(Row(item), renamed)
        return _limited({"type": "array", "items": items}, row)
    return _limited(_KINDS[row.kind], row)


def _reference(table, renamed):
    return {"$ref": f"#/$defs/{renamed.get(table, table)}"}


def _limited(made, row):
    names = _LIMITS.get(made.get("type"), ())
    limits = zip(names, (row.lo, row.hi), strict=False)
    return {**made, **{name: limit for name, limit in limits if limit is not None}}


if __name__ == "__main__":
    sys.stdout.write(text())
