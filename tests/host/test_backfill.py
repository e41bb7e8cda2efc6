"""Backfill: resumable at any point, idempotent, beside the live cursor."""

import subprocess
import sys
import threading
import time

import pytest

from export_kit import DOWN, T0, Scripted, export, files_export, flush, make_store, values
from fieldpost_tools import query
from fieldpost_tools.backfill import Backfill, Pace, job_name
from fieldpost_tools.errors import InputError
from fieldpost_tools.export import state
from fieldpost_tools.export.connector import Unavailable
from fieldpost_tools.export.pipeline import Exporter
from fieldpost_tools.export.state import States
from fieldpost_tools.query import EVERYTHING, Selection


@pytest.fixture
def states(tmp_path):
    with States(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture
def store(tmp_path):
    flushes = flush(0, 100), flush(0, 50, node="gw-2"), flush(0, 30, stream=2)
    with make_store(tmp_path / "a.db", *flushes) as opened:
        yield opened


def run(export, store, states, selection=EVERYTHING, stop_after=None, **keys):
    """Run a backfill, stopped after so many reports."""
    stopping = threading.Event()
    seen = []

    def progress(job):
        seen.append(job)
        if len(seen) == stop_after:
            stopping.set()

    return Backfill(export, store, states, selection, **keys).run(stopping, progress), seen


def test_everything_once_in_batches(store, states, tmp_path):
    sink = Scripted()
    job, seen = run(export(sink, tmp_path, batch=40), store, states)
    assert (job.state, job.rows, job.total) == ("done", 180, 180)
    assert len(sink.samples) == 180
    assert [one.rows for one in seen] == [40, 80, 120, 160, 180, 180]


def test_it_goes_on_where_it_was_stopped(store, states, tmp_path):
    first, second = Scripted(), Scripted()
    job, _ = run(export(first, tmp_path, batch=40), store, states, stop_after=2)
    assert (job.state, job.rows) == (state.STOPPED, 80)
    job, _ = run(export(second, tmp_path, batch=40), store, states)
    assert (job.state, job.rows, len(second.samples)) == ("done", 180, 100)
    assert not set(first.samples) & set(second.samples)
    assert second.opened[0] == {"samples": 80}


def test_a_selection_of_time_nodes_and_points(store, states, tmp_path):
    sink = Scripted()
    chosen = Selection(("gw-1",), ("ahu-1/*",), T0 + 10_000, T0 + 20_000)
    job, _ = run(export(sink, tmp_path), store, states, chosen)
    assert job.rows == job.total == 20
    assert {seq for _, _, seq in sink.samples} == set(range(10, 20))
    with pytest.raises(InputError, match="gw-9"):
        run(export(sink, tmp_path), store, states, Selection(("gw-9",)))


def test_the_live_cursor_is_not_disturbed(store, states, tmp_path):
    sink = Scripted()
    Exporter(export(sink, tmp_path, batch=30), store, states).step()
    before = states.standing("sink")
    run(export(sink, tmp_path, batch=40), store, states)
    assert states.standing("sink") == before


def test_failures_are_retried_and_told(store, states, tmp_path):
    sink = Scripted()
    sink.script = [None, DOWN, DOWN]
    keys = {"batch": 100, "backoff_min_s": 0.01, "backoff_max_s": 0.02}
    job, seen = run(export(sink, tmp_path, **keys), store, states)
    assert (job.state, job.error, len(sink.samples)) == ("done", None, 180)
    assert [one.state for one in seen][:3] == ["running", "error", "error"]
    assert sink.opened == [None, {"samples": 100}, {"samples": 100}]


def test_poison_is_buried(states, tmp_path):
    store = make_store(tmp_path / "b.db", values(1, "poison", 3))
    sink = Scripted()
    job, _ = run(export(sink, tmp_path), store, states)
    assert (job.state, job.rows, job.dead) == ("done", 3, 1)
    assert sink.values == [1, 3]


def test_files_have_a_name_of_their_own_and_are_written_once(store, states, tmp_path):
    Exporter(files_export(tmp_path), store, states).step()
    folder = tmp_path / "files"
    live = (folder / "out-000001.csv").read_bytes()
    job, _ = run(files_export(tmp_path), store, states, stop_after=2)
    assert job.state == state.STOPPED
    path = folder / f"out-backfill-{job.job}-000001.csv"
    for _ in range(2):
        job, _ = run(files_export(tmp_path), store, states)
        assert job.state == "done"
        assert path.read_bytes().count(b"\r\n") == 181
    path.write_text("")
    run(files_export(tmp_path), store, states, restart=True)
    assert path.read_bytes().count(b"\r\n") == 181
    assert (folder / "out-000001.csv").read_bytes() == live


DYING = """
import os, signal, sys, threading
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from export_kit import files_export
from fieldpost_tools.backfill import Backfill
from fieldpost_tools.export.state import States
from fieldpost_tools.query import EVERYTHING
from fieldpost_tools.store import Store
folder = Path(sys.argv[1])
calls = 0
def trace(frame, event, arg):
    global calls
    if "/fieldpost_tools/" in frame.f_code.co_filename:
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
with Store(folder / "a.db") as store, States(folder / "state.db") as states:
    backfill = Backfill(files_export(folder, gzip=False), store, states, EVERYTHING)
    threading.setprofile(trace)
    sys.setprofile(trace)
    backfill.run(threading.Event(), lambda job: None)
sys.setprofile(None)
"""


def test_killed_at_any_point_nothing_doubles_and_nothing_lacks(store, tmp_path):
    paths = [path for path in sys.path if path and "site-packages" not in path]
    kills = 0
    for moment in range(20, 20000, 137):
        command = [sys.executable, "-c", DYING, str(tmp_path), str(moment), *paths]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        kills += 1
    assert kills >= 5
    (path,) = (tmp_path / "files").glob("out-backfill-*.csv")
    lines = path.read_text().splitlines()
    keys = [tuple(line.split(",")[i] for i in (0, -3, -2)) for line in lines[1:]]
    stored = [(row.node, str(row.stream), str(row.seq)) for row in query.records(store)]
    assert sorted(keys) == sorted(stored)


def test_the_pace_is_of_the_last_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace(1000)
    assert pace.rows_per_s == 0
    for second in range(1, 31):
        now[0] = float(second)
        pace.update(1000 + 100 * second if second < 20 else 2900 + 10 * (second - 19))
    assert pace.rows_per_s == pytest.approx(10, rel=0.1)


def test_a_job_is_named_by_what_it_selects():
    assert job_name(Selection(("b", "a"), (), 1, 2)) == job_name(Selection(("a", "b"), (), 1, 2))
    assert job_name(Selection((), (), 1, 2)) != job_name(Selection((), (), 1, 3))


def test_a_sink_that_asks_for_time_gets_it(store, states, tmp_path):
    sink = Scripted()
    sink.script = [Unavailable("busy", 0.2)]
    started = time.monotonic()
    run(export(sink, tmp_path), store, states)
    assert time.monotonic() - started >= 0.2
