"""HTTP client: what goes out, what comes back, which connection carries it, what is refused."""

import asyncio
import gc

from http_peer import HANG_UP, OK, Peer, endless, reply, sized
from mqtt_peer import until
from test_net import HOST, open_files, reason

from fieldpost.compat import sleep_ms, ticks_diff, ticks_ms, wait_for_ms
from fieldpost.errors import LinkError
from fieldpost.http import Client

NEEDS = "socket"

LIMITS = {"connect_ms": 500, "write_ms": 500, "response_ms": 300, "idle_ms": 60000}


class Bench:
    """``async with Bench(*script) as (client, peer)``."""

    def __init__(self, *script, **settings):
        self.client = Client(dict(LIMITS, **settings))
        self.peer = Peer(*script)

    async def __aenter__(self):
        await self.peer.__aenter__()
        return self.client, self.peer

    async def __aexit__(self, *error):
        self.client.close()
        await sleep_ms(10)
        await self.peer.__aexit__(*error)


async def refusal(*script, **settings):
    """The reason of the LinkError that a script leads to."""
    async with Bench(*script, **settings) as (client, peer):
        text = await wait_for_ms(reason(client.request("GET", peer.url)), 3000)
        assert not client._idle, "a connection on which something was wrong is not kept"
        return text


async def test_what_is_sent():
    async with Bench(OK) as (client, peer):
        url = peer.url + "hook?a=1#part"
        response = await client.request("POST", url, {"X-Key": "k \u00e9"}, b"{}")
        assert (response.status, response.body, response.truncated) == (200, b"ok", False)
        head, body = peer.requests[0]
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST /hook?a=1 HTTP/1.1"
        assert lines[1] == "Host: %s:%d" % (HOST, peer.port)
        assert "Content-Length: 2" in lines
        assert "X-Key: k \u00e9" in lines
        assert any(line.startswith("User-Agent: fieldpost/") for line in lines)
        assert lines[-2:] == ["", ""]
        assert body == b"{}"


async def test_requests_without_a_body():
    async with Bench(OK) as (client, peer):
        for method, length in (("GET", False), ("DELETE", False), ("POST", True), ("PUT", True)):
            await client.request(method, peer.url, {"User-Agent": "me"})
            head = peer.requests[-1][0]
            assert (b"Content-Length: 0\r\n" in head) == length, method
            assert b"User-Agent: me\r\n" in head
            assert b"fieldpost" not in head


async def test_body_in_parts():
    parts = [b"a" * 700, bytearray(b"b" * 700), memoryview(b"c" * 5000), b"", b"d"]
    async with Bench(OK) as (client, peer):
        await client.request("POST", peer.url, body=parts)
        assert peer.requests[0][1] == b"a" * 700 + b"b" * 700 + b"c" * 5000 + b"d"
        await client.request("POST", peer.url, body="\u00e9")
        assert peer.requests[1][1] == b"\xc3\xa9"


class Changing:
    """A body that is longer when it is sent."""

    def __init__(self, *sizes):
        self.sizes = list(sizes)

    def __iter__(self):
        yield bytes(self.sizes.pop(0))


async def raises_value_error(awaitable):
    try:
        await awaitable
    except ValueError as error:
        return str(error)
    raise AssertionError("no ValueError")


async def test_body_that_changes_while_it_is_sent():
    async with Bench(OK) as (client, peer):
        body = Changing(5, 6)
        await raises_value_error(client.request("POST", peer.url, body=body))
        assert not client._idle
        await raises_value_error(client.request("POST", peer.url, body=(x for x in [b"once"])))


async def test_refused_before_anything_is_sent():
    bad = [
        ("GET", "ftp://h/", {}),
        ("GET", "h/path", {}),
        ("GET", "http://", {}),
        ("GET", "http:///path", {}),
        ("GET", "http://user:pass@h/", {}),
        ("GET", "http://h:0/", {}),
        ("GET", "http://h:65536/", {}),
        ("GET", "http://h:/", {}),
        ("GET", "http://h:8x/", {}),
        ("GET", "http://[::1]x/", {}),
        ("GET", "http://h/a b", {}),
        ("GET", "http://h/a\r\nX: y", {}),
        ("GET", "http://h/\0", {}),
        ("GET", "http://h/\u00e9", {}),
        ("GE T", "http://h/", {}),
        ("GET\r\n", "http://h/", {}),
        ("", "http://h/", {}),
        ("GET", "http://h/", {"X": "a\r\nY: b"}),
        ("GET", "http://h/", {"X": "a\nb"}),
        ("GET", "http://h/", {"X": "a\0"}),
        ("GET", "http://h/", {"X\r\nY": "a"}),
        ("GET", "http://h/", {"X Y": "a"}),
        ("GET", "http://h/", {"X:": "a"}),
        ("GET", "http://h/", {"": "a"}),
        ("GET", "http://h/", {"Content-Length": "5"}),
        ("GET", "http://h/", {"transfer-encoding": "chunked"}),
        ("GET", "http://h/", {"HOST": "other"}),
    ]
    client = Client()
    for method, url, headers in bad:
        await raises_value_error(client.request(method, url, headers))
    for settings in ({"timeout": 5}, {"request": 5}):
        try:
            Client(settings)
        except ValueError:
            continue
        raise AssertionError(settings)


async def test_headers_that_are_kept():
    fields = (b"Content-TYPE:text/plain", b"Retry-After:  120 ", b"X-Other: 1", b"Date: \xe9")
    async with Bench(sized(b"", *fields)) as (client, peer):
        response = await client.request("GET", peer.url)
        kept = {"content-type": "text/plain", "retry-after": "120", "date": "?"}
        assert response.headers == kept


async def test_replies_without_a_body():
    tail = b"Content-Length: 5"
    script = [reply(tail, status=s) for s in ("204 No Content", "304 Not Modified", "200 OK")]
    async with Bench(*script) as (client, peer):
        for method, status in (("POST", 204), ("GET", 304), ("HEAD", 200)):
            response = await client.request(method, peer.url)
            assert (response.status, response.body) == (status, b"")
        assert peer.connections == 1


async def test_interim_replies_are_skipped():
    interim = reply(status="100 Continue") + reply(b"Link: x", status="103 Early Hints")
    async with Bench(interim + OK, [reply(status="100 Continue"), 20, OK]) as (client, peer):
        for _ in range(2):
            response = await client.request("POST", peer.url, body=b"x")
            assert (response.status, response.body) == (200, b"ok")
        assert peer.connections == 1
    assert await refusal(reply(status="100 Continue") * 200) == "headers too long"
    assert await refusal(reply(status="101 Switching Protocols")) == "bad response"


async def test_redirects_are_not_followed():
    async with Bench(reply(b"Location: /there", b"Content-Length: 0", status="302 Found")) as (
        client,
        peer,
    ):
        response = await client.request("GET", peer.url)
        assert (response.status, response.headers["location"]) == (302, "/there")
        assert len(peer.requests) == 1


async def test_statuses_are_no_errors():
    for status in ("404 Not Found", "429 Too Many Requests", "500 ", "503"):
        async with Bench(reply(b"Content-Length: 0", status=status)) as (client, peer):
            assert (await client.request("GET", peer.url)).status == int(status[:3])


CHUNKED = b"Transfer-Encoding: Chunked"


async def test_chunked_body():
    body = b'4\r\nWiki\r\n6;ext="1"\r\npedia \r\n00b\r\nin chunks!\n\r\n0\r\nX-Trailer: 1\r\n\r\n'
    async with Bench(reply(CHUNKED, body=body)) as (client, peer):
        for _ in range(2):
            response = await client.request("GET", peer.url)
            assert response.body == b"Wikipedia in chunks!\n"
        assert peer.connections == 1


async def test_a_reply_that_fits_is_whole():
    async with Bench(sized(b"x")) as (client, peer):
        assert (await client.request("GET", peer.url)).truncated is False


async def test_torn_replies():
    for whole in (sized(b"0123456789" * 60), reply(CHUNKED, body=b"a\r\n0123456789\r\n0\r\n\r\n")):
        for step in (1, 7, 100):
            torn = []
            for at in range(0, len(whole), max(step, len(whole) // 40)):
                torn += [whole[at : at + max(step, len(whole) // 40)], 1]
            async with Bench(torn, OK, response_ms=3000) as (client, peer):
                response = await client.request("GET", peer.url)
                assert response.body.startswith(b"0123456789")
                assert len(response.body) in (600, 10)
                await client.request("GET", peer.url)
                assert peer.connections == 1


async def test_bad_chunks():
    for body in (b"-1\r\n", b"+5\r\n", b"0x5\r\n", b"1_0\r\n", b"g\r\n", b"\r\n", b" \r\n"):
        assert await refusal(reply(CHUNKED, body=body)) == "bad chunk size", body
    assert await refusal(reply(CHUNKED, body=b"fffffffff\r\n")) == "bad chunk size"
    assert await refusal(reply(CHUNKED, body=b"2\r\nabc\r\n")) == "bad chunk"
    assert await refusal(reply(CHUNKED, body=b"1;" + b"x" * 500)) == "bad chunk"
    assert await refusal([reply(CHUNKED, body=b"5\r\nabc")], response_ms=100) == (
        "timeout: response"
    )
    both = reply(CHUNKED, b"Content-Length: 3", body=b"0\r\n\r\n")
    assert await refusal(both) == "bad transfer encoding"
    assert await refusal(reply(b"Transfer-Encoding: gzip, chunked")) == "bad transfer encoding"


async def test_wrong_lengths():
    async def short(reader, writer):
        writer.write(reply(b"Content-Length: 10", body=b"short"))
        await writer.drain()
        raise OSError("enough")

    assert await refusal(short) == "closed"
    for length in (b"-1", b"+2", b"x", b"", b"2, 3", b"9" * 20, b"0x2"):
        wrong = reply(b"Content-Length: " + length, body=b"ok")
        assert await refusal(wrong) == "bad content length", length
    assert await refusal(reply(b"Content-Length: 2", b"Content-Length: 3")) == (
        "bad content length"
    )
    async with Bench(reply(b"Content-Length: 2", b"Content-Length: 2", body=b"ok")) as (
        client,
        peer,
    ):
        assert (await client.request("GET", peer.url)).body == b"ok"


async def test_bytes_behind_a_reply_end_the_connection():
    async with Bench(OK + OK, sized(b"next")) as (client, peer):
        assert (await client.request("GET", peer.url)).body == b"ok"
        assert (await client.request("GET", peer.url)).body == b"next"
        assert peer.connections == 2


async def test_malformed_heads():
    for line in (b"HTTP/2 200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000", b"ICY 200 OK", b"", b"x"):
        assert await refusal(line + b"\r\n\r\n") == "bad response", line
    for status in ("099 x", "600 x", "2x0 OK"):
        assert await refusal(reply(status=status)) == "bad response"
    for field in (b"no colon", b": no name", b"Name : x", b" folded: x"):
        assert await refusal(reply(field, body=OK)) == "bad header", field
    assert await refusal(reply(b"X: " + b"y" * 5000)) == "headers too long"
    assert await refusal(b"y" * 5000) == "headers too long"


async def test_endless_head_and_body():
    async def head(reader, writer):
        await endless(reader, writer, b"HTTP/1.1 200 OK\r\n", b"X-Field: %d\r\n" % 1234567)

    assert await refusal(head, response_ms=2000) == "headers too long"

    async def chunks(reader, writer):
        start = reply(CHUNKED)
        await endless(reader, writer, start, b"100\r\n" + b"y" * 256 + b"\r\n")

    async def announced(reader, writer):
        await endless(reader, writer, reply(b"Content-Length: 99999999999"))

    for script in (endless, chunks, announced):
        async with Bench(script, body_bytes=1000, response_ms=2000) as (client, peer):
            response = await client.request("GET", peer.url)
            assert (response.status, len(response.body), response.truncated) == (200, 1000, True)
            assert not client._idle


async def test_body_of_just_the_limit():
    for size, truncated in ((1000, False), (1001, True)):
        async with Bench(sized(bytes(size)), body_bytes=1000) as (client, peer):
            response = await client.request("GET", peer.url)
            assert (len(response.body), response.truncated) == (1000, truncated)


async def test_body_that_ends_with_the_connection():
    async def old(reader, writer):
        writer.write(b"HTTP/1.0 200 OK\r\n\r\npart one, ")
        await writer.drain()
        await sleep_ms(20)
        writer.write(b"part two")
        await writer.drain()
        raise OSError("enough")

    async with Bench(old) as (client, peer):
        response = await client.request("GET", peer.url)
        assert (response.body, response.truncated) == (b"part one, part two", False)
        assert not client._idle


async def test_silent_and_slow_servers():
    async def silent(reader, writer):
        await reader.read(1)

    start = ticks_ms()
    assert await refusal(silent) == "timeout: response"
    assert 290 <= ticks_diff(ticks_ms(), start) < 1500
    slow = [part for i in range(len(OK)) for part in (OK[i : i + 1], 50)]
    start = ticks_ms()
    assert await refusal(slow) == "timeout: response"
    assert ticks_diff(ticks_ms(), start) < 1500


async def test_server_that_does_not_read():
    stop = asyncio.Event()

    class Deaf(Peer):
        async def _answer(self, reader, writer):
            await stop.wait()

    client = Client(dict(LIMITS, write_ms=200))
    async with Deaf() as peer:
        body = [bytes(65536)] * 200
        assert await reason(client.request("POST", peer.url, body=body)) == "timeout: write"
        stop.set()


async def test_reset_and_refused():
    assert await refusal(HANG_UP) == "closed"
    async with Bench(OK) as (client, peer):
        pass
    assert await reason(client.request("GET", peer.url)) == "refused"
    assert (await reason(client.request("GET", "http://no.such.invalid/"))).startswith("dns: ")


async def test_connection_is_used_again():
    async with Bench(OK) as (client, peer):
        for _ in range(5):
            await client.request("POST", peer.url, body=b"x")
        assert (peer.connections, len(peer.requests)) == (1, 5)


async def test_connection_is_not_used_again_when_the_server_says_so():
    for fields in ((b"Connection: close",), (b"connection: x, CLOSE",)):
        async with Bench(sized(b"", *fields)) as (client, peer):
            for _ in range(2):
                await client.request("GET", peer.url)
            assert peer.connections == 2
    old = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n%s\r\n"
    for field, connections in ((b"", 2), (b"Connection: Keep-Alive\r\n", 1)):
        async with Bench(old % field) as (client, peer):
            for _ in range(2):
                await client.request("GET", peer.url)
            assert peer.connections == connections


async def answer_then_close(reader, writer):
    writer.write(OK)
    await writer.drain()
    await sleep_ms(20)
    raise OSError("enough")


async def test_closed_between_requests():
    async with Bench(answer_then_close, OK) as (client, peer):
        await client.request("POST", peer.url, body=b"1")
        await sleep_ms(100)
        response = await client.request("POST", peer.url, body=[b"2"], repeat=True)
        assert response.status == 200
        assert [body for _, body in peer.requests] == [b"1", b"2"]
        assert peer.connections == 2
    async with Bench(answer_then_close, OK) as (client, peer):
        await client.request("POST", peer.url, body=b"1")
        await sleep_ms(100)
        assert await reason(client.request("POST", peer.url, body=b"2")) == "closed"


async def test_no_second_attempt_on_a_new_connection_or_after_a_deadline():
    async with Bench(HANG_UP, OK) as (client, peer):
        assert await reason(client.request("GET", peer.url, repeat=True)) == "closed"
        assert len(peer.requests) == 1

    async def silent(reader, writer):
        await sleep_ms(1000)

    async def half(reader, writer):
        writer.write(b"HTTP/1.1 20")
        await writer.drain()
        raise OSError("enough")

    for script, words in ((silent, "timeout: response"), (half, "closed")):
        async with Bench(OK, script) as (client, peer):
            await client.request("GET", peer.url)
            assert await reason(client.request("GET", peer.url, repeat=True)) == words
            assert (peer.connections, len(peer.requests)) == (1, 2)


async def test_idle_connections_are_few_and_end():
    before = open_files()
    async with Bench(OK, idle_ms=150) as (client, peer), Peer(OK) as second, Peer(OK) as third:
        for one in (peer, second, third, peer):
            await client.request("GET", one.url)
        assert len(client._idle) == 2
        # The first was given up for the third.
        assert [one.connections for one in (peer, second, third)] == [2, 1, 1]
        await sleep_ms(80)
        await client.request("GET", third.url)
        await sleep_ms(100)
        assert [entry[0][1] for entry in client._idle] == [third.port]
        await until(lambda: not client._idle and client._reaper is None)
        await client.request("GET", peer.url)
        assert (peer.connections, len(client._idle)) == (3, 1)
    await until(lambda: open_files() <= before)


async def test_no_connection_is_kept_where_none_may_be():
    async with Bench(OK, idle_connections=0) as (client, peer):
        for _ in range(2):
            await client.request("GET", peer.url)
        assert (peer.connections, client._idle) == (2, [])


async def test_parallel_requests():
    async with Bench([200, OK], response_ms=3000) as (client, peer):
        start = ticks_ms()
        requests = [client.request("GET", peer.url + str(i)) for i in range(4)]
        for response in await asyncio.gather(*requests):
            assert response.body == b"ok"
        assert ticks_diff(ticks_ms(), start) < 700
        assert (peer.connections, len(client._idle)) == (4, 1)


async def test_cancelled_request_leaves_no_connection():
    before = open_files()
    async with Bench([5000, OK], response_ms=60000) as (client, peer):
        task = asyncio.create_task(client.request("GET", peer.url))
        await until(lambda: peer.requests)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        assert not client._idle
    await until(lambda: open_files() <= before)


async def test_body_that_raises():
    class Failing:
        def __init__(self):
            self.uses = 0

        def __iter__(self):
            self.uses += 1
            yield b"part"
            if self.uses > 1:
                raise LinkError("no more of it")
            yield b"part"

    async with Bench(OK) as (client, peer):
        call = client.request("POST", peer.url, body=Failing())
        assert await reason(call) == "no more of it"
        assert not client._idle


async def test_heap_of_a_request():
    if not hasattr(gc, "mem_alloc"):
        return
    body = [bytes(500)] * 4
    async with Bench(sized(bytes(200)), body_bytes=256) as (client, peer):
        for _ in range(2):
            await client.request("POST", peer.url, body=body)
            gc.collect()
            gc.disable()
            before = gc.mem_alloc()
            await client.request("POST", peer.url, body=body)
            taken = gc.mem_alloc() - before
            gc.enable()
            gc.collect()
            kept = gc.mem_alloc() - before
            text = "2000 bytes posted: %d bytes of heap turned over with the peer's, %d kept"
            print(text % (taken, kept))
            assert kept < 8000
