"""Voltages at the board's analog inputs.

Keys of a device:

===============  =================================================================================
``samples``      readings averaged for a value, 1..64 (16)
``period``       ms over which they are spread, 0..1000 (20: one period of the mains, whose hum
                 cancels out); others run in between
===============  =================================================================================

Keys of a point:

===============  =================================================================================
``pin``          GPIO number, 0..63
``atten``        attenuation ``0dB``, ``2.5dB``, ``6dB`` or ``11dB`` (none: the port's default);
                 an ESP32 is linear from about 100 mV up to 950, 1250, 1750 and 2450 mV
``reference``    mV of the full scale, 100..10000 (3300), where the port is not calibrated
``low, high``    mV within which the input is believed, 0..20000 (none)
``scale``,
``offset``       value = millivolts · scale + offset (1, 0)
``decimals``     to round to, 0..9, 0 making integers (none)
===============  =================================================================================

Outside of ``low`` and ``high`` a point fails with ``below range`` or ``above range``: so shows a
broken 4-20 mA loop. An input that cannot be read fails alone, as pins of the second converter of
an ESP32 do while Wi-Fi is on.

API: ``machine.ADC(pin, atten=)``, ``read_uv()``, which an ESP32 corrects by what its maker burnt
in, else ``read_u16()``, the full scale being 65535; library/machine.ADC and esp32/quickref of
MicroPython's documentation, which the linear ranges are from.
"""

from ..compat import asyncio, sleep_ms, ticks_diff, ticks_ms
from ..errors import ConfigError, DriverError
from .base import Driver
from .board import part, pin


class Adc(Driver):
    """Analog inputs."""

    DEVICE = """
        samples: int 1..64 = 16
        period: int 0..1000 = 20
    """
    POINT = """
        pin: int 0..63
        atten: enum 0dB 2.5dB 6dB 11dB = ?
        reference: int 100..10000 = 3300
        low: num 0..20000 = ?
        high: num 0..20000 = ?
        scale: num = 1
        offset: num = 0
        decimals: int 0..9 = ?
    """

    def __init__(self, config, points):
        """``ConfigError`` for a ``period`` that the device's deadline does not leave."""
        super().__init__(config, points)
        self._inputs = {}
        if config["period"] >= config["timeout_ms"]:
            allowed = "less than timeout_ms"
            raise ConfigError(config["id"] + ".period", config["period"], allowed)

    async def start(self):
        """Set up the inputs. ``DriverError`` for a pin that is none."""
        for point in self.points:
            self._inputs[point.id] = _open(point.config)

    async def read(self, points):
        """Average so many samples of each input; fail those that give none or absurd ones."""
        sums = {point.id: 0 for point in points}
        samples = self.config["samples"]
        start = ticks_ms()
        for i in range(samples):
            wait = i * self.config["period"] // samples - ticks_diff(ticks_ms(), start)
            # Late ones leave others their turn, too.
            await (sleep_ms(wait) if wait > 0 else asyncio.sleep(0))
            for point in points:
                if point.id in sums:
                    self._sample(point, sums)
        for point in points:
            if point.id in sums:
                _, factor, divisor = self._inputs[point.id]
                _finish(point, sums[point.id] * factor / (divisor * samples))

    def _sample(self, point, sums):
        """Add a reading to its sum; without one the point has failed and has no sum any more."""
        try:
            sums[point.id] += self._inputs[point.id][0]()
        except (OSError, ValueError) as error:
            del sums[point.id]
            point.fail("adc: %s" % error)


def _open(config):
    """``(function, factor, divisor)``: millivolts are the function's · factor / divisor."""
    keys = {}
    make = part("machine", "ADC")
    number = config["pin"]
    try:
        if config["atten"]:
            keys["atten"] = getattr(make, "ATTN_" + config["atten"].upper().replace(".", "_"))
        adc = make(pin(number), **keys)
    except (ValueError, TypeError, AttributeError) as error:
        raise DriverError("pin %d: %s" % (number, error)) from None
    if hasattr(adc, "read_uv"):
        return adc.read_uv, 1, 1000
    return adc.read_u16, config["reference"], 65535


def _finish(point, millivolts):
    config = point.config
    low, high = config["low"], config["high"]
    if low is not None and millivolts < low:
        point.fail("below range")
    elif high is not None and millivolts > high:
        point.fail("above range")
    else:
        value = millivolts * config["scale"] + config["offset"]
        decimals = config["decimals"]
        if decimals is not None:
            value = round(value, decimals) if decimals else round(value)
        point.update(value)


driver = Adc
