"""Persistent counters: boot and stream numbers that are never used twice.

Two files are written in turn, each with a CRC, so that a damaged one leaves the other. What is on
flash is the first number not yet reserved: a few are reserved at a time, a restart skips what is
left of them.
"""

import random

from .smallfile import load, make_folder, save  # noqa: F401 – the node makes its folder, too

_FILES = ("/counters.0", "/counters.1")
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
        self._start = 1
        self._reserved = {}
        self._next = {}
        self.degraded = None
        self._load()

    def take(self, name):
        """The next number of the counter ``name``; it is persisted as used before it returns."""
        number = self._number(name)
        if number >= self._reserved.get(name, self._start):
            self._reserved[name] = number + self.RESERVE
            self._save()
            if not self._reserved:
                # It could not be saved, and may have been given before.
                number = self._number(name)
        self._next[name] = number + 1
        return number

    def _number(self, name):
        return self._next.get(name) or self._reserved.get(name, self._start)

    def _load(self):
        copies = []
        damaged = False
        for name in _FILES:
            try:
                copy = load(self._folder + name)
                if copy:
                    copies.append(copy)
            except ValueError:
                damaged = True
        if copies:
            newest = max(copies, key=lambda copy: copy[0])
            self._serial, self._start, self._reserved = newest
            if len(copies) == 1:
                self._rescue()
        elif damaged:
            self._degrade("counter files damaged")

    def _rescue(self):
        """The copy that is lost may have been the newer one, with one reservation more."""
        self._start += _RESCUE
        for name in self._reserved:
            self._reserved[name] += _RESCUE
        # Into both files: from the old one alone, the same numbers would be rescued again.
        self._save()
        self._save()

    def _save(self):
        self._serial += 1
        try:
            state = [self._serial, self._start, self._reserved]
            save(self._folder + _FILES[self._serial & 1], state)
        except OSError as error:
            if not self.degraded:
                self._degrade(str(error))
            self._reserved = {}

    def _degrade(self, reason):
        self.degraded = reason
        self._start = random.getrandbits(30) << 1 | 1
        self._reserved = {}
        self._next = {}
