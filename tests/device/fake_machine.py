"""Hardware that tests move by hand: ``machine`` and what else firmware has for drivers.

``with installed(): ...`` puts it in place of the real modules; everything is as new then.
"""

import sys
from errno import EIO, ENODEV, ETIMEDOUT

from fieldpost.compat import ticks_diff, ticks_ms


class Pin:
    """A pin of a board that has numbers 0 to 39; 34 and above are inputs only."""

    IN, OUT, OPEN_DRAIN = 1, 3, 7
    PULL_DOWN, PULL_UP = 1, 2
    IRQ_RISING, IRQ_FALLING = 1, 2

    #: By number: its level, its pin object.
    levels = {}
    made = {}
    #: By number: functions that see what is written to a pin.
    seen = {}
    #: Interrupts are written down instead of handled where this is a list.
    waiting = None

    def __init__(self, number, mode=-1, pull=-1, value=None):
        if not 0 <= number <= 39:
            raise ValueError("invalid pin")
        if number >= 34 and mode in (Pin.OUT, Pin.OPEN_DRAIN):
            raise ValueError("pin can only be input")
        self.number = number
        self.mode = mode
        self.pull = pull
        self.handler = None
        self.trigger = 0
        level = Pin.levels.get(number, pull == Pin.PULL_UP)
        if value is not None and not (value and mode == Pin.OPEN_DRAIN):
            level = bool(value)
        Pin.levels[number] = level
        Pin.made[number] = self

    def __call__(self, value=None):
        if value is None:
            return int(Pin.levels[self.number])
        Pin.levels[self.number] = bool(value)
        if self.number in Pin.seen:
            Pin.seen[self.number](bool(value))
        return None

    def irq(self, handler=None, trigger=3):
        self.handler = handler
        self.trigger = trigger if handler else 0


def drive(number, *levels):
    """Let the world outside set the level of a pin, which may interrupt."""
    for level in levels:
        pin = Pin.made.get(number)
        edge = Pin.IRQ_RISING if level else Pin.IRQ_FALLING
        changed = bool(level) != Pin.levels.get(number)
        Pin.levels[number] = bool(level)
        if changed and pin and pin.trigger & edge:
            if Pin.waiting is None:
                pin.handler(pin)
            else:
                Pin.waiting.append(pin)


def run_waiting():
    """Run the handlers of the interrupts that were written down."""
    while Pin.waiting:
        pin = Pin.waiting.pop(0)
        pin.handler(pin)


class I2C:
    """A bus; ``chips`` by address are on all of them, each a bytearray of registers."""

    chips = {}
    #: The line is held low: every transfer waits for ``timeout`` µs and fails.
    held = False
    made = []

    def __init__(self, id=None, scl=None, sda=None, freq=400000, timeout=50000):
        if id is not None and id > 1:
            raise ValueError("I2C(%d) doesn't exist" % id)
        self.shape = id, scl.number, sda.number, freq, timeout
        self.timeout_ms = timeout // 1000
        self.transfers = 0
        I2C.made.append(self)

    def _chip(self, address):
        self.transfers += 1
        if I2C.held:
            wait_ms(self.timeout_ms)
            raise OSError(ETIMEDOUT)
        if address not in I2C.chips:
            raise OSError(ENODEV)
        return I2C.chips[address]

    def readfrom(self, address, count):
        return bytes(self._chip(address)[:count])

    def writeto(self, address, data):
        self._chip(address)[: len(data)] = data

    def readfrom_mem(self, address, register, count, addrsize=8):
        chip = self._chip(address)
        if register >> addrsize or register + count > len(chip):
            raise OSError(EIO)
        return bytes(chip[register : register + count])

    def writeto_mem(self, address, register, data, addrsize=8):
        chip = self._chip(address)
        if register >> addrsize or register + len(data) > len(chip):
            raise OSError(EIO)
        chip[register : register + len(data)] = data


def wait_ms(ms):
    """Keep the interpreter busy, as a driver of the firmware does."""
    start = ticks_ms()
    while ticks_diff(ticks_ms(), start) < ms:
        continue


class SoftI2C(I2C):
    """The same without a number."""


class ADC:
    """Analog inputs at the pins 26 and above; ``volts`` by number hold functions that return µV,
    or raise OSError."""

    ATTN_0DB, ATTN_2_5DB, ATTN_6DB, ATTN_11DB = 0, 1, 2, 3
    volts = {}
    made = {}

    def __init__(self, pin, atten=0):
        if pin.number < 26:
            raise ValueError("invalid pin")
        self.number = pin.number
        self.atten = atten
        ADC.made[pin.number] = self

    def read_uv(self):
        return ADC.volts[self.number]()


class Counter:
    """A unit of a chip that has two; tests set ``count``."""

    RISING, FALLING = 1, 2
    made = {}

    def __init__(self, unit, pin, edge=RISING, filter_ns=0):
        if unit > 1:
            raise ValueError("invalid id")
        self.shape = pin.number, edge, filter_ns
        self.count = 0
        Counter.made[unit] = self

    def value(self, value=None):
        count = self.count
        if value is not None:
            self.count = value
        return count

    def deinit(self):
        self.count = None


class Machine:
    """The module ``machine``."""

    Pin = Pin
    ADC = ADC
    Counter = Counter
    I2C = I2C
    SoftI2C = SoftI2C


class installed:  # noqa: N801 - reads as a word of a sentence
    """Puts fakes in the place of modules; ``modules`` are more of them."""

    def __init__(self, **modules):
        self.modules = {"machine": Machine}
        self.modules.update(modules)

    def __enter__(self):
        Pin.levels.clear()
        Pin.made.clear()
        Pin.seen.clear()
        Pin.waiting = None
        Counter.made.clear()
        ADC.volts.clear()
        ADC.made.clear()
        I2C.chips.clear()
        I2C.made.clear()
        I2C.held = False
        self.before = {name: sys.modules.get(name) for name in self.modules}
        for name in self.modules:
            sys.modules[name] = self.modules[name]

    def __exit__(self, *_):
        for name in self.before:
            if self.before[name] is None:
                del sys.modules[name]
            else:
                sys.modules[name] = self.before[name]
