"""Registers of a chip on an I2C bus.

Keys of a device, which is one chip; several devices may share a bus:

==================  ==============================================================================
``scl``, ``sda``    pins of the bus
``bus``             number of the hardware bus, 0..3; without, the bus is made by software, which
                    works on all pins and never waits longer than ``stretch_us``
``freq``            Hz, 1000..1000000 (100000)
``stretch_us``      how long a chip may hold the clock, 100..1000000 µs (10000)
``address``         7-bit address of the chip, 8..119; only a scan needs none
``register_bytes``  bytes of a register's number, 0..2 (1); 0: the chip is just read and written
==================  ==============================================================================

Keys of a point:

==================  ==============================================================================
``kind``            ``register``, or ``scan``: a list of the addresses that answer on the bus
``register``        its number, 0..65535 (0)
``type``            what is stored there: ``bool``, ``int8`` or ``uint8``, ``16``, ``24``, ``32``,
                    ``64``, ``float32``, ``float64`` (``uint8``)
``order``           of its bytes: ``big`` or ``little`` end first (big)
``shift, bits``     part of an integer: so many bits from bit ``shift`` on (0, all that follow); an
                    ``int`` has its sign in the highest of them; a ``bool`` is one bit of a byte
``scale, offset``   value = number · scale + offset (1, 0); exact where both are integers
``decimals``        to round to, 0..9, 0 making integers (none)
``writable``        whether ``write`` is allowed (false)
``min``, ``max``    limits of writes, as values (none)
==================  ==============================================================================

A written value is rounded to a step; of a part, the register is read and written back at once.

A chip that does not acknowledge fails its point with ``no answer``, all of its points go down with
the device. A bus that does not get free in time ends the read with ``bus timeout`` at its first
transfer, so that it costs other devices one wait, and the node asks more and more rarely. For
that wait a hardware bus of an ESP32 takes up to 100 ms for each byte and one more
(ports/esp32/machine_i2c.c).

A chip that was cut off in the middle of an answer keeps the data line low, which looks as if every
address answered zeros: before a read or write it is given the clocks that it waits for (bus clear,
UM10204 of NXP), else the device is down with ``bus held low``.

API: ``machine.I2C(id, scl=, sda=, freq=, timeout=)``, ``machine.SoftI2C(scl, sda, freq=,
timeout=)``, ``readfrom_mem``, ``writeto_mem``, library/machine.I2C of MicroPython's documentation.
A scan addresses 8 to 119 without data, as ``I2C.scan`` does, but lets others run in between.
"""

from errno import EIO, ENODEV, ETIMEDOUT
from struct import pack, unpack

from ..compat import asyncio, const
from ..errors import ConfigError, DriverError
from .base import Driver
from .board import part, pin

#: What a chip still has to say is at most a byte and its acknowledgement.
_CLEAR_CLOCKS = const(9)

#: Buses in use, by their number or pins.
_buses = {}


class I2c(Driver):
    """One chip."""

    DEVICE = """
        scl: int 0..63
        sda: int 0..63
        bus: int 0..3 = ?
        freq: int 1000..1000000 = 100000
        stretch_us: int 100..1000000 = 10000
        address: int 8..119 = ?
        register_bytes: int 0..2 = 1
    """
    POINT = """
        kind: enum register scan = register
        register: int 0..65535 = 0
        type: enum bool int8 uint8 int16 uint16 int24 uint24 int32 uint32 int64 uint64 float32 \
float64 = uint8
        order: enum big little = big
        shift: int 0..63 = 0
        bits: int 1..64 = ?
        scale: num = 1
        offset: num = 0
        decimals: int 0..9 = ?
        writable: bool = false
        min: num = ?
        max: num = ?
    """

    def __init__(self, config, points):
        """``ConfigError`` for keys that contradict each other."""
        super().__init__(config, points)
        self._bus = None
        self._fields = {}
        for point in points:
            if point.config["kind"] == "register":
                if config["address"] is None:
                    raise ConfigError(config["id"] + ".address", None, "an integer from 8 to 119")
                self._fields[point.id] = place(point)

    async def start(self):
        """Open the bus, or join those who have it open. ``DriverError`` if that fails."""
        await self.stop()
        config = self.config
        settings = config["scl"], config["sda"], config["freq"], config["stretch_us"]
        key = settings[:2] if config["bus"] is None else config["bus"]
        if key not in _buses:
            _buses[key] = _Bus(key, settings)
        bus = _buses[key]
        if bus.settings != settings:
            raise DriverError("bus in use with other settings")
        bus.users += 1
        self._bus = bus

    async def read(self, points):
        """Read the points one by one, with a turn for others in between."""
        self._bus.free()
        reached = False
        reason = None
        for point in points:
            try:
                if point.id in self._fields:
                    field = self._fields[point.id]
                    value = decode(field, self._get(point, field[0]), point.config)
                else:
                    value = await self._scan()
            except OSError as error:
                reason = _reason(error)
                if error.args[0] == ETIMEDOUT:
                    raise DriverError(reason) from None
                point.fail(reason)
            else:
                reached = True
                if value is None:
                    point.fail("not a number")
                else:
                    point.update(value)
            await asyncio.sleep(0)
        if reason and not reached:
            raise DriverError(reason)

    async def write(self, point, value):
        """Set a register, or the part of it that a point is."""
        if not point.config["writable"] or point.id not in self._fields:
            raise DriverError("read only")
        field = self._fields[point.id]
        size, _, _, bits = field
        # Refused before anything is asked of the chip.
        data = encode(field, value, bytes(size), point.config)
        self._bus.free()
        try:
            if bits < size * 8:
                data = encode(field, value, self._get(point, size), point.config)
            self._put(point, data)
        except OSError as error:
            raise DriverError(_reason(error)) from None

    async def stop(self):
        """Leave the bus."""
        bus = self._bus
        if bus:
            self._bus = None
            bus.users -= 1
            if not bus.users:
                del _buses[bus.key]

    def _get(self, point, size):
        config = self.config
        i2c = self._bus.i2c
        if not config["register_bytes"]:
            return i2c.readfrom(config["address"], size)
        width = 8 * config["register_bytes"]
        register = point.config["register"]
        return i2c.readfrom_mem(config["address"], register, size, addrsize=width)

    def _put(self, point, data):
        config = self.config
        i2c = self._bus.i2c
        if config["register_bytes"]:
            width = 8 * config["register_bytes"]
            register = point.config["register"]
            i2c.writeto_mem(config["address"], register, data, addrsize=width)
        else:
            i2c.writeto(config["address"], data)

    async def _scan(self):
        i2c = self._bus.i2c
        found = []
        for address in range(8, 120):
            try:
                i2c.writeto(address, b"")
                found.append(address)
            except OSError as error:
                if error.args[0] == ETIMEDOUT:
                    raise
            if address & 7 == 7:
                await asyncio.sleep(0)
        return found


class _Bus:
    """A bus; ``key`` is its number, or its pins where software makes it."""

    def __init__(self, key, settings):
        self.key = key
        self.settings = settings
        self.users = 0
        self._open()

    def free(self):
        """Make sure that nobody holds the data line. ``DriverError`` if that cannot be."""
        if not self._data():
            self._open()
            if not self._data():
                raise DriverError("bus held low")

    def _open(self):
        scl, sda, freq, stretch_us = self.settings
        clock = pin(scl, "OPEN_DRAIN", "up", value=1)
        self._data = pin(sda, "OPEN_DRAIN", "up", value=1)
        for _ in range(_CLEAR_CLOCKS):
            # Slow enough for every chip: the interpreter takes some µs a step.
            if not self._data():
                clock(0)
                clock(1)
        keys = {"scl": clock, "sda": self._data, "freq": freq, "timeout": stretch_us}
        try:
            if isinstance(self.key, tuple):
                self.i2c = part("machine", "SoftI2C")(**keys)
            else:
                self.i2c = part("machine", "I2C")(self.key, **keys)
        except (ValueError, TypeError, OSError) as error:
            raise DriverError("bus: %s" % error) from None


def _reason(error):
    code = error.args[0]
    if code == ETIMEDOUT:
        return "bus timeout"
    return "no answer" if code in (EIO, ENODEV) else "bus error %s" % code


def place(point):
    """A point's field ``(bytes, kind, shift, bits)``; kind ``b``, ``i``, ``u`` or ``f``.

    ``ConfigError`` where the field is not within its type.
    """
    config = point.config
    kind = config["type"]
    size = 1 if kind == "bool" else int(kind.lstrip("uintfloa")) // 8
    kind = kind[0]
    width = 8 * size
    shift = config["shift"]
    bits = config["bits"] or (1 if kind == "b" else width - shift)
    most = 1 if kind == "b" else width
    if not (width if kind == "f" else 1) <= bits <= min(most, width - shift):
        raise ConfigError(point.key + ".bits", config["bits"], "a part of the type")
    return size, kind, shift, bits


def decode(field, data, config):
    """The value of a field out of its register's bytes; None if it is not a finite number."""
    size, kind, shift, bits = field
    if kind == "f":
        value = unpack(_form(size, config), data)[0]
    else:
        value = int.from_bytes(data, config["order"]) >> shift & (1 << bits) - 1
        if kind == "b":
            return bool(value)
        if kind == "i" and value >> bits - 1:
            value -= 1 << bits
    if config["scale"] != 1 or config["offset"]:
        value = value * config["scale"] + config["offset"]
    if value - value != 0:  # so are NaN and the infinities
        return None
    decimals = config["decimals"]
    if decimals is None:
        return value
    return round(value, decimals) if decimals else round(value)


def encode(field, value, data, config):
    """``data``, a register's bytes, with the field set to ``value``.

    Raises ``DriverError("invalid value")`` for another type, NaN, infinity, and what is beyond
    the field's range or its ``min`` and ``max``.
    """
    size, kind, shift, bits = field
    low, high = config["min"], config["max"]
    try:
        if not isinstance(value, (int, float, bool)):  # a bool is no int on MicroPython
            raise ValueError
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError
        if kind == "b":
            value = (False, True).index(value)
        elif config["scale"] != 1 or config["offset"]:
            value = (value - config["offset"]) / config["scale"]
        if kind == "f":
            return _packed(_form(size, config), value)
        value = round(value)
        least = -(1 << bits - 1) if kind == "i" else 0
        if not least <= value < least + (1 << bits):
            raise ValueError
    except (ValueError, OverflowError, ZeroDivisionError):
        raise DriverError("invalid value") from None
    mask = (1 << bits) - 1
    other = int.from_bytes(data, config["order"]) & ~(mask << shift)
    return (other | (value & mask) << shift).to_bytes(size, config["order"])


def _packed(form, value):
    data = pack(form, value)
    value = unpack(form, data)[0]
    if value - value != 0:  # also beyond a float32, where pack does not raise
        raise ValueError
    return data


def _form(size, config):
    return ("<" if config["order"] == "little" else ">") + ("f" if size == 4 else "d")


driver = I2c
