"""Authentication to an endpoint: basic, bearer, a header, OAuth 2 client credentials."""

import json

from ..errors import LinkError
from .signature import base64

#: A token is renewed so long before it ends, and kept so long where its end is not told.
_EARLY_S = 30
_DEFAULT_S = 300
_LONGEST_S = 86400
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"


async def headers(endpoint, client, now, tls):
    """The headers that authenticate a request; ``now`` is monotonic ms, ``tls`` for the server of
    tokens, too.

    Raises LinkError where no token is to be had.
    """
    row = endpoint.row
    kind = row["auth"]
    if kind == "basic":
        return {"Authorization": _basic(row["user"], row["password"])}
    if kind == "bearer":
        return {"Authorization": "Bearer " + row["token"]}
    if kind == "api_key":
        return {row["auth_header"]: row["token"]}
    if kind == "oauth2":
        if endpoint.token is None or endpoint.token[1] <= now:
            endpoint.token = None
            endpoint.token = await _fetch(row, client, now, tls)
        return {"Authorization": "Bearer " + endpoint.token[0]}
    return {}


async def _fetch(row, client, now, tls):
    """``(token, monotonic ms of its end)``; the grant of RFC 6749, 4.4."""
    body = "grant_type=client_credentials"
    if row["scope"]:
        body += "&scope=" + quote(row["scope"])
    head = {
        "Authorization": _basic(quote(row["client_id"]), quote(row["client_secret"])),
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
    }
    reply = await client.request("POST", row["token_url"], head, body.encode(), tls)
    try:
        told = json.loads(reply.body) if reply.status == 200 else {}
        token, lasts = told["access_token"], told.get("expires_in", _DEFAULT_S)
        if not (isinstance(token, str) and token):
            raise ValueError
        lasts = min(max(int(lasts), 0), _LONGEST_S)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LinkError("token: status %d" % reply.status) from None
    return token, now + max(lasts - _EARLY_S, lasts // 2) * 1000


def _basic(user, password):
    return "Basic " + base64((user + ":" + (password or "")).encode())


def quote(text):
    """Percent-encode all but unreserved characters (RFC 3986)."""
    return "".join(chr(b) if chr(b) in _PLAIN else "%%%02X" % b for b in text.encode())
