"""Reads one HTTP/1.1 reply (RFC 9112) from a stream, in bounded memory.

What a peer may get wrong is refused here, with a ``LinkError``: a status line or header that is
none, header bytes over the limit, lengths that contradict each other, chunk sizes that are no
hexadecimal numbers, an end before the announced length.
"""

from .compat import const
from .errors import LinkError

_READ_BYTES = const(256)
#: Longest line of a chunk's size, with its extensions.
_CHUNK_LINE = const(128)
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"


class Response:
    """What a server replied: ``status`` (200..599), ``headers`` (lower-case names of those that
    were asked for), ``body`` (bytes), ``truncated``: there was more of it than the limit."""

    def __init__(self, status, headers):
        self.status = status
        self.headers = headers
        self.body = b""
        self.truncated = False


class Reply:
    """One reply on its way. ``begun``: something of it arrived; ``reusable``: it is complete, and
    the stream can carry another request."""

    def __init__(self, stream, header_bytes, body_bytes):
        self.stream = stream
        self._budget = header_bytes
        self._body_bytes = body_bytes
        self._buffer = b""
        self.begun = self.reusable = False

    async def read(self, method, names):
        """The ``Response``; ``names`` are the headers (lower case) to keep. Raises LinkError."""
        status = 100
        while status < 200:  # 1xx comes before the real one
            status, keep = self._status(await self._line())
            fields = await self._fields()
        if b"connection" in fields:
            options = [option.strip() for option in fields[b"connection"].lower().split(b",")]
            keep = b"close" not in options and (keep or b"keep-alive" in options)
        headers = {name: _text(fields[name.encode()]) for name in names if name.encode() in fields}
        response = Response(status, headers)
        if method != "HEAD" and status not in (204, 304):
            keep = await self._body(response, fields) and keep
        # Bytes that nobody asked for would be taken for the next reply.
        self.reusable = keep and not self._buffer
        return response

    def _status(self, line):
        version, _, rest = line.partition(b" ")
        code = rest[:3]
        good = version in (b"HTTP/1.1", b"HTTP/1.0") and len(code) == 3 and _all(code, _DIGITS)
        status = int(code) if good and rest[3:4] in (b"", b" ") else 0
        if not 100 <= status < 600 or status == 101:  # nobody asked to switch protocols
            raise LinkError("bad response")
        return status, version == b"HTTP/1.1"

    async def _fields(self):
        """Header fields by lower-case name; those that come twice are joined by a comma."""
        fields = {}
        while True:
            line = await self._line()
            if not line:
                return fields
            name, colon, value = line.partition(b":")
            if not colon or not name or b" " in name or b"\t" in name:
                raise LinkError("bad header")
            name, value = name.lower(), value.strip()
            fields[name] = fields[name] + b"," + value if name in fields else value

    async def _body(self, response, fields):
        """Read the body; returns whether its end was told by its framing."""
        coding = fields.get(b"transfer-encoding")
        length = fields.get(b"content-length")
        body = bytearray()
        if coding is not None:
            # Both is what request smuggling is made of (RFC 9112, 6.3).
            if coding.lower() != b"chunked" or length is not None:
                raise LinkError("bad transfer encoding")
            whole = await self._chunks(body)
        elif length is not None:
            whole = await self._take(_length(length), body)
        else:
            whole = await self._until_closed(body)
        response.body = bytes(body)
        response.truncated = whole is None
        return bool(whole)

    async def _chunks(self, body):
        while True:
            size = (await self._line(_CHUNK_LINE)).partition(b";")[0].strip()
            if not 0 < len(size) < 9 or not _all(size, _HEX):
                raise LinkError("bad chunk size")
            size = int(size, 16)
            if not size:
                await self._fields()  # trailers
                return True
            if not await self._take(size, body):
                return None
            if await self._line(2):
                raise LinkError("bad chunk")

    async def _take(self, count, body):
        """Append ``count`` bytes to the body; None where that exceeds the limit."""
        while count:
            await self._more()
            part = self._buffer[:count]
            self._buffer = self._buffer[len(part) :]
            count -= len(part)
            room = self._body_bytes - len(body)
            body.extend(part[:room])
            if len(part) > room:
                return None
        return True

    async def _until_closed(self, body):
        """Append what comes until the server closes; None where that exceeds the limit."""
        while True:
            try:
                await self._more()
            except LinkError as error:
                if error.args[0] != "closed":
                    raise
                return False
            if not await self._take(len(self._buffer), body):
                return None

    async def _line(self, limit=None):
        """The next line without its end; counts against the head's limit, or has its own."""
        left = self._budget if limit is None else limit
        line = b""
        while True:
            await self._more()
            end = self._buffer.find(b"\n") + 1 or len(self._buffer)
            line += self._buffer[:end]
            self._buffer = self._buffer[end:]
            if len(line) > left:
                raise LinkError("headers too long" if limit is None else "bad chunk")
            if line.endswith(b"\n"):
                break
        if limit is None:
            self._budget -= len(line)
        return line[:-1].rstrip(b"\r")

    async def _more(self):
        """See that there is something in the buffer."""
        if not self._buffer:
            self._buffer = await self.stream.read(_READ_BYTES, None)
            self.begun = True


def _all(text, allowed):
    return all(byte in allowed for byte in text)


def _length(text):
    """Content-Length as a number; a repeated one must say the same."""
    first, *more = [part.strip() for part in text.split(b",")]
    if not 0 < len(first) < 16 or not _all(first, _DIGITS) or any(one != first for one in more):
        raise LinkError("bad content length")
    return int(first)


def _text(value):
    """A header's value as text; what is no ASCII is shown as ``?``."""
    return "".join(chr(byte) if 31 < byte < 127 else "?" for byte in value)
