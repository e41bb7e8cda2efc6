"""Changes of a node's configuration that last: staged in a file, applied, then put in its place.

``config.json.next`` is written and closed, applied to the running node, and renamed over
``config.json``. The power may fail at any moment: a node that boots ignores what was not renamed.
Secrets are in a file of their own (see ``secrets``), which is there before.
"""

import os

from .compat import tidy, unload
from .errors import ApiError
from .smallfile import remove


async def change(node, edit):
    """Change the configuration for good; returns what ``edit(config)`` returns.

    ``edit`` changes the dict that the file says, in which every point has its ``id`` and secrets
    are where they belong; it may raise ApiError or ConfigError. A point that it adds without
    ``id`` gets one that was never used before. The ``revision`` grows each time. Changes wait for
    one another, and are refused while a configuration is on trial.

    Raises ApiError or ConfigError, and then nothing has changed, neither in the node nor its file.
    """
    path = path_of(node)
    async with node.changing:
        refuse_on_trial(node)
        try:
            result = _stage(path, path + ".next", edit)
            # What was read is garbage now; to validate takes as much again.
            tidy()
            await commit(node)
        finally:
            _tidy(path)
    return result


async def commit(node):
    """Apply what is staged to the node and make it the configuration.

    Raises ApiError or ConfigError, and then nothing has changed. ``node.changing`` is held.
    """
    path = path_of(node)
    before = node.digests
    try:
        done = await node.apply(path + ".next")
        os.rename(path + ".next", path)
    except Exception as error:
        remove(path + ".next")
        if node.digests is not before:
            await node.apply(path)
        if isinstance(error, (OSError, MemoryError)):
            raise ApiError("configuration not changed: %r" % error) from None
        raise
    return done


def path_of(node):
    """The file of the node's configuration. Raises ApiError where it is none."""
    if node.config_path is None:
        raise ApiError("configuration is not a file")
    return node.config_path


def head_of(node):
    """``{"revision", "last_id", "secrets"}`` of the node's file. Raises ApiError."""
    from . import revisions

    try:
        return revisions.head(path_of(node))
    except (OSError, ValueError) as error:
        raise ApiError("configuration cannot be read: %r" % error) from None


def check_base(node, base):
    """Raise ApiError where the node's configuration is not the revision ``base``."""
    revision = head_of(node)["revision"]
    if base != revision:
        raise ApiError("stale revision: %d, the node has %d" % (base, revision))


def refuse_on_trial(node):
    """Raise ApiError while a configuration is on trial: nobody knows yet which one is changed."""
    if node.trial and "trial" in node.trial:
        raise ApiError("configuration on trial")


def find(items, key, value, default=None):
    """The dict of a list in which ``key`` is ``value``. Raises ApiError("invalid value")."""
    for item in items or ():
        if (item.get(key) or default) == value:
            return item
    raise ApiError("invalid value")


def merge(target, changes):
    """Set keys of a dict; None removes one, which is then what it is by default."""
    for key in changes:
        if changes[key] is None:
            target.pop(key, None)
        else:
            target[key] = changes[key]


def hide(config):
    """Replace every secret of a configuration by ``has_<key>``; returns it. See ``secrets``."""
    from . import secrets

    secrets.split(config)
    _forget()
    return config


def _stage(path, staged, edit):
    from . import revisions, secrets

    head, config = revisions.load(path)
    result = edit(config)
    head["last_id"] = revisions.number(config, head["last_id"])
    head["revision"] = revisions.following(path, head)
    try:
        head["secrets"] = secrets.store(path, secrets.split(config))
        revisions.write(staged, head, config)
    except (OSError, MemoryError) as error:
        remove(staged)
        raise ApiError("configuration not changed: %r" % error) from None
    return result


def _tidy(path):
    from . import revisions

    revisions.tidy_secrets(path)
    _forget()


def _forget():
    """Give back the memory of what is needed only while a configuration is read or written."""
    for name in ("revisions", "secrets", "canonical", "schema", "rows"):
        unload("fieldpost." + name)
