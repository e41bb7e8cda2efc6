"""Texts that fit: cut to a service's limits, so that what is sent stays valid UTF-8 and JSON."""

import json

from ..outlet_json import json_value

_MARK = "…"
_MARK_BYTES = 3


def cut(text, limit):
    """``text`` within so many characters (at least 1), the last one "…" where it was longer.

    Counted in UTF-16 units, as services do that are written in JavaScript, Java or C#; there an
    emoji is two.
    """
    units = kept = 0
    for at, char in enumerate(text):
        units += 2 if ord(char) > 0xFFFF else 1
        if units > limit:
            return text[:kept] + _MARK
        if units < limit:
            kept = at + 1
    return text


def cut_bytes(text, limit):
    """``text`` within so many bytes of UTF-8, ending with "…" where it was longer."""
    data = text.encode()
    if len(data) <= limit:
        return text
    end = limit - _MARK_BYTES
    if end < 0:
        return ""
    while end and data[end] & 0xC0 == 0x80:
        end -= 1
    return str(data[:end], "utf-8") + _MARK


def encode(body):
    """JSON of ``body`` as bytes; null for the numbers that JSON does not have."""
    return json_value(body).encode()


def fit(make, text, limit):
    """JSON, of at most ``limit`` bytes, of what ``make(text)`` returns, for which ``text`` is cut.

    Raises ValueError where the rest alone is longer.
    """
    text = cut_bytes(text, limit)
    while True:
        body = encode(make(text))
        over = len(body) - limit
        if over <= 0:
            return body
        if not text:
            raise ValueError("more than %d bytes" % limit)
        # A character takes 1 to 12 bytes in JSON: those of this text on average.
        size, escaped = len(text.encode()), len(json.dumps(text).encode())
        text = cut_bytes(text, max(size - over * size // escaped - _MARK_BYTES, 0))
