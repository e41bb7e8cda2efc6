"""The board restarts itself, after what must not be lost is stored."""

from .compat import asyncio, sleep_ms

#: Milliseconds for the reply, before the board restarts, or the link changes that it goes by.
DELAY_MS = 1000
#: Milliseconds that a node has to run after a restart to be good, where it waits for no link.
STEADY_MS = 10000


def restart(node):
    """Restart the board in a second; False where there is nothing to restart.

    Records that a log keeps on flash are stored before.
    """
    try:
        from machine import reset
    except ImportError:
        return False
    asyncio.create_task(_restart(node, reset))
    return True


async def _restart(node, reset):
    await sleep_ms(DELAY_MS)
    try:
        for subscription in node.subscriptions.values():
            store = getattr(subscription.ring, "store", None)
            while store and store(True):
                await sleep_ms(0)
            subscription.ring.tend()
    finally:
        reset()
