"""Tells the slots when this release has proved itself; forgotten after that, as are the slots."""

import sys

from fieldpost.compat import const, sleep_ms, ticks_diff, ticks_ms, unload

#: How long a node has to run to be healthy; any link to a broker makes it so at once.
HEALTHY_MS = 60000
#: How long a release on trial may take to be healthy before the board resets.
TRIAL_MS = 300000

_POLL_MS = const(1000)


async def prove(node):
    """Task: call ``slots.healthy`` once the node is: a link is up, or it has run long enough.

    A release on trial needs a link, unless the node is to have none, and where it gets none in
    ``TRIAL_MS`` the board resets, which is a failed start.
    """
    slots = sys.modules["slots"]
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
    del sys.modules["slots"]
    unload("fieldpost_board.health")
