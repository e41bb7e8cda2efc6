"""Temperature and humidity by a DHT11 or DHT22 (AM2302).

Keys of a device: ``pin`` (0..63), which a resistor pulls up, ``model`` (``DHT11``, ``DHT22``), and
``interval``, which has to be 2000 ms or more. Key of a point: ``kind``, ``temperature`` (°C) or
``humidity`` (% of saturation).

The sensor must rest 2 s between measurements: who asks sooner gets the last one again. Answers
that are damaged, beyond what the sensor can measure, or nothing but zeros, as a line that is held
low gives, fail the points; silence is an error of the device.

A measurement keeps the interpreter for some 25 ms, which is the sensor's protocol.

API: the frozen ``dht.DHT11(pin)`` and ``dht.DHT22(pin)`` with ``measure``, ``temperature`` and
``humidity``; ``measure`` raises OSError when no sensor answers, and Exception("checksum error")
(micropython-lib, drivers/sensor/dht).
"""

from ..compat import const, ticks_diff, ticks_ms
from ..errors import ConfigError, DriverError
from .base import Driver
from .board import part, pin

_REST_MS = const(2000)
_SILENT = "no answer"


class Dht(Driver):
    """One sensor."""

    DEVICE = """
        pin: int 0..63
        model: enum DHT11 DHT22
    """
    POINT = """
        kind: enum temperature humidity
    """

    def __init__(self, config, points):
        """``ConfigError`` for an interval that gives the sensor no rest."""
        super().__init__(config, points)
        if config["interval"] < _REST_MS:
            raise ConfigError(config["id"] + ".interval", config["interval"], "2000 or more")

    async def start(self):
        """Find the pin. The sensor is asked by the first read."""
        self._sensor = part("dht", self.config["model"])(pin(self.config["pin"], "IN", "up"))
        self._measured = None

    async def read(self, points):
        """Measure, unless that was less than 2 s ago."""
        now = ticks_ms()
        if self._measured is None or ticks_diff(now, self._measured) >= _REST_MS:
            self._measured = now
            self._problem = self._measure()
        if self._problem == _SILENT:
            raise DriverError(_SILENT)
        for point in points:
            if self._problem:
                point.fail(self._problem)
            else:
                point.update(self._values[point.config["kind"]])

    def _measure(self):
        """Take the sensor's values; what is wrong with them, None for nothing."""
        try:
            self._sensor.measure()
        except OSError:
            return _SILENT
        except Exception as error:
            # The module has no class of its own for a wrong checksum.
            return str(error)
        temperature = round(self._sensor.temperature(), 1)
        humidity = round(self._sensor.humidity(), 1)
        if not humidity and not temperature:
            return "no data"
        if not (0 <= humidity <= 100 and -40 <= temperature <= 80):
            return "out of range"
        self._values = {"temperature": temperature, "humidity": humidity}
        return None


driver = Dht
