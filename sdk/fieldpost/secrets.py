"""Secrets apart from the configuration: in a file of their own, whose name is their digest.

Where a secret belongs, ``config.json`` has ``has_<key>``: true, or for a map of secrets the list
of their names. The values are in ``secrets/<name>.json`` beside it, and the configuration's key
``secrets`` says which: such a file is never changed, so that the one rename that makes a
configuration the node's makes its secrets so, too. A place is known by names, not by its position:
``mqtt[main].password``, ``devices[ahu-1].points[dat].pin``.

Secrets that are within a configuration as they are work as well, until the next change.
"""

import json
import os
from hashlib import sha256

from .canonical import canonical
from .compat import const, hexlify, names, unload
from .errors import ConfigError
from .rows import join
from .smallfile import make_folder, remove

_FOLDER = "secrets/"
_ENDING = ".json"
_NAME_CHARS = const(16)
#: What the items of a list are known by, by their table.
_KNOWN_BY = {"broker": "name", "device": "id", "point": "name", "webhook": "name", "wifi": "ssid"}


def split(config, table="node"):
    """Take the secrets out of a configuration, or of a row of that table: ``{place: value}``.

    What says already that there is one stays as it is.
    """
    values = {}
    for row, key, listed, place, _path in _places(config, table):
        value = row.pop(key, None)
        has = row.pop("has_" + key, None)
        if value is not None and value != {}:
            values[place] = value
            named = listed and isinstance(value, dict)
            has = sorted(set(has or ()).union(value)) if named else True
        if has:
            row["has_" + key] = has
    return values


def merge(config, values):
    """Put secrets into a configuration, in the places that say that there is one.

    One that the configuration has itself comes first; of a map of secrets, each. Raises
    ConfigError where ``values`` has none.
    """
    for row, key, listed, place, path in _places(config, "node"):
        has = row.pop("has_" + key, None)
        if not has:
            continue
        path = path[: -len(key)] + "has_" + key
        if not isinstance(has, list if listed else bool):
            raise ConfigError(path, "...", "a list of names" if listed else "true or false")
        given = row.get(key)
        if listed and isinstance(given or {}, dict):
            row[key] = _chosen(has, values.get(place) or {}, given or {}, path)
        elif given is None:
            if place not in values:
                raise ConfigError(path, True, "true only where the node has one already")
            row[key] = values[place]


def _chosen(names, known, given, path):
    made = {}
    for name in names:
        if name not in known and name not in given:
            raise ConfigError(path, name, "the name of one that the node has already")
        made[name] = known.get(name)
    made.update(given)
    return made


def load(path, name):
    """The secrets of the configuration file ``path``, that are called so: ``{place: value}``.

    None are called None. Raises ConfigError for what is missing or damaged.
    """
    if name is None:
        return {}
    try:
        with open(_file(path, name)) as file:
            text = file.read()
        if _name(text) == name:
            return json.loads(text)
    except (OSError, ValueError, TypeError):
        # TypeError: its name is no text.
        text = None
    raise ConfigError("secrets", name, "the name of a file beside it, with just that content")


def store(path, values):
    """Keep secrets for the configuration file ``path``; returns what they are called.

    None where there are none. What is there already is not written again. Raises OSError.
    """
    if not values:
        return None
    text = "".join(canonical(values))
    name = _name(text)
    target = _file(path, name)
    try:
        os.stat(target)
    except OSError:
        make_folder(target.rpartition("/")[0])
        with open(target + "~", "w") as file:
            file.write(text)
        os.rename(target + "~", target)
    return name


def collect(path, used):
    """Remove the secrets beside ``path`` that no configuration uses; ``used`` are names."""
    folder = path[: path.rfind("/") + 1] + _FOLDER
    try:
        found = list(names(folder[:-1]))
    except OSError:
        return
    for name in found:
        if name[: -len(_ENDING)] not in used:
            remove(folder + name)


def _name(text):
    return hexlify(sha256(text.encode()).digest())[:_NAME_CHARS]


def _file(path, name):
    return path[: path.rfind("/") + 1] + _FOLDER + name + _ENDING


def _places(row, table):
    """Yield ``(row, key, is a map, place, path)`` of every secret there may be."""
    from .config import SCHEMA, Validator, load_driver

    try:
        yield from _within(Validator(SCHEMA, load_driver), row, table, "", "")
    finally:
        unload("fieldpost.config")


def _within(schema, row, table, place, path):
    # What is no object is for the validation to refuse.
    rows = schema.rows(table, row, path) if isinstance(row, dict) else ()
    for key in rows:
        words = rows[key].split()
        inner = row.get(key)
        at = place + "." + key if place else key
        where = join(path, key)
        if words[0] == "secret" or words[:2] == ["map", "secret"]:
            yield row, key, words[0] == "map", at, where
        elif words[0] == "obj" and inner:
            yield from _within(schema, inner, words[1], at, where)
        elif words[0] == "list" and words[1] in schema.tables and isinstance(inner, list):
            for i, item in enumerate(inner):
                known = "%s[%s]" % (at, _known_as(item, words[1], i))
                yield from _within(schema, item, words[1], known, "%s[%d]" % (where, i))


def _known_as(item, table, i):
    key = _KNOWN_BY.get(table)
    if key is None or not isinstance(item, dict):
        return i
    return item.get(key) or "main"
