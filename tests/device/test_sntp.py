"""sntp: answers that are believed and those that are not, deadlines, retries, the clock set."""

import random
import socket
from struct import pack

from core_kit import UNIX_MS, refused, still_clock
from patch_kit import FakeTime, Patch

from fieldpost import sntp
from fieldpost.compat import asyncio, sleep_ms, ticks_diff, ticks_ms
from fieldpost.errors import LinkError

NEEDS = "socket"

NONCE = b"12345678"
TO_1900_S = 2208988800


def answer(nonce=NONCE, unix_ms=UNIX_MS, leap=0, mode=4, stratum=2, seconds=None):
    """A server's 48 bytes, made from RFC 4330, figure 1."""
    if seconds is None:
        seconds = unix_ms // 1000 + TO_1900_S
    fraction = ((unix_ms % 1000 << 32) + 999) // 1000
    stamp = pack("!II", seconds % (1 << 32), fraction)
    head = bytes((leap << 6 | 4 << 3 | mode, stratum, 6, 0xEC))
    return head + bytes(12) + bytes(8) + nonce + bytes(8) + stamp


# -- what is believed


def test_times_of_every_era():
    for unix_ms in (
        UNIX_MS,
        0,
        946684800000,  # 2000-01-01
        1704067200001,
        2085978495999,  # the last ms of the era of 1900: 2036-02-07
        2085978496000,
        2147483648000,  # past the signed Unix time
        4102444800123,  # 2100-01-01
    ):
        if unix_ms != 2085978496000:  # all zero says that the server knows no time
            assert sntp.parse(answer(unix_ms=unix_ms), NONCE) == unix_ms
        assert sntp.parse(answer(unix_ms=unix_ms + 1000), NONCE) == unix_ms + 1000


def test_milliseconds_are_exact():
    for ms in range(0, 1000, 7):
        assert sntp.parse(answer(unix_ms=UNIX_MS // 1000 * 1000 + ms), NONCE) % 1000 == ms


def test_longer_answers_have_extensions():
    assert sntp.parse(answer() + bytes(20), NONCE) == UNIX_MS


def test_what_is_not_believed():
    for reply in (
        b"",
        answer()[:47],
        answer(nonce=b"87654321"),
        answer(mode=3),
        answer(mode=5),
        answer(leap=3),
        answer(stratum=0),  # kiss of death
        answer(stratum=16),
        answer(unix_ms=0, seconds=0),
    ):
        assert refused(LinkError, sntp.parse, reply, NONCE).startswith("ntp: ")


# -- over a socket


class Server:
    """A UDP socket of this loop on a free port."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.port = 0
        self.requests = []
        while not self.port:
            port = 20000 + random.getrandbits(15)
            try:
                self.sock.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
                self.port = port
            except OSError:
                continue

    async def serve(self, make, delay_ms=0):
        """Answer one request with each of the datagrams that ``make(nonce)`` returns."""
        while True:
            try:
                request, peer = self.sock.recvfrom(100)
                break
            except OSError:
                await sleep_ms(5)
        self.requests.append(request)
        await sleep_ms(delay_ms)
        for datagram in make(request[40:48]):
            self.sock.sendto(datagram, peer)

    async def ask(self, make, delay_ms=0, timeout_ms=2000):
        """What ``query`` says to these answers: the time, or the text of its error."""
        task = asyncio.create_task(self.serve(make, delay_ms))
        try:
            return await sntp.query("127.0.0.1", self.port, timeout_ms)
        except LinkError as error:
            return str(error)
        finally:
            task.cancel()
            self.sock.close()


async def test_query():
    server = Server()
    started = ticks_ms()
    ms = await server.ask(lambda nonce: [answer(nonce)], delay_ms=100)
    took = ticks_diff(ticks_ms(), started)
    # Half of the round trip is added.
    assert UNIX_MS + 45 <= ms <= UNIX_MS + took // 2 + 1
    [request] = server.requests
    assert len(request) == 48
    assert request[:40] == b"\x23" + bytes(39), "version 4, client"


async def test_every_request_has_its_own_nonce():
    first, second = Server(), Server()
    for server in (first, second):
        await server.ask(lambda nonce: [answer(nonce)])
    assert first.requests[0][40:] != second.requests[0][40:]


async def test_foreign_datagrams_are_passed_over():
    server = Server()
    ms = await server.ask(
        lambda nonce: [b"x", answer(b"87654321"), bytes(48), answer(nonce)[:40], answer(nonce)]
    )
    assert UNIX_MS <= ms < UNIX_MS + 1000


async def test_a_server_that_is_not_synchronised():
    assert await Server().ask(lambda nonce: [answer(nonce, leap=3)]) == (
        "ntp: server not synchronised"
    )


async def test_a_silent_server():
    started = ticks_ms()
    assert await Server().ask(lambda _nonce: [], timeout_ms=60) == "timeout"
    assert 60 <= ticks_diff(ticks_ms(), started) < 2000


async def test_others_run_while_it_waits():
    turns = []

    async def other():
        while True:
            turns.append(1)
            await sleep_ms(5)

    task = asyncio.create_task(other())
    await Server().ask(lambda _nonce: [], timeout_ms=100)
    task.cancel()
    assert len(turns) >= 3


class Broken:
    """Stands for the ``socket`` module, and for a socket, of a host without network."""

    AF_INET = SOCK_DGRAM = 0

    def __init__(self, error, at):
        self.error = error
        self.at = at
        self.closed = 0

    def fail(self, at):
        if at == self.at:
            raise self.error

    def getaddrinfo(self, *_):
        self.fail("dns")
        return [("address",)]

    def socket(self, *_):
        self.fail("socket")
        return self

    def setblocking(self, _flag):
        return

    def sendto(self, *_):
        self.fail("send")

    def close(self):
        self.closed += 1


async def test_a_host_without_network():
    for at, error, closed in (
        ("dns", OSError(-2), 0),
        ("dns", UnicodeError("label too long"), 0),
        ("socket", OSError(12), 0),
        ("send", OSError(113), 1),
    ):
        broken = Broken(error, at)
        with Patch(sntp, socket=broken):
            try:
                await sntp.query("pool", 123, 50)
                raise AssertionError("answered")
            except LinkError as raised:
                assert str(raised).startswith("ntp: ")
        assert broken.closed == closed


# -- keeping the clock


class Task:
    error = None
    beats = 0

    def beat(self):
        self.beats += 1


async def keep(script, pauses, servers=("a", "b"), interval_ms=43200000):
    """``(clock, slept, asked, task)`` of ``sntp.keep`` for so many pauses, answers by server."""
    clock, _ = still_clock(0)
    time = FakeTime()
    asked = []
    task = Task()

    async def query(host):
        asked.append(host)
        act = script[host].pop(0)
        if isinstance(act, Exception):
            raise act
        return act

    async def sleep(ms):
        time.slept.append(ms)
        if len(time.slept) == pauses:
            raise asyncio.CancelledError

    with Patch(sntp, query=query, sleep_ms=sleep):
        try:
            await sntp.keep(clock, servers, interval_ms, task)
        except asyncio.CancelledError:
            pass
    return clock, time.slept, asked, task


async def test_the_first_server_that_answers_sets_the_clock():
    silent = LinkError("timeout")
    clock, slept, asked, task = await keep({"a": [silent, silent], "b": [silent, UNIX_MS]}, 2)
    assert clock.unix_ms() == UNIX_MS
    assert clock.source == "ntp"
    assert asked == ["a", "b", "a", "b"]
    assert slept == [2000, 43200000]
    assert task.error is silent
    assert task.beats == 2
    _, _, asked, _ = await keep({"a": [UNIX_MS]}, 1)
    assert asked == ["a"]


async def test_pauses_grow_while_nobody_answers():
    silent = [LinkError("timeout")] * 20
    _, slept, _, _ = await keep({"a": silent}, 12, servers=("a",))
    assert slept == [2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 512000] + [600000] * 3


async def test_it_goes_on_after_an_answer():
    silent = LinkError("timeout")
    script = {"a": [silent, silent, UNIX_MS, silent, silent, UNIX_MS + 5]}
    clock, slept, _, _ = await keep(script, 6, servers=("a",), interval_ms=60000)
    assert slept == [2000, 4000, 60000, 2000, 4000, 60000]
    assert clock.unix_ms() == UNIX_MS + 5
