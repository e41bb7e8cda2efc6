"""Runs the node of this board: safe mode or not, then its network, its health and the node."""

import sys

from fieldpost.compat import asyncio, const, sleep_ms, ticks_diff, ticks_ms, unload

#: How long a node has to run to be healthy; any link to a broker makes it so at once.
HEALTHY_MS = 60000
#: How long a release on trial may take to be healthy before the board resets.
TRIAL_MS = 300000

_POLL_MS = const(1000)
_UPLINK_STALE_MS = const(900000)


def main():
    """Hold the board in safe mode where there is a reason to; else run its node for ever."""
    from . import own, safe

    slots = sys.modules.get("slots")
    reason = safe.reason(slots.read()["attempts"] if slots else 0)
    if reason:
        safe.hold(reason)
    own.load()
    own = safe = None
    unload("fieldpost_board.own")
    unload("fieldpost_board.safe")
    asyncio.run(_run(slots))


async def _run(slots):
    from fieldpost.node import Node

    node = Node("config.json")
    if slots:
        node.supervisor.start("health", lambda _task: prove(node, slots))
    if node.settings["network"]:
        from .uplink import keep

        node.supervisor.start("uplink", lambda task: keep(node, task), _UPLINK_STALE_MS)
    await node.run(console=True)


async def prove(node, slots):
    """Task: call ``slots.healthy`` once the node is: a link is up, or it has run long enough.

    A release on trial needs a link, unless the node is to have none, and where it gets none in
    ``TRIAL_MS`` the board resets, which is a failed start.
    """
    trial = slots.read()["trial"]
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
    slots.healthy()
