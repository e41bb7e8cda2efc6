"""``make soak`` in short: QoS 1 messages past the wraps of packet ids and ticks."""

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

import device_suite

SOAK = device_suite.ROOT / "tests" / "benchmarks" / "soak.py"


@pytest.mark.timeout(450)
def test_messages_past_every_wrap(micropython):
    done = subprocess.run(
        [sys.executable, SOAK, "--kills", "0", "--messages", "70000"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert told["messages acknowledged"] == "70000"
    assert (told["lost"], told["duplicates"]) == ("0", "0")
    assert (told["packet-id wraps"], told["ticks wrapped"]) == ("1", "True")
    assert done.stdout.endswith("nothing lost, nothing double\n")


COUNT = 70_000
TOLD = {
    "ms": 10_000,
    "acked": COUNT,
    "lost": 0,
    "pid_wraps": 1,
    "uptime_ms": 10_100,
    "tick_wrapped": True,
    "heap": [1, 2, 3, 4, 140_000, 141_000, 140_500],
    "records": 1000,
    "dropped": {},
    "link": {"disconnects": 0, "resent": 0},
    "errors": 0,
    "last_error": None,
}


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(SOAK.parent)
    return importlib.import_module("soak")


def witness(**other):
    seen = {"arrived": bytearray(b"\1") * COUNT, "total": COUNT}
    return SimpleNamespace(**seen | {"problems": [], "recorded_ms": 9500} | other)


def test_a_soak_without_problems(soak):
    assert soak._problems(TOLD, witness(), COUNT) == []


@pytest.mark.parametrize(
    "other",
    [
        {"acked": COUNT - 1},
        {"lost": 1},
        {"pid_wraps": 0},
        {"uptime_ms": 4000},
        {"tick_wrapped": False},
        {"heap": [1, 2, 3, 4, 140_000, 150_000]},
        {"records": 100},
        {"dropped": {"overflow": 1}},
        {"link": {"disconnects": 1, "resent": 0}},
        {"link": {"disconnects": 0, "resent": 1}},
        {"errors": 1},
    ],
)
def test_what_a_node_tells_may_be_a_problem(soak, other):
    assert len(soak._problems(TOLD | other, witness(), COUNT)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"arrived": bytearray(b"\1") * (COUNT - 1) + b"\0", "total": COUNT - 1},
        {"arrived": bytearray(b"\1") * (COUNT - 1) + b"\2", "total": COUNT + 1},
        {"problems": ["record 7 instead of 6"]},
        {"recorded_ms": 5000},
    ],
)
def test_what_arrived_may_be_a_problem(soak, other):
    assert len(soak._problems(TOLD, witness(**other), COUNT)) == 1
