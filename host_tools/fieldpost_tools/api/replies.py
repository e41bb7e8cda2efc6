"""Replies on their way to the caller that waits for them: whole, or in segments of any order."""

import json
import threading

from fieldpost_tools.api.errors import ApiLinkError, ApiTimeout


class Reply:
    """The reply to one request of ``size`` bytes, as it comes.

    ``method`` names the call in errors. ``take`` and ``fail`` are for the thread that reads,
    ``wait`` for the caller.
    """

    #: Longest reply, in characters of JSON; the segments of a longer one are not kept.
    MAX_CHARS = 16 * 1024 * 1024
    MAX_SEGMENTS = 100_000

    def __init__(self, method, size):
        self.method = method
        self.size = size
        self._done = threading.Event()
        self._value = None
        self._error = None
        self._parts = {}
        self._total = 0
        self._chars = 0

    def take(self, message):
        """A message with our id: the reply, or a segment of it; duplicates change nothing."""
        if self._done.is_set():
            return
        if isinstance(message, dict) and "segment" in message:
            self._add(message)
        else:
            self._finish(message)

    def fail(self, error):
        """End the wait with an exception."""
        self._error = self._error or error
        self._done.set()

    def wait(self, timeout_s, hint):
        """The reply, parsed. ``hint()`` is what a timeout's text may add.

        Raises ApiTimeout, saying what is missing, or what ``fail`` was given.
        """
        if not self._done.wait(timeout_s):
            raise ApiTimeout(self._missing(timeout_s) + hint())
        if self._error:
            raise self._error
        return self._value

    def _finish(self, value):
        self._value = value
        self._parts = {}
        self._done.set()

    def _add(self, message):
        number, total, text = (message.get(key) for key in ("segment", "total", "value"))
        if not _is_segment(number, total, text) or self._total not in (0, total):
            self._malformed("a segment that does not fit")
            return
        self._total = total
        if number in self._parts:
            return
        self._chars += len(text)
        if self._chars > self.MAX_CHARS or total > self.MAX_SEGMENTS:
            self._malformed(f"a reply of more than {self.MAX_CHARS} characters")
            return
        self._parts[number] = text
        if len(self._parts) == total:
            self._join()

    def _join(self):
        try:
            self._finish(json.loads("".join(self._parts[n + 1] for n in range(self._total))))
        except ValueError:
            self._malformed("segments that do not make JSON")

    def _malformed(self, what):
        self._parts = {}
        self.fail(ApiLinkError(f"{self.method}: the node sends {what}"))

    def _missing(self, timeout_s):
        if not self._parts:
            return f"{self.method}: no answer in {timeout_s:g} s"
        missing = sorted(set(range(1, self._total + 1)) - set(self._parts))
        shown = ", ".join(map(str, missing[:5])) + (" …" if len(missing) > 5 else "")
        return (
            f"{self.method}: {len(self._parts)} of {self._total} segments in {timeout_s:g} s,"
            f" missing {shown}"
        )


def _is_segment(number, total, text):
    numbers = type(number) is int and type(total) is int
    return numbers and 1 <= number <= total and isinstance(text, str)
