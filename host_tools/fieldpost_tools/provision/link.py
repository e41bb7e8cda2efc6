"""Links to the raw REPL of a board: mpremote's and ampy's, behind one interface.

::

    with link.open("/dev/ttyUSB0", "mpremote") as board:
        board.exec("print(1 + 1)")             # "2\n"
        board.reset()

``open`` interrupts the program that runs and soft-resets the board, so that its heap is empty;
after that only what is sent runs. The tools' own code does that and carries every program.
"""

import contextlib
import os
import struct
import time

import serial

from fieldpost_tools.api.errors import ApiLinkError
from fieldpost_tools.errors import InputError, ToolError

TOOLS = ("mpremote", "ampy")


class PortError(ApiLinkError):
    """The serial port is missing, not permitted, or used by another program (exit code 3)."""


class LostError(ApiLinkError):
    """The board does not answer any more: unplugged, without power, or hanging (exit code 3)."""


class SilentError(ApiLinkError):
    """Nothing at the port is a MicroPython that gives its REPL (exit code 3)."""


class BoardFault(ToolError):  # noqa: N818 - an exception of the board's, not ours
    """A program on the board raised; ``str()`` is the last line of its traceback."""

    def __init__(self, traceback):
        super().__init__("the board says " + (traceback.strip().splitlines() or ["nothing"])[-1])
        self.traceback = traceback


class Link:
    """What both have in common; a context manager that closes."""

    PAUSE_S = 0.2

    def __init__(self, port, timeout_s):
        self.port = port
        self._timeout_s = timeout_s

    def exec(self, program):
        """Run a program; what it printed. Raises BoardFault, LostError."""
        with self.mapped():
            output, problem = self._run(program)
        if problem:
            raise BoardFault(problem.decode(errors="replace"))
        return output.decode(errors="replace")

    def reset(self):
        """Reset the board as its pin would, and let go of it."""
        with self.mapped():
            # Later, so that the port is closed before a USB board takes it away.
            self._start("import time, machine\ntime.sleep_ms(100)\nmachine.reset()")
        self.close()

    def abandon(self):
        """Have the board boot, whatever it is doing; nothing is waited for. Never raises."""
        with contextlib.suppress(OSError):
            self._serial().write(b"\r\x03\x03")  # what runs, or comes in, ends
            time.sleep(self.PAUSE_S)
            self._serial().write(b"\r\x02\x04")  # a soft reset from the friendly REPL
        self.close()

    def close(self):
        """Let go of the port."""
        with contextlib.suppress(OSError):
            self._close()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    @contextlib.contextmanager
    def mapped(self):
        """What the tools raise when a board is gone, as ours."""
        try:
            yield
        except (OSError, struct.error, IndexError, TypeError) as error:
            # struct.error and the like: mpremote got less than it waited for.
            reason = os.strerror(error.errno).lower() if getattr(error, "errno", None) else ""
            raise self._gone(reason) from error
        except self._problems() as error:
            raise self._gone(str(error)) from error

    def _gone(self, reason):
        words = f" ({reason})" if reason else ""
        return LostError(f"the board at {self.port} does not answer any more{words}")


class _Mpremote(Link):
    """mpremote's transport: raw-paste mode, so that a board takes only what it has room for."""

    FIRST_S = 3.0

    def __init__(self, port, timeout_s):
        super().__init__(port, timeout_s)
        from mpremote import transport_serial
        from mpremote.transport import TransportError

        transport_serial.print = _silent  # it prints what a board said instead of a prompt
        try:
            self.transport = transport_serial.SerialTransport(port, timeout=timeout_s)
        except TransportError:
            raise _no_port(port) from None
        self._limit_waits()
        try:
            self._enter()
        except (TransportError, OSError):
            self.close()
            raise _silence(port) from None

    def _limit_waits(self):
        """Some of its waits cannot be set otherwise."""
        read_until, limit = self.transport.read_until, self._timeout_s

        def bounded(count, ending, timeout=limit, **options):
            timeout = limit if timeout is None else timeout
            return read_until(count, ending, timeout=timeout, **options)

        self.transport.read_until = bounded

    def _enter(self):
        """Try again where a program that ends took the keys for its own input; in the end without
        a soft reset, because of a boot.py that does not end."""
        from mpremote.transport import TransportError

        whole = self._timeout_s
        for soft_reset, wait_s in ((True, min(self.FIRST_S, whole)), (True, whole)):
            with contextlib.suppress(TransportError):
                self.transport.enter_raw_repl(soft_reset, timeout_overall=wait_s)
                return
        self.transport.enter_raw_repl(soft_reset=False, timeout_overall=whole)

    @staticmethod
    def _problems():
        from mpremote.transport import TransportError

        return TransportError

    def _run(self, program):
        return self.transport.exec_raw(program, self._timeout_s)

    def _start(self, program):
        self.transport.exec_raw_no_follow(program)

    def _serial(self):
        return self.transport.serial

    def _close(self):
        self.transport.close()


class _Ampy(Link):
    """ampy's pyboard: plain raw REPL, for boards and bridges that mpremote has trouble with."""

    def __init__(self, port, timeout_s):
        super().__init__(port, timeout_s)
        from ampy import pyboard

        pyboard.print = _silent
        try:
            self._board = pyboard.Pyboard(port)
            # It opens without either, and then waits for ever, beside another program.
            self._board.serial.timeout = timeout_s
            self._board.serial.exclusive = True
        except (pyboard.PyboardError, OSError, AttributeError):
            raise _no_port(port) from None
        try:
            self._board.enter_raw_repl()
        except (pyboard.PyboardError, OSError):
            self.close()
            raise _silence(port) from None

    @staticmethod
    def _problems():
        from ampy.pyboard import PyboardError

        return PyboardError

    def _run(self, program):
        return self._board.exec_raw(program, self._timeout_s)

    def _start(self, program):
        self._board.exec_raw_no_follow(program)

    def _serial(self):
        return self._board.serial

    def _close(self):
        self._board.close()


def open(port, tool="mpremote", timeout_s=10.0):
    """A ``Link`` to the board at ``port``, by the code of ``tool``, one of ``TOOLS``.

    ``timeout_s`` is the longest silence that is waited for. Raises PortError, SilentError.
    """
    if tool not in TOOLS:
        raise InputError("tool", tool, "one of " + ", ".join(TOOLS))
    return (_Mpremote if tool == "mpremote" else _Ampy)(port, timeout_s)


def _silent(*_words, **_options):
    """In place of their print."""


def _silence(port):
    return SilentError(
        f"no MicroPython answers at {port}: is its firmware installed, and nothing else running?"
    )


def _no_port(port):
    """Why a port cannot be opened, which the tools do not tell."""
    reason = "another program uses it"
    try:
        serial.Serial(port, exclusive=True).close()
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        if "lock" not in str(error):
            reason = os.strerror(number).lower() if number else "no such serial port"
    return PortError(f"{port}: {reason}")
