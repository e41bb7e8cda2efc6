"""Time without floats: wrapping ticks inside, Unix milliseconds at the edge.

``ticks`` are small ints that wrap at 2**30 ms; ``mono_ms`` extends them into a count of
milliseconds since boot that never wraps; ``unix_ms`` is ``mono_ms`` plus an offset that is known
once the wall clock is trusted (set by NTP, by the host, or already right when the node started).
"""

import time

from . import compat
from .compat import ticks_diff, ticks_ms

#: A wall clock earlier than this (2024-01-01) was never set: boards start in 2000 or 1970.
PLAUSIBLE_UNIX_S = 1704067200

_EPOCH_2000_S = 946684800


class Clock:
    """Monotonic and wall time of one node.

    ``epoch_year`` overrides the platform's epoch (1970 or 2000), for tests. ``now_s`` and
    ``ticks`` may replace ``time.time`` and ``ticks_ms``. ``mono_ms`` must be called at least once
    in 6 days; the node's supervisor does.
    """

    def __init__(self, epoch_year=None, now_s=None, ticks=None):
        self.ticks = ticks or ticks_ms
        self._now_s = now_s or time.time
        year = compat.epoch_year() if epoch_year is None else epoch_year
        self.epoch_offset_s = _EPOCH_2000_S if year == 2000 else 0
        self._last = self.ticks()
        self._mono = 0
        self.offset_ms = None
        self.source = None
        #: Callbacks without arguments, called when ``unix_ms`` steps or becomes known.
        self.on_change = []

    @property
    def trusted(self):
        """True once the wall clock is known to be right."""
        return self.offset_ms is not None

    def mono_ms(self):
        """Milliseconds since this clock was made; never wraps, never goes back."""
        now = self.ticks()
        step = ticks_diff(now, self._last)
        if step > 0:
            self._mono += step
            self._last = now
        return self._mono

    def mono_at(self, ticks):
        """``mono_ms`` of a ticks value at most 6 days old."""
        return self.mono_ms() + ticks_diff(ticks, self._last)

    def unix_ms(self):
        """Unix time in ms as an int, or None while the clock is not trusted."""
        if self.offset_ms is None:
            return None
        return self.mono_ms() + self.offset_ms

    def wall_ms(self):
        """Unix ms where they are known, else ms since boot: what schedules go by."""
        return self.mono_ms() if self.offset_ms is None else self.unix_ms()

    def set_unix_ms(self, ms, source):
        """Trust ``ms`` as the present Unix time; ``source`` says who said so."""
        self.offset_ms = ms - self.mono_ms()
        self.source = source
        for callback in self.on_change:
            callback()

    def adopt_system(self):
        """Trust the system's wall clock if it is plausible (a battery, an earlier NTP run)."""
        seconds = int(self._now_s()) + self.epoch_offset_s
        if seconds < PLAUSIBLE_UNIX_S:
            return False
        if compat.MICROPYTHON or self._now_s is not time.time:
            ms = seconds * 1000
        else:
            ms = time.time_ns() // 1000000
        self.set_unix_ms(ms, "system")
        return True
