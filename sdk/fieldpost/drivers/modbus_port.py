"""A computer's serial device with the methods of ``machine.UART``, for nodes that are computers.

For Linux and macOS, on CPython and on the unix port of MicroPython, which knows the speeds 9600,
57600, 115200 and more, but not 19200.
"""

import select

from ..compat import MICROPYTHON

#: Flags of Linux, for an interpreter that does not name them.
_FLAGS = {"CS8": 0o60, "CREAD": 0o200, "CLOCAL": 0o4000}
_FLAGS.update({"CSTOPB": 0o100, "PARENB": 0o400, "PARODD": 0o1000})


class Port:
    """An open serial device, 8 data bits, raw; ``parity`` is None, 0 (even) or 1 (odd).

    No method waits. Raises ``OSError``, also from every method when the device goes away.
    """

    def __init__(self, path, baudrate, parity, stop):
        self._file = _open(path)
        try:
            _configure(self._file.fileno(), baudrate, parity, stop)
        except OSError:
            self._file.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN | select.POLLOUT)

    def _ready(self, flag):
        for _, flags in self._poll.poll(0):
            if flags & ~(select.POLLIN | select.POLLOUT):
                raise OSError("device is gone")
            return flags & flag
        return 0

    def any(self):
        """How many bytes a read may ask for: 0 if there are none."""
        return 256 if self._ready(select.POLLIN) else 0

    def read(self, n):
        """Up to ``n`` bytes that have come in."""
        return self._file.read(n)

    def write(self, data):
        """Hand over a request."""
        if not self._ready(select.POLLOUT):
            raise OSError("device takes nothing")
        self._file.write(data)

    def deinit(self):
        """Close the device."""
        self._file.close()


def _open(path):
    if MICROPYTHON:
        return open(path, "r+b", 0)
    import os

    # Else a daemon would be ended when the adapter is pulled, or wait here for a modem.
    flags = os.O_NOCTTY | os.O_NONBLOCK
    return open(path, "r+b", 0, opener=lambda name, given: os.open(name, given | flags))


def _configure(number, baudrate, parity, stop):
    import termios

    speed = getattr(termios, "B%d" % baudrate, None)
    if speed is None:
        raise OSError("baudrate %d is not available" % baudrate)
    wanted = ["CS8", "CREAD", "CLOCAL"]
    if stop == 2:
        wanted.append("CSTOPB")
    if parity is not None:
        wanted += ["PARENB", "PARODD"][: parity + 1]
    mode = 0
    for name in wanted:
        mode |= getattr(termios, name, _FLAGS[name])
    try:
        control = termios.tcgetattr(number)[6]
        # VTIME and VMIN: a read returns what there is.
        control[getattr(termios, "VTIME", 5)] = control[getattr(termios, "VMIN", 6)] = 0
        settings = [0, 0, mode, 0, speed, speed, control]
        termios.tcsetattr(number, termios.TCSANOW, settings)
    except getattr(termios, "error", OSError) as error:
        raise OSError(str(error))
