"""One run of MicroPython on a pseudo terminal, from power to exit: the processor of a board.

``Chip`` starts the process, moves bytes and delivers Ctrl-C the way a UART's interrupt handler
does. What should happen when the process ends, the board decides. Linux only (``/proc``).
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tty
from pathlib import Path

from fieldpost_tools.sim import launch

POWER_ON, RESET, WATCHDOG, SOFT = 1, 2, 3, 5  # machine.reset_cause() of an ESP32

# What the process runs before the REPL. The names are odd because boot.py, main.py and the REPL
# share its globals. As on a board, main.py runs only if boot.py ended well, and SystemExit is a
# soft reset. "boot": from here on Ctrl-C is the program's. "idle": the REPL comes next.
BOOT = """
import sys as _s
_s.path[:] = [{modules!r}]
import machine as _m
_m._start({fd}, {cause}, {uid!r}, {state!r}, {folder!r}, {raw})
_f = None
try:
    _m._tell("boot")
    for _f in {files!r}:
        if _m._exists(_f):
            execfile(_f)
except SystemExit:
    _m.os.unsetenv("MICROPYINSPECT")
    raise
except BaseException as _e:
    _s.print_exception(_e)
_m._tell("idle")
del _s, _m, _f
"""


def micropython():
    """Path of ``micropython``: beside the running Python, else on PATH; None if there is none."""
    beside = Path(sys.executable).parent
    return shutil.which("micropython", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")


def interpreter():
    """Path of the module that is MicroPython inside a CPython process; None if there is none."""
    spec = importlib.util.find_spec("micropython_run")
    return spec and spec.origin


class Chip:
    """A running MicroPython.

    ``executable`` is its path, ``heap`` its heap (``"128k"``), ``folder`` becomes ``/``,
    ``state`` holds the RTC memory, ``uid`` are the six bytes of ``machine.unique_id()``,
    ``cause`` the reset cause, ``files`` what it runs before the REPL, ``env`` its environment,
    ``romfs`` the file that is its ROMFS partition, or None.
    ``master`` and ``control`` are for ``poll``; every call returns at once but ``end`` and
    ``interrupt``, which wait for the kernel.
    """

    END_TIMEOUT_S = 5
    READ_BYTES = 65536

    def __init__(self, executable, heap, folder, state, uid, cause, files, env, romfs=None):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.booted = False
        self.pending = bytearray()  # input that the terminal did not take yet
        self._slave = slave  # held, so that the terminal outlives the process' last words
        self._lines = b""
        self.control, theirs = socket.socketpair()
        code = BOOT.format(
            modules=str(Path(__file__).parent),
            fd=theirs.fileno(),
            cause=cause,
            uid=uid,
            state=str(state),
            folder=str(folder),
            files=tuple(files),
            raw="main.py" not in files,
        )
        launcher = [sys.executable, "-I", "-S", launch.__file__]
        program = ["--rom", romfs, interpreter()] if romfs else [executable]
        self.process = subprocess.Popen(
            [*launcher, *program, "-X", f"heapsize={heap}", "-c", code],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=env,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        os.set_blocking(self.master, False)
        self.control.setblocking(False)

    def read(self):
        """What it has printed since the last call, ``b""`` if nothing."""
        try:
            return os.read(self.master, self.READ_BYTES)
        except BlockingIOError:
            return b""

    def messages(self):
        """``(lines, ended)``: what it told since the last call, and whether it is gone."""
        try:
            data = self.control.recv(self.READ_BYTES)
        except BlockingIOError:
            return [], False
        *lines, self._lines = (self._lines + data).split(b"\n")
        return [line.decode() for line in lines], not data

    def write(self, data=b""):
        """Give it input; what the terminal does not take yet stays in ``pending``."""
        self.pending += data
        with contextlib.suppress(BlockingIOError):
            del self.pending[: os.write(self.master, self.pending)]

    def interrupt(self):
        """Ctrl-C: True if a running program got it, False if the REPL reads it as input.

        The process is stopped meanwhile: between programs the signal would kill it, so it must
        not go on between the look and the signal.
        """
        pid = self.process.pid
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            running = _catches(pid, signal.SIGINT)
            if running:
                os.kill(pid, signal.SIGINT)
        finally:
            os.kill(pid, signal.SIGCONT)
        return running

    def end(self, kill=True):
        """Kill it and all it started (or only reap it): ``(exit code, what it still printed)``."""
        if kill:
            os.killpg(self.process.pid, signal.SIGKILL)
        try:
            code = self.process.wait(self.END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            code = self.process.wait(self.END_TIMEOUT_S)
        words = b"".join(iter(self.read, b""))
        self.control.close()
        os.close(self.master)
        os.close(self._slave)
        return code, words


def _catches(pid, number):
    """Does the process handle this signal itself?"""
    with open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
