"""HTTP: URLs taken apart, dates and Retry-After, replies read without a socket."""

from core_kit import refused

from fieldpost.compat import asyncio
from fieldpost.errors import LinkError
from fieldpost.http_date import parse_date, retry_after
from fieldpost.http_reply import Reply
from fieldpost.http_request import Request, split_url

NOW_S = 1732233600  # Fri, 22 Nov 2024 00:00:00 GMT


def test_urls():
    for url, parts in (
        ("http://h", (False, "h", 80, "/")),
        ("HTTPS://example.com/a/b", (True, "example.com", 443, "/a/b")),
        ("http://h:8080?x=1&y=/", (False, "h", 8080, "/?x=1&y=/")),
        ("http://h:65535/p?q#frag/ment", (False, "h", 65535, "/p?q")),
        ("https://10.0.0.1:1/", (True, "10.0.0.1", 1, "/")),
        ("http://[::1]/x", (False, "::1", 80, "/x")),
        ("https://[fe80::2]:8443/", (True, "fe80::2", 8443, "/")),
        ("http://h/a://b", (False, "h", 80, "/a://b")),
    ):
        assert split_url(url) == parts, url
    for url in ("http://[::1", "http://h]/", "http://a:b:80/", "http://[]/", "http://:80/"):
        assert refused(ValueError, split_url, url).startswith("url: "), url


def head_of(url):
    request = Request("GET", url, {}, b"")
    return request._head


def test_host_header():
    assert b"\r\nHost: h\r\n" in head_of("http://h:80/")
    assert b"\r\nHost: h:443\r\n" in head_of("http://h:443/")
    assert b"\r\nHost: h\r\n" in head_of("https://h:443/")
    assert b"\r\nHost: [::1]:81\r\n" in head_of("http://[::1]:81/")


def test_dates_in_three_formats():
    for text in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ):
        assert parse_date(text) == 784111777, text
    for text, seconds in (
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 22 Nov 2024 00:00:00 GMT", NOW_S),
        ("Thu, 29 Feb 2024 23:59:60 GMT", 1709251200),
        ("Mon, 01 Mar 2100 00:00:00 GMT", 4107542400),
        ("Tuesday, 31-Dec-69 00:00:00 GMT", 3155673600),
        ("Thursday, 01-Jan-70 00:00:00 GMT", 0),
    ):
        assert parse_date(text) == seconds, text


def test_what_is_no_date():
    for text in (
        "",
        "now",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nev 1994 08:49:37 GMT",
        "Sun, 06 ovD 1994 08:49:37 GMT",
        "Sun, xx Nov 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1899 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT GMT",
    ):
        assert parse_date(text) is None, text


def test_retry_after():
    for text, seconds in (
        ("0", 0),
        (" 120 ", 120),
        ("99999999999999999999", 31536000),
        ("Fri, 22 Nov 2024 00:02:00 GMT", 120),
        ("Fri, 22 Nov 2024 00:00:00 GMT", 0),
        ("Thu, 21 Nov 2024 00:00:00 GMT", 0),
        ("Fri, 22 Nov 2069 00:02:00 GMT", 31536000),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
    ):
        assert retry_after(text, NOW_S) == seconds, text
    assert retry_after("120", None) == 120
    assert retry_after("Fri, 22 Nov 2024 00:02:00 GMT", None) is None


class Tape:
    """A stream that has these bytes, in pieces of ``step``."""

    def __init__(self, data, step):
        self.data = data
        self.step = step

    async def read(self, n, timeout_ms):
        if not self.data:
            raise LinkError("closed")
        n = min(n, self.step)
        part, self.data = self.data[:n], self.data[n:]
        return part


async def read(data, step, method="GET"):
    """``(status, body, reusable)``, or the reason of the LinkError."""
    reply = Reply(Tape(data, step), 512, 64)
    try:
        response = await reply.read(method, ())
    except LinkError as error:
        assert not reply.reusable
        return error.args[0]
    return response.status, response.body, reply.reusable


REPLIES = (
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello", True)),
    (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", (200, b"hello", True)),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n",
        (200, b"abc", True),
    ),
    (b"HTTP/1.1 200 OK\r\n\r\nto the end", (200, b"to the end", False)),
    (b"HTTP/1.1 204\r\n\r\n", (204, b"", True)),
    (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", (400, b"", True)),
)


async def test_pieces_of_every_size():
    for data, expected in REPLIES:
        for step in range(1, len(data) + 1):
            assert await read(data, step) == expected, (data, step)


async def test_cut_short_at_every_byte():
    for data, expected in REPLIES:
        for end in range(len(data)):
            found = await read(data[:end], 7)
            if expected[2]:
                assert found == "closed" or end >= len(data) - 2, (data[:end], found)
            else:
                assert found == "closed" or found[1] == expected[1][: len(found[1])]


async def test_any_byte_changed_is_answered_or_refused():
    for data, _ in REPLIES:
        for at in range(len(data)):
            for byte in b"\0\r\n :9f\xff":
                changed = data[:at] + bytes((byte,)) + data[at + 1 :]
                found = await read(changed, 16)
                assert isinstance(found, str) or 200 <= found[0] < 600
        await asyncio.sleep(0)
