"""The host's end of a board's serial line: a pseudo terminal behind a path that stays."""

import os
import time
import tty
from pathlib import Path

from fieldpost_tools.errors import InputError


class Port:
    """A serial device that hosts open by ``link``, a symlink.

    Whether one has it open shows only when reading, see ``read``. What is written while none has
    is lost, as on any serial line. Nothing here blocks.
    """

    QUEUE_BYTES = 64 * 1024
    STALL_S = 1.0  # a host that takes nothing for so long loses what waits for it
    READ_BYTES = 4096

    def __init__(self, link):
        self.attached = False
        self.dropped = 0
        self.queue = bytearray()
        self._progress = 0.0
        self.master, slave = os.openpty()
        os.set_blocking(self.master, False)
        tty.setraw(slave)
        self._device = os.ttyname(slave)
        os.close(slave)  # held open, it would hide that no host has it open
        self._link = Path(link)
        self._put_link()

    def _put_link(self):
        if self._link.exists() and not self._link.is_symlink():
            raise InputError("link", str(self._link), "a path that is free or a symlink")
        new = self._link.with_name(f"{self._link.name}.{os.getpid()}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(self._device)
        new.replace(self._link)

    def close(self):
        """Take the device away."""
        if self._link.is_symlink() and os.readlink(self._link) == self._device:
            self._link.unlink()
        os.close(self.master)

    def read(self):
        """What hosts have written; ``b""`` if nothing. Sets ``attached``."""
        try:
            data = os.read(self.master, self.READ_BYTES)
        except BlockingIOError:
            self._attach(True)
        except OSError:  # EIO: nobody has the other end open
            self._attach(False)
        else:
            self._attach(True)
            return data
        return b""

    def _attach(self, attached):
        if attached != self.attached:
            self.attached = attached
            self.queue.clear()
            self._progress = time.monotonic()

    def write(self, data):
        """Queue bytes for the host."""
        if self.attached:
            self.queue += data
            self.flush()

    def flush(self):
        """Pass on as much of the queue as the terminal takes."""
        try:
            sent = os.write(self.master, self.queue) if self.queue else 0
        except BlockingIOError:
            return
        if sent:
            del self.queue[:sent]
            self._progress = time.monotonic()

    def full(self):
        """Should the writer wait? Not for a host that has stalled: its queue is dropped."""
        if len(self.queue) < self.QUEUE_BYTES:
            return False
        if time.monotonic() - self._progress < self.STALL_S:
            return True
        self.dropped += len(self.queue)
        self.queue.clear()
        return False
