"""The thread behind a virtual board: moves bytes between port, chip and console, and resets.

Everything it owns is touched by its thread only; others ask through ``do``.
"""

import collections
import concurrent.futures
import os
import select
import threading
import time

from fieldpost_tools.errors import ToolError
from fieldpost_tools.sim import chip as chips

CTRL_A, CTRL_C = b"\x01", b"\x03"
RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n"
BANNER = b"MicroPython "
FRIENDLY_PROMPT = b'Type "help()" for more information.\r\n>>> '
GREETINGS = {
    chips.POWER_ON: b"rst:0x1 (POWERON_RESET)\r\n",
    chips.RESET: b"rst:0xc (SW_CPU_RESET)\r\n",
    chips.WATCHDOG: b"rst:0x8 (TG1WDT_SYS_RESET)\r\n",
    chips.SOFT: b"MPY: soft reboot\r\n",
}


class BoardError(ToolError):
    """The board cannot boot, does not do in time what was asked, or raised an exception."""


class Engine:
    """Runs a board: ``make_chip(cause, files)`` starts a processor, ``power_lost()`` is called
    when the power goes."""

    ASK_TIMEOUT_S = 15
    ATTACH_POLL_S = 0.025  # how soon a host that opens the device is noticed
    INPUT_BYTES = 256 * 1024  # input that waits for the chip; more is dropped
    SPAWN_INTERVAL_S = 0.1  # a program that exits at once must not spin
    INTERRUPT_INTERVAL_S = 0.05  # a SIGINT before the last one is handled ends the process

    def __init__(self, port, console, make_chip, power_lost):
        self.chip = None
        self.boots = 0
        self.dropped = 0
        self._port = port
        self._console = console
        self._make_chip = make_chip
        self._power_lost = power_lost
        self._raw = False  # the host has it in the raw REPL
        self._tail = b""  # of what was printed: prompts may arrive in pieces
        self._hidden = None  # a banner being swallowed on the way to the raw REPL
        self._held = b""  # input not yet given to the chip
        self._quiet_until = 0.0
        self._spawned = 0.0
        self._restart_cause = None
        self._watchdog_s = self._watchdog_end = None
        self._boot_waiters = []
        self._asked = collections.deque()
        self._asking = threading.Lock()
        self._closing = False
        self._fault = None
        self._wake_read, self._wake = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self._thread.start()

    # For other threads

    def do(self, function, *args):
        """Call ``function`` in the engine's thread; its result."""
        done = concurrent.futures.Future()
        with self._asking:
            if self._fault:
                raise self._fault
            self._asked.append((function, args, done))
        os.write(self._wake, b"\0")
        return done.result(self.ASK_TIMEOUT_S)

    def boot(self, function, *args):
        """Call a function that makes the board boot, and wait until it has come to boot.py."""
        booted = concurrent.futures.Future()
        self.do(self._boot_waiters.append, booted)
        self.do(function, *args)
        try:
            booted.result(self.ASK_TIMEOUT_S)
        except concurrent.futures.TimeoutError:
            raise BoardError(f"it did not boot in {self.ASK_TIMEOUT_S} s") from None

    def close(self):
        """Power off and end the thread."""
        if not self._fault:
            self.do(self._close)
        self._thread.join()
        os.close(self._wake)
        os.close(self._wake_read)

    # Called in the thread, through do

    def power_on(self):
        """Start a chip."""
        self._console.fail(None)
        self._print(GREETINGS[chips.POWER_ON])
        self._spawn(chips.POWER_ON)

    def power_off(self):
        """Kill the chip; nothing is left in any memory but flash."""
        if self.chip:
            self._print(self.chip.end()[1])
            self.chip = None
        self._held = self._tail = b""
        self._watchdog_end = None
        self._raw = False
        self._power_lost()

    def type(self, data):
        """Input from the host."""
        if len(self._held) + len(data) + len(self.chip.pending if self.chip else b"") > (
            self.INPUT_BYTES
        ):
            self.dropped += len(data)
        elif self.chip:
            self._held += data

    def _close(self):
        self.power_off()
        self._closing = True

    # The thread

    def _run(self):
        try:
            while not self._closing:
                self._turn()
        finally:
            if not self._closing:
                self._give_up()
            self._port.close()

    def _give_up(self):
        """The thread ends by an error, which is a fault of this module."""
        chip = self.chip
        with self._asking:
            self._fault = BoardError("its thread has ended by an error")
        self._fail(self._fault)
        for _function, _args, done in self._asked:
            done.set_exception(self._fault)
        if chip:
            chip.end()

    def _turn(self):
        self._wait()
        self._answer()
        data = self._port.read()
        if data:
            self.type(data)
        self._port.flush()
        if self.chip:
            self._hear_chip()
        if self.chip:
            self._feed_chip()

    def _wait(self):
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        port, chip = self._port, self.chip
        if port.attached:
            poll.register(port.master, select.POLLIN | (select.POLLOUT if port.queue else 0))
        if chip:
            poll.register(chip.control, select.POLLIN)
            reading = 0 if port.full() else select.POLLIN
            poll.register(chip.master, reading | (select.POLLOUT if chip.pending else 0))
        poll.poll(self._timeout_ms())

    def _timeout_ms(self):
        now = time.monotonic()
        waits = []
        if not self._port.attached:
            waits.append(self.ATTACH_POLL_S)
        elif self._port.full():
            waits.append(self._port.STALL_S)
        if self._watchdog_end:
            waits.append(self._watchdog_end - now)
        if self._held and self._quiet_until > now:
            waits.append(self._quiet_until - now)
        return max(0, min(waits)) * 1000 + 1 if waits else None

    def _answer(self):
        try:
            os.read(self._wake_read, 1024)
        except BlockingIOError:
            return
        while self._asked:
            function, args, done = self._asked.popleft()
            try:
                done.set_result(function(*args))
            except Exception as error:  # noqa: BLE001 - it belongs to the one who asked
                done.set_exception(error)

    def _hear_chip(self):
        chip = self.chip
        data = b"" if self._port.full() else chip.read()
        lines, ended = chip.messages()  # after the output: what caused it was told before it
        for line in lines:
            self._hear(line)
        self._print(self._swallow(data))
        if self._watchdog_end and time.monotonic() > self._watchdog_end:
            self._restart_cause = chips.WATCHDOG
        if ended:
            self._ended()
        elif self._restart_cause:
            self._restart(self._restart_cause, chip.end()[1])

    def _hear(self, line):
        what, _, value = line.partition(" ")
        if what == "boot":
            self.chip.booted = True
            self.boots += 1
            waiters, self._boot_waiters = self._boot_waiters, []
            for waiter in waiters:
                waiter.set_result(None)
        elif what == "idle":
            self._hidden = b"" if self._raw else None
        elif what == "reset":
            self._restart_cause = chips.RESET
        elif what == "watchdog":
            self._watchdog_s = int(value) / 1000
        if what in ("watchdog", "feed"):
            self._watchdog_end = time.monotonic() + self._watchdog_s

    def _ended(self):
        """The process is gone by itself."""
        chip = self.chip
        code, words = chip.end(kill=False)
        if chip.booted:
            self._restart(chips.SOFT if code >= 0 else chips.RESET, words)
        else:
            self._print(words)
            self._fail(BoardError(f"it cannot boot: {self._console.last_words()}"))

    def _restart(self, cause, words):
        self._print(words + GREETINGS[cause])
        self._spawn(cause)

    def _spawn(self, cause):
        if cause != chips.SOFT:
            self._raw = False
            self._watchdog_end = None  # as on a chip, a soft reset does not stop it
        time.sleep(max(0, self._spawned + self.SPAWN_INTERVAL_S - time.monotonic()))
        self._spawned = time.monotonic()
        self._hidden = self._restart_cause = None
        try:
            self.chip = self._make_chip(
                cause, ["boot.py"] if self._raw else ["boot.py", "main.py"]
            )
        except OSError as error:
            self._fail(BoardError(f"it cannot start: {error}"))

    def _fail(self, error):
        self.chip = None
        self._console.fail(error)
        waiters, self._boot_waiters = self._boot_waiters, []
        for waiter in waiters:
            waiter.set_exception(error)

    # Bytes

    def _print(self, data):
        if not data:
            return
        seen = self._tail + data
        raw, friendly = seen.rfind(RAW_PROMPT), seen.rfind(FRIENDLY_PROMPT)
        if raw != friendly:
            self._raw = raw > friendly
        self._tail = seen[-len(FRIENDLY_PROMPT) :]
        self._console.append(data)
        self._port.write(data)

    def _swallow(self, data):
        """Hide the banner of the REPL where a board goes straight to the raw REPL, and go there.

        After "idle" the process prints only that banner and then waits, so the last banner is it.
        """
        if self._hidden is None:
            return data
        self._hidden += data
        if not self._hidden.endswith(FRIENDLY_PROMPT):
            return b""
        words = self._hidden[: self._hidden.rfind(BANNER)]
        self._hidden = None
        self.chip.write(CTRL_A)
        return words

    def _feed_chip(self):
        chip = self.chip
        chip.write()
        while self._held and chip.booted and self._hidden is None:
            head, key, rest = self._held.partition(CTRL_C)
            chip.write(head)
            now = time.monotonic()
            if key and now < self._quiet_until:
                self._held = key + rest
                return
            if key and chip.interrupt():
                self._quiet_until = now + self.INTERRUPT_INTERVAL_S
            elif key:
                chip.write(key)
            self._held = rest
