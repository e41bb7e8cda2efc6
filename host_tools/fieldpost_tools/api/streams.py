"""The items of a long reply, while its text comes in parts."""

import json

from fieldpost_tools.api.errors import ApiLinkError

#: Longest text of one item, in characters.
MAX_ITEM_CHARS = 1024 * 1024
_VALUE = '"value":'


def items(method, parts):
    """Yield the items of the reply's value where that is an array, else the value itself.

    ``parts`` iterates over the parts of the reply's text, an object whose ``id`` is ours and whose
    last member is ``value``. No more than an item and a part are held. Raises ApiLinkError for
    what is no such text.
    """
    buffer = _Buffer(method, parts)
    buffer.skip_to(_VALUE)
    if buffer.peek() != "[":
        yield buffer.value("}")
        return
    buffer.drop()
    if buffer.peek() == "]":
        return
    mark = ","
    while mark == ",":
        yield buffer.value(",]")
        mark = buffer.drop()


class _Buffer:
    """Text of which the front is taken away and the end grows."""

    def __init__(self, method, parts):
        self._method = method
        self._parts = iter(parts)
        self._text = ""
        self._decode = json.JSONDecoder().raw_decode

    def skip_to(self, mark):
        """Drop everything up to and with ``mark``."""
        while mark not in self._text:
            self._more()
        self._text = self._text.partition(mark)[2]

    def peek(self):
        """The first character."""
        while not self._text:
            self._more()
        return self._text[0]

    def drop(self):
        """Take the first character."""
        first = self.peek()
        self._text = self._text[1:]
        return first

    def value(self, ends):
        """Take the JSON value in front, which ends at one of the characters ``ends``."""
        while True:
            try:
                value, end = self._decode(self._text)
            except ValueError:
                end = len(self._text)
            # A number that goes on in the next part reads as one, but has no end.
            if self._text[end : end + 1] in tuple(ends):
                self._text = self._text[end:]
                return value
            self._more()

    def _more(self):
        part = next(self._parts, None)
        if part is None or len(self._text) > MAX_ITEM_CHARS:
            raise self._error()
        self._text += part

    def _error(self):
        return ApiLinkError(f"{self._method}: the parts of the node's reply do not make JSON")
