"""Adds connectors to an exports file and removes them, comments and order kept."""

import os
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from fieldpost_tools.errors import InputError, OutputError
from fieldpost_tools.export import settings


def add(path, name, kind, pairs):
    """Append a ``[[connector]]``; ``pairs`` are ``key=value`` texts. Raises InputError.

    The file is made if it is missing, and written only if all of it is then valid.
    """
    path = Path(path)
    document = settings.read(path) if path.exists() else tomlkit.document()
    table = tomlkit.table()
    table["name"], table["type"] = name, kind
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise InputError("argument", pair, "KEY=VALUE")
        table[key] = _value(text)
    settings.make(table.unwrap(), "connector")
    if any(row.get("name") == name for row in document.get("connector", ())):
        raise InputError("connector.name", name, "a name used only once")
    document.setdefault("connector", tomlkit.aot()).append(table)
    _write(path, document)


def remove(path, name):
    """Remove the ``[[connector]]`` of that name. Raises InputError where there is none."""
    path = Path(path)
    document = settings.read(path)
    rows = document.get("connector", [])
    for i, row in enumerate(rows):
        if row.get("name") == name:
            del rows[i]
            _write(path, document)
            return
    raise InputError("connector", name, "one of " + ", ".join(str(row["name"]) for row in rows))


def _value(text):
    try:
        return tomlkit.value(text)
    except (TOMLKitError, ValueError):
        return text


def _write(path, document):
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(tomlkit.dumps(document), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"'{path}': {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
