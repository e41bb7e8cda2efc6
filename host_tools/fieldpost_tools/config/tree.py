"""What the schema says of each part of a configuration; places by name instead of by index."""

from typing import Any, NamedTuple

from fieldpost.config import load_driver, rows
from fieldpost.schema import SCHEMA

#: Lists whose items have a name: its keys, with what the name is by default.
IDENTITY = {
    "mqtt": (("name", "main"),),
    "devices": (("id", None),),
    "points": (("name", None),),
    "subscriptions": (("id", None),),
    "subscribers": (("subscription", "default"), ("subscriber", None)),
    "alarms": (("id", None),),
    "faults": (("id", None),),
    "endpoints": (("name", None),),
    "wifi": (("ssid", None),),
}


class Part(NamedTuple):
    """An object of a configuration: where it is, itself, and its rows ``{key: text}``."""

    path: str
    value: dict[str, Any]
    rows: dict[str, str]


def name_of(key, item, index):
    """The name of an item of the list ``key``: its own, or its index."""
    keys = IDENTITY.get(key)
    if not keys or not isinstance(item, dict):
        return str(index)
    words = [item.get(one) or default for one, default in keys]
    return str(index) if None in words else ":".join(map(str, words))


def names_of(key, items):
    """The names of all items of a list, each different."""
    names = []
    for index, item in enumerate(items):
        name = name_of(key, item, index)
        names.append(f"{name}[{index}]" if name in names else name)
    return names


def join(path, key):
    """A path and a key; one that has dots or the like is quoted."""
    key = str(key)
    key = key if key and all(c.isalnum() or c in "_-:." for c in key) else f'"{key}"'
    return f"{path}.{key}" if path else key


def parts(config):
    """Yield every ``Part`` that a table of the schema describes, from the top down.

    Drivers that this computer does not have add no rows; what is no object where one belongs is
    left out.
    """
    yield from _parts(config, SCHEMA["node"], "", None)


def _parts(value, rows_, path, driver):
    yield Part(path, value, rows_)
    for key, text in rows_.items():
        words = text.split()
        inner = value.get(key)
        if words[0] == "obj" and isinstance(inner, dict):
            yield from _item(inner, words[1], join(path, key), driver)
        elif words[0] == "list" and words[1] in SCHEMA and isinstance(inner, list):
            for name, item in zip(names_of(key, inner), inner, strict=True):
                if isinstance(item, dict):
                    yield from _item(item, words[1], join(join(path, key), name), driver)


def _item(value, table, path, driver):
    rows_ = SCHEMA[table]
    if table == "device":
        driver = _driver(value.get("driver"))
        rows_ = rows_ | (rows(driver.DEVICE) if driver else {})
    elif table == "point" and driver:
        rows_ = rows_ | rows(driver.POINT)
    return _parts(value, rows_, path, driver)


def _driver(name):
    try:
        return load_driver(name) if isinstance(name, str) else None
    except (ImportError, AttributeError, ValueError):
        return None


def ordered(config):
    """A copy whose keys stand in the order of the schema: a node keeps none."""
    order = {id(part.value): list(part.rows) for part in parts(config)}
    return _ordered(config, order)


def _ordered(value, order):
    if isinstance(value, list):
        return [_ordered(item, order) for item in value]
    if not isinstance(value, dict):
        return value
    known = order.get(id(value))
    if known is None:
        keys = list(value)
    else:
        plain = {key: key.removeprefix("has_") for key in value}
        keys = sorted(value, key=lambda key: _place(known, plain[key]))
    return {key: _ordered(value[key], order) for key in keys}


def _place(known, key):
    return known.index(key) if key in known else len(known)
