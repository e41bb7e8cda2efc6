"""The file of ``slots.py``: how often this release was started, and that it has proved itself.

It is of the kind of ``fieldpost.smallfile``, so that the bootstrap, which is source, need not stay
in memory or be compiled again.
"""

from fieldpost import smallfile

FILE = "/slot"


def read():
    """``slots.read()`` as ``slots.select()`` has left it; None where it has left nothing."""
    try:
        return smallfile.load(FILE)
    except ValueError:
        return None


def healthy():
    """What ``slots.healthy()`` does. Raises OSError."""
    known = read()
    if known and (known["trial"] or known["attempts"]):
        known["trial"] = False
        known["attempts"] = 0
        smallfile.save(FILE, known)
