"""Signatures of bodies: an HMAC header, and Standard Webhooks (standardwebhooks.com)."""

from binascii import a2b_base64, b2a_base64

from ..compat import hexlify
from ..hmac import hmac_sha256

_PREFIX = "whsec_"


def headers(endpoint, id, unix_ms, body):
    """The headers that sign ``body`` (bytes) by an endpoint's row; ``id`` as in ``webhook-id``.

    ``unix_ms`` is the time of the attempt, which only ``standard`` needs. While secrets are
    rotated, ``standard`` signs with both; the HMAC header has room for one.
    """
    scheme = endpoint["signature"]
    if scheme == "hmac":
        code = hmac_sha256(endpoint["secret"].encode(), body)
        return {endpoint["signature_header"]: "sha256=" + hexlify(code)}
    if scheme != "standard":
        return {}
    stamp = str(unix_ms // 1000)
    head = ("%s.%s." % (id, stamp)).encode()
    secrets = [endpoint["secret"]]
    if endpoint["secret_old"]:
        secrets.append(endpoint["secret_old"])
    codes = ["v1," + base64(hmac_sha256(key(secret), head, body)) for secret in secrets]
    return {"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": " ".join(codes)}


def key(secret):
    """The bytes of a Standard Webhooks secret. Raises ValueError for what is no base64."""
    if secret.startswith(_PREFIX):
        secret = secret[len(_PREFIX) :]
    return a2b_base64((secret + "=" * (-len(secret) % 4)).encode())


def base64(data):
    """Padded base64 text of bytes."""
    return b2a_base64(data).decode().strip()
