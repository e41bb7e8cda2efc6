"""Flush messages: encodes a subscriber's batches and hands them to a link.

Packed flushes are
``u8 0xFB | u8 1 | u32 flush id | u32 skipped | u8 length | subscription id | chunk ...``
(little endian), the chunks being the log's bytes as they are. JSON: ``outlet_json.py``.
"""

from struct import pack_into

from .compat import const

PACKED = const(0xFB)
#: Room for a packed flush's head and chunk header beside a whole frame.
HEAD_BYTES = const(128)


class Outlet:
    """Where the batches of one node's subscribers go.

    ``links`` are tried in order, the first one that is connected takes the flush. ``prefix`` is
    the node's control topic, ``buffer_bytes`` the size of the one message buffer, which every
    flush is encoded into: it should hold the largest ``maxBytes`` and ``HEAD_BYTES`` beside the
    largest frame, and grows where a flush needs more. ``buf`` is the buffer.
    """

    def __init__(self, prefix, links, buffer_bytes):
        self.links = links
        self._prefix = prefix
        self.buf = bytearray(buffer_bytes)

    def ready(self):
        """True while a link is connected."""
        return self._link() is not None

    def send(self, subscriber, flush, reader, max_records, max_bytes, done):
        """Encode and send one flush; see ``Subscriber`` for the contract."""
        self.put(max(max_bytes or 0, HEAD_BYTES + reader.ring.frame_bytes), b"")
        if subscriber.config["format"] == "packed":
            encode = _packed
        else:
            from .outlet_json import encode
        length = encode(self, subscriber, flush, reader, max_records, max_bytes or len(self.buf))
        return self.publish("/flush/" + subscriber.name, memoryview(self.buf)[:length], done)

    def tell(self, subscriber, reason):
        """Report a subscriber's end to its reader."""
        from .outlet_json import ending

        self.publish("/flush/" + subscriber.name, ending(subscriber, reason))

    def put(self, pos, data):
        """Write ``data`` into the buffer at ``pos``; returns the position behind it."""
        end = pos + len(data)
        if end > len(self.buf):
            self.buf.extend(bytes(end - len(self.buf)))
        self.buf[pos:end] = data
        return end

    def _link(self):
        for link in self.links:
            if link.connected and link.config["flush"]:
                return link
        return None

    def publish(self, leaf, payload, done=None):
        """Publish below the control topic, QoS 1; False where no link takes it."""
        link = self._link()
        topic = self._prefix + leaf
        return link is not None and link.publish(topic, payload, qos=1, keep=False, done=done)


def _packed(outlet, subscriber, flush, reader, max_records, limit):
    name = subscriber.subscription.id.encode()
    pos = outlet.put(11, name)
    header = reader.open()
    flush.count, end = reader.pack(outlet.buf, pos, limit, max_records)
    if header:
        flush.first = (header.stream, header.seq)
        if not flush.count:
            # One record goes whatever the limit.
            flush.count, end = reader.pack(outlet.buf, pos, pos + reader.ring.frame_bytes, 1)
    skipped = flush.skipped + reader.skipped
    pack_into("<BBIIB", outlet.buf, 0, PACKED, 1, flush.id, skipped, len(name))
    return end
