"""The device test runner tells passing, failing, broken and hanging modules apart."""

import pytest

import device_suite
from fieldpost_tools.build import build_mpy

PASSES = """
import asyncio

def test_sync():
    assert 1 + 1 == 2

async def test_async():
    await asyncio.sleep_ms(1)
    print("said by the test")
"""

FAILS = """
import asyncio

async def later():
    await asyncio.sleep_ms(1)
    assert 1 == 2, "not equal"

def test_a_passes():
    pass

async def test_b_fails_late():
    await later()

def test_c_raises():
    [][0]
"""

HANGS = """
async def test_hangs():
    while True:
        pass
"""


@pytest.fixture(params=["64 bit", "32 bit"])
def run(request, tmp_path):
    def compile_and_run(source, timeout_s=30):
        path = tmp_path / "test_it.py"
        path.write_text(source, encoding="utf-8")
        build_mpy(tmp_path / "build", path, device_suite.TESTS / "runner.py")
        where = (tmp_path / "build", "test_it")
        if request.param == "64 bit":
            executable = request.getfixturevalue("micropython")
            return device_suite.run_unix(executable, *where, "128k", timeout_s, tmp_path)
        wasm = request.getfixturevalue("wasm")
        return device_suite.run_wasm(wasm, *where, timeout_s, tmp_path)

    return compile_and_run


def test_passing_module(run):
    outcome = run(PASSES)
    assert not outcome.problem()
    assert [(one["test"], one["error"]) for one in outcome.tests] == [
        ("test_async", None),
        ("test_sync", None),
    ]
    assert outcome.end["tests"] == 2
    assert outcome.end["heap_free"] > 0
    assert outcome.text == "said by the test"


def test_failing_module_names_test_line_and_reason(run):
    problem = run(FAILS).problem()
    assert "test_a_passes" not in problem
    assert "test_b_fails_late" in problem
    assert "line 6, in later\nAssertionError: not equal" in problem
    assert "IndexError" in problem


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "no_such_module"),
        ("x = 1", "it has no test"),
        ("import sys\ndef test_x():\n    sys.exit(0)", "ended before its last test"),
    ],
)
def test_broken_module(run, source, reason):
    assert reason in run(source).problem()


def test_hanging_module_is_killed(run):
    problem = run(HANGS, timeout_s=3).problem()
    assert "killed after 3 s" in problem


def test_needs_is_read_without_importing(tmp_path, monkeypatch):
    monkeypatch.setattr(device_suite, "TESTS", tmp_path)
    (tmp_path / "test_a.py").write_text('NEEDS = "socket ssl"\nimport nothing_like_this\n')
    (tmp_path / "test_b.py").write_text("x = 1\n")
    assert device_suite.modules() == ["test_a", "test_b"]
    assert device_suite.modules(lacks={"ssl"}) == ["test_b"]
    (tmp_path / "test_b.py").write_text("HEAP = '1m'\n")
    assert device_suite.heap("test_a") == device_suite.HEAP
    assert device_suite.heap("test_b") == "1m"
