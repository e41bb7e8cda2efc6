"""The node's own validation, on the host: what it accepts, a node accepts."""

import copy
from collections import Counter

from fieldpost import config as node_config
from fieldpost.errors import ConfigError
from fieldpost_tools import sizing
from fieldpost_tools.config import diff, secrets, tree
from fieldpost_tools.errors import ToolError


class CheckError(ToolError):
    """A configuration is not allowed: ``node.json: devices[1].interval (ahu-1): 0 is …``."""

    exit_code = 2


def check(config, name):
    """Validate a configuration, whose secrets may be references; ``name`` is told in errors.

    Returns it complete, with every default. Raises CheckError.
    """
    config = secrets.placeholders(config)
    config.pop("secrets", None)
    try:
        return node_config.validate(config)
    except ConfigError as error:
        raise CheckError(f"{name}: {_where(config, error.path)}{_words(error)}") from None


def advice(config, board):
    """What ``fieldpost plan`` says against this configuration on a board, as sentences.

    Raises InputError for an unknown board.
    """
    config = secrets.placeholders(config)
    config.pop("secrets", None)
    return sizing.plan(config, sizing.load_board(board)).advice


def takes_more(config):
    """Whether a node that has this configuration takes another one over MQTT."""
    allowed = (config.get("api") or {}).get("mqtt") or ()
    return any(name in allowed for name in ("*", "config.*", "config.begin"))


def complete(wanted, current):
    """What is sent to a node that has ``current`` in order that it has ``wanted``.

    Points that it has keep their ids: those of the same device and name. What belongs to the node
    (``revision``, ``secrets``) is left out, ``last_id`` is its own.
    """
    made = copy.deepcopy(wanted)
    for key in diff.OWN:
        made.pop(key, None)
    if "last_id" in current:
        made["last_id"] = current["last_id"]
    known = {key: point.get("id") for key, point in _points(current)}
    taken = Counter(point.get("id") for _, point in _points(made))
    for key, point in _points(made):
        id = known.get(key)
        if point.get("id") is None and id is not None and not taken[id]:
            point["id"] = id
    return made


def _points(config):
    for device in config.get("devices") or ():
        for point in device.get("points") or ():
            yield (device.get("id"), point.get("name")), point


def _words(error):
    if error.value is None:
        return f" is missing, expected {error.allowed}"
    return f": {error.value!r} is not allowed, expected {error.allowed}"


def _where(config, path):
    """The path, with the names of list items behind it where they have some."""
    names, value = [], config
    for word in path.split("."):
        key, _, index = word.partition("[")
        value = value.get(key) if isinstance(value, dict) else None
        if index and isinstance(value, list):
            value = value[int(index.rstrip("]"))]
            names.append(tree.name_of(key, value, ""))
    names = [name for name in names if name]
    return f"{path} ({'/'.join(names)})" if names else path
