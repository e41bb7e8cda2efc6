"""Places in a configuration: ``mqtt.main.host``, ``devices.ahu-1.points.dat.log``.

Items of lists go by their name (see ``tree.IDENTITY``), else by index: ``publish.value.0.topic``.
A key with other characters than letters, digits and ``_ - :`` may be quoted, names may also
contain dots as they are: ``devices."ahu.1".interval``, ``devices.ahu.1.interval``.
"""

import json
import re

from fieldpost_tools.config import tree
from fieldpost_tools.errors import InputError

_PART = re.compile(r'"([^"]*)"|([^."]+)')
_SYNTAX = "keys and names with dots between, as devices.ahu-1.interval"


def split(path):
    """The parts of a path. Raises InputError."""
    found, at = [], 0
    while True:
        match = _PART.match(path, at)
        end = match.end() if match else 0
        if not match or path[end : end + 1] not in ("", "."):
            raise InputError("path", path, _SYNTAX)
        found.append(match[1] if match[2] is None else match[2])
        if end == len(path):
            return found
        at = end + 1


def get(config, path):
    """The value at a path. Raises InputError where there is none."""
    value, rest = config, split(path)
    key = None
    while rest:
        value, key, rest = _down(value, key, rest, path)
    return value


def put(config, path, value):
    """Set the value at a path; None removes it, an object joins its list as a new item.

    A secret that is set is not kept. Raises InputError for a path that leads nowhere.
    """
    holder, key, rest = config, None, split(path)
    while len(rest) > 1:
        if isinstance(holder, dict) and rest[0] not in holder:
            # A list is never made of its item's name.
            made = [] if rest[0] in tree.IDENTITY else {}
            holder[rest[0]] = made
            holder, key, rest = made, rest[0], rest[1:]
            continue
        step = _find(holder, key, rest)
        if step is None or not step[1]:
            break
        holder, key, rest = _enter(holder, step), step[0], step[1]
    if isinstance(holder, list):
        _put_item(holder, key, ".".join(rest), value, path)
    elif isinstance(holder, dict) and len(rest) == 1:
        _put_key(holder, rest[0], value)
    else:
        raise _nowhere(path, holder, key)


def assignment(text):
    """``(path, value)`` of ``path=value``; the value is JSON, or else text. Raises InputError."""
    path, mark, value = text.partition("=")
    if not (path and mark):
        raise InputError("argument", text.partition("=")[0], "PATH=VALUE")
    split(path)
    try:
        return path, json.loads(value, parse_constant=_refuse)
    except ValueError:
        return path, value


def _refuse(name):
    raise ValueError(name)


def _down(value, key, rest, path):
    """``(inner value, its key, what is left of the path)``."""
    step = _find(value, key, rest)
    if step is None:
        raise _nowhere(path, value, key)
    return _enter(value, step), step[0], step[1]


def _find(value, key, rest):
    """``(key or index, rest)`` of the next step into ``value``; None where there is none."""
    if isinstance(value, dict):
        return (rest[0], rest[1:]) if rest[0] in value else None
    if isinstance(value, list):
        names = tree.names_of(key, value)
        # The longest name first: names may have dots.
        for count in range(len(rest), 0, -1):
            name = ".".join(rest[:count])
            if name in names:
                return names.index(name), rest[count:]
    return None


def _enter(value, step):
    return value[step[0]]


def _put_key(holder, key, value):
    holder.pop("has_" + key, None)
    if value is None:
        holder.pop(key, None)
    else:
        holder[key] = value


def _put_item(items, key, name, value, path):
    names = tree.names_of(key, items)
    if name in names:
        index = names.index(name)
        if value is None:
            del items[index]
        else:
            items[index] = _named(key, name, value)
    elif isinstance(value, dict) or (value is not None and key not in tree.IDENTITY):
        items.append(_named(key, name, value))
    else:
        raise _nowhere(path, items, key)


def _named(key, name, value):
    """An item, which gets the name that the path says if it has none."""
    keys = tree.IDENTITY.get(key)
    if not keys or not isinstance(value, dict):
        return value
    words = name.split(":") if len(keys) > 1 else [name]
    return {**{one: word for (one, _), word in zip(keys, words, strict=False)}, **value}


def _nowhere(path, value, key):
    if isinstance(value, dict):
        known = sorted(value)
    elif isinstance(value, list):
        known = tree.names_of(key, value)
    else:
        known = []
    known = ", ".join(known[:20]) or "nothing"
    return InputError("path", path, f"a place that is there; at its last one there is: {known}")
