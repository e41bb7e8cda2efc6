"""How often this release was started, and that it has proved itself: the file of ``slots.py``.

It is of the kind of ``fieldpost.smallfile``, so that the bootstrap, which is source, need not stay
in memory or be compiled again.
"""

from fieldpost.compat import const, sleep_ms, ticks_diff, ticks_ms, unload
from fieldpost.events import ERROR

#: How long a node has to run to be healthy; any link to a broker makes it so at once.
HEALTHY_MS = 60000
#: How long a release on trial may take to be healthy before the board resets.
TRIAL_MS = 300000

FILE = "/slot"

_POLL_MS = const(1000)


def state():
    """``slots.read()`` as it was left by ``slots.select()``; None where nothing was."""
    from fieldpost.smallfile import load

    try:
        return load(FILE)
    except ValueError:
        return None
    finally:
        unload("fieldpost.smallfile")


async def prove(node):
    """Task: note that the release is healthy once it is: a link is up, or it has run long enough.

    A release on trial needs a link, unless the node is to have none, and where it gets none in
    ``TRIAL_MS`` the board resets, which is a failed start.
    """
    trial = (state() or {}).get("trial")
    began = ticks_ms()
    while not any(link.connected for link in node.links):
        ran = ticks_diff(ticks_ms(), began)
        if ran >= HEALTHY_MS and not (trial and node.links):
            break
        if trial and ran >= TRIAL_MS:
            from machine import reset

            print("this release is on trial and has reached no broker: reset")
            reset()
        await sleep_ms(_POLL_MS)
    _note(node)
    unload("fieldpost_board.health")


def _note(node):
    known = state()
    if known and (known["trial"] or known["attempts"]):
        from fieldpost.smallfile import save

        known["trial"] = False
        known["attempts"] = 0
        try:
            save(FILE, known)
        except OSError as error:
            node.bus.emit(ERROR, "health", error)
        unload("fieldpost.smallfile")
