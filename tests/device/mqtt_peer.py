"""A broker for tests of the MQTT link: right by default, and as wrong as a test wants."""

import asyncio

from fieldpost.compat import sleep_ms, ticks_diff, ticks_ms
from fieldpost.mqtt import Link

CONFIG = {
    "name": "main",
    "host": "127.0.0.1",
    "port": 1883,
    "client_id": "node",
    "user": None,
    "password": None,
    "clean_session": False,
    "keepalive_s": 30,
    "timeout_ms": 300,
    "window": 20,
    "queue_bytes": 8192,
    "keep_bytes": 8192,
    "receive_max_bytes": 4096,
    "backoff_min_ms": 10,
    "backoff_max_ms": 40,
    "tls": None,
    "will": None,
}


def raises(kind, function, *args):
    """Call and return the exception of ``kind`` that must come."""
    try:
        function(*args)
    except kind as error:
        return error
    raise AssertionError("%s was not raised" % kind.__name__)


async def until(condition, timeout_ms=5000):
    """Wait for ``condition()`` to hold."""
    start = ticks_ms()
    while not condition():
        assert ticks_diff(ticks_ms(), start) < timeout_ms, "waited in vain"
        await sleep_ms(5)


async def up(link):
    """Wait until the link is connected."""
    await until(lambda: link.connected)


def pids(bodies):
    """Packet ids of QoS 1 PUBLISH packets."""
    found = []
    for body in bodies:
        at = 2 + (body[0] << 8 | body[1])
        found.append(body[at] << 8 | body[at + 1])
    return found


def payloads(bodies):
    """Payloads of QoS 1 PUBLISH packets to topics of one byte."""
    return [bytes(body[5:]) for body in bodies]


class Bus:
    """Collects what is emitted."""

    def __init__(self):
        self.events = []

    def emit(self, kind, key, data=None):
        self.events.append((kind, key, data))


class Peer:
    """Accepts MQTT connections on a port of its own.

    Switches, to be turned at any time: ``silent`` answers nothing; ``code`` and ``session`` make
    the CONNACK; ``ack``, ``pong`` and ``grant`` (a SUBACK code or None) answer the other packets;
    ``greeting``, if set, is sent in place of a CONNACK. ``log`` holds ``(connection, head, body)``
    of every packet that came, the connections counted from 1.
    """

    host = "127.0.0.1"
    _next_port = 12000 + ticks_ms() % 8000

    def __init__(self):
        self.silent = False
        self.session = self.code = 0
        self.ack = self.pong = True
        self.grant = 1
        self.greeting = None
        self.log = []
        self.connections = 0
        self.closed = 0
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
        await self.drop()
        await sleep_ms(10)

    async def drop(self):
        """Close every connection."""
        for writer in list(self._writers):
            await self._close(writer)

    async def send(self, data):
        """Send bytes on the newest connection."""
        self._writers[-1].write(data)
        await self._writers[-1].drain()

    def of(self, head, mask=0xF0, connection=None):
        """Bodies of the packets of one kind, of one connection or of all."""
        return [
            body
            for number, kind, body in self.log
            if kind & mask == head & mask and connection in (None, number)
        ]

    async def _close(self, writer):
        if writer in self._writers:
            self._writers.remove(writer)
            try:
                writer.close()
                await writer.wait_closed()
            except OSError:
                pass

    async def _serve(self, reader, writer):
        self.connections += 1
        number = self.connections
        self._writers.append(writer)
        try:
            while True:
                head, body = await self._packet(reader)
                self.log.append((number, head, body))
                answer = b"" if self.silent else self._answer(head, body)
                if answer:
                    writer.write(answer)
                    await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            self.closed += 1
            await self._close(writer)

    async def _packet(self, reader):
        head = (await reader.readexactly(1))[0]
        size = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return head, await reader.readexactly(size) if size else b""

    def _answer(self, head, body):
        kind = head & 0xF0
        if kind == 0x10:
            return self.greeting or bytes((0x20, 2, self.session, self.code))
        if head & 0xF6 == 0x32 and self.ack:
            at = 2 + (body[0] << 8 | body[1])
            return b"\x40\x02" + body[at : at + 2]
        if kind == 0x80 and self.grant is not None:
            return b"\x90\x03" + body[:2] + bytes((self.grant,))
        if kind == 0xA0:
            return b"\xb0\x02" + body[:2]
        if kind == 0xC0 and self.pong:
            return b"\xd0\x00"
        return b""


class Running:
    """A link to a peer, running while the block lasts; its events and messages are collected."""

    def __init__(self, peer, **config):
        self.bus = Bus()
        self.messages = []
        self.link = Link(
            dict(CONFIG, host=peer.host, port=peer.port, **config), self.bus, self._on_message
        )

    def _on_message(self, topic, payload, retain, dup):
        self.messages.append((topic, payload, retain, dup))

    async def __aenter__(self):
        self.task = asyncio.create_task(self.link.run())
        return self.link

    async def __aexit__(self, *_):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass
