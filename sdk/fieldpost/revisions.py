"""The files of a configuration: itself, its secrets, and the former ones.

A file that the node writes has in its first line what tells configurations apart::

    {"revision": 5, "last_id": 12, "secrets": "0f3a5b1c2d4e6f70",
    "node": "gw-1",
    "devices": [...]}

so that this can be read, and changed, without the rest. A file that somebody wrote may say the
same anywhere, and may leave it out. Revisions only grow, also when a former configuration comes
back. ``history/<revision>.json`` beside the file are the former ones, without any secrets.
"""

import json
import os

from . import secrets
from .compat import const, names, tidy
from .errors import ApiError, ConfigError
from .smallfile import make_folder, remove

_HEAD = ("revision", "last_id", "secrets")
_HEAD_CHARS = const(160)
_FOLDER = "history/"
_ENDING = ".json"
#: Former configurations kept.
_KEPT = const(4)


def head(path):
    """``{"revision", "last_id", "secrets"}`` of a file. Raises OSError or ValueError."""
    with open(path) as file:
        line = file.readline(_HEAD_CHARS)
        if line.endswith(",\n"):
            try:
                found = json.loads(line[:-2] + "}")
                if len(found) == len(_HEAD) and all(key in found for key in _HEAD):
                    return found
            except ValueError:
                file.seek(0)
        file.seek(0)
        return take_head(json.load(file))


def take_head(config):
    """The same of a configuration, out of which it is taken."""
    found = {key: config.pop(key, None) for key in _HEAD}
    for key in ("revision", "last_id"):
        if not isinstance(found[key], int):
            found[key] = 0
    return found


def read(path):
    """``(head, configuration)`` of a file. Raises ApiError where it cannot be read."""
    try:
        with open(path) as file:
            config = json.load(file)
    except (OSError, ValueError) as error:
        raise ApiError("configuration cannot be read: %r" % error) from None
    if not isinstance(config, dict):
        raise ConfigError("configuration", "...", "an object")
    return take_head(config), config


def load(path):
    """The same of the node's configuration: secrets are in the places where they belong, points
    have the ids that the node gave them. Raises ConfigError as well.
    """
    from .config import number_points

    found, config = read(path)
    secrets.merge(config, secrets.load(path, found["secrets"]))
    number_points(config.get("devices") or ())
    found["last_id"] = number(config, found["last_id"])
    tidy()
    return found, config


def write(path, found, config):
    """Write a file from its head and a configuration without secrets. Raises OSError."""
    with open(path, "w") as file:
        file.write(json.dumps({key: found[key] for key in _HEAD})[:-1])
        for key in config:
            file.write(",\n%s: " % json.dumps(key))
            json.dump(config[key], file)
        file.write("}\n")


def following(path, found):
    """The number of the next revision: higher than any there is, also among the former ones."""
    return max([found["revision"]] + former(path)) + 1


def former(path):
    """The revisions of which the former configurations are kept, newest first."""
    folder = _folder(path)
    try:
        found = [name[: -len(_ENDING)] for name in names(folder[:-1]) if name.endswith(_ENDING)]
    except OSError:
        return []
    return sorted([int(name) for name in found], reverse=True)


def former_path(path, revision):
    """The file of a former configuration."""
    return _folder(path) + str(revision) + _ENDING


def keep(path, found, config):
    """Keep what is the node's configuration as a former one. Raises OSError."""
    target = former_path(path, found["revision"])
    make_folder(_folder(path)[:-1])
    write(target + "~", found, config)
    os.rename(target + "~", target)
    for revision in former(path)[_KEPT:]:
        remove(former_path(path, revision))


def tidy_secrets(path, *others):
    """Remove secrets that neither the file, nor a former one, nor one of ``others`` names."""
    used = []
    for one in [path] + [former_path(path, revision) for revision in former(path)] + list(others):
        try:
            used.append(head(one)["secrets"])
        except OSError:
            continue
        except ValueError:
            # What it names is not known: all remain.
            return
    secrets.collect(path, used)


def points(config):
    """Yield ``(device, point)`` of a configuration that is not validated."""
    devices = config.get("devices")
    for device in devices if isinstance(devices, list) else ():
        rows = device.get("points") if isinstance(device, dict) else None
        for point in rows if isinstance(rows, list) else ():
            if isinstance(point, dict):
                yield device, point


def number(config, last):
    """Give points without an id one that is higher than ``last`` and all others; the last one."""
    given = [point.get("id") for _device, point in points(config)]
    last = max([last] + [id for id in given if isinstance(id, int)])
    for _device, point in points(config):
        if point.get("id") is None:
            point["id"] = last = last + 1
    return last


def _folder(path):
    return path[: path.rfind("/") + 1] + _FOLDER
