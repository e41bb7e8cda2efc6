"""The packed record format: how the ring, the flash log, packed flushes and the host see records.

A **chunk** is a 32-byte header and a body of records, little endian::

    0 u8  0xF5              8 u32 stream               20 u64 base ms
    1 u8  flags, version    12 u32 boot                28 u32 CRC-32 of header[0:28] + body
    2 u16 body length       16 u32 seq of the first
    4 u16 record count      (6 u16 is zero, and inside a log its own)

Flag bit 0 says that the base is Unix ms; without it the base is monotonic ms of that boot. Bits 4
to 7 hold the version, 1.

A **record** is ``tag u8 | point id varint | ms since the record before varint | value | [text]``.
The low nibble of the tag is the type, bit 7 says that the driver's text follows. Varints are
little-endian base 128 (LEB128). Integers take 1, 2, 4 or 8 bytes and are exact from -2**63 to
2**64-1; floats take 4 bytes where that is exact and 8 otherwise; text and JSON are UTF-8 behind a
varint length.
"""

import json
import struct
from struct import pack_into, unpack_from

from .compat import const, crc32
from .errors import FieldpostError

MAGIC = const(0xF5)
VERSION = const(0x10)
DATED = const(0x01)
HEADER_BYTES = const(32)
#: Longest record without text: tag, two 5-byte varints, 8 bytes of value; rounded up.
NUMBER_BYTES = const(20)

_NULL = const(0)
_FALSE = const(1)
_TRUE = const(2)
_I8 = const(3)
_I16 = const(4)
_I32 = const(5)
_I64 = const(6)
_U64 = const(7)
_F32 = const(8)
_F64 = const(9)
_TEXT = const(10)
_JSON = const(11)
_HAS_TEXT = const(0x80)

_SIZES = b"\0\0\0\x01\x02\x04\x08\x08\x04\x08"
_FORMATS = (None, None, None, "<b", "<h", "<i", "<q", "<Q", "<f", "<d")
#: Reading torn bytes, or JSON nested too deeply (RuntimeError), raises one of these.
_TORN = (IndexError, ValueError, RuntimeError, getattr(struct, "error", ValueError))


class RecordError(FieldpostError):
    """Bytes are not a whole, undamaged chunk, or a value cannot be a record."""


def _put_varint(buf, pos, value):
    if value >> 32:
        raise RecordError("point id beyond 32 bit")
    while value > 0x7F:
        buf[pos] = value & 0x7F | 0x80
        value >>= 7
        pos += 1
    buf[pos] = value
    return pos + 1


def _put_float(buf, pos, value):
    # Exact as float32 when the double's low 29 mantissa bits are zero and the exponent is in
    # float32's normal range (or the value is zero, infinite or NaN). Bits are compared because
    # reading a float back would allocate it.
    pack_into("<d", buf, pos, value)
    if not (buf[pos] | buf[pos + 1] | buf[pos + 2] | buf[pos + 3] & 0x1F):
        high = buf[pos + 6]
        exponent = (buf[pos + 7] & 0x7F) << 4 | high >> 4
        zero = not (exponent | buf[pos + 3] | buf[pos + 4] | buf[pos + 5] | high & 0x0F)
        if 897 <= exponent <= 1150 or exponent == 2047 or zero:
            pack_into("<f", buf, pos, value)
            return _F32
    return _F64


def _put_int(buf, pos, value):
    if -128 <= value <= 127:
        buf[pos] = value & 0xFF
        return _I8
    if -32768 <= value <= 32767:
        pack_into("<h", buf, pos, value)
        return _I16
    if -0x80000000 <= value <= 0x7FFFFFFF:
        pack_into("<i", buf, pos, value)
        return _I32
    if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        pack_into("<q", buf, pos, value)
        return _I64
    if 0 <= value <= 0xFFFFFFFFFFFFFFFF:
        pack_into("<Q", buf, pos, value)
        return _U64
    raise RecordError("integer beyond 64 bit")


def _encode(text):
    data = text.encode("utf-8", "surrogatepass")
    # Halves of surrogate pairs (MicroPython's json.loads makes two of an escaped emoji) are no
    # UTF-8 and would make the whole chunk unreadable: each becomes U+FFFD.
    at = data.find(b"\xed")
    while at >= 0:
        if data[at + 1] >= 0xA0:
            data = data[:at] + b"\xef\xbf\xbd" + data[at + 3 :]
        at = data.find(b"\xed", at + 1)
    return data


def _as_bytes(value):
    if isinstance(value, str):
        return _TEXT, _encode(value)
    if not isinstance(value, (list, dict, tuple)):
        raise RecordError("a %s cannot be recorded" % type(value).__name__)
    try:
        data = _encode(json.dumps(value, separators=(",", ":")))
        json.loads(data)  # MicroPython writes nan and <object>, which nobody reads back.
    except (TypeError, ValueError, RuntimeError):
        raise RecordError("not JSON") from None
    return _JSON, data


def _put_bytes(buf, pos, data):
    pos = _put_varint(buf, pos, len(data))
    end = pos + len(data)
    buf[pos:end] = data
    return end


def write(buf, pos, end, point_id, delta_ms, value, text=None):
    """Write one record at ``buf[pos:end]``; returns the position behind it.

    Where that is too little room, returns minus the number of bytes needed at least. Allocates
    nothing for numbers, bools and None without text. Raises RecordError for a value that no
    record can hold, and for a point id beyond 32 bit.
    """
    need = NUMBER_BYTES
    if end - pos < need:
        return -need
    start = pos
    # The usual one-byte varints without a call.
    if point_id >> 7:
        pos = _put_varint(buf, pos + 1, point_id)
    else:
        buf[pos + 1] = point_id
        pos += 2
    if delta_ms >> 7:
        pos = _put_varint(buf, pos, delta_ms)
    else:
        buf[pos] = delta_ms
        pos += 1
    kind = type(value)
    if kind is float:
        tag = _put_float(buf, pos, value)
    elif kind is int:
        tag = _put_int(buf, pos, value)
    elif value is None:
        tag = _NULL
    elif kind is bool:
        tag = _TRUE if value else _FALSE
    else:
        tag, data = _as_bytes(value)
        need += len(data)
        if end - start < need:
            return -need
        pos = _put_bytes(buf, pos, data)
    if tag <= _F64:
        pos += _SIZES[tag]
    if text is not None:
        data = _encode(text)
        need += len(data) + 5
        if end - start < need:
            return -need
        pos = _put_bytes(buf, pos, data)
        tag |= _HAS_TEXT
    buf[start] = tag
    return pos


def _varint(buf, pos):
    value = shift = 0
    while True:
        byte = buf[pos]
        value |= (byte & 0x7F) << shift
        pos += 1
        if byte < 0x80:
            return value, pos
        shift += 7
        if shift > 28:
            raise ValueError


def _text(buf, pos):
    length, pos = _varint(buf, pos)
    end = pos + length
    if end > len(buf):
        raise ValueError
    return str(bytes(buf[pos:end]), "utf-8"), end


def read(buf, pos):
    """Decode one record: ``(position behind it, point id, delta ms, value, text)``.

    The caller knows that ``buf`` holds a whole record there; ``decode`` checks what comes from
    outside.
    """
    tag = buf[pos]
    point_id, pos = _varint(buf, pos + 1)
    delta, pos = _varint(buf, pos)
    kind = tag & 0x0F
    if kind >= _I8:
        if kind <= _F64:
            value = unpack_from(_FORMATS[kind], buf, pos)[0]
            pos += _SIZES[kind]
        elif kind <= _JSON:
            value, pos = _text(buf, pos)
            if kind == _JSON:
                value = json.loads(value)
        else:
            raise ValueError
    else:
        value = None if kind == _NULL else kind == _TRUE
    if tag & _HAS_TEXT:
        text, pos = _text(buf, pos)
    else:
        text = None
    return pos, point_id, delta, value, text


def skip(buf, pos):
    """Step over one record: ``(position behind it, delta ms)``."""
    tag = buf[pos]
    pos += 1
    while buf[pos] & 0x80:
        pos += 1
    delta, pos = _varint(buf, pos + 1)
    kind = tag & 0x0F
    if kind <= _F64:
        pos += _SIZES[kind]
    else:
        length, pos = _varint(buf, pos)
        pos += length
    if tag & _HAS_TEXT:
        length, pos = _varint(buf, pos)
        pos += length
    return pos, delta


class Header:
    """What a chunk's header says: ``dated``, ``stream``, ``boot``, ``seq``, ``base`` (ms),
    ``count``, ``length`` (bytes of the body) and ``mark`` (the u16 at 6)."""

    def __init__(self, dated, stream, boot, seq, base, count, length, mark):
        self.dated = dated
        self.stream = stream
        self.boot = boot
        self.seq = seq
        self.base = base
        self.count = count
        self.length = length
        self.mark = mark

    def put(self, buf, pos):
        """Write it at ``pos``, with the CRC that includes the body behind it."""
        put_header(
            buf,
            pos,
            self.dated,
            self.stream,
            self.boot,
            self.seq,
            self.base,
            self.count,
            self.length,
            self.mark,
        )
        seal(buf, pos, self.length)


def put_header(buf, pos, dated, stream, boot, seq, base, count, length, mark=0):
    """Write a header at ``pos``, all but the CRC, which ``seal`` adds. Allocates nothing."""
    flags = VERSION | (DATED if dated else 0)
    pack_into("<BBHHH", buf, pos, MAGIC, flags, length, count, mark)
    pack_into("<IIIQ", buf, pos + 8, stream, boot, seq, base)


def _crc(buf, pos, length):
    view = memoryview(buf)
    body = pos + HEADER_BYTES
    return crc32(view[body : body + length], crc32(view[pos : pos + 28]))


def seal(buf, pos, length):
    """Write the CRC of the chunk whose header is at ``pos`` and whose body has ``length``."""
    pack_into("<I", buf, pos + 28, _crc(buf, pos, length))


def parse_header(buf, pos=0):
    """The ``Header`` at ``pos``, checked for magic, version and completeness of the chunk.

    Raises RecordError. The CRC is not looked at; ``check`` does that.
    """
    if len(buf) - pos < HEADER_BYTES:
        raise RecordError("torn chunk")
    magic, flags, length, count, mark = unpack_from("<BBHHH", buf, pos)
    if magic != MAGIC or flags & 0xF0 != VERSION:
        raise RecordError("not a chunk of version 1")
    if len(buf) - pos < HEADER_BYTES + length:
        raise RecordError("torn chunk")
    stream, boot, seq, base = unpack_from("<IIIQ", buf, pos + 8)
    return Header(bool(flags & DATED), stream, boot, seq, base, count, length, mark)


def check(buf, pos, header):
    """Raise RecordError unless the CRC of the chunk at ``pos`` is right."""
    if unpack_from("<I", buf, pos + 28)[0] != _crc(buf, pos, header.length):
        raise RecordError("chunk with a wrong CRC")


def decode(buf, pos=0):
    """Decode the chunk at ``pos``: ``(Header, [(ms, point id, value, text), ...], end)``.

    ``ms`` is Unix ms where ``Header.dated``, else monotonic ms of the boot. Raises RecordError
    for anything but a whole, undamaged chunk.
    """
    header = parse_header(buf, pos)
    check(buf, pos, header)
    pos += HEADER_BYTES
    end = pos + header.length
    ms = header.base
    records = []
    try:
        for _ in range(header.count):
            pos, point_id, delta, value, text = read(buf, pos)
            ms += delta
            records.append((ms, point_id, value, text))
        if pos != end:
            raise ValueError
    except _TORN:
        raise RecordError("damaged record") from None
    return header, records, end
