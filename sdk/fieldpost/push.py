"""Another configuration as a whole, or a former one again, becomes the node's.

What can be changed while the node runs is changed at once. A change of links is made when the
reply is on its way, and is on trial (see ``trial``); what only a restart can change is made by
one, and is on trial as well, if only until the node runs. The former configuration is kept.
"""

import os
from hashlib import sha256

from . import revisions, secrets, staging
from .canonical import canonical
from .compat import tidy, unload
from .errors import ApiError
from .smallfile import remove


async def push(node, path, base, confirm_s):
    """Make the configuration in the file ``path`` the node's, whose revision has to be ``base``.

    Its ``has_<key>`` keep what the node has in that place. A point without id keeps that of the
    point of this name, or gets a new one. ``confirm_s``: seconds for the links, 0 for no trial.

    Returns ``{"revision", "changed", "restart", "confirm_s"}``. Raises ApiError or ConfigError,
    and then nothing has changed.
    """

    def read(_head, known, ids):
        given, config = revisions.read(path)
        secrets.merge(config, known)
        _keep_ids(config, ids)
        return given, config

    async with node.changing:
        staging.check_base(node, base)
        return await _replace(node, read, confirm_s)


async def roll_back(node, revision, confirm_s):
    """Make a former configuration the node's again, as a new revision; as ``push``.

    ``revision``: None for the newest one. Raises ApiError("no such revision") as well.
    """
    target = staging.path_of(node)

    def read(head, _known, _ids):
        kept = [one for one in revisions.former(target) if one != head["revision"]]
        wanted = kept[0] if revision is None and kept else revision
        if wanted not in kept:
            raise ApiError("no such revision")
        path = revisions.former_path(target, wanted)
        given, config = revisions.read(path)
        secrets.merge(config, secrets.load(target, given["secrets"]))
        return given, config

    async with node.changing:
        return await _replace(node, read, confirm_s)


async def _replace(node, read, confirm_s):
    staging.refuse_on_trial(node)
    path = staging.path_of(node)
    try:
        head, made = _stage(path, read)
        if made is None:
            return _result(head, (), False, 0)
        # What was read is garbage now; to validate takes as much again.
        tidy()
        return await _adopt(node, made, confirm_s)
    except (OSError, MemoryError) as error:
        raise ApiError("configuration not changed: %r" % error) from None
    finally:
        remove(path + ".next")
        revisions.tidy_secrets(path, path + ".back")
        for name in ("push", "changes", "revisions", "secrets", "canonical", "schema", "rows"):
            unload("fieldpost." + name)


def _stage(path, read):
    """Write what becomes the configuration: ``(head of the present one, its head)``.

    The latter is None, and nothing is written, where it would be the same.
    """
    head, mark, known, ids = _present(path)
    given, config = read(head, known, ids)
    last = revisions.number(config, max(head["last_id"], given["last_id"]))
    values = secrets.split(config)
    if _mark(config, values) == mark:
        return head, None
    name = secrets.store(path, values)
    made = {"revision": revisions.following(path, head), "last_id": last, "secrets": name}
    revisions.write(path + ".next", made, config)
    return head, made


def _present(path):
    """The present configuration: head, mark, secrets, and its points' ids by their names."""
    head, config = revisions.load(path)
    ids = {
        (device["id"], point["name"]): point["id"] for device, point in revisions.points(config)
    }
    known = secrets.split(config)
    return head, _mark(config, known), known, ids


def _keep_ids(config, ids):
    points = [one for one in revisions.points(config) if one[1].get("id") is None]
    used = {point.get("id") for _device, point in revisions.points(config)}
    for device, point in points:
        id = ids.get((device.get("id"), point.get("name")))
        if id not in used:
            point["id"] = id


def _mark(*values):
    """What is the same for the same content."""
    made = sha256()
    for value in values:
        for text in canonical(value):
            made.update(text.encode())
    return made.digest()


async def _adopt(node, made, confirm_s):
    """Validate what is staged, keep the former configuration, and change to the staged one."""
    from . import plan

    staged = node.config_path + ".next"
    try:
        changed, fixed, waits = _look(node, plan.load(staged, node.folder, plan.NEXT).head())
        if not confirm_s:
            waits = []
        tidy()
        if fixed or waits:
            _try(node, made, waits, confirm_s)
            _trial().switch(node, fixed)
        else:
            _keep(node)
            await staging.commit(node)
            if node.trial:
                _trial().forget(node)
    except Exception:
        remove(node.folder + plan.NEXT)
        raise
    return _result(made, changed, fixed, confirm_s if waits else 0)


def _look(node, head):
    """What the head of a plan changes: names, whether it takes a restart, links to wait for."""
    from . import changes

    fixed = changes.fixed(node, head) is not None
    return changes.names(node, head), fixed, changes.links(node, head)


def _try(node, made, waits, confirm_s):
    """Make what is staged the configuration, on trial."""
    head, config = _keep(node)
    trial = _trial()
    try:
        told = trial.prepare(node, made, head, config, waits, confirm_s * 1000)
        os.rename(node.config_path + ".next", node.config_path)
    except OSError:
        trial.forget(node)
        raise
    node.trial = told


def _keep(node):
    """Keep the present configuration as a former one; returns it."""
    path = node.config_path
    head, config = revisions.load(path)
    head["secrets"] = secrets.store(path, secrets.split(config))
    revisions.keep(path, head, config)
    return head, config


def _result(head, changed, restart, confirm_s):
    return {
        "revision": head["revision"],
        "changed": changed,
        "restart": restart,
        "confirm_s": confirm_s,
    }


def _trial():
    from . import trial

    return trial
