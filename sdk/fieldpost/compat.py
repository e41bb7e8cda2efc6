"""The only file that knows which interpreter runs it.

Everything else imports from here and is the same source on MicroPython and on CPython. On
CPython the modules that ``umqtt.simple`` 1.3 imports by their MicroPython names (``usocket``,
``ustruct``, ``ubinascii``) are aliased to the standard ones.
"""

import asyncio
import binascii
import gc
import json
import os
import sys
import time

MICROPYTHON = sys.implementation.name == "micropython"
TimeoutError = asyncio.TimeoutError
crc32 = binascii.crc32
#: Version of the .mpy files that it runs, 0 where it runs none.
MPY = getattr(sys.implementation, "_mpy", 0) & 0xFF


def hexlify(data):
    """Lowercase hexadecimal text of bytes."""
    return binascii.hexlify(data).decode()


if MICROPYTHON:
    from micropython import const

    ticks_ms = time.ticks_ms
    ticks_diff = time.ticks_diff
    ticks_add = time.ticks_add
    sleep_ms = asyncio.sleep_ms
    print_exception = sys.print_exception
    tidy = gc.collect
    dumps = json.dumps

    async def wait_for_ms(awaitable, ms):
        """Await with a deadline in ms; raises ``compat.TimeoutError``.

        asyncio's own makes two tasks for what is awaited, this one makes one for the deadline.
        """
        timer = asyncio.create_task(_cancel_after(asyncio.current_task(), ms))
        try:
            return await awaitable
        except asyncio.CancelledError:
            if timer.done():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    async def _cancel_after(task, ms):
        await sleep_ms(ms)
        task.cancel()

    def unload(name):
        """Forget an imported module ``package.module``, so that its memory can be reclaimed.

        Does nothing on CPython, where another thread may be using it.
        """
        module = sys.modules.pop(name, None)
        package, _, leaf = name.rpartition(".")
        if module is not None and hasattr(sys.modules[package], leaf):
            delattr(sys.modules[package], leaf)

    def names(folder):
        """Names in a folder, not all at once. To be exhausted: littlefs keeps the folder open."""
        for entry in os.ilistdir(folder):
            yield entry[0]

else:
    import socket
    import struct
    import traceback

    for _alias, _module in (("usocket", socket), ("ustruct", struct), ("ubinascii", binascii)):
        sys.modules.setdefault(_alias, _module)

    _PERIOD = 1 << 30

    def const(value):
        """A constant that MicroPython folds at compile time."""
        return value

    def ticks_ms():
        """Milliseconds of a monotonic counter that wraps at 2**30, as on MicroPython."""
        return time.monotonic_ns() // 1_000_000 % _PERIOD

    def ticks_diff(end, start):
        """Signed distance ``end - start`` in ms; right below half the period (6.2 days)."""
        return (end - start + _PERIOD // 2) % _PERIOD - _PERIOD // 2

    def ticks_add(ticks, delta):
        """``ticks`` moved by ``delta`` ms, wrapped."""
        return (ticks + delta) % _PERIOD

    def sleep_ms(ms):
        """Awaitable that ends after ``ms`` milliseconds."""
        return asyncio.sleep(ms / 1000)

    async def wait_for_ms(awaitable, ms):
        """Await with a deadline in ms; raises ``compat.TimeoutError``."""
        if not hasattr(asyncio, "timeout"):
            return await asyncio.wait_for(awaitable, ms / 1000)
        # wait_for of Python 3.11 swallows a cancellation that comes with the result.
        async with asyncio.timeout(ms / 1000):
            return await awaitable

    names = os.listdir

    def dumps(value):
        """JSON of a value, characters beyond ASCII as they are, as MicroPython writes them."""
        return json.dumps(value, ensure_ascii=False)

    def unload(_name):
        """Forget a module where memory is short, which it is on MicroPython only."""

    def tidy():
        """Collect garbage where a heap can fragment, which is on MicroPython only."""

    def print_exception(error, file=sys.stdout):
        """Print an exception with its traceback, as ``sys.print_exception`` does on the device."""
        traceback.print_exception(type(error), error, error.__traceback__, file=file)


async def wait_set(event, ms):
    """Wait until ``event`` is set, which a timer does after ``ms`` if nobody did before.

    Takes half the memory of ``wait_for_ms`` and ends without an exception.
    """
    timer = asyncio.create_task(_set_after(event, ms))
    try:
        await event.wait()
    finally:
        timer.cancel()


async def _set_after(event, ms):
    await sleep_ms(ms)
    event.set()


def epoch_year():
    """Year of the platform's ``time.time() == 0``: 1970, or 2000 on ESP32 and RP2 boards."""
    return time.gmtime(0)[0]
