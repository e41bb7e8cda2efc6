"""A configuration on trial: it proves itself in time, or the node returns to the former one.

Before a configuration that may cut the node off becomes its own, two files are written:
``config.json.back``, the former configuration as the revision behind the new one, so that to
return is one rename; and ``trial`` in the node's folder, which tells of it::

    {"trial": {"revision", "previous", "confirm_ms", "boots", "waits": ["mqtt:main"]}}
    {"returned": {"revision", "reason", "ts"}}

``waits`` are the links that have to connect, each once, within ``confirm_ms`` of the change or of
a start; where there are none, the node has to run for ten seconds after its start. A start that
does not lead to that counts: after three the node returns as well, and at once where the
configuration cannot even be built. The second kind says which revision was not good, and why; it
stays until the next configuration is. A return gives the node a revision of its own (5 failed: the
former 4 comes back as 6), so that no number ever means two configurations.
Logs and cursors have no part in this.
"""

import os

from . import restart, revisions
from .compat import const, sleep_ms, unload
from .errors import FieldpostError
from .events import ERROR, LINK_UP
from .smallfile import remove, save

_FILE = "/trial"
_BACK = ".back"
_BOOTS = const(3)
_POLL_MS = const(100)


def prepare(node, head, former, config, waits, confirm_ms):
    """Write both files; ``former`` is the head of the former configuration, which is ``config``.

    Returns what ``node.trial`` is to be, once the configuration is the node's. Raises OSError.
    """
    path = node.config_path
    back = dict(former, revision=head["revision"] + 1, last_id=head["last_id"])
    revisions.write(path + _BACK, back, config)
    trial = {
        "revision": head["revision"],
        "previous": former["revision"],
        "confirm_ms": confirm_ms,
        "boots": 0,
        "waits": ["mqtt:" + name for name in waits],
    }
    save(node.folder + _FILE, {"trial": trial})
    return {"trial": trial}


def forget(node):
    """Remove both files: the configuration is good, or never became the node's."""
    # In this order: without the other file this one means nothing.
    remove(node.folder + _FILE)
    remove(node.config_path + _BACK)
    node.trial = None


# -- at a start


def begin(node, path, folder):
    """Count a start of a configuration on trial, or return; before its plan is read."""
    trial = node.trial.get("trial")
    if trial is None:
        return
    try:
        revision = revisions.head(path)["revision"]
    except (OSError, ValueError, TypeError):
        revision = trial["revision"]
    if revision == trial["revision"] + 1:
        # The power failed within the return.
        _told(node, folder, trial.get("reason"), None)
    elif revision != trial["revision"]:
        # It never became the configuration, or another one was written by hand.
        remove(folder + _FILE)
        remove(path + _BACK)
        node.trial = None
    elif "reason" in trial or trial["boots"] >= _BOOTS:
        _go_back(node, path, folder, trial.get("reason") or "%d starts in vain" % _BOOTS, None)
    else:
        trial["boots"] += 1
        _try_save(folder, node.trial)


def refuse(node, path, folder, error):
    """Return at once: the configuration cannot be built. What it is instead can, or raises."""
    if "trial" not in node.trial:
        raise error
    text = str(error) if isinstance(error, FieldpostError) else repr(error)
    _go_back(node, path, folder, text, None)


def start(node):
    """With the node's tasks: watch a trial, or report that a start returned from one."""
    if "trial" in node.trial:
        _watch(node, False)
    elif node.trial["returned"].pop("new", None):
        _report(node)


# -- while the node runs


def switch(node, fixed):
    """Change to the configuration on trial when the reply is on its way; ``fixed``: by a restart.

    Where a restart is needed but there is nothing to restart, that is left to whoever can.
    """
    if not fixed:
        _watch(node, True)
    else:
        restart.restart(node)


def left_s(node):
    """Seconds until the configuration has to have proven itself; None before it is in use."""
    until = node.trial["trial"].get("until")
    return until if until is None else max(0, until - node.clock.mono_ms() + 999) // 1000


def _watch(node, live):
    node.supervisor.start("trial", lambda _task: _prove(node, live))


async def _prove(node, live):
    trial = node.trial["trial"]
    up = set()
    handle = node.bus.subscribe(LINK_UP, lambda _kind, name, _data: up.add("mqtt:" + name))
    try:
        if live:
            await sleep_ms(restart.DELAY_MS)
            async with node.changing:
                up.update(_unbroken(node, await node.apply(node.config_path)))
        elif not trial["waits"]:
            await sleep_ms(restart.STEADY_MS)
        trial["until"] = node.clock.mono_ms() + trial["confirm_ms"]
        reason = await _wait(node, trial, up)
    except Exception as error:
        # It could not be applied, for want of memory.
        reason = repr(error)
    finally:
        node.bus.unsubscribe(handle)
    async with node.changing:
        if reason:
            await _return(node, reason)
        else:
            forget(node)
            revisions.tidy_secrets(node.config_path)
            node.state_sent = None
    unload("fieldpost.trial")


def _unbroken(node, done):
    """The links that changed without losing their connection."""
    return ["mqtt:" + link.name for link in node.links if _kept(link, done)]


def _kept(link, done):
    return link.connected and "mqtt:%s reconnect" % link.name not in done


async def _wait(node, trial, up):
    """Wait for the links; returns why that is not good, None if it is."""
    while True:
        missing = [name for name in trial["waits"] if name not in up]
        if not missing:
            return None
        if node.clock.mono_ms() >= trial["until"]:
            reasons = {"mqtt:" + link.name: link.reason for link in node.links}
            return ", ".join(["%s: %s" % (name, reasons.get(name)) for name in missing])
        await sleep_ms(_POLL_MS)


async def _return(node, reason):
    path = node.config_path
    if not _go_back(node, path, node.folder, reason, node.clock.unix_ms()):
        return
    _report(node)
    try:
        await node.apply(path)
        revisions.tidy_secrets(path)
    except Exception as error:
        # What only a restart changes, or no memory to change it now.
        node.bus.emit(ERROR, "config", error)
        restart.restart(node)


# -- the return


def _go_back(node, path, folder, reason, ts):
    """Make the former configuration the node's; False where it is not there."""
    trial = node.trial["trial"]
    trial["reason"] = reason
    _try_save(folder, node.trial)
    try:
        os.rename(path + _BACK, path)
    except OSError:
        remove(folder + _FILE)
        node.trial = None
        return False
    _told(node, folder, reason, ts)
    return True


def _told(node, folder, reason, ts):
    revision = node.trial["trial"]["revision"]
    node.trial = {"returned": {"revision": revision, "reason": reason, "ts": ts}}
    _try_save(folder, node.trial)
    node.trial["returned"]["new"] = True


def _try_save(folder, value):
    try:
        save(folder + _FILE, value)
    except OSError:
        # A full flash must not keep a node from returning, which needs no room.
        return


def _report(node):
    returned = node.trial["returned"]
    returned.pop("new", None)
    text = "revision %d not kept: %s" % (returned["revision"], returned["reason"])
    node.bus.emit(ERROR, "config", text)
