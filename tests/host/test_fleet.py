"""Work on many nodes: outcomes, how many at a time, the end."""

import io
import threading

import pytest
from rich.console import Console

from fieldpost_tools import credentials, fleet
from fieldpost_tools.api.errors import ApiCallError, ApiLinkError, ApiTimeout
from fieldpost_tools.errors import InputError


def by_node(outcomes):
    return {outcome.node: outcome for outcome in outcomes}


def test_each_node_has_its_outcome():
    errors = {
        "silent": ApiTimeout("no answer"),
        "gone": ApiLinkError("node 'gone' is offline"),
        "bad": ApiCallError("config.begin", "stale revision"),
        "wrong": InputError("node", "wrong", "another"),
    }

    def work(name):
        if name in errors:
            raise errors[name]
        return ("ok", "done", {"revision": "4 → 5"}) if name == "gw-1" else ("unchanged", "")

    found = by_node(fleet.each(["gw-1", "gw-2", *errors], work))
    assert {name: one.status for name, one in found.items()} == {
        "gw-1": "ok",
        "gw-2": "unchanged",
        "silent": "offline",
        "gone": "offline",
        "bad": "failed",
        "wrong": "failed",
    }
    assert found["bad"].detail == "config.begin: stale revision"
    assert found["gw-1"].facts == {"revision": "4 → 5"}
    assert [one.good for one in found.values()].count(True) == 2


def test_a_bug_is_not_an_outcome():
    with pytest.raises(ZeroDivisionError):
        list(fleet.each(["gw-1"], lambda name: 1 / 0))


def test_so_many_at_a_time():
    running, most, lock = [], [], threading.Lock()
    both = threading.Barrier(3, timeout=10)

    def work(name):
        with lock:
            running.append(name)
            most.append(len(running))
        both.wait()
        with lock:
            running.remove(name)
        return "ok", ""

    assert len(list(fleet.each(map(str, range(9)), work, parallel=3))) == 9
    assert max(most) == 3


def test_who_stops_looking_begins_no_more():
    begun = []

    def work(name):
        begun.append(name)
        return "failed", ""

    outcomes = fleet.each(map(str, range(50)), work, parallel=1)
    next(outcomes)
    outcomes.close()
    assert len(begun) < 5


def test_summary():
    outcomes = [
        fleet.Outcome("gw-2", "failed", "[bold] no", 1.25),
        fleet.Outcome("gw-1", "ok", "applied", 0.5, {"revision": "1 → 2", "x": [1]}),
        fleet.Outcome("gw-3", "ok", "applied", 0.5, {"revision": "7 → 8"}),
        fleet.Outcome("gw-4", "waiting", "", 0.5),
    ]
    console = Console(width=80, file=io.StringIO())
    console.print(fleet.table(outcomes))
    lines = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in console.file.getvalue().splitlines()
        if "│" in line
    ]
    assert lines == [
        ["gw-1", "1 → 2", "ok", "applied", "0.5"],
        ["gw-2", "", "failed", "[bold] no", "1.2"],
        ["gw-3", "7 → 8", "ok", "applied", "0.5"],
        ["gw-4", "", "waiting", "", "0.5"],
    ]
    assert fleet.counts(outcomes) == "2 ok, 1 failed, 1 waiting"
    assert fleet.exit_code(outcomes) == 1
    assert fleet.exit_code(outcomes[1:]) == 0
    assert fleet.rows(outcomes)[0] == {
        "node": "gw-1",
        "status": "ok",
        "detail": "applied",
        "seconds": 0.5,
        "revision": "1 → 2",
        "x": [1],
    }


def test_the_key_is_in_the_environment_or_the_credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDPOST_CREDENTIALS", str(tmp_path))
    assert fleet.key("FIELDPOST_NO_SUCH") is None
    credentials.ensure("gw-1")
    assert fleet.key("FIELDPOST_NO_SUCH") == (tmp_path / "fleet_key").read_text()
    monkeypatch.setenv("MINE", "mine")
    assert fleet.key("MINE") == "mine"
