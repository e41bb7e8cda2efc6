"""Finds out whether this release works. Few bytes while it does, none afterwards."""

from fieldpost.compat import const, sleep_ms, ticks_diff, ticks_ms, unload
from fieldpost.events import ERROR

#: How long a node has to run to be healthy; a link to a broker that lasts makes it so at once.
HEALTHY_MS = 60000
#: How long a release on trial may take to be healthy before the board resets.
TRIAL_MS = 300000

_POLL_MS = const(1000)
#: So many times in a row a link has to be up: what fails, fails with the first messages.
_LASTING = const(3)


async def prove(node, trial):
    """Note that the release is healthy once it is: a link is up, or it has run long enough.

    A release on trial needs a link, unless the node is to have none, and where it gets none in
    ``TRIAL_MS`` the board resets, which is a failed start.
    """
    began = ticks_ms()
    seen = 0
    while True:
        await sleep_ms(_POLL_MS)
        seen = seen + 1 if any(link.connected for link in node.links) else 0
        ran = ticks_diff(ticks_ms(), began)
        if seen >= _LASTING or (ran >= HEALTHY_MS and not (trial and node.links)):
            break
        if trial and ran >= TRIAL_MS:
            from machine import reset

            print("this release is on trial and has reached no broker: reset")
            reset()
    try:
        from .starts import healthy

        healthy()
    except Exception as error:
        # It has no further try: the next start will.
        node.bus.emit(ERROR, "health", error)
    for name in ("_board.starts", "_board.health", ".smallfile"):
        unload("fieldpost" + name)
