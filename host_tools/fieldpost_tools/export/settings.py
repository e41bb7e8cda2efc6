"""The exports file: which store is exported to which connectors.

::

    store = "fieldpost.db"              # beside this file, or postgresql://…

    [[connector]]
    name = "history"
    type = "postgresql"
    url = "postgresql://writer@db/plant"
    password = "env:PLANT_PASSWORD"     # a secret from the environment
    points = ["ahu-*/*"]

Keys of every connector are in ``CONNECTOR``, each type adds its own (``OPTIONS`` of its class).
Rows are those of ``fieldpost.schema``.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from tomlkit.exceptions import TOMLKitError

from fieldpost.config import Row, Validator
from fieldpost.errors import ConfigError
from fieldpost_tools.errors import InputError
from fieldpost_tools.export import connector as connectors
from fieldpost_tools.export.mapping import Mapping

CONNECTOR = {
    "name": "id 1..64",
    "type": "str 1..64",
    "enabled": "bool = true",
    "values": "bool = true",
    "alarms": "bool = true",
    "status": "bool = true",
    "from": "enum start now = start",
    "nodes": "list str = []",
    "points": "list str = []",
    "rename": "map str = {}",
    "units": "map str = {}",
    "tags": "map str = {}",
    "batch": "int 1..100000 = 5000",
    "interval_s": "num 0.1..86400 = 5",
    "backoff_min_s": "num 0.01..3600 = 1",
    "backoff_max_s": "num 0.01..86400 = 60",
    "dead_letters": "str 1..1024 = ?",
}
_TOP = {"store": "str 1..1024 = fieldpost.db", "state": "str 1..1024 = ?"}
_ENVIRONMENT = "env:"


class Export(NamedTuple):
    """One connector as configured: ``common`` has the keys of ``CONNECTOR``."""

    common: dict[str, Any]
    connector: connectors.Connector
    mapping: Mapping

    @property
    def name(self):
        """The user's name for it."""
        return self.common["name"]


class Exports(NamedTuple):
    """The whole file; paths are absolute, a store may also be a URL."""

    store: str
    state: Path
    exports: list[Export]

    def find(self, name):
        """The export of that name. Raises InputError."""
        for one in self.exports:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.exports) or "none: the file names no connector"
        raise InputError("connector", name, "one of " + known)


def load(path):
    """Read an exports file; ``Exports``. Raises InputError: key, value and what is allowed."""
    path = Path(path)
    document = read(path).unwrap()
    rows = document.pop("connector", [])
    if not isinstance(rows, list):
        raise InputError("connector", rows, "tables [[connector]]")
    top = _validated("exports", _TOP, document, "")
    exports = [make(row, f"connector[{i}]") for i, row in enumerate(rows)]
    names = [one.name for one in exports]
    for name in names:
        if names.count(name) > 1:
            raise InputError("connector.name", name, "a name used only once")
    folder = path.absolute().parent
    store = top["store"] if "://" in top["store"] else str(folder / top["store"])
    state = folder / (top["state"] or f"{path.stem}.state.db")
    folders = [_placed(one, folder) for one in exports]
    return Exports(store, state, folders)


def read(path):
    """The file as a ``tomlkit`` document, which keeps comments when it is written again."""
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("config", str(path), f"a readable file ({error.strerror})") from None
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise InputError("config", str(path), f"TOML ({error})") from None


def make(row, path):
    """The ``Export`` of one table. Raises InputError."""
    if not isinstance(row, dict) or not isinstance(row.get("type"), str):
        raise InputError(path + ".type", None, "one of " + ", ".join(connectors.names()))
    kind = connectors.find(row["type"])
    rows = CONNECTOR | kind.OPTIONS
    given = {key: _resolved(rows, key, value, path) for key, value in row.items()}
    made = _validated("connector", rows, given, path)
    common = {key: made.pop(key) for key in CONNECTOR}
    try:
        mapping = Mapping(common)
        return Export(common, kind(common["name"], made), mapping)
    except ConfigError as error:
        raise InputError(f"{path}.{error.path}", error.value, error.allowed) from None


def _placed(export, folder):
    dead = export.common["dead_letters"] or f"{export.name}.dead.jsonl"
    export.common["dead_letters"] = str(folder / dead)
    export.connector.folder = folder
    return export


def _resolved(rows, key, value, path):
    """A secret's value, taken from the environment where it says so."""
    secret = key in rows and Row(rows[key]).kind == "secret"
    if not (secret and isinstance(value, str) and value.startswith(_ENVIRONMENT)):
        return value
    name = value[len(_ENVIRONMENT) :]
    if name not in os.environ:
        raise InputError(f"{path}.{key}", value, f"an environment variable {name}")
    return os.environ[name]


def _validated(table, rows, value, path):
    try:
        return Validator({table: rows}).table(table, value, path)
    except ConfigError as error:
        raise InputError(error.path, error.value, error.allowed) from None
