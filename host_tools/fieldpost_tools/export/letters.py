"""Dead letters: what a sink rejects for good, one JSON object a line, for a person to look at."""

import json
import math
import time
from pathlib import Path

from fieldpost_tools.errors import OutputError


def bury(path, letters):
    """Append ``(item, reason)`` pairs; items are ``Sample`` or ``events.Stored``.

    After a crash in the wrong moment a letter may stand there twice. Raises OutputError.
    """
    now_ms = time.time_ns() // 1_000_000
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            for item, reason in letters:
                row = {"buried_ms": now_ms, "reason": reason, **_plain(item._asdict())}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise OutputError(f"dead letters '{path}': {error.strerror}") from error


def _plain(value):
    """With words for the floats that JSON lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value
