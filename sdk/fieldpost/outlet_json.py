"""JSON flushes: the API's object with ``value`` last; loaded for subscribers that want them."""

import json

from .compat import hexlify


def json_value(value):
    """JSON text of a record's value; null for NaN and infinities, which JSON does not have."""
    if isinstance(value, float) and (value != value or value - value != 0):
        return "null"
    return json.dumps(value)


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
    end = _records(outlet, pos, flush, reader, header, max_records, limit - 2)
    if subscriber.ack_mode == "md5":
        from hashlib import md5

        flush.digest = hexlify(md5(memoryview(outlet.buf)[pos:end]).digest())
    return outlet.put(end, b"}")


def _head(subscriber):
    return '{"module":"loggers","method":"subscribe","subscription":"%s"' % (
        subscriber.subscription.id
    )


def _records(outlet, pos, flush, reader, header, max_records, limit):
    """Write the array of records from ``pos`` on, all of one stream, boot and dating."""
    end = outlet.put(pos, b"[")
    run = header and (header.stream, header.dated, header.boot)
    flush.count = 0
    while header and run == (header.stream, header.dated, header.boot):
        ms = header.base
        for _ in range(min(header.count, max_records - flush.count)):
            delta, point_id, value, text = reader.take()
            ms += delta
            item = _item(ms, point_id, value, text, flush.count)
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
