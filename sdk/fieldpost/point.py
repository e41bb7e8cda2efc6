"""A data point: what a driver updates and what acquisition rules watch."""

import json

from .compat import const, ticks_diff, ticks_ms
from .errors import DriverError
from .events import POINT_FAILED, VALUE_CHANGED

#: Characters that a text may have, or the JSON text of a list or object.
MAX_CHARS = const(1024)
_DEPTH = const(8)
_REASON_CHARS = const(80)
_MOST = float("inf")
_LEAST = -_MOST
# Made once: a tuple of names is made anew where it stands.
_WHOLE = (int, bool)
_NESTED = (list, tuple, dict)
#: Ticks tell times of less than six days apart.
_OLD_MS = const(432000000)


class Settings:
    """A point's keys, read by ``settings[key]``: its own, else those it shares with others."""

    def __init__(self, own, shared):
        self._shared = shared
        self._own = own

    def __getitem__(self, key):
        return self._own[key] if key in self._own else self._shared[key]

    def __iter__(self):
        return iter(self._shared)


class Point:
    """One data point of one device.

    ``id`` is the numeric address that records carry, ``key`` is ``device/name``. ``value`` is the
    last good value (None until read), ``text`` the driver's own wording of it, ``status`` is
    ``ok`` or a short reason, ``ticks`` the moment of the last update or failure, None where that
    is days ago. ``config`` holds the driver's own keys. The node sets ``bus`` and ``triggers``.
    """

    #: While it fails: ticks of the last good value; None without one in the last five days.
    good = None

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
        """Take a fresh good value from the driver; records and events follow from it.

        None, a boolean, number or text, or a list or dict of these that JSON can say, of at most
        ``MAX_CHARS``. A number that is none (NaN) or infinite makes the point fail; anything else
        is a fault of the driver: DriverError.
        """
        if isinstance(value, float) and not _LEAST < value < _MOST:
            self.fail("not a number")
            return
        if not (is_value(value) and (text is None or (isinstance(text, str) and is_value(text)))):
            raise DriverError("no value: " + self.key)
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
        now = ticks_ms()
        if self.status == "ok":
            self.good = self.ticks
        elif self.good is not None and ticks_diff(now, self.good) > _OLD_MS:
            self.good = None
        self.ticks = now
        before, self.status = self.status, str(reason)[:_REASON_CHARS]
        if self.bus and self.status != before:
            self.bus.emit(POINT_FAILED, self.key, self)


def is_value(value):
    """Whether a point may have this value. Allocates nothing for scalars."""
    if value is None or isinstance(value, _WHOLE):
        return True
    if isinstance(value, float):
        return _LEAST < value < _MOST
    if isinstance(value, str):
        return len(value) <= MAX_CHARS
    return _is_json(value, _DEPTH) and len(json.dumps(value)) <= MAX_CHARS


def _is_json(value, depth):
    """Whether a list or dict, in at most ``depth`` levels, is made of what JSON can say."""
    if not depth or not isinstance(value, _NESTED) or len(value) > MAX_CHARS:
        return False
    parts = value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return False
        parts = value.values()
    for part in parts:
        nested = isinstance(part, _NESTED)
        if not (_is_json(part, depth - 1) if nested else is_value(part)):
            return False
    return True
