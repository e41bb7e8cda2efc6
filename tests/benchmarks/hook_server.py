"""Answers every request with 200 and an empty body, in a process of its own::

    python hook_server.py HOST                  http
    python hook_server.py HOST CERT KEY         https

Prints its port; ends with its stdin. Connections stay open, as far as HTTP/1.1 lets them.
"""

import asyncio
import ssl
import sys

HEAD_END = b"\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def answer(reader, writer):
    """Serve a connection until its end."""
    try:
        while True:
            head = (await reader.readuntil(HEAD_END)).lower()
            await reader.readexactly(int(field(head, b"content-length") or 0))
            writer.write(REPLY)
            await writer.drain()
            if b" http/1.0\r\n" in head or field(head, b"connection") == b"close":
                break
    except (EOFError, OSError):
        pass  # the client is done with it
    finally:
        writer.close()


def field(head, name):
    """The value of a header field, None without it."""
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else None


async def main(host, cert=None, key=None):
    context = None
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
    server = await asyncio.start_server(answer, host, 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
