"""Points that need no hardware: for trying out, for tests, and as setpoints that others write.

Keys of a point:

=============  ====================================================================================
``kind``       ``constant``  ``value``
               ``ramp``      ``from`` .. ``to`` within each ``period``, then from the start again
               ``sine``      ``value`` + ``amplitude`` · sin; one turn a ``period``
               ``walk``      from ``value``, by at most ``step`` a read, in ``min`` .. ``max``
               ``counter``   from ``value``, ``step`` more at each read
               ``toggle``    false in the first half of each ``period``, true in the second
``value``      number, text or boolean (0); for other kinds than constant a number
``period``     ms (60000)
``phase``      ms by which a ramp, sine or toggle is ahead (0)
``amplitude``  half the height of a sine (1)
``from, to``   ends of a ramp (0, 100)
``step``       of a walk or counter (1)
``min, max``   limits of a walk (0, 100), and of what is written (none)
``seed``       of a walk, 1..65520 (1): the same seed gives the same walk on every interpreter
``decimals``   of ramps, sines and walks, 0..6 (2); 0 makes integers
``writable``   whether ``write`` is allowed (false): the written value stays until null is written
=============  ====================================================================================

Time is the device's own, from ``start``, in whole milliseconds.
"""

from math import pi, sin

from ..compat import const, ticks_diff, ticks_ms
from ..errors import ConfigError, DriverError
from .base import Driver

# Multiplicative generator with full period and products below 2**30, from L'Ecuyer, "Tables of
# linear congruential generators of different sizes and good lattice structure" (1999), table 2.
_MODULUS = const(65521)
_MULTIPLIER = const(2469)
# A bool is no int on MicroPython.
_SCALARS = (int, float, bool, str)


class Virtual(Driver):
    """Made-up values; deterministic for a time since ``start`` and a number of reads."""

    POINT = """
        kind: enum constant ramp sine walk counter toggle = constant
        value: any = ?
        period: int 2..86400000 = 60000
        phase: int 0..86400000 = 0
        amplitude: num = 1
        from: num = 0
        to: num = 100
        step: num = 1
        min: num = ?
        max: num = ?
        seed: int 1..65520 = 1
        decimals: int 0..6 = 2
        writable: bool = false
    """

    def __init__(self, config, points):
        """Refuse a ``value`` that its kind cannot have, by ``ConfigError``."""
        super().__init__(config, points)
        for point in points:
            value = point.config["value"]
            allowed = _SCALARS if point.config["kind"] == "constant" else (int, float)
            if value is not None and not isinstance(value, allowed):
                raise ConfigError(point.key + ".value", value, "a number, or text if constant")

    async def start(self):
        """Begin at time 0."""
        self._ticks = ticks_ms()
        self._ms = 0
        self._written = {}
        # Of walks and counters: the value last read, the walk's generator.
        self._state = {}

    async def read(self, points):
        """Update every point; none ever fails."""
        now = ticks_ms()
        self._ms += ticks_diff(now, self._ticks)
        self._ticks = now
        for point in points:
            if point.id in self._written:
                point.update(self._written[point.id])
            else:
                point.update(self._made_up(point.id, point.config))

    async def write(self, point, value):
        """Hold a number, text or boolean until None is written."""
        if not point.config["writable"]:
            raise DriverError("read only")
        if value is None:
            self._written.pop(point.id, None)
        elif isinstance(value, _SCALARS) and (isinstance(value, str) or value - value == 0):
            self._written[point.id] = value
        else:
            raise DriverError("invalid value")

    def _made_up(self, key, config):
        kind = config["kind"]
        value = 0 if config["value"] is None else config["value"]
        if kind == "constant":
            return value
        if kind == "counter":
            value = self._state[key] = (
                self._state.get(key, value - config["step"]) + config["step"]
            )
            return value
        decimals = config["decimals"]
        if kind == "walk":
            value = self._walk(key, config, value)
        else:
            period = config["period"]
            ms = (self._ms + config["phase"]) % period
            if kind == "toggle":
                return ms * 2 >= period
            if kind == "ramp":
                value = config["from"] + (config["to"] - config["from"]) * ms / period
            else:
                value += config["amplitude"] * sin(2 * pi * ms / period)
        return round(value, decimals) if decimals else round(value)

    def _walk(self, key, config, start):
        value, seed = self._state.get(key, (start, config["seed"]))
        seed = seed * _MULTIPLIER % _MODULUS
        value += config["step"] * (2 * seed - _MODULUS) / _MODULUS
        low, high = config["min"], config["max"]
        value = min(max(value, 0 if low is None else low), 100 if high is None else high)
        self._state[key] = (value, seed)
        return value


driver = Virtual
