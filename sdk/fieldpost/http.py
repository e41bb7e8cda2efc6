"""HTTP/1.1 client (RFC 9110, 9112) in bounded memory, with a deadline on every step.

It posts and fetches what fits a board: a request's body goes out in small pieces; of a reply the
status, a few headers and the beginning of the body are kept. Redirects are not followed, a 3xx is
a status like any other; proxies are not asked.
"""

from .compat import (
    MICROPYTHON,
    TimeoutError,
    asyncio,
    sleep_ms,
    ticks_diff,
    ticks_ms,
    wait_for_ms,
)
from .errors import LinkError
from .http_reply import Reply
from .http_request import Request
from .net import open_stream


class Client:
    """Makes requests, and keeps the connection to a host for the next one.

    ``settings`` (a dict) overrides the attributes below. Requests may run in parallel, by https
    only without ``one_tls``. ``close`` it in the end.
    """

    connect_ms = 10000
    tls_ms = 20000
    write_ms = 10000
    #: From the last byte written to the last byte of the reply.
    response_ms = 15000
    #: How long an idle connection is kept, and how many are, one a host.
    idle_ms = 30000
    idle_connections = 2
    #: Limit of a reply's head, together with interim replies and trailers.
    header_bytes = 4096
    #: So much of a reply's body is read; what is longer is cut off.
    body_bytes = 4096
    #: One TLS session at a time, for boards without memory for two: further requests by https
    #: wait, and idle sessions with other hosts are ended.
    one_tls = True
    #: For https URLs, unless the request brings its own: a dict as in ``net.open_stream``.
    tls = {}
    #: Headers of a reply that are kept, in lower case.
    keep_headers = ("content-type", "date", "location", "retry-after")

    def __init__(self, settings=None):
        for name, value in (settings or {}).items():
            if callable(getattr(Client, name, len)):  # a method, or nothing
                raise ValueError("unknown setting: " + name)
            setattr(self, name, value)
        self._idle = []  # (key, stream, since), the oldest first
        self._reaper = None
        self._session = asyncio.Lock()

    async def request(self, method, url, headers=None, body=b"", tls=None, repeat=False):
        """Make a request; returns a ``http_reply.Response`` whatever its status.

        ``headers``: dict of text. ``body``: bytes or text, or an iterable of bytes that can be
        iterated again, such as a list; it is never put together. With ``repeat`` the server may
        get the request twice: where a kept connection turns out to be closed before anything of
        a reply came, it is made again, once, on a new one.

        Raises ValueError for what cannot be sent (see ``http_request``) and LinkError: the
        reasons of ``net.open_stream``, "timeout: connect" (or tls, write, response), "closed",
        or what the server did wrong, such as "bad response" or "headers too long".
        """
        request = Request(method, url, headers or {}, body)
        secure, host, port = request.key
        key = (host, port, (self.tls if tls is None else tls) if secure else None)
        if not (secure and self.one_tls):
            return await self._perform(request, key, repeat)
        async with self._session:
            self._drop(lambda other: other[2] is not None and other != key)
            return await self._perform(request, key, repeat)

    def close(self):
        """Close the idle connections. Requests under way go on."""
        if self._reaper:
            self._reaper.cancel()
            self._reaper = None
        self._drop(lambda _: True)

    async def _perform(self, request, key, repeat):
        stream = self._take(key)
        if stream:
            reply = Reply(stream, self.header_bytes, self.body_bytes)
            try:
                return await self._exchange(request, key, reply)
            except LinkError as error:
                # Not after a deadline, which would be waited for twice.
                if not repeat or reply.begun or error.args[0].startswith("timeout"):
                    raise
        stream = await self._open(*key)
        reply = Reply(stream, self.header_bytes, self.body_bytes)
        return await self._exchange(request, key, reply, MICROPYTHON and key[2] is not None)

    async def _open(self, host, port, tls):
        # The handshake is part of connecting; on MicroPython, of the first write.
        ms = self.connect_ms if tls is None or MICROPYTHON else self.connect_ms + self.tls_ms
        try:
            return await open_stream(host, port, ms, tls)
        except LinkError as error:
            raise LinkError("timeout: connect") if error.args[0] == "timeout" else error

    async def _exchange(self, request, key, reply, handshake=False):
        step = "tls" if handshake else "write"
        try:
            ms = self.write_ms + self.tls_ms if handshake else self.write_ms
            await wait_for_ms(request.write(reply.stream), ms)
            step = "response"
            return await wait_for_ms(
                reply.read(request.method, self.keep_headers), self.response_ms
            )
        except TimeoutError:
            raise LinkError("timeout: " + step)
        finally:
            if reply.reusable and self.idle_connections:
                self._keep(key, reply.stream)
            else:
                reply.stream.close()

    def _take(self, key):
        for i, entry in enumerate(self._idle):
            if entry[0] == key:
                del self._idle[i]
                return entry[1]
        return None

    def _keep(self, key, stream):
        self._drop(lambda other: other == key)
        if len(self._idle) >= self.idle_connections:
            self._idle.pop(0)[1].close()
        self._idle.append((key, stream, ticks_ms()))
        if not self._reaper:
            self._reaper = asyncio.create_task(self._reap())

    def _drop(self, unwanted):
        kept = []
        for entry in self._idle:
            if unwanted(entry[0]):
                entry[1].close()
            else:
                kept.append(entry)
        self._idle = kept

    async def _reap(self):
        """Close idle connections when their time has come; ends with the last one."""
        while self._idle:
            wait = self.idle_ms - ticks_diff(ticks_ms(), self._idle[0][2])
            if wait > 0:
                await sleep_ms(wait)
            else:
                self._idle.pop(0)[1].close()
        self._reaper = None
