"""Runs the node of this board: safe mode or not, then its network, its health and the node."""

from fieldpost.compat import asyncio, const, unload

_UPLINK_STALE_MS = const(900000)


def main():
    """Hold the board in safe mode where there is a reason to; else run its node for ever."""
    from . import own, safe

    safe.check()
    own.load()
    own = safe = None
    unload("fieldpost_board.own")
    unload("fieldpost_board.safe")
    asyncio.run(_run())


async def _run():
    from fieldpost.node import Node

    node = Node("config.json")
    node.supervisor.start("health", lambda _task: _prove(node))
    if node.settings["network"]:
        from .uplink import keep

        node.supervisor.start("uplink", lambda task: keep(node, task), _UPLINK_STALE_MS)
    await node.run(console=True)


async def _prove(node):
    from .health import prove

    await prove(node)
