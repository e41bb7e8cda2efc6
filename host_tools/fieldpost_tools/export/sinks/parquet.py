"""Parquet files, by pyarrow: one file a batch of the interval, named by the records it holds.

Files are ``{name}-{number:06d}.parquet`` in the folder ``path`` and, for events,
``{name}-events-…``. A file appears under its name when it is whole; one written again after a
failure has the number of the one it replaces. Columns: node, device, point, unit, ts (timestamp
in ms, UTC), value (double), value_exact (integers beyond 2**53, as text), value_text, value_json,
text, stream, seq, tags (JSON).
"""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fieldpost_tools.export import columns
from fieldpost_tools.export.connector import Connector, Unavailable

RECORDS = pa.schema(
    [
        ("node", pa.string()),
        ("device", pa.string()),
        ("point", pa.string()),
        ("unit", pa.string()),
        ("ts", pa.timestamp("ms", "UTC")),
        ("value", pa.float64()),
        ("value_exact", pa.string()),
        ("value_text", pa.string()),
        ("value_json", pa.string()),
        ("text", pa.string()),
        ("stream", pa.int64()),
        ("seq", pa.int64()),
        ("tags", pa.string()),
    ]
)
EVENTS = pa.schema(
    [
        ("node", pa.string()),
        ("kind", pa.string()),
        ("key", pa.string()),
        ("state", pa.string()),
        ("severity", pa.string()),
        ("ts", pa.timestamp("ms", "UTC")),
        ("body", pa.string()),
    ]
)


class Parquet(Connector):
    """See the module."""

    OPTIONS = {
        "path": "str 1..1024",
        "compression": "enum none snappy gzip zstd = zstd",
    }

    KEYED = False

    def __init__(self, name, options):
        super().__init__(name, options)
        self._next = {"records": 1, "events": 1}

    def open(self, mark=None):
        """Go on behind ``mark``; files behind it are of an unfinished batch, and go."""
        self._next = dict(mark) if mark else {"records": 1, "events": 1}
        try:
            self._place.mkdir(parents=True, exist_ok=True)
            for series, number in self._next.items():
                self._clear(series, number, known=mark is not None)
        except OSError as error:
            raise _told(error) from error

    def clear(self):
        """Remove the files of both series."""
        for series in self._next:
            self._clear(series, 1, known=True)

    def write(self, samples):
        """One file for the batch."""
        self._file("records", RECORDS, map(_row, samples))
        return 0

    def write_events(self, events):
        """The same for events."""
        rows = ((*one[1:7], json.dumps(one.body, ensure_ascii=False)) for one in events)
        self._file("events", EVENTS, rows)
        return 0

    def mark(self):
        """The numbers of the next files."""
        return dict(self._next)

    def health(self):
        """Where the files are."""
        return str(self._place)

    @property
    def _place(self):
        return Path(self.folder, self.options["path"])

    def _path(self, series, number):
        infix = "" if series == "records" else "-events"
        return self._place / f"{self.name}{infix}-{number:06d}.parquet"

    def _clear(self, series, number, known):
        while (path := self._path(series, number)).exists():
            if not known:
                raise Unavailable(f"'{path}' is there already; move it away")
            path.unlink()
            number += 1

    def _file(self, series, schema, rows):
        by_column = zip(*rows, strict=True)
        arrays = [pa.array(one, kind.type) for one, kind in zip(by_column, schema, strict=True)]
        path = self._path(series, self._next[series])
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                table = pa.Table.from_arrays(arrays, schema=schema)
                pq.write_table(table, file, compression=self.options["compression"])
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise _told(error) from error
        self._next[series] += 1


def _row(sample):
    value, exact, text, other = columns.split(sample.value)
    exact = None if exact is None else str(exact)
    tags = json.dumps(sample.tags, ensure_ascii=False) if sample.tags else None
    return (*sample[:5], value, exact, text, other, *sample[6:9], tags)


def _told(error):
    where = f"'{error.filename}': " if error.filename else ""
    return Unavailable(f"{where}{error.strerror or error}")


connector = Parquet
