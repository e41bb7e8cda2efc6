"""SNTP client (RFC 4330) that never blocks the loop and uses no float."""

import os
import socket
from struct import unpack_from

from .compat import const, sleep_ms, ticks_diff, ticks_ms
from .errors import LinkError

#: Seconds from 1900, the NTP epoch, to 1970.
_TO_UNIX_S = const(2208988800)
_POLL_MS = const(10)


def parse(reply, nonce):
    """Unix ms of a server's 48-byte reply to a request that carried ``nonce`` (8 bytes).

    Raises LinkError for anything but a synchronised server's answer to this very request. The
    32-bit seconds are taken to lie after 1968, which holds until 2104.
    """
    if len(reply) < 48 or reply[0] & 7 != 4 or reply[24:32] != nonce:
        raise LinkError("ntp: not an answer to the request")
    if reply[0] >> 6 == 3 or not 1 <= reply[1] <= 15:
        raise LinkError("ntp: server not synchronised")
    seconds, fraction = unpack_from("!II", reply, 40)
    if not (seconds or fraction):
        raise LinkError("ntp: no time")
    if not seconds & 0x80000000:
        seconds += 1 << 32
    return (seconds - _TO_UNIX_S) * 1000 + (fraction * 1000 >> 32)


async def query(host, port=123, timeout_ms=3000):
    """Ask one server; returns its Unix ms, half the round trip added. Raises LinkError.

    The name is resolved by the platform, which may block for as long as its DNS client waits.
    """
    nonce = os.urandom(8)
    request = b"\x23" + bytes(39) + nonce
    sock = None
    try:
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][-1]
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        started = ticks_ms()
        sock.sendto(request, address)
        while ticks_diff(ticks_ms(), started) < timeout_ms:
            await sleep_ms(_POLL_MS)
            reply = _receive(sock)
            # Anything else is late, or not from the server: it is still awaited.
            if len(reply) >= 48 and reply[24:32] == nonce:
                return parse(reply, nonce) + ticks_diff(ticks_ms(), started) // 2
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be one
        raise LinkError("ntp: %s" % error) from None
    finally:
        if sock:
            sock.close()
    raise LinkError("timeout")


def _receive(sock):
    try:
        return sock.recv(64)
    except OSError:
        # Nothing has arrived; a real error ends in the caller's timeout.
        return b""


async def keep(clock, servers, interval_ms, task):
    """Task: set the clock from the first server that answers, again every ``interval_ms``."""
    retry = 2000
    while True:
        pause = retry
        retry = min(retry * 2, 600000)
        for host in servers:
            try:
                clock.set_unix_ms(await query(host), "ntp")
            except LinkError as error:
                task.error = error
                continue
            pause, retry = interval_ms, 2000
            break
        task.beat()
        await sleep_ms(pause)
