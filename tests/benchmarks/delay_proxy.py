"""A TCP proxy that makes a local server a distant one: every byte arrives a fixed time later.

Each direction delays on its own and keeps its order; bandwidth and the number of pieces under way
are unlimited. TCP's own acknowledgements are not held back, so a client that writes a message in
several pieces (umqtt.simple does) waits for the delay and not for Nagle's algorithm as well.
Prints its port, then serves until it is killed::

    python delay_proxy.py TARGET_HOST TARGET_PORT DELAY_MS
"""

import asyncio
import socket
import sys
from collections import deque


class Pipe(asyncio.Protocol):
    """One end of a connection: what it receives goes to ``peer`` after ``delay_s``."""

    def __init__(self, delay_s):
        self.peer = None
        self.transport = None
        self._delay_s = delay_s
        self._waiting = deque()  # (loop time when due, bytes; None for the end)

    def connection_made(self, transport):
        """Asyncio's: no piece waits for another."""
        self.transport = transport
        self._socket = transport.get_extra_info("socket")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        """Asyncio's: keep the piece until it is due."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self._later(data)

    def connection_lost(self, _error):
        """Asyncio's: the end takes its time too."""
        self._later(None)

    def _later(self, data):
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._delay_s, data))
        if len(self._waiting) == 1:
            loop.call_at(self._waiting[0][0], self._forward)

    def _forward(self):
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= loop.time():
            data = self._waiting.popleft()[1]
            if data is None:
                self.peer.transport.close()
            elif not self.peer.transport.is_closing():
                self.peer.transport.write(data)
        if self._waiting:
            loop.call_at(self._waiting[0][0], self._forward)


async def serve(host, port, delay_s):
    """Accept on a free port of 127.0.0.1, print it, and connect each client to the target."""
    loop = asyncio.get_running_loop()

    def accept():
        near, far = Pipe(delay_s), Pipe(delay_s)
        near.peer, far.peer = far, near
        tasks.add(asyncio.ensure_future(loop.create_connection(lambda: far, host, port)))
        return near

    tasks = set()
    server = await loop.create_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000))
