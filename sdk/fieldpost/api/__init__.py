"""The JSON API: requests and replies, whatever brings them.

``call`` says what a module of the API is made of, ``dispatch`` answers requests; ``over_mqtt`` and
``serial`` bring them. ``alarms``, ``gateways``, ``loggers``, ``mqtt`` and ``system`` hold the
methods. What is not needed is not loaded: all but the serial line waits for the first request.
"""

from ..compat import asyncio
from ..events import ERROR


def submit(node, text, transport, send, *more):
    """Have a request to ``node`` answered by a task; arguments of ``Dispatcher.handle``.

    Where there is no memory for that, the reply says so, and that is all that happens.
    """
    try:
        node.dispatcher().submit(text, transport, send, *more)
    except MemoryError as error:
        node.bus.emit(ERROR, "api", error)
        asyncio.create_task(send(b'{"error":"out of memory"}'))
