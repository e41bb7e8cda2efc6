"""A data point: what a driver updates and what acquisition rules watch."""

from .compat import ticks_ms
from .events import VALUE_CHANGED


class Settings:
    """A point's keys, read by ``settings[key]``: its own, else those it shares with others."""

    def __init__(self, own, shared):
        self._shared = shared
        self._own = own

    def __getitem__(self, key):
        return self._own[key] if key in self._own else self._shared[key]


class Point:
    """One data point of one device.

    ``id`` is the numeric address that records carry, ``key`` is ``device/name``. ``value`` is the
    last good value (None until read), ``text`` the driver's own wording of it, ``status`` is
    ``ok`` or a short reason, ``ticks`` the moment of the last update. ``config`` holds the
    driver's own keys. The node sets ``bus`` and ``triggers``.
    """

    def __init__(self, id, device, name, unit="", config=None):
        self.id = id
        self.key = device + "/" + name
        self.unit = unit
        self.config = config or {}
        self.value = None
        self.text = None
        self.status = "init"
        self.ticks = 0
        self.bus = None
        #: Callables ``(point, ticks)`` that may record the value; one a subscription.
        self.triggers = ()

    @property
    def device(self):
        """Id of its device."""
        return self.key.partition("/")[0]

    @property
    def name(self):
        """Its name in the device."""
        return self.key.partition("/")[2]

    def update(self, value, text=None):
        """Take a fresh good value from the driver; records and events follow from it."""
        changed = value != self.value or self.status != "ok"
        self.ticks = ticks = ticks_ms()
        self.value = value
        self.text = text
        self.status = "ok"
        for trigger in self.triggers:
            trigger(self, ticks)
        if changed and self.bus:
            self.bus.emit(VALUE_CHANGED, self.key, self)

    def fail(self, reason):
        """The point could not be read; the last value stays, the status says why."""
        self.ticks = ticks_ms()
        self.status = reason
