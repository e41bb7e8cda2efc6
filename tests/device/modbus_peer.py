"""A Modbus TCP device for tests: right by default, and as wrong as a test wants."""

import asyncio
import struct

from fieldpost.compat import sleep_ms, ticks_ms


def mbap(request, pdu, transaction=None, protocol=0, size=None, unit=None):
    """The frame of an answer to ``request``; each part of the header may be made wrong."""
    number, _, _, asked = struct.unpack_from(">HHHB", request)
    return (
        struct.pack(
            ">HHHB",
            number if transaction is None else transaction,
            protocol,
            len(pdu) + 1 if size is None else size,
            asked if unit is None else unit,
        )
        + pdu
    )


class Peer:
    """Serves ``registers``, ``{(function, address): value}``; an address it lacks is illegal to
    read. Written registers appear under function 3, written coils do not.

    ``requests`` collects the PDUs that came. ``act``, if set, is called with each request and may
    return the bytes to send, None for silence, or ``CLOSE``; ``NORMAL`` answers as usual.
    ``delay_ms`` passes before an answer; ``overlapped`` counts requests that came meanwhile.
    """

    CLOSE = 1
    NORMAL = 2
    host = "127.0.0.1"
    _next_port = 20000 + ticks_ms() % 9000

    def __init__(self, registers=()):
        self.registers = dict(registers)
        self.requests = []
        self.connections = 0
        self.overlapped = 0
        self.delay_ms = 0
        self.act = None
        self._busy = 0
        self._serving = 0
        self._writers = []

    async def __aenter__(self):
        while True:
            Peer._next_port += 1
            self.port = Peer._next_port
            try:
                self._server = await asyncio.start_server(self._serve, self.host, self.port)
            except OSError:
                continue
            await sleep_ms(0)
            return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            await self._drop(writer)
        for _ in range(50):
            await sleep_ms(5)
            if not self._serving:
                break

    async def _drop(self, writer):
        try:
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass

    async def _serve(self, reader, writer):
        self.connections += 1
        self._serving += 1
        self._writers.append(writer)
        try:
            while True:
                head = await reader.readexactly(7)
                rest = await reader.readexactly(struct.unpack_from(">H", head, 4)[0] - 1)
                if not await self._answer(writer, head + rest):
                    break
        except (OSError, EOFError):
            return
        finally:
            self._serving -= 1
            await self._drop(writer)

    async def _answer(self, writer, request):
        self.overlapped += self._busy
        self.requests.append(request[7:])
        self._busy = 1
        if self.delay_ms:
            await sleep_ms(self.delay_ms)
        self._busy = 0
        answer = self.act(request) if self.act else self.NORMAL
        if answer == self.NORMAL:
            answer = mbap(request, self.pdu(request[7:]))
        if answer == self.CLOSE:
            return False
        if answer:
            writer.write(answer)
            await writer.drain()
        return True

    def pdu(self, pdu):
        """The right answer to a request."""
        function, address, count = struct.unpack_from(">BHH", pdu)
        if function == 6:
            self.registers[3, address] = count
        elif function == 16:
            for i in range(count):
                self.registers[3, address + i] = struct.unpack_from(">H", pdu, 6 + 2 * i)[0]
        if function > 4:
            return pdu[:5]
        keys = [(function, address + i) for i in range(count)]
        if not all(key in self.registers for key in keys):
            return bytes((function | 0x80, 2))
        found = [self.registers[key] for key in keys]
        if function > 2:
            data = b"".join([struct.pack(">H", value) for value in found])
        else:
            data = bytearray((count + 7) // 8)
            for i in range(count):
                data[i >> 3] |= found[i] << (i & 7)
        return bytes((function, len(data))) + bytes(data)


def fail(code):
    """An ``act`` that answers everything with an exception."""
    return lambda request: mbap(request, bytes((request[7] | 0x80, code)))
