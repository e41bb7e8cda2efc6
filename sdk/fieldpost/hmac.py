"""HMAC-SHA256 (RFC 2104, FIPS 198-1): MicroPython has no hmac module."""

from hashlib import sha256

from .compat import const

_BLOCK = const(64)


def hmac_sha256(key, *parts):
    """The 32 bytes of the code of ``parts`` (bytes-like, as if joined) under ``key`` (bytes)."""
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    key += bytes(_BLOCK - len(key))
    inner = sha256(bytes(byte ^ 0x36 for byte in key))
    for part in parts:
        inner.update(part)
    return sha256(bytes(byte ^ 0x5C for byte in key) + inner.digest()).digest()


def equal(one, other):
    """Compare two codes (bytes) in a time that does not tell where they differ."""
    if len(one) != len(other):
        return False
    difference = 0
    for a, b in zip(one, other):
        difference |= a ^ b
    return not difference
