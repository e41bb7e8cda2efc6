"""Changes of a node's configuration that last: staged in a file, applied, then put in its place.

``config.json.next`` is written and closed, applied to the running node, and renamed over
``config.json``. The power may fail at any moment: a node that boots ignores what was not renamed.
"""

import json
import os

from .compat import tidy, unload
from .errors import ApiError
from .smallfile import remove


def read(node):
    """The configuration as it is in the file, secrets included. Raises ApiError."""
    return _load(_path(node))


async def change(node, edit):
    """Change the configuration for good; returns what ``edit(config)`` returns.

    ``edit`` changes the dict that the file says, in which every point has its ``id``; it may raise
    ApiError or ConfigError. A point that it adds without ``id`` gets one that was never used
    before. The ``revision`` is one more each time. Changes wait for one another.

    Raises ApiError or ConfigError, and then nothing has changed, neither in the node nor its file.
    """
    path = _path(node)
    async with node.changing:
        staged = path + ".next"
        before = node.digests
        try:
            result = _stage(path, staged, edit)
            # What was read is garbage now; to validate takes as much again.
            tidy()
            await node.apply(staged)
            os.rename(staged, path)
        except Exception as error:
            remove(staged)
            if node.digests is not before:
                await node.apply(path)
            if isinstance(error, (OSError, MemoryError)):
                raise ApiError("configuration not changed: %r" % error) from None
            raise
    return result


def find(items, key, value, default=None):
    """The dict of a list in which ``key`` is ``value``. Raises ApiError("invalid value")."""
    for item in items or ():
        if (item.get(key) or default) == value:
            return item
    raise ApiError("invalid value")


def merge(target, changes):
    """Set keys of a dict; None removes one, which is then what it is by default."""
    for key in changes:
        if changes[key] is None:
            target.pop(key, None)
        else:
            target[key] = changes[key]


def hide(config):
    """Replace every secret of a configuration by ``has_<key>``, true or false; returns it."""
    from .config import SCHEMA, load_driver, rows

    _hide(config, SCHEMA["node"], SCHEMA)
    for device in config.get("devices") or ():
        driver = load_driver(device["driver"])
        _hide(device, rows(driver.DEVICE), SCHEMA)
        for point in device.get("points") or ():
            _hide(point, rows(driver.POINT), SCHEMA)
    unload("fieldpost.config")
    return config


def hide_row(row, table):
    """The same for one row of a table of the schema."""
    from .config import SCHEMA

    _hide(row, SCHEMA[table], SCHEMA)
    unload("fieldpost.config")
    return row


def _hide(value, rows, tables):
    for key in rows:
        words = rows[key].split()
        inner = value.get(key)
        if words[0] == "secret":
            value["has_" + key] = value.pop(key, None) is not None
        elif words[:2] == ["map", "secret"]:
            value["has_" + key] = sorted(value.pop(key, None) or ())
        elif words[0] in ("obj", "list") and words[1] in tables and inner:
            for item in [inner] if words[0] == "obj" else inner:
                _hide(item, tables[words[1]], tables)


def _path(node):
    if node.config_path is None:
        raise ApiError("configuration is not a file")
    return node.config_path


def _load(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise ApiError("configuration cannot be read: %r" % error) from None


def _stage(path, staged, edit):
    from .config import number_points

    config = _load(path)
    number_points(config.get("devices") or ())
    used = [config.get("last_id") or 0]
    used += [point["id"] for point in _points(config)]
    result = edit(config)
    last = max(used)
    for point in _points(config):
        last = max(last, point.get("id") or 0)
    for point in _points(config):
        if point.get("id") is None:
            point["id"] = last = last + 1
    config["last_id"] = last
    config["revision"] = (config.get("revision") or 0) + 1
    with open(staged, "w") as file:
        json.dump(config, file)
    return result


def _points(config):
    for device in config.get("devices") or ():
        yield from device.get("points") or ()
