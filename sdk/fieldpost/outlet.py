"""Flush messages: encodes a subscriber's batches and hands them to a link.

JSON flushes are the API's object with ``value`` last; packed flushes are
``u8 0xFB | u8 1 | u32 flush id | u32 skipped | u8 length | subscription id | chunk ...``
(little endian), the chunks being the log's bytes as they are.
"""

import json
from struct import pack_into

from .compat import const, hexlify

PACKED = const(0xFB)
#: Room for a packed flush's head and chunk header beside a whole frame.
HEAD_BYTES = const(128)


def json_value(value):
    """JSON text of a record's value; null for NaN and infinities, which JSON does not have."""
    if isinstance(value, float) and (value != value or value - value != 0):
        return "null"
    return json.dumps(value)


class Outlet:
    """Where the batches of one node's subscribers go.

    ``links`` are tried in order, the first one that is connected takes the flush. ``prefix`` is
    the node's control topic, ``buffer_bytes`` the size of the one message buffer, which every
    flush is encoded into: it should hold the largest ``maxBytes`` and ``HEAD_BYTES`` beside the
    largest frame, and grows where a flush needs more.
    """

    def __init__(self, prefix, links, buffer_bytes):
        self.links = links
        self._prefix = prefix
        self._buf = bytearray(buffer_bytes)

    def ready(self):
        """True while a link is connected."""
        return self._link() is not None

    def send(self, subscriber, flush, reader, max_records, max_bytes, done):
        """Encode and send one flush; see ``Subscriber`` for the contract."""
        self._put(max(max_bytes or 0, HEAD_BYTES + reader.ring.frame_bytes), b"")
        encode = self._packed if subscriber.format == "packed" else self._json
        limit = max_bytes or len(self._buf)
        length = encode(subscriber, flush, reader, max_records, limit)
        return self._publish(subscriber, memoryview(self._buf)[:length], done)

    def tell(self, subscriber, reason):
        """Report a subscriber's end to its reader."""
        message = self._head(subscriber) + ',"error":%s}' % json.dumps(reason)
        self._publish(subscriber, message.encode(), None)

    def _link(self):
        for link in self.links:
            if link.connected and link.config["flush"]:
                return link
        return None

    def _publish(self, subscriber, payload, done):
        link = self._link()
        topic = self._prefix + "/flush/" + subscriber.name
        return link is not None and link.publish(topic, payload, qos=1, keep=False, done=done)

    def _head(self, subscriber):
        return '{"module":"loggers","method":"subscribe","subscription":"%s"' % (
            subscriber.subscription.id
        )

    def _put(self, pos, data):
        end = pos + len(data)
        if end > len(self._buf):
            self._buf.extend(bytes(end - len(self._buf)))
        self._buf[pos:end] = data
        return end

    def _packed(self, subscriber, flush, reader, max_records, limit):
        name = subscriber.subscription.id.encode()
        pos = self._put(11, name)
        header = reader.open()
        flush.count, end = reader.pack(self._buf, pos, limit, max_records)
        if header:
            flush.first = (header.stream, header.seq)
            if not flush.count:
                # One record goes whatever the limit.
                flush.count, end = reader.pack(self._buf, pos, pos + reader.ring.frame_bytes, 1)
        skipped = flush.skipped + reader.skipped
        pack_into("<BBIIB", self._buf, 0, PACKED, 1, flush.id, skipped, len(name))
        return end

    def _json(self, subscriber, flush, reader, max_records, limit):
        header = reader.open()
        head = self._head(subscriber) + ',"event":"flush","flush":%d' % flush.id
        if header:
            flush.first = (header.stream, header.seq)
            head += ',"stream":%d,"seq":%d' % flush.first
            skipped = flush.skipped + reader.skipped
            if skipped:
                head += ',"skipped":%d' % skipped
            if not header.dated:
                head += ',"ts_trusted":false,"boot":%d' % header.boot
        pos = self._put(0, (head + ',"value":').encode())
        end = self._records(pos, flush, reader, header, max_records, limit - 2)
        if subscriber.ack_mode == "md5":
            from hashlib import md5

            flush.digest = hexlify(md5(memoryview(self._buf)[pos:end]).digest())
        return self._put(end, b"}")

    def _records(self, pos, flush, reader, header, max_records, limit):
        """Write the array of records from ``pos`` on, all of one stream, boot and dating."""
        end = self._put(pos, b"[")
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
                    return self._put(end, b"]")
                end = self._put(end, item)
                flush.count += 1
            header = reader.follow(header) if flush.count < max_records else None
        return self._put(end, b"]")


def _item(ms, point_id, value, text, position):
    tail = "]" if text is None else "," + json.dumps(text) + "]"
    start = ",[%d,%d," if position else "[%d,%d,"
    return (start % (ms, point_id) + json_value(value) + tail).encode()
