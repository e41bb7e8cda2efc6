"""The firmware's module ``onewire``, with sensors that convert as their data sheets say."""

from struct import pack

#: Sensors by id.
sensors = {}
#: Function that returns ms, or None where conversions take no time.
clock = None
#: The line is held low.
short = False


def crc8(data):
    """The 1-Wire CRC: x^8 + x^5 + x^4 + 1, least significant bit first."""
    crc = 0
    for byte in data:
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if (crc ^ byte) & 1 else 0)
            byte >>= 1
    return crc


class Sensor:
    """A sensor; ``raw`` is what the next conversion finds, in the units of its register."""

    def __init__(self, raw, rest=b"\x4b\x46\x7f\xff\x0c\x10", power_on=0x0550):
        self.raw = raw
        self.rest = rest
        self.shown = power_on
        self.ready = None
        #: Turned over in the first byte on the wire.
        self.damage = 0

    def convert(self):
        self.ready = clock() + 750 if clock else 0

    def scratch(self):
        if self.ready is not None and (not clock or clock() >= self.ready):
            self.shown = self.raw
            self.ready = None
        data = pack("<h", self.shown) + self.rest
        data += bytes((crc8(data),))
        return bytes((data[0] ^ self.damage,)) + data[1:]


class OneWireError(Exception):
    """Nobody answers a reset."""


class OneWire:
    """A line; it has all the ``sensors``."""

    def __init__(self, pin):
        self.pin = pin
        self.selected = ()
        self.reading = False

    def reset(self, required=False):
        present = bool(sensors) or short
        if required and not present:
            raise OneWireError
        self.selected = ()
        self.reading = False
        return present

    def select_rom(self, rom):
        self.selected = [sensors[bytes(rom)]] if bytes(rom) in sensors else ()

    def writebyte(self, value):
        if value == 0xCC:
            self.selected = list(sensors.values())
        elif value == 0x44:
            for sensor in self.selected:
                sensor.convert()
        elif value == 0xBE:
            self.reading = True
        else:
            raise ValueError("no such command")

    def readinto(self, buf):
        data = bytes([0 if short else 255] * 9)
        if self.reading and not short:
            for sensor in self.selected:  # the line is low if anyone pulls it
                data = bytes(a & b for a, b in zip(data, sensor.scratch()))
        buf[:] = data

    def scan(self):
        return [bytearray(rom) for rom in sorted(sensors)]

    def crc8(self, data):
        return crc8(data)
