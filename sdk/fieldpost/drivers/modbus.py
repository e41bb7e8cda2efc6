"""Modbus TCP client.

Keys of a device:

==================  ==============================================================================
``host``, ``port``  of the server or gateway (port 502)
``unit``            unit identifier, 0..255 (1): the device behind a gateway
``timeout_ms``      for all of a read cycle; one request waits for its share of the attempts:
                    ``timeout_ms // (retries + 1)``
``retries``         further attempts of a request that got no valid answer, each over a new
                    connection (1)
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
``DriverError``; so does a gateway that reaches none of the points asked for.
"""

from struct import pack, pack_into, unpack_from

from ..compat import TimeoutError, asyncio, const, ticks_add, ticks_diff, ticks_ms, wait_for_ms
from ..errors import DriverError, LinkError
from ..net import open_stream
from .base import Driver
from .modbus_pdu import RefusedError, check, encode, place, plan

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


class Modbus(Driver):
    """One unit over one TCP connection, one request at a time."""

    DEVICE = """
        host: str 1..253
        port: int 1..65535 = 502
        unit: int 0..255 = 1
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
        writable: bool = false
        min: num = ?
        max: num = ?
    """
    #: How long a refused address is left alone, in ms.
    REFUSED_MS = 60000

    def __init__(self, config, points):
        """Plan the requests; ``ConfigError`` for keys of a point that contradict each other."""
        super().__init__(config, points)
        self._fields = {point.id: place(point, config) for point in points}
        self._blocks = plan(self._fields.values(), config["max_gap"])
        self._lock = asyncio.Lock()
        self._stream = None
        self._transaction = 0
        self._request = bytearray(12)

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
        """Close the connection; a later read opens another."""
        if self._stream:
            self._stream.close()
            self._stream = None

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
        retries = self.config["retries"]
        while True:
            try:
                pdu = await self._exchange(function, address, word, data)
                check(pdu, function, address, word)
                return pdu
            except LinkError as error:
                await self.stop()
                if not retries:
                    raise DriverError(error.args[0]) from None
                retries -= 1

    async def _exchange(self, function, address, word, data):
        config = self.config
        self._transaction = transaction = self._transaction + 1 & 0xFFFF
        size = 7 + len(data) if data else 6
        frame = self._request
        pack_into(
            ">HHHBBHH", frame, 0, transaction, 0, size, config["unit"], function, address, word
        )
        if data:
            frame = bytes(frame) + bytes((len(data),)) + data
        try:
            wait_ms = config["timeout_ms"] // (config["retries"] + 1)
            return await wait_for_ms(self._talk(frame), wait_ms)
        except TimeoutError:
            raise LinkError("timeout")

    async def _talk(self, frame):
        stream = self._stream or await open_stream(self.config["host"], self.config["port"], None)
        # Kept only after a whole answer: a stream left in the middle of one is of no use.
        self._stream = None
        try:
            await stream.write(frame, None)
            transaction = None
            while transaction != self._transaction:  # others answer earlier ones, late
                head = await stream.readexactly(7, None)
                transaction, protocol, size, unit = unpack_from(">HHHB", head)
                if protocol or not 3 <= size <= 254 or unit != self.config["unit"]:
                    raise LinkError("bad answer")
                pdu = await stream.readexactly(size - 1, None)
            self._stream = stream
            return pdu
        finally:
            if not self._stream:
                stream.close()


driver = Modbus
