"""``machine`` of the virtual board: what an ESP32 board has there and the unix port lacks.

It runs on MicroPython, on virtual boards only, and keeps to what firmware needs to live through
resets: ``reset``, ``reset_cause``, ``unique_id``, RTC memory and the watchdog. ``board.py`` is
the rest of the chip: it hears ``tell`` over a socket, and kills and starts the process.
"""

import os
import sys
import time

import vfs
from uctypes import bytearray_at
from umachine import *  # noqa: F403 - the built-in module, which this file stands in front of

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_FILE = 0x8000  # file type in ilistdir

_chip = None


class _Chip:
    """What the process was started with."""

    def __init__(self, line, cause, uid, rtc):
        self.line = line
        self.cause = cause
        self.uid = uid
        self.rtc = rtc


class _Flash:
    """The board's file system: a folder. The computer's ``/proc`` and ``/sys`` can be read too.

    They are not mounted, because a listing of ``/`` shows what is, and tools copy what it shows.
    """

    def __init__(self, folder):
        self._folder = folder
        self._flash = vfs.VfsPosix(folder)
        self._computer = vfs.VfsPosix("/")
        self._plain = vfs.VfsPosix()

    def __getattr__(self, name):
        return getattr(self._flash, name)

    def _of(self, path):
        return self._computer if path.startswith(("/proc/", "/sys/")) else self._flash

    def open(self, path, mode):
        fs = self._of(path)
        if fs is self._computer and mode not in ("r", "rb"):
            raise OSError(30)  # EROFS, which errno lacks here
        return fs.open(path, mode)

    def ilistdir(self, path):
        fs = self._of(path)
        for name, kind, inode in fs.ilistdir(path):
            full = path.rstrip("/") + "/" + name if path else name
            yield name, kind, inode, fs.stat(full)[6] if kind == _FILE else 0

    def stat(self, path):
        return self._of(path).stat(path)

    def rename(self, old, new):
        # A VfsPosix with a folder has one buffer for both paths.
        self._plain.rename(self._real(old), self._real(new))

    def _real(self, path):
        return self._folder + path if path.startswith("/") else path


def _start(fd, cause, uid, state, folder, raw):
    """Make the process look like a board: ``folder`` is its flash, mounted at ``/``.

    ``state`` is the folder that holds what outlives a reset but no power cut. Where the process
    was given the place of a ROMFS partition in memory, its image is mounted at ``/rom``; with
    ``raw``, for the raw REPL, it can be written as well (``partition.py``, which takes memory that
    a chip has in its firmware). Where the flash has a folder ``pins``, this module has ``Pin`` and
    ``ADC`` of ``pins.py``.
    """
    global _chip
    _chip = _Chip(open(fd, "wb"), cause, uid, vfs.VfsPosix(state))
    if "pins" in os.listdir(folder):
        # Now, because the folder that it is in is not to be seen any more.
        import pins

        globals().update(Pin=pins.Pin, ADC=pins.ADC)
    rom = bytearray_at(int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) == 3 else None
    if rom and raw:
        import partition

        partition.offer(rom)
    vfs.umount("/")
    vfs.mount(_Flash(folder), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    if rom:
        _mount_rom(rom)
    sys.argv.clear()
    os.putenv("MICROPYINSPECT", "1")


def _mount_rom(rom):
    try:
        vfs.mount(vfs.VfsRom(rom), "/rom")
    except OSError:
        return  # empty, or damaged
    sys.path += ["/rom", "/rom/lib"]


def _exists(name):
    return name in os.listdir("/")


def _tell(text):
    _chip.line.write(text + "\n")


def reset():
    """Reset the chip at once, as its reset pin would: nothing of the program runs any more."""
    _tell("reset")
    while True:
        time.sleep(1)


def reset_cause():
    """Why the chip started: one of the ``*_RESET`` constants."""
    return _chip.cause


def unique_id():
    """Six bytes, always the same for the same flash folder."""
    return _chip.uid


class RTC:
    """RTC memory only; the clock is the computer's."""

    SIZE = 2048

    def memory(self, data=None):
        """Read, or replace by ``data`` (≤ 2048 bytes); kept over resets, lost with the power."""
        if data is None:
            try:
                with _chip.rtc.open("/rtc", "rb") as file:
                    return file.read()
            except OSError:
                return b""
        if len(data) > self.SIZE:
            raise ValueError("buffer too long")
        with _chip.rtc.open("/rtc", "wb") as file:
            file.write(data)
        return None


class WDT:
    """Watchdog: resets the chip unless fed every ``timeout`` ms; cannot be stopped."""

    def __init__(self, id=0, timeout=5000):
        if id != 0 or timeout < 1:
            raise ValueError
        _tell("watchdog %d" % timeout)

    def feed(self):
        """Start the timeout again."""
        _tell("feed")
