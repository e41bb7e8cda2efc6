"""Replies of any length, made and fetched in parts.

A request with ``"stream":1`` gets ``{"id","stream":<handle>,"part":1,"value":"<text>"}``: a handle
and the first part of the reply's JSON text. ``{"id","stream":<handle>}``, without module and
method, fetches the next part. With ``"part":<n>`` it may be the last one made as well, so a part
that was lost can be asked for again. The last part says ``"last":true``; all of them together are
the text of the reply. An ``error`` in the place of a part ends the stream, as does a minute in
which nothing was fetched. A stream belongs to the transport that it was asked for on.
"""

import json

from ..compat import const, ticks_diff, ticks_ms
from ..errors import ApiError
from .call import Rows
from .reply import breathe, cut, whole

#: Room for what surrounds the part in its message.
_FRAME_CHARS = const(100)


class Streams:
    """The streams of one dispatcher; ``settings`` as there, ``boot`` makes handles its own."""

    #: Open streams at a time, and for how long one is kept that nobody fetches.
    LIMIT = 4
    EXPIRE_MS = 60000

    def __init__(self, boot, settings):
        self._settings = settings
        self._handle = (boot & 0x3FFF) + 1 << 12
        self._open = {}

    async def open(self, out, request, transport, value, deadline):
        """Answer a request by the first part of its reply."""
        if len(self._open) >= self.LIMIT:
            self._make_room()
        self._handle += 1
        stream = _Stream(whole(request.head(), value), transport)
        self._open[self._handle] = stream
        await self._give(out, request, self._handle, stream, 1, deadline)

    async def fetch(self, out, request, transport, deadline):
        """Answer a request for a part. ApiError if there is no such stream or part."""
        handle = request.stream
        stream = self._open.get(handle) if isinstance(handle, int) else None
        if stream is None or stream.transport != transport:
            raise ApiError("invalid stream")
        if stream.busy:
            raise ApiError("busy")
        part = request.options.get("part", stream.part + 1)
        if part != stream.part and (part != stream.part + 1 or stream.last):
            raise ApiError("invalid part")
        await self._give(out, request, handle, stream, part, deadline)

    def tend(self):
        """Forget what nobody fetches."""
        now = ticks_ms()
        for handle in list(self._open):
            stream = self._open[handle]
            if not stream.busy and ticks_diff(now, stream.used) > self.EXPIRE_MS:
                self._close(handle)

    def _make_room(self):
        for handle in self._open:
            if self._open[handle].last:
                self._close(handle)
                return
        raise ApiError("too many streams")

    def _close(self, handle):
        self._open.pop(handle).pieces.close()

    async def _give(self, out, request, handle, stream, part, deadline):
        if part != stream.part:
            stream.busy = True
            try:
                await stream.make(self._settings["segment"] - _FRAME_CHARS, deadline)
            except Exception:
                self._close(handle)
                raise
            finally:
                stream.busy = False
        stream.used = ticks_ms()
        last = '"last":true,' if stream.last else ""
        frame = '{%s"stream":%d,"part":%d,%s"value":' % (request.mark(), handle, part, last)
        out.data.extend((frame + stream.text + "}").encode())


class _Stream:
    """A reply that is being fetched."""

    def __init__(self, pieces, transport):
        self.pieces = pieces
        self.transport = transport
        self.busy = self.last = False
        self.used = ticks_ms()
        #: Number of the last part made, and that part as a JSON string.
        self.part = 0
        self.text = None
        self._rest = bytearray()

    async def make(self, limit, deadline):
        """Make the next part, a JSON string of at most ``limit`` characters."""
        ended = await self._collect(limit, deadline)
        size = limit
        while True:
            end = cut(self._rest, 0, size)
            text = json.dumps(str(self._rest[:end], "utf-8"))
            if len(text) <= limit:
                break
            # Quotes and the like take more than one character there.
            size = size * limit // len(text)
        self._rest = self._rest[end:]
        self.part += 1
        self.text = text
        self.last = ended and not self._rest

    async def _collect(self, limit, deadline):
        rest = self._rest
        for piece in self.pieces:
            if piece is not Rows.PAUSE:
                rest.extend(piece.encode())
            if len(rest) >= limit:
                return False
            await breathe(deadline)
        return True
