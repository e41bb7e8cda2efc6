"""A serial line with Modbus units behind a fake ``machine.UART``; no wire, real time."""

import asyncio
import struct
import sys

from modbus_peer import Peer

from fieldpost.compat import sleep_ms, ticks_add, ticks_diff, ticks_ms
from fieldpost.drivers import modbus
from fieldpost.drivers.modbus_rtu import crc16


def framed(body, spoil=0):
    """Bytes with their CRC, which ``spoil`` makes wrong."""
    return bytes(body) + struct.pack("<H", crc16(body) ^ spoil)


def answer(request, pdu, unit=None, spoil=0):
    """The frame that answers ``request``."""
    return framed(bytes((request[0] if unit is None else unit,)) + pdu, spoil)


class Uart:
    """What a driver sees: the constructor's arguments are kept, bytes go to the wire."""

    def __init__(self, wire, number, baudrate, **options):
        self.wire = wire
        self.number = number
        self.baudrate = baudrate
        self.options = options
        self.received = b""
        self.open = True
        self.done_at = ticks_ms()
        wire.uarts.append(self)

    def any(self):
        return len(self.received)

    def read(self, n):
        data, self.received = self.received[:n], self.received[n:]
        return data or None

    def write(self, data):
        self.done_at = ticks_add(ticks_ms(), len(data) * 11000 // self.baudrate)
        self.wire.on_request(self, bytes(data))
        return len(data)

    def txdone(self):
        return ticks_diff(self.done_at, ticks_ms()) <= 0

    def deinit(self):
        self.open = False


class Wire:
    """Stands in for ``machine`` while its block lasts; ``units`` are ``{address: registers}``.

    ``requests`` collects ``(frame, level of the direction pin)``. ``act``, if set, is called with
    each request and returns ``NORMAL``, or ``[(delay_ms, bytes), ...]`` to be received. A unit
    answers ``delay_ms`` after the request, if it is one of ``units``. ``collisions`` counts what
    was sent while an answer was under way, ``quiet_ms`` is the shortest time between the last byte
    received and a request, ``lowered_ms`` are those from the last bit sent until the direction pin
    fell. ``echo`` repeats what is sent.
    """

    NORMAL = 1

    def __init__(self, units=None, delay_ms=5, echo=False):
        self.units = {unit: Peer(units[unit]) for unit in units or {}}
        self.delay_ms = delay_ms
        self.echo = echo
        self.act = None
        self.uarts = []
        self.levels = []
        self.lowered_ms = []
        self.requests = []
        self.collisions = 0
        self.quiet_ms = 1000
        self._flying = 0
        self._heard = ticks_ms()
        self._tasks = []

    async def __aenter__(self):
        wire = self

        class Pin:
            OUT = 3

            def __init__(self, number, mode, value):
                self.number = number
                wire.levels.append((number, mode, value))

            def __call__(self, level):
                wire.levels.append(level)
                if not level:
                    wire.lowered_ms.append(ticks_diff(ticks_ms(), wire.uarts[-1].done_at))

        self.UART = lambda *args, **options: Uart(self, *args, **options)
        self.Pin = Pin
        modbus._buses.clear()  # of tests that failed
        self._true = sys.modules.get("machine")
        sys.modules["machine"] = self
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        if self._true:
            sys.modules["machine"] = self._true
        else:
            del sys.modules["machine"]

    @property
    def frames(self):
        """The requests without their CRC."""
        return [frame[:-2] for frame, _ in self.requests]

    def on_request(self, uart, frame):
        if self._flying:
            self.collisions += 1
        self.quiet_ms = min(self.quiet_ms, ticks_diff(ticks_ms(), self._heard))
        self.requests.append((frame, self.levels[-1] if self.levels else None))
        if self.echo:
            uart.received += frame
        parts = self.act(frame) if self.act else self.NORMAL
        if parts == self.NORMAL:
            parts = self.usual(frame)
        if parts:
            self._tasks.append(asyncio.create_task(self._deliver(uart, parts)))

    def usual(self, frame):
        """The right answer, as parts."""
        peer = self.units.get(frame[0])
        if not peer or crc16(frame):
            return []
        return [(self.delay_ms, answer(frame, peer.pdu(frame[1:-2])))]

    async def _deliver(self, uart, parts):
        self._flying += 1
        for delay_ms, data in parts:
            await sleep_ms(delay_ms)
            uart.received += data
            self._heard = ticks_ms()
        self._flying -= 1
