"""Decodes what nodes publish: flushes (JSON and packed), points and state.

A packed flush is ``u8 0xFB | u8 1 | u32 flush id | u32 skipped | u8 length | subscription id``
(little endian) and the chunks of ``fieldpost.record`` as they stand in the node's log. The first
byte tells the format: ``{`` or 0xFB. Everything here takes bytes from the network: whatever they
hold, the outcome is a value or a ``FlushError``.
"""

import json
import struct
from typing import NamedTuple

from fieldpost import record
from fieldpost_tools.errors import FlushError

_PACKED = struct.Struct("<BBIIB")
_PACKED_MAGIC = 0xFB
_NESTED = (list, dict)
_MAX_INT = 2**63 - 1
_MAX_U32 = 2**32 - 1


class JsonText(str):
    """A JSON array or object as the text it is stored as, to tell it from a text value."""

    __slots__ = ()


class Chunk(NamedTuple):
    """Consecutive records of one stream: ``records`` is a list of ``(ms, point, value, text)``.

    ``seq`` numbers the first; ``ms`` is Unix ms if ``dated``, else monotonic ms of ``boot``
    (None where the node did not say). A value is None, bool, int, float, str or ``JsonText``.
    """

    stream: int
    seq: int
    boot: int | None
    dated: bool
    records: list


class Flush(NamedTuple):
    """One flush of one subscription. Without ``chunks`` it is a keepalive, or a ``notice``.

    ``skipped`` records right before the first one were dropped on the node. ``notice`` is what
    the node has to say about the subscription itself, such as ``end of life``.
    """

    node: str
    subscription: str
    id: int
    skipped: int
    chunks: list[Chunk]
    notice: str | None = None


class Points(NamedTuple):
    """The points of one device: ``points`` is a list of ``(id, name, unit)``."""

    node: str
    device: str
    driver: str
    points: list[tuple[int, str, str]]


class State(NamedTuple):
    """A node's state: ``text`` is the JSON object as it was published."""

    node: str
    text: str


def decode_flush(node, payload):
    """Decode the payload of a ``…/flush/{subscriber}`` message into a ``Flush``."""
    try:
        if payload[:1] == b"{":
            return _json_flush(node, json_object(payload))
        if payload[:1] == bytes((_PACKED_MAGIC,)):
            return _packed_flush(node, payload)
    except RecursionError:
        raise FlushError(f"{node}: flush with a value nested too deeply") from None
    raise FlushError(f"{node}: flush is neither JSON nor packed, starts with {payload[:4].hex()}")


def decode_points(node, payload):
    """Decode the payload of a ``…/points/{device_id}[/part]`` message into ``Points``."""
    message = json_object(payload)
    device = _string(message, "device")
    driver = _string(message, "driver", "")
    rows = message.get("points")
    if not isinstance(rows, list):
        raise FlushError(f"{node}: points of {device!r} must be a list")
    return Points(node, device, driver, [_point_row(node, row) for row in rows])


def decode_state(node, payload):
    """Decode the payload of a ``…/state`` message into ``State``."""
    message = json_object(payload)
    _string(message, "state")
    return State(node, storable(payload.decode()))


def storable(text):
    """``text`` without lone surrogates, which JSON can carry and no database takes."""
    return text.encode("utf-8", "replace").decode()


def json_object(payload):
    """The JSON object that a message is. Raises FlushError."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise FlushError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise FlushError(f"a JSON object is expected, not {type(message).__name__}")
    return message


def _is_int(value, low=0, high=_MAX_INT):
    return type(value) is int and low <= value <= high


def _integer(message, key, default=None, high=_MAX_INT):
    value = message.get(key, default)
    if not _is_int(value, 0, high):
        raise FlushError(f"{key}: {value!r:.40} is not allowed, expected an integer 0..{high}")
    return value


def _string(message, key, default=None):
    value = message.get(key, default)
    if not isinstance(value, str):
        raise FlushError(f"{key}: {value!r:.40} is not allowed, expected a string")
    return storable(value)


def _json_flush(node, message):
    subscription = _string(message, "subscription")
    if message.get("event") != "flush":
        notice = message.get("error") or message.get("event") or message.get("value")
        return Flush(node, subscription, 0, 0, [], storable(str(notice)[:80]))
    rows = message.get("value")
    if not isinstance(rows, list):
        raise FlushError(f"value: {rows!r:.40} is not allowed, expected a list of records")
    if not rows:
        return Flush(node, subscription, 0, 0, [])
    dated = message.get("ts_trusted", True) is True
    chunk = Chunk(
        _integer(message, "stream", high=_MAX_U32),
        _integer(message, "seq", high=_MAX_U32),
        _integer(message, "boot", high=_MAX_U32) if not dated else None,
        dated,
        [_json_record(row) for row in rows],
    )
    skipped = _integer(message, "skipped", 0)
    return Flush(node, subscription, _integer(message, "flush"), skipped, [chunk])


def _json_record(row):
    if not isinstance(row, list) or not 3 <= len(row) <= 4:
        raise FlushError(f"record {row!r:.60} is not [ts, address, value(, value_string)]")
    text = row[3] if len(row) == 4 else None
    if not _is_int(row[0]) or not _is_int(row[1]):
        raise FlushError(f"record {row!r:.60}: ts and address must be integers")
    if not (text is None or isinstance(text, str)):
        raise FlushError(f"record {row!r:.60}: value_string must be a string")
    value = storable(row[2]) if isinstance(row[2], str) else row[2]
    if isinstance(value, _NESTED):
        value = _json_text(value)
    return row[0], row[1], value, None if text is None else storable(text)


def _json_text(value):
    return JsonText(storable(json.dumps(value, ensure_ascii=False, separators=(",", ":"))))


def _packed_flush(node, payload):
    if len(payload) < _PACKED.size:
        raise FlushError(f"packed flush of {len(payload)} bytes is torn")
    _, version, flush_id, skipped, length = _PACKED.unpack_from(payload)
    position = _PACKED.size + length
    if version != 1 or position > len(payload):
        raise FlushError(f"packed flush of version {version}, {len(payload)} bytes, is not known")
    try:
        subscription = payload[_PACKED.size : position].decode()
        chunks = decode_chunks(payload, position)
    except (FlushError, UnicodeDecodeError) as error:
        raise FlushError(f"packed flush {flush_id}: {error}") from None
    return Flush(node, subscription, flush_id, skipped, chunks)


def decode_chunks(payload, position=0):
    """``Chunk`` objects of packed bytes, from a position to the end; without empty ones."""
    chunks = []
    try:
        while position < len(payload):
            header, records, position = record.decode(payload, position)
            chunks.append(_checked(header, records))
    except record.RecordError as error:
        raise FlushError(f"byte {position}: {error}") from None
    return [chunk for chunk in chunks if chunk.records]


def _checked(header, records):
    # Deltas are never negative, so the last time is the largest.
    if records and records[-1][0] > _MAX_INT:
        raise record.RecordError("time beyond 63 bit")
    for index, (ms, point, value, text) in enumerate(records):
        if isinstance(value, _NESTED):
            records[index] = ms, point, _json_text(value), text
    return Chunk(header.stream, header.seq, header.boot, header.dated, records)


def _point_row(node, row):
    valid = isinstance(row, list) and len(row) >= 2 and _is_int(row[0])
    unit = row[2] if valid and len(row) > 2 else ""
    if not valid or not isinstance(row[1], str) or not isinstance(unit, str):
        raise FlushError(f"{node}: point {row!r:.60} is not [id, name, unit]")
    return row[0], storable(row[1]), storable(unit)
