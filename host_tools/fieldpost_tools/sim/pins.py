"""Pins of the virtual board: files in the folder ``/pins`` of its flash, named by their numbers.

A digital pin's file holds ``0`` or ``1``, an analog one's volts, as ``1.25``. Whoever has the
folder is what the pins are connected to: writes inputs, reads outputs. Without a file, a pin has
the level of its pull resistor and no voltage. There are no interrupts: a change is seen when it is
looked for. A board whose flash has no such folder when it boots has no pins, which saves their
memory.
"""

_FOLDER = "/pins/"


def _read(number):
    try:
        with open(_FOLDER + str(number)) as file:
            return file.read(16).strip()
    except OSError:
        return ""


class Pin:
    """A digital pin, 0 to 39."""

    IN, OUT, OPEN_DRAIN = 1, 3, 7
    PULL_DOWN, PULL_UP = 1, 2
    IRQ_RISING, IRQ_FALLING = 1, 2

    def __init__(self, id, mode=IN, pull=None, value=None):  # noqa: ARG002 - files go both ways
        if not 0 <= id <= 39:
            raise ValueError("invalid pin")
        self.number = id
        self._pulled = pull == Pin.PULL_UP
        if value is not None:
            self(value)

    def __call__(self, value=None):
        """The level, 0 or 1; with a value, set it."""
        if value is None:
            text = _read(self.number)
            return int(text == "1" if text else self._pulled)
        with open(_FOLDER + str(self.number), "w") as file:
            file.write("1" if value else "0")
        return None

    def irq(self, handler=None, trigger=3):
        """Take a handler that is never called."""


class ADC:
    """An analog input; any pin is one, up to 3.3 V."""

    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = 0, 1, 2, 3

    def __init__(self, pin, atten=ATTN_0DB):  # noqa: ARG002 - the range is always the same
        self._number = pin.number

    def read_uv(self):
        """Microvolts."""
        return min(max(0, int(float(_read(self._number) or 0) * 1000000)), 3300000)
