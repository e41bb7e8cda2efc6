"""What a connector is: one sink for records and events; and how one is found by its type.

A connector's module exports its class as ``connector``. Those of Fieldpost are the modules of
``export.sinks``; a package of yours adds one by an entry point::

    [project.entry-points."fieldpost.connectors"]
    historian = "my_package.historian:Historian"

The pipeline opens a connector with the mark that it saved last (None the very first time; then it
saves the one it gets before anything is written), writes batches, and saves its position together
with the connector's new mark. After any failure it closes the connector and
opens it with the saved mark again, so a batch may come twice: a sink with keys takes it as the
same rows, a sink of files cuts off what follows the mark.
"""

import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

from fieldpost_tools.errors import InputError, ToolError

GROUP = "fieldpost.connectors"
_SINKS = "fieldpost_tools.export.sinks"


class SinkError(ToolError):
    """A sink did not take what it was given."""


class Unavailable(SinkError):  # noqa: N818 – the words of the field
    """Not now: down, slow, busy, full, or it needs a person. The same is tried again later.

    ``retry_after_s`` is how long the sink asks to be left alone, None where it does not say.
    """

    def __init__(self, text, retry_after_s=None):
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Rejected(SinkError):  # noqa: N818
    """Never: something in this batch is wrong. The pipeline looks for it by halving."""


class Sample(NamedTuple):
    """One record as a sink gets it: names are mapped, ``tags`` is a dict of texts.

    ``ts_ms`` is None where the node never knew the time; ``value`` is None, bool, int, float, str
    or a parsed JSON array or object; (node, stream, seq) is its key for ever.
    """

    node: str
    device: str
    point: str
    unit: str
    ts_ms: int | None
    value: Any
    value_text: str | None
    stream: int
    seq: int
    tags: dict[str, str]


class Connector:
    """Base of all. ``name`` is the user's, ``options`` the validated ``OPTIONS`` of this type."""

    #: Its own keys: schema rows as in ``fieldpost.schema``.
    OPTIONS: dict[str, str] = {}
    #: Records without a time are left out and counted as skipped.
    NEEDS_TIME = False
    #: Written twice, a record stands there once, whoever writes it and when.
    KEYED = True

    def __init__(self, name, options):
        self.name = name
        self.options = options
        #: Relative paths begin here: the folder of the exports file.
        self.folder = Path()

    def open(self, mark=None):
        """Connect, and go back to ``mark`` where that means something. May raise Unavailable."""

    def write(self, samples):
        """Write ``Sample`` objects; returns how many of them the sink cannot hold, 0 as a rule.

        Raises Unavailable or Rejected; then any part of them may have been written.
        """
        raise NotImplementedError

    def write_events(self, events):
        """Write ``events.Stored`` objects, likewise. By default the sink holds none."""
        return len(events)

    def mark(self):
        """What ``open`` needs to go on behind what was written; JSON-able. Also makes it last."""

    def clear(self):
        """Remove what a connector of this name wrote; only where not ``KEYED``."""

    def health(self):
        """A line for a person: who answers. Raises Unavailable."""
        return "ok"

    def close(self):
        """Let go of everything; harmless when repeated, and after a failure."""


def names():
    """Types that a configuration may name."""
    folder = importlib.util.find_spec(_SINKS).submodule_search_locations[0]
    built_in = {path.stem for path in Path(folder).glob("[a-z]*.py")} - {"files"}
    return sorted(built_in | {entry.name for entry in _entries()})


def find(kind):
    """The class of a type. Raises InputError for an unknown one, and where its library lacks."""
    for entry in _entries():
        if entry.name == kind:
            return entry.load()
    if kind not in names():
        raise InputError("type", kind, "one of " + ", ".join(names()))
    try:
        return importlib.import_module(f"{_SINKS}.{kind}").connector
    except ModuleNotFoundError as error:
        raise InputError(
            "type", kind, f"its library: pip install 'fieldpost[{kind}]' ({error})"
        ) from None


def _entries():
    return importlib.metadata.entry_points(group=GROUP)
