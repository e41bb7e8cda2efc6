"""``fieldpost demo`` as users run it, and what it does when something goes wrong."""

import csv
import gc
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
import warnings
from pathlib import Path

import pytest

from fieldpost_tools import demo
from fieldpost_tools.demo import session
from fieldpost_tools.sim import board as boards
from fieldpost_tools.store import Written


class Command:
    """``fieldpost demo`` as a process of its own session, which can be searched for leftovers."""

    def __init__(self, folder, *arguments):
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self._mark = f"FIELDPOST_TEST={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        paths = {
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fieldpost_tools", "demo", *map(str, arguments)],
            env={**os.environ, **paths, name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self):
        self.output, self.errors = self.process.communicate(timeout=120)
        return self.process.returncode

    def leftovers(self):
        """Temporary files and processes that are still there."""
        found = [path.name for path in self.temporary.iterdir()]
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self._mark.encode() in path.read_bytes():
                    found.append(path.parent.name)
            except OSError:
                continue
        return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory, micropython):
    folder = tmp_path_factory.mktemp("demo")
    run = Command(folder, "--seconds", 15, "--json", "--keep", folder / "kept")
    run.code = run.finish()
    run.kept = folder / "kept"
    return run


@pytest.fixture(scope="module")
def result(finished):
    assert finished.code == 0, finished.errors
    return json.loads(finished.output.splitlines()[-1])


def test_every_record_arrives_exactly_once(result):
    assert result["problems"] == []
    assert result["records_acquired"] > 100
    assert result["records_stored"] == result["csv_rows"] == result["records_acquired"]
    names = "lost", "duplicates", "dropped", "unexplained_gaps", "counter_holes", "node_errors"
    assert {name: result[name] for name in names} == dict.fromkeys(names, 0)
    assert 15 <= result["seconds"] < 25
    assert result["points"] == 16


def test_the_broker_is_really_away_and_the_backlog_waits_on_the_node(finished, result):
    assert result["broker_outages"] == 1
    assert result["node_disconnects"] == 1
    assert 2 <= result["outage_seconds"] < 15
    rate = result["records_acquired"] / result["seconds"]
    assert result["backlog"] > rate * (result["outage_seconds"] - 1) > 20
    assert result["drain_seconds"] < 20
    # The backlog may be gone before a line says so; drain_seconds and backlog tell of it.
    phases = ["provisioning", "booting the board", "sampling", "broker killed", "exporting"]
    places = [finished.errors.index(phase) for phase in phases]
    assert places == sorted(places)
    waiting = re.findall(r"broker killed +node cut off .* waiting about (\d+)", finished.errors)
    assert 0 <= int(waiting[0]) < int(waiting[-1])


def test_the_board_is_provisioned_over_its_serial_line(finished, result):
    """It begins with an empty flash and an empty ROMFS partition."""
    assert result["provision_bytes"] > 200_000
    assert 0.5 < result["provision_seconds"] < 15
    flash = {path.name for path in (finished.kept / "flash").iterdir()}
    assert {"boot.py", "main.py", "slots.py", "config.json", "data"} <= flash
    console = (finished.kept / "console.txt").read_text(encoding="utf-8")
    assert "raw REPL; CTRL-B to exit" in console
    assert (finished.kept / "flash" / "data" / "config.plan").exists()


def test_an_alarm_arrives_by_webhook_and_its_signature_is_right(finished, result):
    """The wave crosses its limit 1.7 s after the node's start, and the lower one after 8.7 s."""
    names = "alarms_raised", "alarms_cleared", "webhooks_delivered", "webhooks_refused"
    assert [result[name] for name in names] == [1, 1, 2, 0]
    assert result["webhooks_missing"] == result["webhooks_again"] == 0
    lines = "no alarm yet", "alarm raised, 1 webhook delivered, signature ok", "alarm cleared, 2"
    places = [finished.errors.index(line) for line in lines]
    assert places == sorted(places)


def test_a_heap_of_136_kib_is_enough_and_stays_as_it_is(tmp_path, micropython):
    """68 KiB where words have 32 bit."""
    run = Command(tmp_path, "--seconds", 20, "--json", "--heap", "136k")
    assert run.finish() == 0, run.errors
    result = json.loads(run.output.splitlines()[-1])
    assert (result["problems"], result["points"], result["heap"]) == ([], 6, "136k")
    assert "alarms_raised" not in result
    assert result["node_restarts"] == result["node_errors"] == result["lost"] == 0
    _, second, last = result["heap_free"]
    assert last > 1024
    assert second - last < 5 * 1024


def test_database_and_csv_hold_what_the_account_says(finished, result):
    with open(finished.kept / "demo.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({(row["stream"], row["seq"]) for row in rows}) == result["csv_rows"]
    counted = [int(row["value"]) for row in rows if row["point"] == "counter"]
    assert counted == list(range(len(counted)))
    supply = [float(row["value"]) for row in rows if row["point"] == "dat"]
    assert all(5 < value < 45 for value in supply)
    assert len(set(supply)) > 5
    database = sqlite3.connect(finished.kept / "demo.db")
    stored = "SELECT count(*), count(DISTINCT stream || ' ' || seq) FROM records WHERE seq <= ?"
    found = database.execute(stored, (max(int(row["seq"]) for row in rows),)).fetchone()
    database.close()
    assert found == (len(rows), len(rows))


def test_only_the_kept_files_stay(finished, result):
    assert result["folder"] == str(finished.kept)
    assert {"demo.db", "demo.csv", "flash", "console.txt"} <= set(os.listdir(finished.kept))
    assert finished.leftovers() == []


def test_a_folder_with_an_earlier_run_is_refused(finished, tmp_path):
    run = Command(tmp_path, "--keep", finished.kept)
    assert run.finish() == 2
    assert "one without the files of an earlier run" in run.errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_stays_behind(micropython, tmp_path, number):
    run = Command(tmp_path, "--seconds", 60)
    for line in run.process.stdout:
        if "sampling" in line:
            break
    assert len(run.leftovers()) >= 4  # the folders of demo and board, three processes
    os.killpg(run.process.pid, number)
    begin = time.monotonic()
    assert run.finish() == 1
    assert time.monotonic() - begin < 20
    assert run.leftovers() == []
    assert "Traceback" not in run.errors
    assert run.errors.strip() == "Aborted!"


def test_a_node_that_cannot_run_is_reported_with_its_last_words(micropython, tmp_path):
    run = Command(tmp_path, "--seconds", 60, "--json", "--heap", "80k")
    assert run.finish() == 1
    *words, last = run.errors.splitlines()
    assert re.fullmatch(r"Error: the node has ended: MemoryError: .*", last)
    assert '  File "main.py", line ' in "\n".join(words)
    assert json.loads(run.output.splitlines()[-1]) == {"error": last.removeprefix("Error: ")}
    assert run.leftovers() == []


def test_a_board_that_cannot_boot_is_reported(micropython, tmp_path):
    run = Command(tmp_path, "--heap", "2k")
    assert run.finish() == 1
    assert "Error: it cannot boot" in run.errors.splitlines()[-1]
    assert run.leftovers() == []


@pytest.fixture
def collected():
    """paho closes a pair of sockets only when it is collected itself, by chance too late."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.usefixtures("micropython", "collected")
def test_a_record_that_is_acknowledged_but_not_stored_is_found(tmp_path, monkeypatch):
    """A collector that loses a flush: the account must not be fooled."""
    pictures = []
    lost = []
    write = session._WatchedStore.write

    def careless(store, flushes=(), points=(), states=(), happened=()):
        late = pictures and pictures[-1].elapsed > 8 and not pictures[-1].phase.startswith("b")
        if flushes and late and not lost:
            lost.append(sum(len(chunk.records) for flush in flushes for chunk in flush.chunks))
            return Written(0, 0, [])
        return write(store, flushes, points, states)

    monkeypatch.setattr(session._WatchedStore, "write", careless)
    monkeypatch.setattr(session._Session, "CLOSE_TIMEOUT_S", 3)
    result = demo.run(10, demo.HEAP, tmp_path, pictures.append)
    assert result["lost"] == lost[0] > 0
    assert result["unexplained_gaps"] == 1
    assert f"{lost[0]} records are lost" in result["problems"]


@pytest.mark.usefixtures("micropython", "collected")
def test_a_board_that_resets_itself_ends_the_demo(tmp_path):
    begin = []

    def kill_once(picture):
        if picture.phase == "sampling" and not begin:
            begin.append(1)
            (running,) = boards._boards
            os.kill(running.pid, signal.SIGKILL)

    with pytest.raises(demo.DemoError, match="the board has reset itself") as caught:
        demo.run(10, demo.HEAP, tmp_path, kill_once)
    assert "SW_CPU_RESET" in caught.value.details
