"""A digital input whose edges are seen by interrupts and debounced outside of them.

The interrupt handler writes the time of an edge into a ring and sets a flag, and allocates
nothing, so it may run as a hard interrupt too. On an ESP32 ``Pin.irq`` knows no ``hard``: the
handler is scheduled and runs a little later, between two instructions of the program
(ports/esp32/machine_pin.c), and an edge is lost to it while eight others wait. The levels are
therefore not read there: edges alternate, so the level now tells those before.
"""

from array import array

from ..compat import asyncio, const, sleep_ms, ticks_diff, ticks_ms, wait_set
from .board import part, pin

#: Edges remembered until a task gets its turn, a power of two.
_KEPT = const(16)
_COUNT = const(0xFFFF)
_LONG_MS = const(3600000)
#: Between two turns of the task: an input that nobody drives may interrupt all the time.
_PAUSE_MS = const(5)
_LOOKS = const(4)


def make_flag():
    """What an interrupt may set and ``watch`` waits for: ``Event`` is for tasks only there."""
    return getattr(asyncio, "ThreadSafeFlag", asyncio.Event)()


async def watch(contacts, flag):
    """The task that settles ``contacts`` a few ms after an edge and when their time is over."""
    while True:
        await wait_set(flag, min(contact.settle() for contact in contacts))
        await sleep_ms(_PAUSE_MS)
        flag.clear()


class Contact:
    """An input by the keys ``pin``, ``pull`` and ``debounce``; ``invert``: low is active.

    ``active`` is the level that lasted at least ``debounce`` ms, and ``on_change(active)`` is
    called for each such level in its order, also if several came and went since the task's last
    turn. ``missed`` counts edges that came too fast to be remembered. Raises ``DriverError``.
    """

    def __init__(self, config, invert, flag, on_change):
        self._pin = pin(config["pin"], "IN", config["pull"])
        self._invert = invert
        self._debounce = config["debounce"]
        self._flag = flag
        self._on_change = on_change
        self._times = array("i", [0] * _KEPT)
        # Edges so far, modulo: small integers, which take no memory.
        self._count = self._seen = 0
        self._since = ticks_ms()
        self.missed = 0
        self.active = self._raw = self._look()[1]
        kinds = part("machine", "Pin")
        self._pin.irq(handler=self._edge, trigger=kinds.IRQ_RISING | kinds.IRQ_FALLING)

    def close(self):
        """Have no more interrupts."""
        self._pin.irq(handler=None)

    def _edge(self, _pin):
        count = self._count
        self._times[count & _KEPT - 1] = ticks_ms()
        self._count = count + 1 & _COUNT
        self._flag.set()

    def _look(self):
        """The number of edges, and the level behind the last of them."""
        for _ in range(_LOOKS):
            count = self._count
            # MicroPython runs waiting handlers at branches, so here: after the pin was read.
            level = not self._invert if self._pin() else self._invert
            if count == self._count:
                break
        return count, level

    def settle(self):
        """Tell of every level that lasted long enough; ms until there may be another."""
        count, level = self._look()
        edges = count - self._seen & _COUNT
        known = min(edges, _KEPT)
        self._seen = count
        self.missed += edges - known
        raw = level if known % 2 == 0 else not level
        # Where an edge is missing, it is not known since when the level was there.
        sure = raw == self._raw and edges == known
        since = self._since if sure else ticks_ms()
        for i in range(count - known, count):
            at = self._times[i & _KEPT - 1]
            self._lasted(raw, ticks_diff(at, since) if sure else 0)
            sure = True
            since = at
            raw = not raw
        self._since = since
        self._raw = level
        lasted = ticks_diff(ticks_ms(), since)
        self._lasted(level, lasted)
        return _LONG_MS if level == self.active else self._debounce - lasted

    def _lasted(self, level, ms):
        if level != self.active and ms >= self._debounce:
            self.active = level
            self._on_change(level)
