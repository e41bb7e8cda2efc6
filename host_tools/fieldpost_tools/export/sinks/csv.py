"""CSV files by RFC 4180: the columns of ``fieldpost export csv`` and the tags as JSON."""

import csv
import io
import json

from fieldpost_tools.export.csv import HEADER, cells
from fieldpost_tools.export.sinks.files import FileSink
from fieldpost_tools.query import format_time

EVENTS_HEADER = ("node", "kind", "key", "state", "severity", "ts_ms", "time", "body")


class CsvSink(FileSink):
    """A row a record; a header line in every file. Absent times, texts and tags are empty."""

    ENDING = ".csv"

    def head(self):
        """The header line."""
        return _lines([(*HEADER, "tags")])

    def events_head(self):
        """The header line."""
        return _lines([EVENTS_HEADER])

    def encode(self, samples):
        """A line each."""
        return _lines((*cells(sample), _json(sample.tags)) for sample in samples)

    def encode_events(self, events):
        """A line each; the event as it came is the last cell."""
        return _lines(
            (*event[1:7], format_time(event.ts_ms), _json(event.body)) for event in events
        )


def _json(value):
    return json.dumps(value, ensure_ascii=False) if value else ""


def _lines(rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


connector = CsvSink
