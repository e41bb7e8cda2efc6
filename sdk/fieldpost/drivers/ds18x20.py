"""Temperatures by DS18B20, DS18S20 and DS1822 sensors, several on one 1-Wire pin.

Keys of a device: ``pin``, 0..63, which a resistor of some 4.7 kΩ pulls up. The sensors need their
supply wire. ``timeout_ms`` has to leave 750 ms for the conversion.

Keys of a point:

===========  =====================================================================================
``kind``     ``temperature``, or ``scan``: a list of the ids of the sensors on the pin
``rom``      the sensor's id, 16 hexadecimal digits as a scan lists them; not needed where it is
             the only one
``offset``   °C to add (0)
===========  =====================================================================================

All sensors convert at once, for 750 ms in which others run; then they are read one by one, each
taking the interpreter for some 12 ms. A sensor that does not answer (``no answer``) or not clearly
(``CRC error``) fails its point only. So does exactly 85.0 °C (``power-on value``), which is what a
sensor says that was without power since the last conversion. No sensor at all is an error of the
device, a line held low (``short circuit``) one of every point.

Formats: data sheets of the DS18B20 and DS18S20 (scratchpad, power-on value, extended resolution).
API: the frozen ``onewire.OneWire(pin)``: ``reset(True)`` raises OneWireError where nobody is,
``select_rom``, ``writebyte``, ``readinto``, ``crc8`` and ``scan`` (micropython-lib,
drivers/bus/onewire).
"""

from binascii import unhexlify

from ..compat import asyncio, const, hexlify, sleep_ms
from ..errors import ConfigError, DriverError
from .base import Driver
from .board import part, pin

_CONVERT_MS = const(750)
_SKIP_ROM = const(0xCC)
_CONVERT = const(0x44)
_READ = const(0xBE)
#: First byte of an id: a DS18S20, which counts half degrees; the others.
_HALVES = const(0x10)
_FAMILIES = (0x10, 0x22, 0x28)


class Ds18x20(Driver):
    """The sensors of one pin."""

    DEVICE = """
        pin: int 0..63
    """
    POINT = """
        kind: enum temperature scan = temperature
        rom: str 16..16 = ?
        offset: num -100..100 = 0
    """

    def __init__(self, config, points):
        """``ConfigError`` for a ``rom`` that is no sensor's, and for too short a deadline."""
        super().__init__(config, points)
        self._roms = {point.id: _rom(point) for point in points}
        if config["timeout_ms"] <= _CONVERT_MS:
            path = config["id"] + ".timeout_ms"
            raise ConfigError(path, config["timeout_ms"], "more than the conversion's 750")
        self._scratch = bytearray(9)

    async def start(self):
        """Set up the pin. The sensors are asked by the first read."""
        self._error = part("onewire", "OneWireError")
        self._wire = part("onewire", "OneWire")(pin(self.config["pin"], "OPEN_DRAIN", "up"))

    async def read(self, points):
        """Let all sensors convert, then read those asked for."""
        try:
            self._wire.reset(True)
            self._wire.writebyte(_SKIP_ROM)
            self._wire.writebyte(_CONVERT)
        except self._error:
            raise DriverError("no answer") from None
        await sleep_ms(_CONVERT_MS)
        found = None
        for point in points:
            if found is None and self._roms[point.id] is None:
                found = self._find()
            self._read(point, found)
            await asyncio.sleep(0)

    def _find(self):
        return [bytes(rom) for rom in self._wire.scan() if rom[0] in _FAMILIES]

    def _read(self, point, found):
        rom = self._roms[point.id]
        if point.config["kind"] == "scan":
            point.update([hexlify(one) for one in found])
            return
        if rom is None:
            if len(found) != 1:
                point.fail("%d sensors, rom needed" % len(found))
                return
            rom = found[0]
        problem = self._fetch(rom)
        if problem:
            point.fail(problem)
        else:
            point.update(decode(rom, self._scratch) + point.config["offset"])

    def _fetch(self, rom):
        """Get a sensor's scratchpad; what is wrong with it, None for nothing."""
        wire = self._wire
        scratch = self._scratch
        try:
            wire.reset(True)
            wire.select_rom(rom)
            wire.writebyte(_READ)
            wire.readinto(scratch)
        except self._error:
            return "no answer"
        if min(scratch) == 255:
            return "no answer"
        if not any(scratch):
            return "short circuit"
        if wire.crc8(scratch):
            return "CRC error"
        value = decode(rom, scratch)
        if value == 85:
            return "power-on value"
        return None if -55 <= value <= 125 else "out of range"


def _rom(point):
    text = point.config["rom"]
    if text is None:
        return None
    try:
        rom = unhexlify(text)
    except ValueError:
        rom = b"-"
    if rom[0] not in _FAMILIES:
        allowed = "16 hexadecimal digits, the first two 10, 22 or 28"
        raise ConfigError(point.key + ".rom", text, allowed)
    return rom


def decode(rom, scratch):
    """°C, as a float, out of a sensor's scratchpad of 9 bytes.

    In sixteenths; of a DS18S20 in halves, the rest of which tells how far its counter got.
    """
    raw = scratch[1] << 8 | scratch[0]
    if raw & 0x8000:
        raw -= 0x10000
    if rom[0] != _HALVES:
        return raw / 16
    if not scratch[7]:
        return raw / 2
    return (raw >> 1) - 0.25 + (scratch[7] - scratch[6]) / scratch[7]


driver = Ds18x20
