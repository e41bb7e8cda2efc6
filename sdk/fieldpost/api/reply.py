"""Replies as JSON text, encoded piece by piece, and cut into segments where they are long."""

import json

from ..compat import asyncio, const, ticks_diff, ticks_ms
from ..errors import ApiError
from .call import Rows

#: After so many bytes of a reply the other tasks get a turn.
_TURN_BYTES = const(512)
#: No spaces.
_MARKS = (",", ":")


class Text:
    """JSON text in the making, of at most ``limit`` bytes: in ``data``."""

    def __init__(self, limit):
        self.data = bytearray()
        self._limit = limit

    def put(self, text):
        """Add text; ApiError where the limit is passed."""
        self.data.extend(text.encode())
        if len(self.data) > self._limit:
            raise ApiError('reply longer than %d: ask for it with "stream":1' % self._limit)

    def cut(self, length):
        """Forget what follows the first ``length`` bytes, and its memory."""
        self.data = self.data[:length]

    def error(self, start, head, text):
        """Put a reply that says an error in the place of what follows ``start``."""
        self.cut(start)
        self.data.extend(('{%s"error":%s}' % (head, json.dumps(text))).encode())

    async def reply(self, head, value, deadline):
        """Add a reply with a value. ApiError also past ``deadline`` (ticks)."""
        turn = 0
        for piece in whole(head, value):
            if piece is not Rows.PAUSE:
                self.put(piece)
                if len(self.data) < turn:
                    continue
            turn = len(self.data) + _TURN_BYTES
            await breathe(deadline)


async def breathe(deadline):
    """Give the other tasks a turn; ApiError past ``deadline`` (ticks)."""
    await asyncio.sleep(0)
    if ticks_diff(ticks_ms(), deadline) > 0:
        raise ApiError("timeout")


def whole(head, value):
    """Yield the pieces of a reply."""
    yield "{%s" % head + '"value":'
    yield from pieces(value)
    yield "}"


def pieces(value):
    """Yield the JSON text of a value in pieces, and the ``Rows.PAUSE`` of its rows.

    Raises TypeError for what JSON has not; numbers that it has not become null.
    """
    if isinstance(value, dict):
        mark = "{"
        for key in value:
            yield mark + json.dumps(str(key)) + ":"
            yield from pieces(value[key])
            mark = ","
        yield "}" if mark == "," else "{}"
    elif isinstance(value, (list, tuple, Rows)):
        mark = "["
        for item in value:
            if item is Rows.PAUSE:
                yield item
            elif _is_flat(item):
                yield mark + json.dumps(item, separators=_MARKS)
                mark = ","
            else:
                yield mark
                yield from pieces(item)
                mark = ","
        yield "]" if mark == "," else "[]"
    elif _is_plain(value):
        yield json.dumps(value)
    elif isinstance(value, float):
        yield "null"
    else:
        raise TypeError("no JSON: %s" % type(value))


def _is_flat(value):
    """Whether a value is an array or object of which nothing needs a closer look."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return False
    return all(_is_plain(member) for member in value)


def _is_plain(value):
    if isinstance(value, float):
        return value - value == 0
    return value is None or isinstance(value, (str, int, bool))


def messages(data, mark, limit):
    """Yield a reply's messages as bytes: itself, or segments of at most ``limit`` characters.

    ``mark`` is the text of the ``id`` that the segments repeat.
    """
    ends = []
    end = 0
    while end < len(data):
        end = cut(data, end, limit)
        ends.append(end)
    if len(ends) == 1:
        yield data
        return
    start = 0
    for number, end in enumerate(ends):
        part = json.dumps(str(data[start:end], "utf-8"))
        head = '{%s"segment":%d,"total":%d,"value":' % (mark, number + 1, len(ends))
        yield (head + part + "}").encode()
        start = end


def cut(data, start, count):
    """Position in UTF-8 ``data`` that is at most ``count`` characters behind ``start``."""
    end = start
    while count and end < len(data):
        begin = end
        end = min(end + count, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end += 1
        count -= len(str(data[begin:end], "utf-8"))
    return end
