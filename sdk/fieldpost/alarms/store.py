"""What is raised or shelved, on flash: one sealed line each, replaced as a whole.

A line is ``[id, digest of its row, state, acknowledged, alarm id, shelved until, event key, type,
severity, is a fault]``: enough to go on, and to clear what the configuration no longer has.
"""

import os

from ..smallfile import remove, seal, unseal


def save(path, entries):
    """Replace the file by these entries: written aside and renamed. Raises OSError."""
    empty = True
    with open(path + "~", "w") as file:
        for entry in entries:
            file.write(seal(entry) + "\n")
            empty = False
    if empty:
        remove(path + "~")
        remove(path)
    else:
        os.rename(path + "~", path)


def load(path):
    """``({id: entry}, how many lines were damaged)``; nothing without a file."""
    entries = {}
    damaged = 0
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    entry = unseal(line.decode().rstrip())
                    entries[entry[0]] = entry
                except ValueError:  # a UnicodeError is one
                    damaged += 1
    except OSError:
        pass  # there is none
    return entries, damaged
