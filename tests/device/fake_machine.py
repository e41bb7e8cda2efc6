"""Hardware that tests move by hand: ``machine`` and what else firmware has for drivers.

``with installed(): ...`` puts it in place of the real modules; everything is as new then.
"""

import sys


class Pin:
    """A pin of a board that has numbers 0 to 39; 34 and above are inputs only."""

    IN, OUT, OPEN_DRAIN = 1, 3, 7
    PULL_DOWN, PULL_UP = 1, 2
    IRQ_RISING, IRQ_FALLING = 1, 2

    #: By number: its level, its pin object.
    levels = {}
    made = {}
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
        Pin.levels[number] = level if value is None else bool(value)
        Pin.made[number] = self

    def __call__(self, value=None):
        if value is None:
            return int(Pin.levels[self.number])
        Pin.levels[self.number] = bool(value)
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


class Machine:
    """The module ``machine``."""

    Pin = Pin


class installed:  # noqa: N801 - reads as a word of a sentence
    """Puts fakes in the place of modules; ``modules`` are more of them."""

    def __init__(self, **modules):
        self.modules = {"machine": Machine}
        self.modules.update(modules)

    def __enter__(self):
        Pin.levels.clear()
        Pin.made.clear()
        Pin.waiting = None
        self.before = {name: sys.modules.get(name) for name in self.modules}
        for name in self.modules:
            sys.modules[name] = self.modules[name]

    def __exit__(self, *_):
        for name in self.before:
            if self.before[name] is None:
                del sys.modules[name]
            else:
                sys.modules[name] = self.before[name]
