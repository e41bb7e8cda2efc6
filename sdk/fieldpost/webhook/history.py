"""The delivery log over restarts: its newest lines, in one small file that is replaced at times.

What waits or is tried again is not in it: that is in the queue.
"""

import os

from ..compat import const
from ..smallfile import seal, unseal

FILE = "/deliveries"
_MAX_BYTES = const(4096)
_FIELDS = (
    "endpoint",
    "id",
    "event",
    "key",
    "ts_ms",
    "status",
    "attempts",
    "http_status",
    "error",
    "preview",
    "count",
)
_OPEN = ("pending", "retrying")


class Line:
    """A line of an earlier boot, with the attributes of a ``Delivery``."""

    def __init__(self, values):
        for at, name in enumerate(_FIELDS):
            setattr(self, name, values[at])


def save(hooks):
    """Write the newest lines, the newest first."""
    path = hooks.folder + FILE
    try:
        with open(path + "~", "w") as file:
            for line in _lines(hooks):
                file.write(line)
        os.rename(path + "~", path)
    except OSError as error:
        hooks.unsaved(error)


def _lines(hooks):
    left = _MAX_BYTES
    for one in reversed(hooks.deliveries):
        if one.status not in _OPEN:
            line = seal([getattr(one, name) for name in _FIELDS]) + "\n"
            left -= len(line.encode())
            if left < 0:
                return
            yield line


def load(hooks):
    """Read them; what is damaged is left out."""
    found = []
    with open(hooks.folder + FILE) as file:
        for line in file:
            try:
                found.insert(0, Line(unseal(line.rstrip("\n"))))
            except (ValueError, IndexError):
                continue
    hooks.deliveries += found[-hooks.limits[0] :] if hooks.limits[0] else ()
