"""TLS contexts; imported by ``net`` when a connection asks for TLS."""

import gc
import ssl
from binascii import a2b_base64

from .compat import MICROPYTHON
from .errors import LinkError


def _ders(path):
    # The PEM parser is not built into every MicroPython, so DER is taken out of PEM here.
    with open(path, "rb") as file:
        data = file.read()
    if b"-----BEGIN" not in data:
        return [data]
    # Markers and contents alternate: text, BEGIN X, base64, END X, text, BEGIN ...
    parts = data.split(b"-----")
    return [a2b_base64(parts[i]) for i in range(2, len(parts), 4)]


def _verify(context, ca):
    context.verify_mode = ssl.CERT_REQUIRED
    if ca:
        for der in _ders(ca):
            context.load_verify_locations(cadata=der)
    elif MICROPYTHON:
        raise LinkError("tls: verification needs a ca file")
    else:
        context.load_default_certs()


def client_context(tls):
    """``ssl.SSLContext`` for a ``tls`` dict as in ``net.open_stream``.

    Raises ``LinkError``, ``OSError`` (a file cannot be read) or ``ValueError`` (what is in it).
    """
    gc.collect()  # the handshake wants its memory in large pieces
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.get("verify", True):
        _verify(context, tls.get("ca"))
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.get("cert"):
        pair = tls["cert"], tls["key"]
        if MICROPYTHON:
            pair = _ders(pair[0])[0], _ders(pair[1])[-1]
        context.load_cert_chain(*pair)
    return context
