"""An HTTP/1.1 request as it is written: its URL taken apart, its head, the parts of its body.

What would let a header, a URL or a method change the request's structure (CR, LF, NUL, spaces) is
refused with ValueError, as is what the client sets itself.
"""

from . import __version__
from .compat import const

#: A request is written in pieces of this size.
_WRITE_BYTES = const(1024)
_SEPARATORS = '()<>@,;:\\"/[]?={}'
_ADDRESS = "0123456789abcdefABCDEF:."
#: Headers that follow from the request itself.
_OWN = ("host", "connection", "content-length", "transfer-encoding")


def split_url(url):
    """``(secure, host, port, target)`` of an http or https URL; ValueError if it is none.

    Only printable ASCII without spaces: what is not must be percent-encoded. Names and passwords
    in it are refused; a fragment, which is never sent, is cut off. IPv6 addresses in brackets.
    """
    if not all(32 < ord(char) < 127 for char in url):
        raise ValueError("url: only printable ASCII without spaces")
    scheme, _, rest = url.partition("#")[0].partition("://")
    scheme = scheme.lower()
    if scheme not in ("http", "https"):
        raise ValueError("url: http:// or https:// expected")
    end = min(at for at in (rest.find("/"), rest.find("?"), len(rest)) if at >= 0)
    host, port = _authority(rest[:end])
    secure = scheme == "https"
    target = rest[end:]
    if not target.startswith("/"):
        target = "/" + target
    return secure, host, port or (443 if secure else 80), target


def _authority(text):
    """``(host, port)``; the port is None where there is none."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        good = bracket and ":" in host and all(char in _ADDRESS for char in host)
    else:
        host, colon, rest = text.partition(":")
        rest = colon + rest
        good = host and all(char.isalpha() or char.isdigit() or char in "-._" for char in host)
    if not good or rest[:1] not in ("", ":"):
        raise ValueError("url: host")
    if not rest:
        return host, None
    port = rest[1:]
    if not (0 < len(port) < 6 and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("url: port")
    return host, int(port)


class Request:
    """A request that can be written more than once; ``key`` is ``(secure, host, port)``."""

    def __init__(self, method, url, headers, body):
        secure, host, port, target = split_url(url)
        self.method = method
        self.key = (secure, host, port)
        if isinstance(body, str):
            body = body.encode()
        if isinstance(body, (bytes, bytearray, memoryview)):
            body = (body,)
        elif iter(body) is body:
            raise ValueError("body: iterable only once")
        self._parts = body
        self._length = sum(len(part) for part in body)
        name = "[%s]" % host if ":" in host else host
        if port != (443 if secure else 80):
            name += ":%d" % port
        self._head = self._make_head(target, name, headers)

    def _make_head(self, target, host, headers):
        if not _is_token(self.method):
            raise ValueError("method")
        head = "%s %s HTTP/1.1\r\nHost: %s\r\n" % (self.method, target, host)
        if self._length or self.method in ("POST", "PUT", "PATCH"):
            head += "Content-Length: %d\r\n" % self._length
        if not any(name.lower() == "user-agent" for name in headers):
            head += "User-Agent: fieldpost/%s\r\n" % __version__
        for name in headers:
            value = headers[name]
            if not _is_token(name) or name.lower() in _OWN:
                raise ValueError("header: " + name)
            if any((ord(char) < 32 and char != "\t") or ord(char) == 127 for char in value):
                raise ValueError("header: control character in " + name)
            head += "%s: %s\r\n" % (name, value)
        return head.encode() + b"\r\n"

    async def write(self, stream):
        """Write everything, small parts together. Raises LinkError."""
        pending = bytearray(self._head)
        sent = 0
        for part in self._parts:
            part = memoryview(part)
            sent += len(part)
            for at in range(0, len(part), _WRITE_BYTES):
                piece = part[at : at + _WRITE_BYTES]
                if len(pending) + len(piece) > _WRITE_BYTES:
                    await stream.write(pending, None)
                    # A new one: the stream may still refer to what it was given.
                    pending = bytearray()
                pending.extend(piece)
        if sent != self._length:
            raise ValueError("body: not the same when iterated again")
        if pending:
            await stream.write(pending, None)


def _is_token(text):
    return text != "" and all(32 < ord(char) < 127 and char not in _SEPARATORS for char in text)
