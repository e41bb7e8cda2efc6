"""An encoder of flush messages written from the format's description alone.

It shares no code with ``fieldpost.record``, so that the two check each other. Every value takes
the widest form the format has, unless a test names a tag.
"""

import json
import struct
import zlib

I8, I16, I32, I64, U64, F32, F64, TEXT, JSON = range(3, 12)
_NUMBERS = {I8: "<b", I16: "<h", I32: "<i", I64: "<q", U64: "<Q", F32: "<f", F64: "<d"}


def varint(number):
    """LEB128."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes((number,))


def _sized(text):
    data = text.encode()
    return varint(len(data)) + data


def _tag_of(value):
    if isinstance(value, bool):
        return 2 if value else 1
    if isinstance(value, int):
        return I64 if value < 2**63 else U64
    by_type = {type(None): 0, float: F64, str: TEXT, list: JSON, dict: JSON}
    return by_type[type(value)]


def record(point, delta_ms, value, text=None, tag=None):
    """One record's bytes."""
    tag = _tag_of(value) if tag is None else tag
    body = varint(point) + varint(delta_ms)
    if tag in _NUMBERS:
        body += struct.pack(_NUMBERS[tag], value)
    elif tag == TEXT:
        body += _sized(value)
    elif tag == JSON:
        body += _sized(json.dumps(value))
    if text is not None:
        body += _sized(text)
    return bytes((tag | (0x80 if text is not None else 0),)) + body


def chunk(stream, seq, base_ms, records, boot=1, dated=True):
    """A sealed chunk of ``records``: tuples for ``record``."""
    return seal(
        stream, seq, base_ms, b"".join(record(*r) for r in records), len(records), boot, dated
    )


def seal(stream, seq, base_ms, body, count, boot=1, dated=True):
    """A chunk around a body that is encoded already."""
    head = struct.pack(
        "<BBHHHIIIQ", 0xF5, 0x10 | dated, len(body), count, 0, stream, boot, seq, base_ms
    )
    return head + struct.pack("<I", zlib.crc32(head + body)) + body


def packed(flush, chunks, subscription="default", skipped=0):
    """A packed flush message."""
    name = subscription.encode()
    return struct.pack("<BBIIB", 0xFB, 1, flush, skipped, len(name)) + name + b"".join(chunks)


def json_flush(flush, stream, seq, value, subscription="default", **more):
    """A JSON flush message; ``value`` is a list of ``[ts, address, value(, text)]``."""
    message = {"id": 1, "module": "loggers", "method": "subscribe", "subscription": subscription}
    message |= {"event": "flush", "flush": flush, "stream": stream, "seq": seq, "value": value}
    return json.dumps(message | more).encode()
