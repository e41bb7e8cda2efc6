"""TCP and TLS client streams with a deadline on every step.

What asyncio lacks is settled here once, for every protocol: the connect result is checked, the
socket is closed whenever opening fails or is cancelled, reads are bounded, and every failure is a
``LinkError`` whose first argument is a short reason. A stream on which anything failed is closed:
half a read is never resumed.
"""

import errno
import select
import socket

from .compat import MICROPYTHON, TimeoutError, asyncio, wait_for_ms
from .errors import LinkError

# Address of each (host, port): MicroPython's resolver blocks everything while it asks.
_addresses = {}


def _reason(error, tls):
    if isinstance(error, TimeoutError):
        return "timeout"
    number = getattr(error, "errno", None)
    if number == errno.ECONNREFUSED:
        return "refused"
    name = type(error).__name__
    # 32: EPIPE; CPython's asyncio raises the named one without a number.
    if isinstance(error, EOFError) or number in (errno.ECONNRESET, 32):
        return "closed"
    if name == "ConnectionResetError" and number is None:
        return "closed"
    text = error.args[-1] if error.args else ""
    text = text.strip() if isinstance(text, str) else str(error)
    if name == "gaierror":
        return "dns: " + text
    return "tls: " + text if tls else text


def _resolve(key):
    if key not in _addresses:
        if len(_addresses) > 15:
            _addresses.clear()
        try:
            _addresses[key] = socket.getaddrinfo(key[0], key[1], 0, socket.SOCK_STREAM)[0]
        except OSError:
            raise LinkError("dns: " + key[0])
    return _addresses[key]


def _writable(sock):
    yield asyncio.core._io_queue.queue_write(sock)


class Stream:
    """One TCP or TLS connection; made by ``open_stream``.

    ``timeout_ms`` is for the whole call; None leaves the deadline to the caller, who then cancels.
    At most one task reads and one writes.
    """

    def __init__(self, tls):
        self._tls = tls
        self._sock = None  # only on MicroPython
        self._reader = self._writer = None

    async def _open(self, host, port):
        context = name = None
        if self._tls is not None:
            from .tls import client_context

            context = client_context(self._tls)
            name = self._tls.get("server_name") or host
        if MICROPYTHON:
            await self._connect(_resolve((host, port)))
            if context:
                # The handshake will be part of the first write.
                self._sock = context.wrap_socket(
                    self._sock, server_hostname=name, do_handshake_on_connect=False
                )
            self._reader = self._writer = asyncio.StreamReader(self._sock)
        else:
            self._reader, self._writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname=name
            )

    async def _connect(self, info):
        sock = self._sock = socket.socket(info[0], info[1])
        sock.setblocking(False)
        try:
            sock.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: the names are not everywhere
        except OSError:
            pass  # a port without it is only slower
        try:
            sock.connect(info[-1])
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        await _writable(sock)
        poll = select.poll()
        # An ESP32 tells of an error only when asked.
        poll.register(sock, select.POLLOUT | select.POLLERR | select.POLLHUP)
        for _, flags in poll.poll(0):
            if flags != select.POLLOUT:
                sock.read(1)  # raises what connect met
                raise LinkError("refused")

    async def _within(self, work, timeout_ms):
        try:
            if timeout_ms is None:
                return await work
            return await wait_for_ms(work, timeout_ms)
        except (TimeoutError, OSError, ValueError, EOFError) as error:
            self.close()
            raise LinkError(_reason(error, self._tls is not None))

    async def _write(self, data):
        self._writer.write(data)
        await self._writer.drain()

    def _live(self):
        if self._reader is None:
            raise LinkError("closed")
        return self._reader

    async def read(self, n, timeout_ms):
        """Next 1 to ``n`` bytes. Raises ``LinkError``, "closed" at the end of the stream."""
        data = await self._within(self._live().read(n), timeout_ms)
        if not data:
            self.close()
            raise LinkError("closed")
        return data

    async def readexactly(self, n, timeout_ms):
        """Next ``n`` bytes. Raises ``LinkError``."""
        return await self._within(self._live().readexactly(n), timeout_ms)

    async def write(self, data, timeout_ms):
        """Hand all bytes of ``data`` over in one piece. Raises ``LinkError``."""
        self._live()
        await self._within(self._write(data), timeout_ms)

    def close(self):
        """Close at once; bytes not yet sent are lost. No error when it is closed already.

        A task that still reads or writes must be cancelled before.
        """
        if self._sock:
            self._sock.close()
        elif self._writer:
            self._writer.transport.abort()
        self._sock = self._reader = self._writer = None


async def open_stream(host, port, timeout_ms, tls=None):
    """Connect to ``host``:``port`` within ``timeout_ms`` and return a ``Stream``.

    ``tls`` is None, or a dict: ``ca`` (path of a PEM or DER file), ``server_name`` (to be found
    in the certificate; default ``host``), ``verify`` (default True), ``cert`` and ``key`` (paths,
    to authenticate ourselves). Verification needs a ``ca`` on MicroPython, which has no store of
    its own, and a set clock. There the handshake takes place with the first write, so that is
    where a refused certificate shows.

    Raises ``LinkError``: "timeout", "refused", "dns: ...", "tls: ...", or the system's words. A
    host's address is asked for again only after a failure.
    """
    stream = Stream(tls)
    opened = False
    try:
        await stream._within(stream._open(host, port), timeout_ms)
        opened = True
    finally:
        if not opened:
            stream.close()
            _addresses.pop((host, port), None)
    return stream
