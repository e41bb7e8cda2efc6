"""What a board holds beside the code: bootstrap, configuration, secrets, and the plan of these.

The node's own code writes them here as it does on the board, so that there is one form of each.
The plan spares a board the validation, which takes more memory than the node itself.
"""

import json
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from fieldpost import __version__, plan, revisions, secrets
from fieldpost.canonical import canonical
from fieldpost.smallfile import unseal
from fieldpost_tools import data
from fieldpost_tools.build import FIRMWARE_FILES
from fieldpost_tools.config import check

CONFIG, PLAN = "config.json", "data/config.plan"


@dataclass(frozen=True)
class Configured:
    """Files of a configuration, ``{path: content}``: ``kept`` are named by what they hold and
    change nothing by being there, ``switched`` take effect, in this order."""

    revision: int
    kept: dict[str, bytes]
    switched: dict[str, bytes]


def bootstrap():
    """``{name: content}`` of the files that run before the code of a slot is found."""
    folder = data.firmware_folder()
    return {name: (folder / name).read_bytes() for name in FIRMWARE_FILES}


def configuration(wanted, current=b"", current_secrets=None):
    """The ``Configured`` of a configuration, or None where the board has it already.

    ``wanted`` is complete, with its secrets; ``current`` is the board's ``config.json`` and
    ``current_secrets`` ``{path: content}`` of the file that it names. Points keep their ids, the
    revision is the next one, and the former configuration goes into ``history``. Raises
    ConfigError, ToolError.
    """
    with tempfile.TemporaryDirectory(prefix="fieldpost-config-") as folder:
        path = str(Path(folder, CONFIG))
        write(folder, {CONFIG: current, **(current_secrets or {})} if current else {})
        before = set(files(folder))
        found, old, old_values = _current(path)
        made = check.complete(wanted, {"last_id": found["last_id"], **old})
        made.pop("last_id", None)
        secrets.merge(made, old_values)
        values = secrets.split(made)
        found["last_id"] = revisions.number(made, found["last_id"])
        if current and _text(made, values) == _text(old, old_values):
            return None
        if current:
            revisions.keep(path, found, old)
        head = {**found, "revision": revisions.following(path, found)}
        head["secrets"] = secrets.store(path, values)
        revisions.write(path, head, made)
        after = files(folder)
        kept = {name: after[name] for name in after if name not in before and name != CONFIG}
        return Configured(head["revision"], kept, {CONFIG: after[CONFIG], **_plan(folder)})


def modules(configured):
    """Paths, without their ending, of the modules that a configuration needs."""
    line = configured.switched[PLAN].split(b"\n")[0].decode()
    return ["fieldpost/" + name.replace(".", "/") for name in unseal(line)["modules"]]


def secrets_file(current):
    """Path of the file that holds the secrets of a board's ``config.json``; None without."""
    try:
        name = json.loads(current).get("secrets")
    except (ValueError, AttributeError):
        return None
    return f"secrets/{name}.json" if name else None


def node_name(current):
    """The node that a board's ``config.json`` describes; None where it describes none."""
    try:
        return json.loads(current).get("node")
    except (ValueError, AttributeError):
        return None


def fits(head, current):
    """Is the plan whose first line is ``head`` that of a ``config.json``, by this version?"""
    try:
        made = unseal(head.decode())["made"]
    except (ValueError, KeyError, TypeError):
        return False
    return made == [__version__, zlib.crc32(current)]


def planned(current, current_secrets):
    """``{path: content}`` of the plan of a configuration that a board has."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-config-") as folder:
        write(folder, {CONFIG: current, **current_secrets})
        return _plan(folder)


def write(folder, contents):
    """Write ``{path: content}`` below a folder."""
    for name, content in contents.items():
        target = Path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def files(folder):
    """``{path: content}`` of everything below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def _current(path):
    """``(head, configuration, secrets)`` of the board; empty where it cannot be read."""
    try:
        found, config = revisions.read(path)
        return found, config, {**secrets.load(path, found["secrets"]), **secrets.split(config)}
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is replaced
        return revisions.take_head({}), {}, {}


def _plan(folder):
    Path(folder, "data").mkdir(exist_ok=True)
    plan.load(str(Path(folder, CONFIG)), str(Path(folder, "data")))
    return {PLAN: Path(folder, PLAN).read_bytes()}


def _text(config, values):
    """The same text for the same content, the order of keys and null aside."""
    return "".join(canonical([config, values]))
