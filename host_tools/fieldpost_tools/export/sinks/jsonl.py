"""JSON Lines: an object a record, with texts for NaN and infinities, which JSON lacks."""

import json
import math

from fieldpost_tools.export.sinks.files import FileSink
from fieldpost_tools.query import format_value


class JsonLines(FileSink):
    """Lines with the fields of ``connector.Sample`` and ``events.Stored``."""

    ENDING = ".jsonl"

    def encode(self, samples):
        """A line each."""
        return b"".join(_line(sample) for sample in samples)

    def encode_events(self, events):
        """A line each."""
        return b"".join(_line(event) for event in events)


def _line(item):
    row = item._asdict()
    value = row.get("value")
    if isinstance(value, float) and not math.isfinite(value):
        row["value"] = format_value(value)
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


connector = JsonLines
