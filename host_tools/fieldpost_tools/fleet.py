"""The same work on many nodes: some at a time, each with an outcome of its own.

::

    def work(name):
        with connect(name) as client:
            return "ok", client.call("system.getInfo")["version"]

    outcomes = list(fleet.each(["gw-1", "gw-2"], work))
    console.print(fleet.table(outcomes))
    sys.exit(fleet.exit_code(outcomes))
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from fieldpost_tools import credentials
from fieldpost_tools.api.errors import ApiLinkError, ApiTimeout
from fieldpost_tools.errors import ToolError

OK, UNCHANGED, FAILED, OFFLINE = "ok", "unchanged", "failed", "offline"
#: What the table shows of each status.
_STYLES = {OK: "green", UNCHANGED: "dim", FAILED: "bold red", OFFLINE: "yellow"}


@dataclass(frozen=True)
class Outcome:
    """What became of one node.

    ``status``: "ok", "unchanged", "failed", "offline" or a word of the work's own; ``detail``:
    one line for a person; ``facts``: columns of the table, ``{"revision": "4 → 5"}``; what is no
    text is in ``rows`` only.
    """

    node: str
    status: str
    detail: str
    seconds: float
    facts: dict = field(default_factory=dict)

    @property
    def good(self):
        """Whether the node is as it should be."""
        return self.status not in (FAILED, OFFLINE)


def each(names, work, parallel=8):
    """Yield the ``Outcome`` of ``work(name)`` for each name, as they come.

    ``work`` is called by up to ``parallel`` threads; it returns ``(status, detail)`` or
    ``(status, detail, facts)``. What does not answer is "offline", any other ToolError "failed".
    Where the caller stops iterating, no further node is begun.
    """
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="fieldpost-fleet")
    try:
        for job in as_completed([pool.submit(_outcome, name, work) for name in names]):
            yield job.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _outcome(name, work):
    begin = time.monotonic()
    try:
        result = work(name)
    except (ApiTimeout, ApiLinkError) as error:
        result = OFFLINE, str(error)
    except ToolError as error:
        result = FAILED, str(error)
    status, detail, *facts = result
    return Outcome(name, status, detail, time.monotonic() - begin, *facts)


def key(variable):
    """The nodes' ``fleet_key``: in that environment variable, else in ``credentials``; or None."""
    path = credentials.folder() / credentials.FLEET_KEY
    if variable not in os.environ and path.is_file():
        return path.read_text(encoding="utf-8").strip()
    return os.environ.get(variable)


def exit_code(outcomes):
    """1 if a node is not as it should be."""
    return 0 if all(outcome.good for outcome in outcomes) else 1


def counts(outcomes):
    """How many there are of each status, in words: ``17 ok, 2 failed, 1 offline``."""
    found = [outcome.status for outcome in outcomes]
    known = [*_STYLES, *(status for status in found if status not in _STYLES)]
    return ", ".join(f"{found.count(s)} {s}" for s in dict.fromkeys(known) if s in found)


def table(outcomes):
    """A rich table of outcomes, by node."""
    from rich.table import Table
    from rich.text import Text

    outcomes = sorted(outcomes, key=lambda outcome: outcome.node)
    facts = [name for one in outcomes for name, fact in one.facts.items() if isinstance(fact, str)]
    facts = list(dict.fromkeys(facts))
    made = Table("node", *facts, "status", "detail")
    made.add_column("s", justify="right")
    for one in outcomes:
        status = Text(one.status, _STYLES.get(one.status, ""))
        texts = [Text(one.facts.get(name, "")) for name in facts]
        made.add_row(Text(one.node), *texts, status, Text(one.detail), f"{one.seconds:.1f}")
    return made


def rows(outcomes):
    """The same as a list that JSON can say."""
    return [
        {
            "node": one.node,
            "status": one.status,
            "detail": one.detail,
            "seconds": round(one.seconds, 3),
            **one.facts,
        }
        for one in sorted(outcomes, key=lambda outcome: outcome.node)
    ]
