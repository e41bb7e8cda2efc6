"""What webhooks keep over restarts beside their queue: endpoints that are gone, dead letters, the
delivery log."""

import os

from ..compat import const
from ..events import ERROR
from ..smallfile import load, save

_DISABLED = "/disabled"
#: The delivery log is written at most once in so many ms.
_LOG_MS = const(60000)


class Kept:
    """Part of ``dispatcher.Webhooks``, which has ``folder``, ``disk``, ``clock`` and ``bus``."""

    def __init__(self):
        self.deliveries = []
        self.dead = []
        #: The delivery log has something that is not on flash.
        self.news = False
        self._logged = self.clock.mono_ms()
        #: Up to when flash is spent on dead letters.
        self.spent_ms = -(1 << 20)
        try:
            self._disabled = load(self.folder + _DISABLED) or []
        except ValueError:
            self._disabled = []

    def recall(self):
        """Take dead letters and delivery log of earlier boots."""
        found = os.listdir(self.folder) if self.disk else ()
        if "dead" in found:
            from . import letters

            letters.load(self)
        if "deliveries" in found:
            from . import history

            history.load(self)

    def keep(self, last=False):
        """Write what is due of dead letters and delivery log; if it is the ``last`` time, all."""
        if self.dead:
            from .letters import write

            write(self, last)
        now = self.clock.mono_ms()
        if self.disk and self.news and (last or now - self._logged >= _LOG_MS):
            from .history import save as save_history

            self._logged, self.news = now, False
            save_history(self)

    def note(self, delivery):
        """Add a line to the delivery log."""
        self.news = True
        self.deliveries.append(delivery)
        del self.deliveries[: -self.limits[0] or len(self.deliveries)]

    def unsaved(self, error):
        """The flash did not take something: count and report it."""
        self.counters["unsaved"] += 1
        self.bus.emit(ERROR, "webhooks", error)

    def _disable(self, digests):
        if digests == self._disabled:
            return
        self._disabled = digests
        try:
            save(self.folder + _DISABLED, digests)
        except OSError as error:
            self.unsaved(error)
