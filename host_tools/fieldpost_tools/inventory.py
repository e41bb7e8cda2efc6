"""An inventory: the boards of a fleet, one row each, as CSV or TOML.

::

    name,board,site,tags,port,config,secrets
    gw-1,ESP32_GENERIC,north,floor=1;unit=ahu,/dev/ttyUSB0,ahu.json,wifi=env:WIFI_PASSWORD
    gw-2,ESP32_GENERIC,north,floor=2;unit=ahu,,ahu.json,wifi=file:secrets/wifi.txt

In TOML ``[[node]]`` tables have the same keys, ``tags`` and ``secrets`` as tables; ``[defaults]``
fills what a node does not say::

    [defaults]
    board = "ESP32_GENERIC"
    config = "ahu.json"
    secrets = {wifi = "env:WIFI_PASSWORD"}

    [[node]]
    name = "gw-1"
    tags = {floor = 1}

Only ``name`` and ``board`` are required. No secret stands in an inventory, only where it is:
``env:NAME`` or ``file:PATH``. Paths are relative to the inventory. Those of ``credentials`` are
secrets of every node.
"""

import csv
import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from fieldpost_tools import credentials
from fieldpost_tools.errors import InputError

KEYS = ("name", "board", "site", "tags", "port", "config", "secrets")
_NAME = re.compile(r"(?!\.+$)[A-Za-z0-9_.-]{1,64}")
_REFERENCE = re.compile(r"(env|file):(.+)")


@dataclass(frozen=True)
class Entry:
    """One board. ``config`` is the path of its configuration's template, ``port`` its serial
    device, both None where they are not said. ``secrets`` says where each secret is."""

    name: str
    board: str
    site: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    port: str | None = None
    config: Path | None = None
    secrets: dict[str, str] = field(default_factory=dict)

    def secret(self, key):
        """The value of a secret. Raises InputError where there is none."""
        kind, place = self.secrets[key].split(":", 1)
        where = f"{self.name}: secret {key}"
        if kind == "env":
            if place not in os.environ:
                raise InputError(where, self.secrets[key], "an environment variable that is set")
            return os.environ[place]
        try:
            return Path(place).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise InputError(where, self.secrets[key], "a file with the secret") from None


class Inventory:
    """The boards of a fleet; ``entries`` are in the order of the file."""

    def __init__(self, entries):
        self.entries = entries

    @classmethod
    def load(cls, path):
        """Read a .csv or .toml file. Raises InputError that names row, key and what is allowed."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("inventory", str(path), f"a readable file ({error})") from None
        rows = _toml_rows(text) if path.suffix == ".toml" else _csv_rows(text)
        entries = [_entry(row, where, path.absolute().parent) for where, row in rows]
        names = [entry.name for entry in entries]
        for name in names:
            if names.count(name) > 1:
                raise InputError("inventory", name, "a name used only once")
        return cls(entries)

    def select(self, patterns=(), tags=()):
        """The entries that match one of ``patterns`` (globs on the name; none: all) and every one
        of ``tags`` (``tag=value``; ``site`` and ``board`` count as tags).

        Raises InputError where a pattern matches no name, or a tag has no ``=``.
        """
        for pattern in patterns:
            if not any(fnmatchcase(entry.name, pattern) for entry in self.entries):
                raise InputError("node", pattern, "a name or pattern of the inventory")
        wanted = [_pair(tag, "tag") for tag in tags]
        return [
            entry
            for entry in self.entries
            if (not patterns or any(fnmatchcase(entry.name, one) for one in patterns))
            and all(_tags(entry).get(key) == value for key, value in wanted)
        ]


def _tags(entry):
    return {"site": entry.site, "board": entry.board, **entry.tags}


def _csv_rows(text):
    try:
        table = list(csv.DictReader(text.splitlines(), strict=True))
    except csv.Error as error:
        raise InputError("inventory", "CSV", f"valid CSV ({error})") from None
    for number, row in enumerate(table, 2):
        where = f"inventory, line {number}"
        if None in row or None in row.values():
            raise InputError(where, ",".join(map(str, row.values())), "one cell a column")
        cells = {key.strip(): cell.strip() for key, cell in row.items() if cell.strip()}
        for key in ("tags", "secrets"):
            if key in cells:
                parts = [part for part in cells[key].split(";") if part.strip()]
                cells[key] = dict(_pair(part, f"{where}: {key}") for part in parts)
        yield where, cells


def _toml_rows(text):
    try:
        document = tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise InputError("inventory", "TOML", f"valid TOML ({error})") from None
    defaults = document.pop("defaults", {})
    rows = document.pop("node", [])
    if document or not isinstance(defaults, dict) or not isinstance(rows, list):
        raise InputError("inventory", sorted(document), "[defaults] and [[node]] only")
    for number, row in enumerate(rows, 1):
        yield f"inventory, node {number}", _merged(defaults, row)


def _merged(defaults, row):
    """Tables of the node join those of the defaults."""
    tables = {
        key: {**defaults[key], **row[key]}
        for key in ("tags", "secrets")
        if isinstance(defaults.get(key), dict) and isinstance(row.get(key), dict)
    }
    return {**defaults, **row, **tables}


def _pair(text, where):
    key, mark, value = text.partition("=")
    if not (mark and key.strip()):
        raise InputError(where, text, "key=value")
    return key.strip(), value.strip()


def _entry(row, where, folder):
    for key in row:
        if key not in KEYS:
            raise InputError(where, key, "one of " + ", ".join(KEYS))
    name = row.get("name", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "nodes":
        raise InputError(f"{where}: name", name, "1 to 64 letters, digits, _ - . (not 'nodes')")
    for key in ("board", "site", "port", "config"):
        if not isinstance(row.get(key, ""), str) or (key == "board" and not row.get(key)):
            raise InputError(f"{name}: {key}", row.get(key), "text")
    config = row.get("config")
    own = _secrets(_strings(row.get("secrets", {}), f"{name}: secrets"), name, folder)
    return Entry(
        name,
        row["board"],
        row.get("site", ""),
        _strings(row.get("tags", {}), f"{name}: tags"),
        row.get("port") or None,
        folder / config if config else None,
        {**credentials.references(name), **own},
    )


def _strings(table, where):
    if not isinstance(table, dict):
        raise InputError(where, table, "a table")
    return {key: str(value) for key, value in table.items()}


def _secrets(table, name, folder):
    """Where the secrets are, with absolute paths."""
    for key, value in table.items():
        found = _REFERENCE.fullmatch(value)
        if not found:
            # The value is not shown: it may be the secret itself.
            raise InputError(f"{name}: secret {key}", "…", "env:NAME or file:PATH")
        if found[1] == "file":
            table[key] = f"file:{folder / found[2]}"
    return table
