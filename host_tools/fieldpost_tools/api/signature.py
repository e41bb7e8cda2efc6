"""Signed requests, as ``fieldpost/api/signature.py`` on the node describes and checks them."""

import hashlib
import hmac
import json
import secrets
import time

from fieldpost_tools.errors import InputError

_CHARS = (16, 128)


class Signer:
    """Puts requests into envelopes that prove who sent them, when, and to which topic.

    ``secret`` is the node's ``api.mqtt_secret``. The computer's clock has to be right within a
    minute. Raises InputError for a secret that no node can have.
    """

    def __init__(self, secret):
        if not _CHARS[0] <= len(secret) <= _CHARS[1]:
            raise InputError("secret", "***", f"{_CHARS[0]} to {_CHARS[1]} characters")
        self._key = secret.encode()

    def seal(self, topic, data, id=None):
        """The envelope, as bytes, of the request ``data`` (UTF-8) for ``topic``."""
        ts = time.time_ns() // 1_000_000
        nonce = secrets.token_hex(8)
        text = data.decode()
        signed = f"{ts}\n{nonce}\n{topic}\n{text}".encode()
        mac = hmac.new(self._key, signed, hashlib.sha256).hexdigest()
        envelope = {"auth": {"ts": ts, "nonce": nonce, "mac": mac}, "request": text}
        if id is not None:
            envelope = {"id": id, **envelope}
        return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
