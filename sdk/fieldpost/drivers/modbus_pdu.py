"""Modbus without a wire: what to ask a device for, and what requests and answers mean.

The same for TCP and serial lines. Source: MODBUS Application Protocol Specification V1.1b3
(modbus.org). A PDU is a function code and its data, numbers big-endian.

A **field** is a point's place in the device, a tuple ``(key, size, format, order, decimals,
point)``: ``key`` is ``table << 16 | address`` (``table`` an index of ``TABLES``, its reading
function code minus 1), ``size`` counts registers, or is 1 for a bit. ``format`` is how ``struct``
unpacks a big-endian number, None for a boolean. ``order`` is XORed to the index of a number's byte
to find where the device has it; for a boolean it is its bit in the register, 0 the least
significant. ``decimals`` is what to round to, None for not at all.
"""

from struct import calcsize, pack, unpack, unpack_from

from ..compat import const
from ..errors import ConfigError, DriverError, LinkError

#: Most registers and most bits that one request may read.
MAX_REGISTERS = const(125)
MAX_BITS = const(2000)

TABLES = ("coil", "discrete", "holding", "input")
#: How ``struct`` unpacks each type of a point.
FORMATS = {
    "bool": None,
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
# One text: eleven would take twice the RAM. 9 was never assigned, 7 is of older editions.
_EXCEPTIONS = (
    "illegal function,illegal data address,illegal data value,server device failure,acknowledge,"
    "server device busy,negative acknowledge,memory parity error,exception 9,"
    "gateway path unavailable,gateway target failed to respond"
)
_scratch = bytearray(8)


class RefusedError(DriverError):
    """The device answered with an exception: ``code``, and its name as the message."""

    def __init__(self, code):
        names = _EXCEPTIONS.split(",")
        super().__init__(names[code - 1] if 0 < code <= len(names) else "exception %d" % code)
        self.code = code


class Block:
    """One read request: ``count`` registers or bits from ``key`` on, for its ``fields``."""

    def __init__(self, key):
        self.key = key
        self.count = 0
        self.fields = []
        #: Why the device refuses this block (None: it does not), and from which tick on to ask.
        self.refused = None
        self.again = 0

    def update(self, pdu):
        """Give the points their values out of the answer."""
        self.refused = None
        for field in self.fields:
            value = decode(field, pdu, self.key)
            if value is None:
                field[5].fail("not a number")
            else:
                field[5].update(value)

    def fail(self, reason):
        """Give all points a reason instead of a value."""
        for field in self.fields:
            field[5].fail(reason)

    def halves(self, max_gap):
        """Smaller blocks for the same fields; None if the fields lie all in one register."""
        if self.count == 1 or len(self.fields) == 1:
            return None
        half = len(self.fields) // 2
        return plan(self.fields[:half], max_gap) + plan(self.fields[half:], max_gap)


def plan(fields, max_gap):
    """The blocks that read every field whole, in order of address, and no register twice.

    Fields share a block where at most ``max_gap`` registers (or bits) that nobody wants lie
    between them. Only overlapping fields that are too long together read a register twice.
    """
    blocks = []
    block = None
    for field in sorted(fields, key=lambda field: field[0]):
        key = field[0]
        stop = key + field[1]
        if (
            not block
            or key > block.key + block.count + max_gap
            or key >> 16 != block.key >> 16
            or stop - block.key > (MAX_REGISTERS if key >> 17 else MAX_BITS)
        ):
            block = Block(key)
            blocks.append(block)
        block.fields.append(field)
        block.count = max(block.count, stop - block.key)
    return blocks


def place(point, device):
    """The field of a point, by its own keys and the device's orders; ``ConfigError`` if absurd."""
    config = point.config
    table = TABLES.index(config["table"])
    kind = config["type"] or ("bool" if table < 2 else "uint16")
    form = FORMATS[kind]
    size = calcsize(form) // 2 if form else 1
    if config["register"] + size > 0x10000:
        raise _absurd(point, "register", "room for %d registers" % size)
    if form and table < 2:
        raise _absurd(point, "type", "bool")
    if config["writable"] and table & 1:
        raise _absurd(point, "writable", "false")
    swapped = (config["byte_order"] or device["byte_order"]) == "little"
    decimals = config["decimals"]
    if form is None:
        order = config["bit"] ^ (8 if swapped else 0)
    else:
        reverse = (config["word_order"] or device["word_order"]) == "little"
        order = (2 * size - 2 if reverse else 0) | swapped
        if decimals is None and form[1] not in "fd":
            decimals = _decimals(config["scale"], config["offset"])
    return table << 16 | config["register"], size, form, order, decimals, point


def _absurd(point, key, allowed):
    return ConfigError(point.key + "." + key, point.config[key], allowed)


def _decimals(scale, offset):
    """Decimals that ``scale`` and ``offset`` are written with, 0..9; None if there are more."""
    for decimals in range(10):
        if round(scale, decimals) == scale and round(offset, decimals) == offset:
            return decimals
    return None


def check(pdu, function, address, word):
    """Make sure that a PDU of 2 bytes or more answers the request with these three numbers.

    Raises ``RefusedError`` for an exception, ``LinkError`` for an answer to some other request.
    """
    if pdu[0] == function | 0x80 and len(pdu) == 2:
        raise RefusedError(pdu[1])
    if function > 4:
        good = pdu[1:] == pack(">HH", address, word)
    else:
        size = 2 * word if function > 2 else (word + 7) // 8
        good = pdu[1] == size == len(pdu) - 2
    if not good or pdu[0] != function:
        raise LinkError("bad answer")


def decode(field, pdu, start):
    """A field's value out of the answer to a read from ``key`` ``start`` on; None if not finite.

    Integers stay exact where ``scale`` and ``offset`` are integers.
    """
    key, size, form, order, decimals, point = field
    at = key - start
    if form is None:
        if key >> 17:
            return bool(pdu[3 + 2 * at - (order >> 3)] >> (order & 7) & 1)
        return bool(pdu[2 + (at >> 3)] >> (at & 7) & 1)
    at = 2 + 2 * at
    if order:
        for i in range(2 * size):
            _scratch[i] = pdu[at + (i ^ order)]
        pdu = _scratch
        at = 0
    value = unpack_from(form, pdu, at)[0]
    config = point.config
    if config["scale"] != 1 or config["offset"]:
        value = value * config["scale"] + config["offset"]
    if value - value != 0:  # so are NaN and the infinities
        return None
    if decimals is None:
        return value
    return round(value, decimals) if decimals else round(value)


def encode(field, value):
    """The bytes that set a field, in the device's order; a boolean field gives True or False.

    Values are rounded to what the field can hold. Raises ``DriverError("invalid value")`` for
    another type, NaN, infinity, and what is beyond the field's range or its ``min`` and ``max``.
    """
    form = field[2]
    config = field[5].config
    low, high = config["min"], config["max"]
    try:
        if not isinstance(value, (int, float, bool)):  # a bool is no int on MicroPython
            raise ValueError
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError
        if form is None:
            return bool((False, True).index(value))
        if config["scale"] != 1 or config["offset"]:
            value = (value - config["offset"]) / config["scale"]
        if form[1] not in "fd":
            value = round(value)
            span = 1 << 16 * field[1]
            if not 0 <= value + (span >> 1 if form[1] in "hiq" else 0) < span:
                raise ValueError
        data = pack(form, value)
        value = unpack(form, data)[0]
        if value - value != 0:  # also beyond a float32, where pack does not raise
            raise ValueError
    except (ValueError, OverflowError, ZeroDivisionError):
        raise DriverError("invalid value")
    return bytes(data[i ^ field[3]] for i in range(len(data)))
