"""Drivers of the board's own: ``/drivers/tank.py`` is the driver ``tank``.

They stand beside the slots, so that an update leaves them as they are. One that is named like a
driver of the SDK is used in its place.
"""

import os
import sys

FOLDER = "drivers"


def load():
    """Import all drivers in the folder, if there is one. What one of them raises passes."""
    try:
        names = os.listdir("/" + FOLDER)
    except OSError:
        return
    for name in names:
        stem, _, suffix = name.partition(".")
        if suffix in ("py", "mpy"):
            module = __import__(FOLDER + "." + stem, None, None, ("driver",))
            sys.modules["fieldpost.drivers." + stem] = module
