"""Persistent counters: boot and stream numbers that are never used twice.

Two files are written in turn, each with a CRC, so that a power cut during a write always leaves
the other one. What is on flash is the first number not yet reserved: a few are reserved at a
time, a restart skips what is left of them.
"""

import json
import os

from .compat import crc32

_FILES = ("counters.0", "counters.1")
#: A gap over what a lost newer file could have reserved.
_RESCUE = 1000


class Counters:
    """Named counters kept in ``folder``; numbers start at 1.

    Where neither file can be read although one is there, or the folder cannot be written, numbers
    continue from a random 31-bit start: then ``degraded`` says why.
    """

    #: Numbers reserved with one write.
    RESERVE = 8

    def __init__(self, folder):
        self._folder = folder
        self._serial = 0
        self._reserved = {}
        self._next = {}
        self.degraded = None
        self._load()

    def take(self, name):
        """The next number of the counter ``name``; it is persisted as used before it returns."""
        number = self._next.get(name) or self._reserved.get(name, self._start)
        if number >= self._reserved.get(name, self._start):
            self._reserved[name] = number + self.RESERVE
            self._save()
        self._next[name] = number + 1
        return number

    def _load(self):
        copies = []
        lost = False
        for name in _FILES:
            try:
                with open(self._folder + "/" + name) as file:
                    text = file.read(1024)
            except OSError:
                continue
            crc, _, body = text.partition(" ")
            if crc == "%08x" % crc32(body.encode()):
                copies.append(json.loads(body))
            else:
                lost = True
        self._start = 1
        if copies:
            newest = max(copies, key=lambda copy: copy[0])
            self._serial = newest[0]
            # The copy that is lost may have been the newer one, with one reservation more.
            margin = _RESCUE if lost else 0
            self._reserved = {name: newest[1][name] + margin for name in newest[1]}
        elif lost:
            self._degrade("counter files damaged")

    def _save(self):
        self._serial += 1
        body = json.dumps([self._serial, self._reserved])
        path = self._folder + "/" + _FILES[self._serial & 1]
        try:
            with open(path, "w") as file:
                file.write("%08x %s" % (crc32(body.encode()), body))
        except OSError as error:
            if not self.degraded:
                self._degrade(str(error))

    def _degrade(self, reason):
        self.degraded = reason
        self._start = int.from_bytes(os.urandom(4), "little") >> 1 | 1
        self._reserved = {}
        self._next = {}


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
