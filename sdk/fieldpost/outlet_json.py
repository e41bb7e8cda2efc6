"""JSON flushes: the API's object with ``value`` last; loaded for subscribers that want them."""

import json

from .compat import hexlify


def json_value(value):
    """JSON text of a record's value; null for NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return json.dumps(value) if value - value == 0 else "null"
    text = json.dumps(value)
    if isinstance(value, (list, tuple, dict)) and _may_be_wrong(text):
        text = json.dumps(_finite(value))
    return text


def _may_be_wrong(text):
    # What MicroPython and CPython write for such numbers; also in the middle of a word.
    return "nan" in text or "inf" in text or "NaN" in text or "Infinity" in text


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value


def ending(subscriber, reason):
    """The message, as bytes, that tells a subscriber's end."""
    return (_head(subscriber) + ',"error":%s}' % json.dumps(reason)).encode()


def encode(outlet, subscriber, flush, reader, max_records, limit):
    """Encode a flush into the outlet's buffer; returns its length."""
    header = reader.open()
    head = _head(subscriber) + ',"event":"flush","flush":%d' % flush.id
    if header:
        flush.first = (header.stream, header.seq)
        head += ',"stream":%d,"seq":%d' % flush.first
        skipped = flush.skipped + reader.skipped
        if skipped:
            head += ',"skipped":%d' % skipped
        if not header.dated:
            head += ',"ts_trusted":false,"boot":%d' % header.boot
    pos = outlet.put(0, (head + ',"value":').encode())
    item = subscriber.encoder.item if subscriber.encoder else _item
    end = _records(outlet, pos, flush, reader, header, max_records, limit - 2, item)
    if subscriber.config["ack"] == "md5":
        from hashlib import md5

        flush.digest = hexlify(md5(memoryview(outlet.buf)[pos:end]).digest())
    return outlet.put(end, b"}")


def _head(subscriber):
    return '{"module":"loggers","method":"subscribe","subscription":"%s"' % (
        subscriber.subscription.id
    )


def _records(outlet, pos, flush, reader, header, max_records, limit, encode_item):
    """Write the array of records from ``pos`` on, all of one stream, boot and dating."""
    end = outlet.put(pos, b"[")
    run = header and (header.stream, header.dated, header.boot)
    flush.count = 0
    while header and run == (header.stream, header.dated, header.boot):
        ms = header.base
        for _ in range(min(header.count, max_records - flush.count)):
            delta, point_id, value, text = reader.take()
            ms += delta
            item = encode_item(ms, point_id, value, text, flush.count)
            if flush.count and end + len(item) > limit:
                reader.seek(reader.index - 1)
                return outlet.put(end, b"]")
            end = outlet.put(end, item)
            flush.count += 1
        header = reader.follow(header) if flush.count < max_records else None
    return outlet.put(end, b"]")


def _item(ms, point_id, value, text, position):
    tail = "]" if text is None else "," + json.dumps(text) + "]"
    start = ",[%d,%d," if position else "[%d,%d,"
    return (start % (ms, point_id) + json_value(value) + tail).encode()
