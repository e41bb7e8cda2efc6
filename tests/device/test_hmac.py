"""HMAC-SHA256: the vectors of RFC 4231 and of WIRE_FORMATS, keys around the size of a block."""

from fieldpost.compat import hexlify
from fieldpost.hmac import equal, hmac_sha256

VECTORS = (
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
    (
        b"key",
        b"The quick brown fox jumps over the lazy dog",
        "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
    ),
)


def test_published_vectors():
    for key, text, code in VECTORS:
        assert hexlify(hmac_sha256(key, text)) == code
        assert hexlify(hmac_sha256(key, text[:5], b"", text[5:])) == code


def test_keys_of_and_above_a_block():
    # By CPython's hmac module.
    assert hexlify(hmac_sha256(b"k" * 64, b"m"))[:16] == "3b7a8d453e76edb5"
    assert hexlify(hmac_sha256(b"k" * 65, b"m"))[:16] == "c2d7d4c2256ddb09"
    assert hexlify(hmac_sha256(b"", b""))[:16] == "b613679a0814d9ec"


def test_codes_are_compared_whole():
    code = hmac_sha256(b"key", b"text")
    assert equal(code, bytes(code))
    assert not equal(code, code[:-1])
    assert not equal(code[:-1], code)
    for at in (0, 15, 31):
        other = bytearray(code)
        other[at] ^= 1
        assert not equal(code, other)
