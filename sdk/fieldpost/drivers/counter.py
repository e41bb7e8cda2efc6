"""Pulses of a meter: how many, and how many a second.

Keys of a device, which is one input:

=============  ====================================================================================
``pin``        GPIO number, 0..63
``edge``       which counts: ``rising`` or ``falling`` (rising)
``pull``       ``none``, ``up`` or ``down`` (none)
``debounce``   ms for which a level has to stay, 0..10000 (0); for contacts, some 20
``filter_ns``  shorter pulses are none, 0..12787 (1000), where the chip counts
``first``      the total at the first start (0)
``file``       where the total is kept over restarts (nowhere); its folder has to exist
``save_min``   minutes from one writing of it to the next at least, 1..1440 (15)
=============  ====================================================================================

Keys of a point:

=============  ====================================================================================
``kind``       ``total``: pulses since the first start; ``rate``: pulses a second, over an
               interval
``scale``      value = pulses · scale (1); totals are exact where it is an integer
``decimals``   to round to, 0..9, 0 making integers (none)
=============  ====================================================================================

Without ``debounce`` the chip counts where it can (``machine.Counter``, on an ESP32 its PCNT units,
since MicroPython 1.26), up to millions a second. Elsewhere interrupts do, for up to some hundreds:
an ESP32 loses those that come while eight wait for the interpreter.

A total is written when it has changed, at most every ``save_min`` minutes and when the driver
stops; a power cut costs what was counted since. A file of a few bytes replaced every 15 minutes
is 35000 times a year, for which littlefs erases some 530 blocks (see ``smallfile.py``).

API: ``machine.Counter(id, src, edge=, filter_ns=)``, ``value(0)`` of which returns the count and
starts from 0 again, library/machine.Counter of MicroPython's documentation; its filter is of at
most 1023 ticks of 80 MHz (ports/esp32/modules/machine.py).
"""

from ..compat import asyncio, const, ticks_add, ticks_diff, ticks_ms
from ..errors import DriverError
from ..events import ERROR
from .base import Driver
from .board import part, pin

_UNITS = const(8)
#: Pulses an interrupt counts before it starts again: a small integer, which takes no memory.
_MASK = const(0x1FFFFFFF)

#: Units of ``machine.Counter`` in use.
_taken = set()


class Counter(Driver):
    """One input that counts."""

    DEVICE = """
        pin: int 0..63
        edge: enum rising falling = rising
        pull: enum none up down = none
        debounce: int 0..10000 = 0
        filter_ns: int 0..12787 = 1000
        first: int 0.. = 0
        file: str 1..128 = ?
        save_min: int 1..1440 = 15
    """
    POINT = """
        kind: enum total rate = total
        scale: num = 1
        decimals: int 0..9 = ?
    """

    def __init__(self, config, points):
        """Nothing is counted yet."""
        super().__init__(config, points)
        self._source = None

    async def start(self):
        """Count from here on. ``DriverError`` for a pin that the chip does not have."""
        self._source = _open(self.config)
        self._total = self._saved = self._load()
        self._kept = self._since = ticks_ms()
        #: Pulses since then, and the rate of the interval before.
        self._pulses = 0
        self._rate = None

    async def read(self, points):
        """Update totals, and rates where half an interval or more has gone since the last."""
        now = ticks_ms()
        self._take()
        elapsed = ticks_diff(now, self._since)
        if 2 * elapsed >= self.config["interval"]:
            self._rate = self._pulses * 1000 / elapsed
            self._pulses = 0
            self._since = now
        for point in points:
            value = self._total if point.config["kind"] == "total" else self._rate
            if value is None:
                point.fail("no interval yet")
            else:
                point.update(_scaled(value, point.config))
        self._keep(now)

    async def stop(self):
        """Stop counting; the total is kept."""
        if self._source:
            self._take()
            self._source.close()
            self._source = None
            self._save()

    def _take(self):
        pulses = self._source.take()
        self._pulses += pulses
        self._total += pulses

    def _load(self):
        path = self.config["file"]
        kept = None
        if path:
            from ..smallfile import load

            try:
                kept = load(path)
            except ValueError as error:
                self._tell(error)
        return kept if isinstance(kept, int) else self.config["first"]

    def _keep(self, now):
        """Save the total, if it is time."""
        pause = self.config["save_min"] * 60000
        if ticks_diff(now, self._kept) >= pause:
            # While nothing changes it stays due, also past the wrap of ticks.
            self._kept = now if self._save() else ticks_add(now, -pause)

    def _save(self):
        """True if the total has changed and was written, or should have been."""
        path = self.config["file"]
        if not path or self._total == self._saved:
            return False
        from ..smallfile import save

        try:
            save(path, self._total)
            self._saved = self._total
        except OSError as error:
            self._tell(error)
        return True

    def _tell(self, error):
        for point in self.points[:1]:
            if point.bus:
                point.bus.emit(ERROR, self.config["id"], error)


def _scaled(value, config):
    if config["scale"] != 1:
        value *= config["scale"]
    decimals = config["decimals"]
    if decimals is None:
        return value
    return round(value, decimals) if decimals else round(value)


def _open(config):
    """What counts: ``take()`` returns the pulses since it was asked before."""
    if config["debounce"]:
        return _Contacts(config)
    number = pin(config["pin"], "IN", config["pull"])
    try:
        make = part("machine", "Counter")
    except DriverError:
        return _Interrupts(number, config)
    for unit in range(_UNITS):
        if unit not in _taken:
            try:
                edge = getattr(make, config["edge"].upper())
                counter = make(unit, number, edge=edge, filter_ns=config["filter_ns"])
            except (ValueError, OSError, TypeError, AttributeError):
                # The chip has fewer, somebody else has it, or it cannot count these.
                continue
            return _Unit(unit, counter)
    return _Interrupts(number, config)


class _Unit:
    """A counter of the chip."""

    def __init__(self, unit, counter):
        self._unit = unit
        self._counter = counter
        _taken.add(unit)

    def take(self):
        return self._counter.value(0)

    def close(self):
        self._counter.deinit()
        _taken.discard(self._unit)


class _Interrupts:
    """Every edge interrupts."""

    def __init__(self, pin, config):
        self._pin = pin
        self._count = self._seen = 0
        kinds = part("machine", "Pin")
        pin.irq(handler=self._edge, trigger=getattr(kinds, "IRQ_" + config["edge"].upper()))

    def _edge(self, _pin):
        self._count = self._count + 1 & _MASK

    def take(self):
        count = self._count
        pulses = count - self._seen & _MASK
        self._seen = count
        return pulses

    def close(self):
        self._pin.irq(handler=None)


class _Contacts:
    """Debounced levels count."""

    def __init__(self, config):
        from .contact import Contact, make_flag, watch

        self._flag = flag = make_flag()
        self._count = 0
        self._contact = Contact(config, config["edge"] == "falling", flag, self._change)
        self._task = asyncio.create_task(watch((self._contact,), flag))

    def _change(self, active):
        self._count += active

    def take(self):
        count = self._count
        self._count = 0
        # Also where an interrupt got lost, the task sees the level now.
        self._flag.set()
        return count

    def close(self):
        self._task.cancel()
        self._contact.close()


driver = Counter
