"""Small state files: JSON behind a CRC, replaced as a whole.

littlefs keeps files of up to 128 bytes inline, so that rewriting one costs next to nothing.
"""

import json
import os

from .compat import crc32

_MAX_BYTES = 1024


def seal(value):
    """Text of a value with its CRC in front."""
    body = json.dumps(value)
    return "%08x %s" % (crc32(body.encode()), body)


def unseal(text):
    """The value of a sealed text; ValueError if it is damaged."""
    crc, _, body = text.partition(" ")
    if crc != "%08x" % crc32(body.encode()):
        raise ValueError("damaged")
    return json.loads(body)


def save(path, value):
    """Replace the file by ``value``: written aside and renamed. Raises OSError."""
    with open(path + "~", "w") as file:
        file.write(seal(value))
    os.rename(path + "~", path)


def load(path):
    """The file's value, or None if there is none; ValueError if it is damaged."""
    try:
        with open(path) as file:
            return unseal(file.read(_MAX_BYTES))
    except OSError:
        return None


def remove(path):
    """Remove a file; one that is not there is fine."""
    try:
        os.remove(path)
    except OSError:
        return


def make_folder(path):
    """Make a folder and those above it; existing ones are fine."""
    made = ""
    for part in path.split("/"):
        made += part + "/"
        try:
            os.mkdir(made[:-1] or "/")
        except OSError:
            # It exists; a folder that really cannot be made shows when it is written to.
            continue
