"""A change of many nodes in stages: the next one only when enough of the one before went well.

::

    rollout = Rollout(names, percents=(10, 50, 100), max_failures=1)
    for stage, outcome in rollout.run(work):
        print(stage, outcome.node, outcome.status)
    print("not touched:", rollout.untouched)
"""

import itertools
import threading

from fieldpost_tools import fleet
from fieldpost_tools.api.errors import ApiLinkError, ApiTimeout
from fieldpost_tools.errors import InputError, ToolError

#: Status of a node that was not begun, as the rollout had stopped.
UNTOUCHED = "untouched"


def stages(names, percents):
    """The names as lists, one a stage: ``percents`` say how many there are up to its end.

    The first has at least one node; a stage that would have none is left out. Raises InputError
    for what does not rise from above 0 to at most 100.
    """
    rising = all(a < b for a, b in itertools.pairwise([0, *percents]))
    if not percents or not rising or percents[-1] > 100:
        text = ",".join(map(str, percents))
        raise InputError("percent", text, "rising numbers of at most 100, as 10,50,100")
    ends = [0, *(-(-len(names) * percent // 100) for percent in percents)]
    found = [names[a:b] for a, b in itertools.pairwise(ends)]
    return [stage for stage in found if stage]


class Rollout:
    """The rollout to ``names`` in stages (see ``stages``), ``parallel`` nodes at a time.

    It stops, also within a stage, after more than ``max_failures`` nodes failed, and behind a
    stage of which no node is as it should be. Nodes that are offline are left as they are, and do
    not count as failures.

    ``outcomes`` are those so far, ``untouched`` the names of nodes that were not begun.
    """

    def __init__(self, names, percents=(100,), max_failures=0, parallel=8):
        self.stages = stages(names, percents)
        self.outcomes = []
        self.failures = 0
        self._names = names
        self._max_failures = max_failures
        self._parallel = parallel
        self._lock = threading.Lock()

    @property
    def stopped(self):
        """Whether too many failed."""
        return self.failures > self._max_failures

    @property
    def untouched(self):
        """Names of nodes that were not begun."""
        begun = {outcome.node for outcome in self.outcomes}
        return [name for name in self._names if name not in begun]

    def run(self, work):
        """Yield ``(stage, outcome)`` as they come, from stage 1 on; ``work`` as of ``fleet``."""
        for number, names in enumerate(self.stages, 1):
            good = False
            for outcome in fleet.each(
                names, lambda name: self._guarded(name, work), self._parallel
            ):
                if outcome.status != UNTOUCHED:
                    self.outcomes.append(outcome)
                    good = good or outcome.good
                    yield number, outcome
            if self.stopped or not good:
                return

    def _guarded(self, name, work):
        """Do the work, unless too many failed meanwhile."""
        if self.stopped:
            return UNTOUCHED, ""
        try:
            result = work(name)
        except (ApiTimeout, ApiLinkError):
            raise
        except ToolError:
            self._failed()
            raise
        if result[0] == fleet.FAILED:
            self._failed()
        return result

    def _failed(self):
        with self._lock:
            self.failures += 1
