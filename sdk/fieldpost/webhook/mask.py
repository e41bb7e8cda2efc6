"""What may be shown of what an endpoint is given and sends: no URL that is a credential itself, no
secret."""

import json

from ..compat import const

HIDDEN = "***"
_SECRETS = ("secret", "secret_old", "password", "token", "client_secret")
_MAPS = ("options", "headers")
#: What is shorter is no secret, and would be found everywhere.
_SHORTEST = const(4)
_PREVIEW_CHARS = const(96)
#: Where the preview is taken from.
_LOOK_BYTES = const(1024)


def mask(url):
    """A URL as it is shown: with its host, for who knows the path of a Slack, Teams or ntfy URL
    can post to it. ``file:`` and None as they are.
    """
    if not url or url.startswith("file:"):
        return url
    scheme, mark, rest = url.partition("://")
    host = rest
    for char in "/?#":
        host = host.partition(char)[0]
    tail = rest[len(host) :]
    host = host.rpartition("@")[2]
    return scheme + mark + host + (tail if tail in ("", "/") else "/" + HIDDEN)


def hide(row):
    """An endpoint's row as it is shown: ``has_secret`` in the place of a secret, of maps of them
    the names."""
    shown = {key: row[key] for key in row}
    for key in _SECRETS:
        shown["has_" + key] = shown.pop(key) is not None
    for key in _MAPS:
        shown["has_" + key] = sorted(shown.pop(key))
    shown["url"] = mask(row["url"])
    shown["rules"] = [
        dict(rule, urls=[mask(url) for url in rule["urls"]]) for rule in row["rules"]
    ]
    return shown


def preview(body, row):
    """The first 96 characters of a body (bytes), without the endpoint's secrets; None for what is
    no text."""
    end = min(len(body), _LOOK_BYTES)
    while 0 < end < len(body) and body[end] & 0xC0 == 0x80:
        end -= 1
    try:
        text = str(body[:end], "utf-8")
    except ValueError:
        return None
    hidden = [row[key] for key in _SECRETS]
    for key in _MAPS:
        hidden += row[key].values()
    hidden = [one for one in hidden if one and len(one) >= _SHORTEST]
    for one in hidden:
        text = text.replace(json.dumps(one)[1:-1], HIDDEN).replace(one, HIDDEN)
    limit = _PREVIEW_CHARS
    if end < len(body):
        # A secret that was cut was not found.
        limit = min(limit, max(len(text) - max([len(one) for one in hidden] + [0]), 0))
    return text[:limit]
