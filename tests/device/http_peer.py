"""An HTTP server for tests of the client: it replies what a test tells it to, byte for byte."""

import asyncio

from test_net import HOST, Server

from fieldpost.compat import sleep_ms

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#: Ends a connection, in place of a reply.
HANG_UP = None


def reply(*fields, body=b"", status="200 OK"):
    """The bytes of a reply with these header fields (bytes) before its body."""
    head = "HTTP/1.1 %s\r\n" % status
    return head.encode() + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def sized(body, *fields):
    """A reply with the length of its body."""
    return reply(b"Content-Length: %d" % len(body), *fields, body=body)


class Peer(Server):
    """Answers the n-th request it gets with ``script[n]``; the last one again and again.

    An entry is bytes, a list of parts with pauses (ms) between, a coroutine function
    ``(reader, writer)``, or HANG_UP. ``requests`` are ``(head, body)`` of what came,
    ``connections`` counts. ``before`` is awaited with each connection.
    """

    def __init__(self, *script):
        super().__init__(self._answer)
        self.script = script
        self.requests = []
        self.connections = 0

    @property
    def url(self):
        """Its root."""
        return "http://%s:%d/" % (HOST, self.port)

    async def _answer(self, reader, writer):
        self.connections += 1
        while True:
            head = await read_head(reader)
            if not head:
                return
            self.requests.append((head, await reader.readexactly(length_of(head))))
            entry = self.script[min(len(self.requests), len(self.script)) - 1]
            if entry is HANG_UP:
                return
            if callable(entry):
                await entry(reader, writer)
                continue
            for part in entry if isinstance(entry, list) else [entry]:
                if isinstance(part, int):
                    await sleep_ms(part)
                else:
                    writer.write(part)
                    await writer.drain()


async def read_head(reader):
    """The request line and headers with the empty line, or what came of them."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = await reader.readline()
        if not line:
            break
        head += line
    return head


def length_of(head):
    """The request's Content-Length."""
    for line in head.split(b"\r\n"):
        if line.startswith(b"Content-Length: "):
            return int(line[16:])
    return 0


async def endless(reader, writer, head=b"HTTP/1.1 200 OK\r\n\r\n", part=b"x" * 512):
    """Sends without end, until the client has enough."""
    writer.write(head)
    while True:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)
