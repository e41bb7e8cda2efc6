"""Configuration files: JSON, or TOML where the name ends in ``.toml``."""

import json
import os
from pathlib import Path

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError

from fieldpost_tools.errors import OutputError, ToolError


class FileError(ToolError):
    """A configuration file is wrong: ``node.json:12:5: what, expected what``."""

    exit_code = 2


def load(path):
    """The file's object as a dict. Raises FileError that names file and place."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: no UTF-8 text at byte {error.start}") from None
    config = _toml(path, text) if path.suffix == ".toml" else _json(path, text)
    if not isinstance(config, dict):
        raise FileError(f'{path}: an object expected, as {{"node": "gw-1"}}')
    return config


def dumps(config, toml=False):
    """The text of a configuration."""
    if toml:
        return tomlkit.dumps(without_null(config))
    return json.dumps(config, ensure_ascii=False, indent=2) + "\n"


def save(path, config, toml=None):
    """Write a configuration; TOML if ``toml`` or the name says so. Raises OutputError."""
    path = Path(path)
    text = dumps(config, path.suffix == ".toml" if toml is None else toml)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _json(path, text):
    def no_twice(pairs):
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise FileError(f"{path}: the key {key!r} stands twice in one object")
        return dict(pairs)

    def no_constant(name):
        raise FileError(f"{path}: {name} is no JSON")

    try:
        return json.loads(text, object_pairs_hook=no_twice, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise FileError(f"{path}:{error.lineno}:{error.colno}: {error.msg.lower()}") from None


def _toml(path, text):
    try:
        config = tomlkit.parse(text).unwrap()
    except ParseError as error:
        words = str(error).rpartition(" at line ")[0].lower()
        raise FileError(f"{path}:{error.line}: {words}") from None
    except TOMLKitError as error:
        raise FileError(f"{path}: {str(error).lower()}") from None
    try:
        json.dumps(config, allow_nan=False)
    except TypeError:
        raise FileError(f"{path}: a date or time where a configuration has none") from None
    except ValueError:
        raise FileError(f"{path}: nan or inf where a configuration has none") from None
    return config


def without_null(value):
    """A copy without null, which is the same as nothing, and which TOML does not have."""
    if isinstance(value, list):
        return [without_null(item) for item in value]
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    return value
