"""What file sinks share: append, rotate by size or day, gzip, cut back to a mark.

A sink has two series of files in its folder, ``{name}-{number:06d}`` with the records and
``{name}-events-{number:06d}``. The mark of a series is number and length of its newest file.
Opening with a mark cuts that file to the length and removes what came after, so that what is
written twice stands there once. A gzip file is a sequence of members, one a batch, which every
reader takes as one file.
"""

import gzip
import os
import time
from contextlib import contextmanager
from pathlib import Path

from fieldpost_tools.export.connector import Connector, Unavailable

_NO_FILE = {"number": 0, "bytes": 0, "day": ""}


class Series:
    """Numbered files of one name; ``head()`` gives the bytes a new one begins with."""

    def __init__(self, options, folder, name, ending, head):
        self._options = options
        self._folder = folder
        self._name = name
        self._ending = ending + (".gz" if options["gzip"] else "")
        self._head = head
        self._mark = dict(_NO_FILE)

    @property
    def mark(self):
        """``{"number", "bytes", "day"}`` of the newest file; number 0 before the first."""
        return dict(self._mark)

    @property
    def newest(self):
        """Path of the newest file, None before the first."""
        number = self._mark["number"]
        return self._path(number) if number else None

    def open(self, mark):
        """Go back to a mark, None at the very first. Raises Unavailable for files of others."""
        self._mark = dict(mark or _NO_FILE)
        for number in self._numbers():
            if mark is None:
                raise Unavailable(f"'{self._path(number)}' is there already; move it away")
            if number > mark["number"]:
                self._path(number).unlink()
        if self.newest:
            self._cut(self._mark)

    def clear(self):
        """Remove every file."""
        for number in self._numbers():
            self._path(number).unlink()

    def append(self, data):
        """Append bytes, to the next file where it is time for one."""
        if self._is_due():
            self._mark = self._begin()
        data = self._packed(data)
        with self.newest.open("ab") as file:
            file.write(data)
        self._mark["bytes"] += len(data)

    def sync(self):
        """Make it last."""
        if self.newest:
            with self.newest.open("rb") as file:
                os.fsync(file.fileno())

    def _path(self, number):
        return self._folder / f"{self._name}-{number:06d}{self._ending}"

    def _numbers(self):
        found = self._folder.glob(f"{self._name}-??????{self._ending}")
        texts = (path.name[len(self._name) + 1 :][:6] for path in found)
        return sorted(int(text) for text in texts if text.isdecimal())

    def _cut(self, mark):
        path = self._path(mark["number"])
        if not path.exists() or path.stat().st_size < mark["bytes"]:
            raise Unavailable(f"'{path}' lost what was written: restore it")
        os.truncate(path, mark["bytes"])

    def _is_due(self):
        mark, limit = self._mark, self._options["max_bytes"]
        if not mark["number"]:
            return True
        full = limit and mark["bytes"] >= limit
        return full or (self._options["daily"] and mark["day"] != _today())

    def _begin(self):
        number = self._mark["number"] + 1
        head = self._packed(self._head())
        self._path(number).write_bytes(head)
        return {"number": number, "bytes": len(head), "day": _today()}

    def _packed(self, data):
        return gzip.compress(data, mtime=0) if data and self._options["gzip"] else data


class FileSink(Connector):
    """Base of sinks that append to files in the folder ``path``, relative to the exports file.

    A subclass gives ``ENDING``, ``encode`` and ``encode_events``, and heads where it has them.
    """

    OPTIONS = {
        "path": "str 1..1024",
        "gzip": "bool = false",
        "max_bytes": "int 0.. = 0",
        "daily": "bool = false",
    }
    ENDING = ""
    KEYED = False

    def __init__(self, name, options):
        super().__init__(name, options)
        self._records = self._events = None

    def head(self):
        """What a file of records begins with."""
        return b""

    def events_head(self):
        """What a file of events begins with."""
        return b""

    def encode(self, samples):
        """Bytes of a batch of ``Sample``."""
        raise NotImplementedError

    def encode_events(self, events):
        """Bytes of a batch of ``events.Stored``."""
        raise NotImplementedError

    def open(self, mark=None):
        """Go back to ``mark``; without one, files of an earlier life are a reason to stop."""
        mark = mark or {"records": None, "events": None}
        self._records, self._events = self._series()
        with _told():
            Path(self.folder, self.options["path"]).mkdir(parents=True, exist_ok=True)
            self._records.open(mark["records"])
            self._events.open(mark["events"])

    def clear(self):
        """Remove the files of both series."""
        with _told():
            for series in self._series():
                series.clear()

    def _series(self):
        shape = self.options, Path(self.folder, self.options["path"])
        records = Series(*shape, self.name, self.ENDING, self.head)
        return records, Series(*shape, self.name + "-events", self.ENDING, self.events_head)

    def write(self, samples):
        """Append records."""
        with _told():
            self._records.append(self.encode(samples))
        return 0

    def write_events(self, events):
        """Append events."""
        with _told():
            self._events.append(self.encode_events(events))
        return 0

    def mark(self):
        """Those of both series, whose newest files are on disk."""
        with _told():
            self._records.sync()
            self._events.sync()
        return {"records": self._records.mark, "events": self._events.mark}

    def health(self):
        """Where the files are."""
        folder = Path(self.folder, self.options["path"])
        with _told():
            free = os.statvfs(folder if folder.exists() else folder.parent)
        return f"{folder}, {free.f_bavail * free.f_frsize // 2**20} MiB free"


@contextmanager
def _told():
    """Tell an OSError (a full disk, a folder that may not be written) as Unavailable."""
    try:
        yield
    except OSError as error:
        where = f"'{error.filename}': " if error.filename else ""
        raise Unavailable(f"{where}{error.strerror}") from error


def _today():
    return time.strftime("%Y-%m-%d", time.gmtime())
