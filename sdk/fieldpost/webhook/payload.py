"""Messages that are longer than a record of the queue; loaded with the first message."""

import json

from ..compat import const
from ..record import HEADER_BYTES

#: Of the record around its JSON, and of what says which event it is.
_AROUND_BYTES = const(64)


def fit(data, frame_bytes, names):
    """``data`` with a ``payload`` (padded base64) that fits into a frame, ``names`` included.

    One that was cut is valid base64 of the beginning; ``payload_bytes`` is then its whole size.
    """
    payload = data["payload"]
    rest = dict(data, payload="")
    room = frame_bytes - HEADER_BYTES - _AROUND_BYTES - names - len(json.dumps(rest).encode())
    if len(payload) <= room:
        return data
    rest["payload_bytes"] = len(payload) // 4 * 3 - payload[-2:].count("=")
    rest["payload"] = payload[: max(room - 24, 0) // 4 * 4]
    return rest
