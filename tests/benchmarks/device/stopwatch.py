"""Times a point's updates."""

from array import array
from time import ticks_us

from fieldpost.compat import ticks_diff


class Stopwatch:
    """A point's trigger that notes the time between updates, without allocating."""

    def __init__(self, size):
        self._intervals = array("i", range(size))
        self._count = -1

    def __call__(self, _point, _ticks):
        now = ticks_us()
        if 0 <= self._count < len(self._intervals):
            self._intervals[self._count] = ticks_diff(now, self._before)
        self._count += 1
        self._before = now

    def taken(self):
        """A list of the microseconds between updates."""
        return list(self._intervals)[: self._count]
