"""Streams: every step has a deadline, every failure is a LinkError, no socket is left behind."""

import asyncio
import os
import socket

from mqtt_peer import until

from fieldpost import net
from fieldpost.compat import sleep_ms, ticks_diff, ticks_ms, wait_for_ms
from fieldpost.errors import LinkError
from fieldpost.net import open_stream

NEEDS = "socket"

HOST = "127.0.0.1"


class Server:
    """Runs ``serve(reader, writer)`` for each connection, then closes it."""

    _next_port = 21000 + ticks_ms() % 8000

    def __init__(self, serve):
        self._serve = serve
        self._writers = []

    async def __aenter__(self):
        while True:
            Server._next_port += 1
            self.port = Server._next_port
            try:
                self._server = await asyncio.start_server(self._accept, HOST, self.port)
            except OSError:
                continue
            await sleep_ms(0)
            return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            await self._close(writer)
        await sleep_ms(10)

    async def _accept(self, reader, writer):
        self._writers.append(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError):
            pass
        await self._close(writer)

    async def _close(self, writer):
        try:
            writer.close()
            await writer.wait_closed()
        except OSError:
            pass


async def echo(reader, writer):
    while True:
        data = await reader.read(100)
        if not data:
            return
        writer.write(data)
        await writer.drain()


async def silence(reader, writer):
    await reader.read(100)


async def hang_up(reader, writer):
    pass


async def reason(awaitable):
    """The reason of the LinkError that must come."""
    try:
        await awaitable
    except LinkError as error:
        return error.args[0]
    raise AssertionError("no LinkError")


def open_files():
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


async def test_reads_and_writes():
    async with Server(echo) as server:
        for timeout in (1000, None):
            stream = await open_stream(HOST, server.port, timeout)
            await stream.write(b"hello", timeout)
            assert await stream.readexactly(5, timeout) == b"hello"
            await stream.write(memoryview(bytearray(b"more")), timeout)
            got = b""
            while len(got) < 4:
                part = await stream.read(2, timeout)
                assert 1 <= len(part) <= 2
                got += part
            assert got == b"more"
            stream.close()
            stream.close()


async def test_after_close_everything_is_refused():
    async with Server(echo) as server:
        stream = await open_stream(HOST, server.port, 1000)
        stream.close()
        assert await reason(stream.read(1, 100)) == "closed"
        assert await reason(stream.readexactly(1, 100)) == "closed"
        assert await reason(stream.write(b"x", 100)) == "closed"


async def test_end_of_stream():
    async with Server(hang_up) as server:
        stream = await open_stream(HOST, server.port, 1000)
        assert await reason(stream.read(10, 1000)) == "closed"
        stream = await open_stream(HOST, server.port, 1000)
        assert await reason(stream.readexactly(10, 1000)) == "closed"


async def test_read_deadline_closes():
    async with Server(silence) as server:
        stream = await open_stream(HOST, server.port, 1000)
        start = ticks_ms()
        assert await reason(stream.read(10, 100)) == "timeout"
        assert 90 <= ticks_diff(ticks_ms(), start) < 500
        assert await reason(stream.read(10, 100)) == "closed", "half a read is not resumed"


async def test_write_deadline():
    over = asyncio.Event()

    async def stuck(reader, writer):
        await over.wait()

    async with Server(stuck) as server:
        stream = await open_stream(HOST, server.port, 1000)
        data = bytes(50000)

        async def fill():
            while True:
                await stream.write(data, 100)

        assert await wait_for_ms(reason(fill()), 2500) == "timeout"
        over.set()


async def test_refused_and_unknown():
    async with Server(echo) as server:
        pass
    assert await reason(open_stream(HOST, server.port, 1000)) == "refused"
    assert (await reason(open_stream("no such host.invalid", 1, 3000))).startswith("dns: ")
    assert (HOST, server.port) not in net._addresses, "after a failure it is asked for again"


async def test_connect_deadline_and_cancel_leave_no_socket():
    listener = socket.socket()
    port = 29000 + ticks_ms() % 999
    listener.bind(socket.getaddrinfo(HOST, port)[0][-1])
    listener.listen(0)
    # One connection fills the queue; the kernel lets further ones wait.
    streams = []
    full = False
    while not full:
        try:
            streams.append(await open_stream(HOST, port, 150))
        except LinkError as error:
            assert error.args[0] == "timeout"
            full = True
        assert len(streams) < 10
    await sleep_ms(10)
    before = open_files()
    start = ticks_ms()
    assert await reason(open_stream(HOST, port, 150)) == "timeout"
    assert 140 <= ticks_diff(ticks_ms(), start) < 600
    task = asyncio.create_task(open_stream(HOST, port, 60000))
    await sleep_ms(30)
    assert not before or open_files() == before + 1
    task.cancel()
    await until(lambda: open_files() == before)
    for stream in streams:
        stream.close()
    listener.close()
