"""Modbus TCP client, and what the drivers of other Modbus lines share with it.

Devices that name the same ``host`` and ``port``, as the units behind a gateway do, share one
connection, on which one request waits for its answer at a time.

Keys of a device:

==================  ==============================================================================
``host``, ``port``  of the server or gateway (port 502)
``unit``            unit identifier, 0..255 (1): the device behind a gateway
``timeout_ms``      for all of a read cycle (2000), with its waiting for other units of the line
``answer_ms``       for one answer, 10..60000 (``timeout_ms // (retries + 1)``)
``retries``         further attempts of a request that got no valid answer, each over a new
                    connection, 0..9 (1); a silent unit gets none until it answers again
``max_gap``         unwanted registers (or coils) that may be read to join two requests (0)
``word_order``      ``big``: the high word of a value is at the lower address; or ``little``
``byte_order``      ``big``: the high byte of a register comes first, as the standard says; or
                    ``little``
``write_multiple``  true for devices that only know functions 15 and 16 for writing (false)
==================  ==============================================================================

Keys of a point:

==================  ==============================================================================
``table``           ``coil``, ``discrete``, ``holding`` or ``input``
``register``        address in requests, 0..65535 (what manuals call 40001 is holding 0)
``type``            ``bool``, ``int16``, ``uint16``, ``int32``, ``uint32``, ``int64``, ``uint64``,
                    ``float32``, ``float64``; default ``bool`` for coils and discrete inputs, which
                    allow no other, else ``uint16``
``bit``             which bit of its register a ``bool`` is, 0 (the lowest) to 15 (0)
``word_order``,
``byte_order``      where they differ from the device's
``scale, offset``   value = register · scale + offset (1, 0); integers are exact to 64 bit if both
                    are integers, so count in unscaled registers
``decimals``        to round to, 0..9, 0 making integers; default those of ``scale`` and ``offset``
                    for integer types, none for floats
``writable``        whether ``write`` is allowed (false): coils and holding registers only
``min``, ``max``    limits of writes, as values (none)
==================  ==============================================================================

A written value is rounded to a step of its register. A ``bool`` in a register is written by
reading the register and writing it back, which the device may interrupt with changes of its own.

Points at neighbouring addresses are read by one request. When the device refuses such a block
with an exception that may concern only one address, the block is halved until the bad point is
alone; that one is then asked for once in ``REFUSED_MS`` only. Exceptions become the status of
their points; silence, a broken connection and wrong answers, after the attempts, a
``DriverError``; so does a gateway that reaches none of the points asked for. ``counters`` of a
driver says how many attempts failed, by reason.
"""

from struct import pack, unpack_from

from ..compat import asyncio, const, ticks_add, ticks_diff, ticks_ms
from ..errors import DriverError, LinkError
from .base import Driver
from .modbus_pdu import RefusedError, encode, place, plan

_READ_HOLDING = const(3)
_WRITE_COIL = const(5)
_WRITE_REGISTER = const(6)
#: From a function that writes one to that which writes several.
_MULTIPLE = const(10)
#: Exceptions that may concern one address of many; that no repetition cures (and those below);
#: with which a gateway says that it does not reach the unit.
_DIVIDE = (2, 3)
_PERMANENT = const(3)
_GATEWAY = (10, 11)
#: Lines in use, by what their configurations call them.
_buses = {}


class Modbus(Driver):
    """One unit; a subclass for another line joins its ``bus`` in ``start``.

    A bus has ``users`` (how many devices joined it), ``close()``, and ``await exchange(driver,
    function, address, word, data)``: the PDU that answers, ``RefusedError`` or ``LinkError``.
    """

    DEVICE = """
        host: str 1..253
        port: int 1..65535 = 502
        unit: int 0..255 = 1
        answer_ms: int 10..60000 = ?
        retries: int 0..9 = 1
        max_gap: int 0..120 = 0
        word_order: enum big little = big
        byte_order: enum big little = big
        write_multiple: bool = false
    """
    POINT = """
        table: enum coil discrete holding input
        register: int 0..65535
        type: enum bool int16 uint16 int32 uint32 int64 uint64 float32 float64 = ?
        bit: int 0..15 = 0
        word_order: enum big little = ?
        byte_order: enum big little = ?
        scale: num = 1
        offset: num = 0
        decimals: int 0..9 = ?
    """
    #: How long a refused address is left alone, in ms.
    REFUSED_MS = 60000

    def __init__(self, config, points):
        """Plan the requests; ``ConfigError`` for keys of a point that contradict each other."""
        super().__init__(config, points)
        self._fields = {point.id: place(point, config) for point in points}
        self._blocks = plan(self._fields.values(), config["max_gap"])
        self._lock = asyncio.Lock()
        self._silent = False
        self.bus = None
        self.counters = {}

    async def start(self):
        """Join the connection to the server, which the first request opens."""
        from .modbus_tcp import TcpBus

        self.join((self.config["host"], self.config["port"]), TcpBus)

    def join(self, key, make):
        """Use the bus ``key``, made by ``make(config)`` for the first device that joins it."""
        bus = _buses.get(key)
        if not bus:
            bus = _buses[key] = make(self.config)
            bus.key = key
        bus.users += 1
        self.bus = bus

    async def read(self, points):
        """Read all points of the device by its plan, or a few of them by a plan of their own."""
        blocks = self._blocks
        if len(points) < len(self._fields):
            blocks = plan([self._fields[p.id] for p in points], self.config["max_gap"])
        async with self._lock:
            await self._read(blocks)

    async def write(self, point, value):
        """Set a point; an exception of the device becomes a ``DriverError`` with its name."""
        if not point.config["writable"]:
            raise DriverError("read only")
        field = self._fields[point.id]
        data = encode(field, value)
        async with self._lock:
            await self._write(field, data)

    async def stop(self):
        """Leave the bus; the last one closes it."""
        bus, self.bus = self.bus, None
        if bus:
            bus.users -= 1
            if not bus.users:
                del _buses[bus.key]
                bus.close()

    def count(self, what, n=1):
        """Add to one of the ``counters``."""
        self.counters[what] = self.counters.get(what, 0) + n

    async def _read(self, blocks):
        lost = None
        reached = False
        i = 0
        while i < len(blocks):
            block = blocks[i]
            i += 1
            if block.refused and ticks_diff(block.again, ticks_ms()) > 0:
                block.fail(block.refused)
                continue
            try:
                pdu = await self._ask((block.key >> 16) + 1, block.key & 0xFFFF, block.count)
            except RefusedError as error:
                smaller = error.code in _DIVIDE and block.halves(self.config["max_gap"])
                if smaller:
                    i -= 1
                    blocks[i : i + 1] = smaller
                    continue
                block.fail(error.args[0])
                if error.code <= _PERMANENT:
                    block.refused = error.args[0]
                    block.again = ticks_add(ticks_ms(), self.REFUSED_MS)
                if error.code in _GATEWAY:
                    lost = error
                    continue
            else:
                block.update(pdu)
            reached = True
        if lost and not reached:
            raise lost

    async def _write(self, field, data):
        key, size, form, bit = field[:4]
        address = key & 0xFFFF
        function = _WRITE_REGISTER if key >> 16 else _WRITE_COIL
        if form:
            word = unpack_from(">H", data)[0]
        elif function == _WRITE_COIL:
            word = 0xFF00 if data else 0
            data = bytes((data,))
        else:
            pdu = await self._ask(_READ_HOLDING, address, 1)
            word = unpack_from(">H", pdu, 2)[0] & ~(1 << bit) | data << bit
            data = pack(">H", word)
        if size > 1 or self.config["write_multiple"]:
            await self._ask(function + _MULTIPLE, address, size, data)
        else:
            await self._ask(function, address, word)

    async def _ask(self, function, address, word, data=b""):
        """The answer to one request, as a PDU; ``DriverError`` after the last attempt."""
        retries = 0 if self._silent else self.config["retries"]
        self._silent = False
        while self.bus:
            try:
                return await self.bus.exchange(self, function, address, word, data)
            except LinkError as error:
                reason = error.args[0]
                self.count(reason)
                if not retries:
                    self._silent = reason == "timeout"
                    raise DriverError(reason) from None
                retries -= 1
        raise DriverError("not started")


driver = Modbus
