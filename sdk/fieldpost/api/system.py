"""Module ``system``: the node itself: what it is, how it is, its errors, its clock, a restart."""

import gc
import os
import sys

from .. import __version__
from ..clock import PLAUSIBLE_UNIX_S
from ..compat import const
from ..errors import ApiError
from .audit import Audit
from .call import READ, WRITE

#: 2100-01-01: later times are mistakes.
_LATEST_UNIX_S = const(4102444800)
_CAUSES = ("PWRON", "HARD", "WDT", "DEEPSLEEP", "SOFT")


def get_info(node, _args):
    """The node at a glance.

    ``{node, version, revision, board, boot, uptime_ms, reset_cause, heap: {free, used}, flash:
    {free, total}, clock, counters}``: sizes in bytes, ``flash`` of the volume that holds the
    node's data, ``clock`` as of ``setTime``, ``counters`` since the start. ``reset_cause`` is
    ``pwron``, ``hard``, ``wdt``, ``deepsleep``, ``soft`` or the platform's number. What the
    platform cannot tell is null.
    """
    return {
        "node": node.name,
        "version": __version__,
        "revision": node.settings["revision"],
        "board": os.uname()[4] if hasattr(os, "uname") else sys.platform,
        "boot": node.boot,
        "uptime_ms": node.clock.mono_ms(),
        "reset_cause": _reset_cause(),
        "heap": _heap(),
        "flash": _flash(node.folder),
        "clock": _clock(node),
        "counters": node.state()["counters"],
    }


def get_state(node, _args):
    """The state object, as the node publishes it on its ``state`` topic."""
    return node.state()


def get_errors(node, _args):
    """The last errors, the newest last: ``[{ts, mono, what, text}, ...]``.

    ``ts`` is Unix ms, null while the clock is not trusted, ``mono`` ms since the start, ``what``
    the part that failed: a device, a broker, a task.
    """
    return [_entry(node, ("mono", "what", "text"), error) for error in node.errors]


def get_audit(node, _args):
    """The last changes made through the API, the newest last: ``[{ts, mono, transport, method,
    id, target, result}, ...]``.

    ``id`` is that of the request, ``target`` its first argument where that is a scalar, ``result``
    is ``ok`` or the error. ``ts`` and ``mono`` are as of ``getErrors``.
    """
    entries = node.audit.entries if node.audit else ()
    return [_entry(node, Audit.KEYS, entry) for entry in entries]


def get_config(node, _args):
    """The configuration as it is in the file. Secrets are not shown: ``has_password`` and the like
    say which are set. Error: ``configuration is not a file``.
    """
    from .config import get

    shown = get(node, None)
    return dict(shown["config"], revision=shown["revision"])


def set_time(node, args):
    """Set the clock to ``time``, Unix ms from 2024 to 2099; it is trusted from then on.

    Returns the clock: ``{trusted, source, unix_ms}``, ``source`` being ``system``, ``ntp``,
    ``api`` or null. Where NTP is configured, its next answer sets the clock again. Error:
    ``invalid value``.
    """
    if not PLAUSIBLE_UNIX_S <= args["time"] // 1000 < _LATEST_UNIX_S:
        raise ApiError("invalid value")
    node.clock.set_unix_ms(args["time"], "api")
    return _clock(node)


def reboot(node, _args):
    """Restart the board in a second, when the reply is on its way. Returns true.

    Records that a log keeps on flash are stored before. Error: ``not a board`` where there is
    nothing to restart.
    """
    from ..restart import restart

    if not restart(node):
        raise ApiError("not a board")
    return True


def _entry(node, keys, values):
    entry = dict(zip(keys, values))
    offset = node.clock.offset_ms
    entry["ts"] = None if offset is None else entry["mono"] + offset
    return entry


def _clock(node):
    clock = node.clock
    return {"trusted": clock.trusted, "source": clock.source, "unix_ms": clock.unix_ms()}


def _heap():
    if not hasattr(gc, "mem_free"):
        return None
    gc.collect()
    return {"free": gc.mem_free(), "used": gc.mem_alloc()}


def _flash(folder):
    try:
        volume = os.statvfs(folder)
    except (AttributeError, OSError):
        return None
    return {"free": volume[1] * volume[3], "total": volume[1] * volume[2]}


def _reset_cause():
    try:
        import machine

        cause = machine.reset_cause()
    except (ImportError, AttributeError):
        return None
    for name in _CAUSES:
        if getattr(machine, name + "_RESET", None) == cause:
            return name.lower()
    return cause


METHODS = {
    "getInfo": (get_info, "", READ),
    "getState": (get_state, "", READ),
    "getErrors": (get_errors, "", READ),
    "getAudit": (get_audit, "", READ),
    "getConfig": (get_config, "", READ),
    "setTime": (set_time, "time: int", WRITE),
    "reboot": (reboot, "", WRITE),
}
