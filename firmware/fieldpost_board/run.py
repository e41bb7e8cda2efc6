"""Makes the node of this board, with what it needs there; or keeps the board in safe mode.

``main.py`` calls ``make`` and runs the node. Nothing of this module is needed after that, so it is
forgotten.
"""

from fieldpost.compat import asyncio, const, unload

_UPLINK_STALE_MS = const(900000)


def make(path):
    """The ``Node`` of a configuration; does not return where there is a reason for safe mode."""
    from . import own, safe, starts

    known = starts.read() or {"attempts": 0, "trial": False}
    safe.check(known["attempts"])
    own.load()
    for name in ("_board.own", "_board.safe", "_board.starts", ".smallfile"):
        unload("fieldpost" + name)
    own = safe = starts = None
    from fieldpost.node import Node

    from .health import prove

    node = Node(path)
    asyncio.create_task(prove(node, known["trial"]))
    if node.settings["network"]:
        from .uplink import keep

        node.supervisor.start("uplink", lambda task: keep(node, task), _UPLINK_STALE_MS)
    unload("fieldpost_board.run")
    return node
