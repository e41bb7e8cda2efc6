"""CSV by RFC 4180: a header line, CRLF, quotes where needed, UTF-8.

Memory does not grow with the number of rows. A file appears under its name only when it is whole.
"""

import csv
import os
import sys
from pathlib import Path

from fieldpost_tools.errors import OutputError
from fieldpost_tools.query import format_time, format_value

HEADER = (
    "node",
    "device",
    "point",
    "unit",
    "ts_ms",
    "time",
    "value",
    "value_text",
    "stream",
    "seq",
)


def cells(row):
    """The cells of one ``query.Row`` under ``HEADER``; None becomes an empty cell."""
    time = format_time(row.ts_ms)
    return (*row[:5], time, format_value(row.value), row.value_text, row.stream, row.seq)


def write(rows, stream):
    """Write ``query.Row`` objects to a stream opened with ``newline=""``; returns how many."""
    writer = csv.writer(stream)
    writer.writerow(HEADER)
    count = 0
    for row in rows:
        writer.writerow(cells(row))
        count += 1
    return count


def write_stdout(rows):
    """Write to standard output, as UTF-8 with the same line ends everywhere; returns how many."""
    sys.stdout.reconfigure(encoding="utf-8", newline="")
    return write(rows, sys.stdout)


def write_file(rows, path):
    """Write to ``path``, by a temporary file beside it that is renamed; returns the row count.

    Raises OutputError; then, as after any other failure, ``path`` is what it was.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", newline="", encoding="utf-8") as stream:
            count = write(rows, stream)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"'{path}': {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return count
