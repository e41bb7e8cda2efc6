"""API requests and replies over a board's serial line, while its node runs on."""

import contextlib
import os
import threading
import time

import serial

from fieldpost_tools.api.errors import ApiLinkError
from fieldpost_tools.api.sequences import Splitter, frame

try:
    import termios
except ImportError:  # Windows, which drops nothing by itself
    termios = None


class SerialTransport:
    """The board at ``port``, a serial device.

    ``on_output(data)`` gets what the board prints between the messages, by a thread of ours.

    Nothing is sent to the board but requests, and its control lines stay as the system sets them:
    both DTR and RTS on, which the reset circuit of ESP32 boards takes for no wish. Dropping them,
    one after the other, is what resets such a board; so they stay when the port is closed, too.

    A port that is lost (the board was unplugged, a USB board was reset) is opened again by the
    next call.
    """

    #: Nobody else calls.
    shared = False
    WRITE_TIMEOUT_S = 5.0
    READ_TIMEOUT_S = 0.2
    MAX_TEXT_BYTES = 1024 * 1024
    #: A board takes so much at a time from its UART, and then needs a moment.
    CHUNK_BYTES = 128
    PAUSE_S = 0.01
    TAIL_BYTES = 200

    def __init__(self, port, baud=115200, on_output=None):
        self.port = port
        self._baud = baud
        self._on_output = on_output
        self._tail = b""
        self._port = None
        self._reader = None
        self._closing = False
        self._writing = threading.Lock()

    def __str__(self):
        return f"board at {self.port}"

    def open(self, receive, lost):
        """Open the port.

        ``receive(text)`` gets each message, as bytes, ``lost(error)`` is told that the port is;
        both are called by a thread of ours. Raises ApiLinkError.
        """
        self._receive, self._lost = receive, lost
        self._open()

    def send(self, data, _id=None):
        """Send a request. Raises ApiLinkError."""
        data = frame(data)
        with self._writing:
            if self._closing:
                raise self._error("closed")
            port = self._port or self._open()
            self._tail = b""
            try:
                for at in range(0, len(data), self.CHUNK_BYTES):
                    if at:
                        time.sleep(self.PAUSE_S)
                    port.write(data[at : at + self.CHUNK_BYTES])
                    port.flush()
            except serial.SerialTimeoutException:
                raise self._error("it takes no input") from None
            except (OSError, TypeError) as error:  # TypeError: pyserial, closed meanwhile
                raise self._error(_reason(error)) from None

    def hint(self):
        """What the board printed instead of an answer."""
        words = self._tail.decode("utf-8", "replace").strip()
        if words.endswith(">>>"):
            return "; the board is at its REPL, no node runs"
        return f"; it printed …{words[-60:]!r}" if words else "; it printed nothing"

    def close(self):
        """Close the port."""
        self._closing = True
        port = self._port
        if port:
            with contextlib.suppress(OSError):  # the reader has closed it meanwhile
                port.cancel_read()
            self._reader.join()

    def _open(self):
        try:
            port = serial.Serial(
                self.port,
                self._baud,
                timeout=self.READ_TIMEOUT_S,
                write_timeout=self.WRITE_TIMEOUT_S,
                exclusive=True,
            )
        except (OSError, ValueError) as error:
            raise self._error(_reason(error)) from None
        _keep_lines(port)
        self._port = port
        self._reader = threading.Thread(target=self._read, args=(port,), daemon=True)
        self._reader.start()
        return port

    def _read(self, port):
        splitter = Splitter(self.MAX_TEXT_BYTES, self._noise)
        words = "closed"
        try:
            while not self._closing:
                data = port.read(1)
                data += port.read(port.in_waiting)
                for text in splitter.feed(data):
                    self._receive(text)
        except (OSError, TypeError) as error:  # TypeError: pyserial, closed meanwhile
            words = _reason(error)
        self._port = None
        with contextlib.suppress(OSError):
            port.close()
        self._lost(self._error(words))

    def _noise(self, data):
        self._tail = (self._tail + data)[-self.TAIL_BYTES :]
        if self._on_output:
            self._on_output(data)

    def _error(self, words):
        return ApiLinkError(f"{self}: {words}")


def _keep_lines(port):
    """Ask the system not to drop DTR and RTS when the port is closed."""
    if termios:
        settings = termios.tcgetattr(port.fd)
        settings[2] &= ~termios.HUPCL
        termios.tcsetattr(port.fd, termios.TCSANOW, settings)


def _reason(error):
    """Words for a person: pyserial puts numbers and a repr around them."""
    if "exclusively lock" in str(error):
        return "another program uses it"
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else "connection lost"
