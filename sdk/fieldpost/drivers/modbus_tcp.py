"""Modbus over TCP: one connection for all devices of a host and port.

Requests are framed as MODBUS Messaging on TCP/IP Implementation Guide V1.0b says (modbus.org).
"""

from struct import pack_into, unpack_from

from ..compat import TimeoutError, asyncio, wait_for_ms
from ..errors import LinkError
from ..net import open_stream
from .modbus_pdu import check


class TcpBus:
    """A connection, opened when it is needed; see ``Modbus`` for what a bus is."""

    def __init__(self, config):
        self.users = 0
        self._server = config["host"], config["port"]
        self._lock = asyncio.Lock()
        self._stream = None
        self._transaction = 0
        self._request = bytearray(12)

    def close(self):
        """Close the connection; the next request opens another."""
        if self._stream:
            self._stream.close()
            self._stream = None

    async def exchange(self, driver, function, address, word, data):
        """The PDU that answers a request. Raises ``RefusedError``, ``LinkError``."""
        config = driver.config
        unit = config["unit"]
        wait_ms = config["answer_ms"] or config["timeout_ms"] // (config["retries"] + 1)
        async with self._lock:
            self._transaction = number = self._transaction + 1 & 0xFFFF
            frame = self._request
            size = 7 + len(data) if data else 6
            pack_into(">HHHBBHH", frame, 0, number, 0, size, unit, function, address, word)
            if data:
                frame = bytes(frame) + bytes((len(data),)) + data
            try:
                pdu = await wait_for_ms(self._talk(frame, unit), wait_ms)
                check(pdu, function, address, word)
                return pdu
            except TimeoutError:
                raise LinkError("timeout")
            except LinkError:
                self.close()
                raise

    async def _talk(self, frame, unit):
        stream = self._stream or await open_stream(*self._server, None)
        # Kept only after a whole answer: a stream left in the middle of one is of no use.
        self._stream = None
        try:
            await stream.write(frame, None)
            transaction = None
            while transaction != self._transaction:  # others answer earlier ones, late
                head = await stream.readexactly(7, None)
                transaction, protocol, size, sender = unpack_from(">HHHB", head)
                if protocol or not 3 <= size <= 254:
                    raise LinkError("bad answer")
                pdu = await stream.readexactly(size - 1, None)
            if sender != unit:
                raise LinkError("bad answer")
            if self.users:
                self._stream = stream
            return pdu
        finally:
            if not self._stream:
                stream.close()
