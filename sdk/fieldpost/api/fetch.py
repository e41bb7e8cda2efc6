"""The method ``loggers.fetch``: a log's packed bytes as they are, for hosts without a cursor."""

from binascii import b2a_base64

from ..errors import ConfigError
from ..record import HEADER_BYTES


def fetch(node, args):
    """See ``loggers.fetch``."""
    name = args["subscription"]
    if name not in node.subscriptions:
        raise ConfigError("subscription", name, "the id of a subscription")
    log = node.subscriptions[name].ring
    reader = log.reader(args["index"])
    # A frame always fits into its own size.
    buf = bytearray(max(args["maxBytes"], log.frame_bytes + HEADER_BYTES))
    count, end = reader.pack(buf, 0, len(buf), 10000)
    return {
        "index": reader.index,
        "next": log.next,
        "skipped": reader.skipped,
        "count": count,
        "chunks": b2a_base64(memoryview(buf)[:end]).decode().strip(),
    }
