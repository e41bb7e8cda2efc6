"""Requests over the serial line, while the node runs: JSON text sequences (RFC 7464).

A request is 0x1E, JSON on one line, LF; so is every message of its reply. What is outside of such
a sequence is ignored, so a terminal, or what the board prints, does not disturb. JSON has no
control characters: Ctrl-C always stops the node and gives the REPL, which is how ``mpremote`` and
the like take over; Ctrl-D there (a soft reset) starts the node again.

A UART has room for 260 bytes on an ESP32, and is looked at every ``_IDLE_MS``: a host does well to
send 128 bytes at a time, and to wait 10 ms before the next.
"""

import select
import sys

from ..compat import asyncio, const, sleep_ms
from . import submit

_BEGIN, _END = const(0x1E), const(0x0A)
#: How long to wait for input, at most: without a request, within one.
_IDLE_MS, _BUSY_MS = const(10), const(2)
#: Bytes read before the other tasks get a turn; written at a time, and how long a UART of 115200
#: baud takes for them: its buffer takes them at once, so nothing waits for it.
_READ_BYTES = const(64)
_WRITE_BYTES, _WRITE_MS = const(64), const(6)
#: A host that takes nothing for so many times is gone.
_STALLS = const(500)


async def serve(node, console=None):
    """Answer the requests that come on the console, until its input ends."""
    await _Line(node, console or Console()).run()


class Console:
    """The board's console as a stream of bytes that never blocks."""

    def __init__(self):
        # CPython's reads ahead, where no poll sees it.
        self._input = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        self._output = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        self._readable = select.poll()
        self._readable.register(sys.stdin, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sys.stdout, select.POLLOUT)
        self._byte = bytearray(1)

    def read(self):
        """The next byte, None if there is none yet, -1 at the end of the input."""
        if not self._readable.poll(0):
            return None
        # One at a time: a board's read waits for all that were asked for.
        return self._byte[0] if self._input.readinto(self._byte) else -1

    async def write(self, data):
        """Write bytes at the pace of a UART; False where they are not taken."""
        for start in range(0, len(data), _WRITE_BYTES):
            piece = data[start : start + _WRITE_BYTES]
            stalls = 0
            while not self._writable.poll(0):
                stalls += 1
                if stalls > _STALLS:
                    return False
                await sleep_ms(_WRITE_MS)
            self._output.write(piece)
            await sleep_ms(len(piece) * _WRITE_MS // _WRITE_BYTES)
        return True


class _Line:
    """Requests and replies on a console."""

    def __init__(self, node, console):
        self._node = node
        self._console = console
        self._text = None  # of the request that is coming in
        self._lock = asyncio.Lock()

    async def run(self):
        count = 0
        while True:
            byte = self._console.read()
            if byte is None:
                count = 0
                await sleep_ms(_IDLE_MS if self._text is None else _BUSY_MS)
            elif byte < 0:
                return
            else:
                self._take(byte)
                count += 1
                if count % _READ_BYTES == 0:
                    await asyncio.sleep(0)

    def _take(self, byte):
        text = self._text
        if byte == _BEGIN:
            if text:
                # It was not sent to its end.
                self._node.counters["bad_requests"] += 1
            self._text = bytearray()
        elif text is not None:
            if byte == _END:
                self._text = None
                submit(self._node, text, "serial", self._send)
            elif len(text) <= self._node.settings["api"]["max_request"]:
                # One byte too many is enough to have it refused.
                text.append(byte)

    async def _send(self, data):
        async with self._lock:
            for part in (b"\x1e", data, b"\n"):
                if not await self._console.write(part):
                    return False
        return True
