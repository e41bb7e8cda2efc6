"""Secrets: referred to in files, kept by nodes, shown nowhere.

A secret of a file is ``"env:NAME"``, ``"file:PATH"`` (relative to the configuration's file),
``"secret:NAME"`` (an inventory's, see ``template``) or, for what is no secret in earnest, the
text itself. ``"has_password": true`` stands for the one
that the node has; of a map (``headers``) ``has_headers`` lists the keys of those.
"""

import copy
import os
from dataclasses import dataclass
from pathlib import Path

from fieldpost.rows import Row
from fieldpost_tools.config import tree
from fieldpost_tools.errors import InputError

_HAS = "has_"


@dataclass(frozen=True)
class Secret:
    """Stands where a secret is. ``kept``: the one that the node has; otherwise a given one."""

    kept: bool


def marked(config):
    """A copy in which a ``Secret`` is where a secret is; no value of one is left in it."""
    config = copy.deepcopy(config)
    for part, key, _, is_map in _secrets(config):
        kept = part.value.pop(_HAS + key, None)
        given = part.value.pop(key, None)
        if is_map:
            names = kept if isinstance(kept, list) else []
            marks = dict.fromkeys(names, Secret(True))
            marks |= dict.fromkeys(given if isinstance(given, dict) else (), Secret(False))
        else:
            marks = Secret(given is None) if given is not None or kept is True else None
        if marks:
            part.value[key] = marks
    return config


def resolved(config, folder):
    """A copy in which the references are secrets. Raises InputError."""
    config = copy.deepcopy(config)
    for part, key, _, is_map in _secrets(config):
        value = part.value.get(key)
        path = tree.join(part.path, key)
        if is_map and isinstance(value, dict):
            part.value[key] = {
                name: _resolve(one, tree.join(path, name), folder) for name, one in value.items()
            }
        elif value is not None and not is_map:
            part.value[key] = _resolve(value, path, folder)
    return config


def placeholders(config):
    """A copy for validation: wherever there is a secret, or a reference to one, is some text of
    an allowed length; a text that is given stays."""
    config = copy.deepcopy(config)
    for part, key, row, is_map in _secrets(config):
        kept = part.value.pop(_HAS + key, None)
        given = part.value.get(key)
        if is_map:
            names = dict.fromkeys(kept, "x") if isinstance(kept, list) else {}
            if names or isinstance(given, dict):
                given = given if isinstance(given, dict) else {}
                part.value[key] = {**names, **{k: _some(v, None) for k, v in given.items()}}
        elif given is not None:
            part.value[key] = _some(given, row)
        elif kept is True:
            part.value[key] = _filler(row)
    return config


def given(config):
    """Paths of the secrets that are not those the node has."""
    found = []
    for part, key, _, is_map in _secrets(config):
        value = part.value.get(key)
        names = value if is_map and isinstance(value, dict) else ()
        if value is not None and not is_map:
            found.append(tree.join(part.path, key))
        found += [tree.join(tree.join(part.path, key), name) for name in names]
    return found


def shortened(config):
    """A copy without the ``has_…`` that say there is no secret."""
    config = copy.deepcopy(config)
    for part, key, _, _ in _secrets(config):
        if not part.value.get(_HAS + key, True):
            del part.value[_HAS + key]
    return config


def _secrets(config):
    """``[(part, key, Row, whether it is a map), ...]`` of all secrets that there may be."""
    found = []
    for part in tree.parts(config):
        for key, text in part.rows.items():
            words = text.split()
            if words[0] == "secret" or words[:2] == ["map", "secret"]:
                found.append((part, key, Row(text), words[0] == "map"))
    return found


def _reference(text):
    """``("env", "file" or "secret", where)``; None for what is no reference."""
    if isinstance(text, str):
        kind, mark, place = text.partition(":")
        if mark and place and kind in ("env", "file", "secret"):
            return kind, place
    return None


def _resolve(value, path, folder):
    reference = _reference(value)
    if reference is None:
        return value
    kind, place = reference
    if kind == "secret":
        raise InputError(path, value, "an inventory that has this secret")
    if kind == "env":
        if place not in os.environ:
            raise InputError(path, value, "an environment variable that is set")
        return os.environ[place]
    try:
        return (Path(folder) / place).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise InputError(path, value, "a file with the secret") from None


def _some(value, row):
    return _filler(row) if _reference(value) else value


def _filler(row):
    """A text that signatures take for a key as well: base64 of many bytes, if it may be long."""
    lo, hi = (row.lo or 1, row.hi or 64) if row else (1, 64)
    return "x" * max(lo, min(hi, 64))
