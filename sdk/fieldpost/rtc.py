"""The unflushed tail of a durable log in RTC memory, which survives every reset but no power cut.

Once a second what is not on flash is copied there: ``"FPR1" | u32 CRC-32 of the log's folder``,
then the bytes of a segment (see ``segment.py``). The next boot writes that segment, with the
stream and the numbers its records had, before it records anything.

The board has one RTC memory, so it can be one log's only.
"""

from struct import pack

from . import segment
from .compat import const, crc32

_HEAD_BYTES = const(8)
_LENGTH_BYTES = const(2048)  # what an ESP32 has


def tail_of(log):
    """The ``Tail`` of a log; None, and an error of the log, where there is no such memory."""
    try:
        from machine import RTC

        return Tail(log, RTC().memory)
    except (ImportError, AttributeError) as error:
        log.failed(error)
        return None


class Tail:
    """The tail of ``log`` in ``memory``, a function like ``machine.RTC().memory``."""

    def __init__(self, log, memory):
        self._log = log
        self._memory = memory
        self._buf = bytearray(_LENGTH_BYTES)
        self._buf[:_HEAD_BYTES] = b"FPR1" + pack("<I", crc32(log.folder.encode()))
        self._kept = None

    def recover(self, end):
        """Write what an earlier boot left, if it goes beyond index ``end``; True if it does.

        Raises OSError.
        """
        data = bytes(self._memory())
        found = None
        if data[:_HEAD_BYTES] == bytes(self._buf[:_HEAD_BYTES]):
            data = data[_HEAD_BYTES:]
            found = segment.parse(data)
        news = found is not None and found[1] > end
        if news:
            segment.write(self._log.folder, found[0], (data,))
        # From here on it may be delivered and deleted: it must not come again.
        self._memory(b"")
        return news

    def keep(self):
        """Copy what is not on flash; where that is too much, it is written to flash first."""
        log = self._log
        if self._kept == (log.stored, log.next, log.clock.trusted):
            return
        slots = log.waiting()
        while True:
            parts = log.image(slots) if slots else ()
            if sum(len(part) for part in parts) <= _LENGTH_BYTES - _HEAD_BYTES:
                break
            slots = log.waiting() if log.store(True) else slots[:-1]
        pos = _HEAD_BYTES
        for part in parts:
            self._buf[pos : pos + len(part)] = part
            pos += len(part)
        self._memory(memoryview(self._buf)[:pos] if parts else b"")
        self._kept = log.stored, log.next, log.clock.trusted
