"""Safe mode: the board waits for a person instead of starting a node that cannot run.

Entered after too many starts of which none was healthy, every other start from then on, so that a
board that nobody visits still tries; or by a button. The file /board.json says where that is::

    {"button": 0, "pressed": 0}

``button`` is the number of its GPIO, ``pressed`` its level while held (0, the default, has the pin
pulled up, 1 down). GPIO 0 is the BOOT button of most ESP32 boards: held through a reset it starts
the chip's own loader, so there is a second after the reset to press it.
"""

import json
import time

from fieldpost.compat import const, ticks_diff, ticks_ms

#: Starts without a healthy one that are tried in a row.
STARTS = 5
#: How long it waits before it resets.
HOLD_S = 300
BOARD_FILE = "/board.json"

#: How long a button may take to be pressed, and how long it then has to be held.
_WINDOW_MS, _HELD_MS = const(1000), const(300)
_POLL_MS = const(20)


def check(attempts):
    """Wait and reset, where there is a reason to; else return."""
    why = reason(attempts)
    if why:
        hold(why)


def reason(attempts):
    """Why to enter safe mode, or None; ``attempts`` as in ``slots.read()``."""
    if attempts > STARTS and attempts % 2 == 0:
        return "%d starts without a healthy one, see last_error.txt" % attempts
    if _held():
        return "the button is held"
    return None


def hold(reason):
    """Say why, wait, and reset. Ctrl-C raises KeyboardInterrupt, as ever."""
    from machine import reset

    print("safe mode:", reason)
    print("The node is not started. Ctrl-C gives the REPL; a reset tries again,", end=" ")
    print("as does this board in %d s." % HOLD_S)
    time.sleep(HOLD_S)
    reset()


def _held():
    """Is there a button, and is it held?"""
    try:
        pin, pressed = _button()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    began = since = ticks_ms()
    while True:
        now = ticks_ms()
        if pin() != pressed:
            since = now
            if ticks_diff(now, began) >= _WINDOW_MS:
                return False
        elif ticks_diff(now, since) >= _HELD_MS:
            return True
        time.sleep_ms(_POLL_MS)


def _button():
    """Its pin and level; any exception where there is none, or none that can be used."""
    with open(BOARD_FILE) as file:
        row = json.load(file)
    number = row["button"]
    pressed = row.get("pressed", 0)
    from machine import Pin

    return Pin(number, Pin.IN, Pin.PULL_DOWN if pressed else Pin.PULL_UP), pressed
