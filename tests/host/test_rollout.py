"""Stages of a rollout: who is in which, and when the next one is not begun."""

import threading

import pytest

from fieldpost_tools.api import ApiLinkError
from fieldpost_tools.errors import InputError, ToolError
from fieldpost_tools.rollout import Rollout, stages

NAMES = [f"gw-{number}" for number in range(10)]


class Work:
    """Updates nodes, but for those that fail in some way."""

    def __init__(self, failed=(), raised=(), offline=()):
        self.failed, self.raised, self.offline = failed, raised, offline
        self.begun = []

    def __call__(self, name):
        self.begun.append(name)
        if name in self.raised:
            raise ToolError("returned")
        if name in self.offline:
            raise ApiLinkError("no answer")
        return ("failed", "broken") if name in self.failed else ("ok", "")


def ran(work, percents=(10, 50, 100), max_failures=0, parallel=1):
    rollout = Rollout(NAMES, percents, max_failures, parallel)
    return rollout, [(stage, one.node, one.status) for stage, one in rollout.run(work)]


@pytest.mark.parametrize(
    ("count", "percents", "sizes"),
    [
        (10, (10, 50, 100), [1, 4, 5]),
        (10, (100,), [10]),
        (3, (1, 2, 100), [1, 2]),
        (1, (10, 50, 100), [1]),
        (7, (50,), [4]),
        (200, (1, 10, 100), [2, 18, 180]),
    ],
)
def test_percentages_are_of_all_nodes(count, percents, sizes):
    names = [str(number) for number in range(count)]
    found = stages(names, percents)
    assert [len(stage) for stage in found] == sizes
    assert [name for stage in found for name in stage] == names[: sum(sizes)]


@pytest.mark.parametrize("percents", [(), (0, 100), (50, 10), (50, 50), (100, 101), (-5,)])
def test_percentages_rise_to_at_most_100(percents):
    with pytest.raises(InputError, match="percent"):
        stages(NAMES, percents)


def test_all_go_well():
    work = Work()
    rollout, found = ran(work)
    assert work.begun == NAMES
    assert [stage for stage, _, _ in found] == [1] + 4 * [2] + 5 * [3]
    assert (rollout.untouched, rollout.stopped) == ([], False)


@pytest.mark.parametrize("how", ["failed", "raised"])
def test_a_failure_stops_the_rollout(how):
    work = Work(**{how: ("gw-2",)})
    rollout, found = ran(work)
    assert work.begun == ["gw-0", "gw-1", "gw-2"]
    assert found[-1] == (2, "gw-2", "failed")
    assert rollout.stopped
    assert rollout.failures == 1
    assert rollout.untouched == NAMES[3:]


def test_so_many_failures_are_allowed():
    rollout, found = ran(Work(failed=("gw-1", "gw-2")), max_failures=2)
    assert len(found) == 10
    assert not rollout.stopped
    rollout, found = ran(Work(failed=("gw-1", "gw-2", "gw-6", "gw-9")), max_failures=2)
    assert rollout.untouched == ["gw-7", "gw-8", "gw-9"]


def test_offline_nodes_are_no_failures_yet_prove_nothing():
    rollout, found = ran(Work(offline=("gw-3",)))
    assert (3, "gw-3", "offline") not in found
    assert (2, "gw-3", "offline") in found
    assert not rollout.stopped
    assert rollout.untouched == []
    rollout, found = ran(Work(offline=("gw-0",)))
    assert found == [(1, "gw-0", "offline")]
    assert rollout.untouched == NAMES[1:]


def test_what_has_begun_meanwhile_is_finished_and_told():
    together = threading.Barrier(2, timeout=5)

    def work(name):
        if name in ("gw-0", "gw-1"):
            together.wait()
        if name == "gw-0":
            return "failed", ""
        while not rollout.stopped:
            threading.Event().wait(0.001)
        return "ok", ""

    rollout = Rollout(NAMES, (100,), 0, 2)
    found = sorted((one.node, one.status) for _, one in rollout.run(work))
    assert ("gw-0", "failed") in found
    assert ("gw-1", "ok") in found
    assert sorted(rollout.untouched + [name for name, _ in found]) == NAMES
    assert len(found) <= 3


def test_only_a_part():
    rollout, found = ran(Work(), percents=(20,))
    assert len(found) == 2
    assert rollout.untouched == NAMES[2:]
    assert not rollout.stopped
