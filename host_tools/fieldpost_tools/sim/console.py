"""What a board has printed: the newest part of it, counted, and waiting for words in it."""

import threading
import time


class Console:
    """A bounded record of a byte stream; offsets count from its very start. Thread-safe."""

    LIMIT_BYTES = 256 * 1024

    def __init__(self):
        self._data = bytearray()
        self._first = 0  # offset of _data[0]
        self._changed = threading.Condition()
        self._problem = None

    @property
    def end(self):
        """Offset of the next byte to come: how many there have been."""
        with self._changed:
            return self._first + len(self._data)

    def append(self, data):
        """Add what was printed; the oldest goes when the limit is passed."""
        with self._changed:
            self._data += data
            excess = len(self._data) - self.LIMIT_BYTES
            if excess > 0:
                del self._data[:excess]
                self._first += excess
            self._changed.notify_all()

    def fail(self, problem):
        """Let every waiting and later ``find`` raise ``problem``; None ends that."""
        with self._changed:
            self._problem = problem
            self._changed.notify_all()

    def last_words(self):
        """The end of it, to put into a message."""
        return repr(self.bytes()[-500:].decode(errors="replace"))

    def read(self, start):
        """``(bytes, end)`` from offset ``start`` on."""
        with self._changed:
            return self.bytes(start), self.end

    def bytes(self, start=0, end=None):
        """What was printed from offset ``start`` to ``end``, as far as it is still here."""
        with self._changed:
            first = max(start - self._first, 0)
            last = None if end is None else max(end - self._first, 0)
            return bytes(self._data[first:last])

    def check(self):
        """Raise what ``fail`` was told."""
        with self._changed:
            if self._problem:
                raise self._problem

    def find(self, needle, start, timeout_s):
        """Wait for ``needle`` at or after offset ``start``; the offset behind it, or None."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = self._data.find(needle, max(start - self._first, 0))
                if found >= 0:
                    return self._first + found + len(needle)
                self.check()
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                start = max(start, self._first + len(self._data) - len(needle) + 1)
                self._changed.wait(left)
