"""The ``fieldpost`` command: start-up, help, and errors of one line with the right exit code."""

import csv
import importlib
import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fieldpost_tools import __version__, cli
from fieldpost_tools.flush import Chunk, Flush, Points
from fieldpost_tools.store import Store

T0 = 1_700_000_000_000


def run(*arguments, code=0):
    result = CliRunner().invoke(cli.main, [str(a) for a in arguments], prog_name="fieldpost")
    assert result.exit_code == code, result.output
    return result


def command(*arguments):
    return [sys.executable, "-m", "fieldpost_tools", *map(str, arguments)]


@pytest.fixture
def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "a.db"
    with Store(path, create=True) as store:
        rows = [(T0 + n, 1, n / 2, None) for n in range(150)]
        rows += [(T0 + 150, 2, float("nan"), "\x1b[31mred"), (T0 + 151, 2, [1], None)][:1]
        flush = Flush("gw-1", "default", 1, 0, [Chunk(1, 0, 1, True, rows)])
        store.write([flush], [Points("gw-1", "ahu", "virtual", [(1, "dat", "°C"), (2, "x", "")])])
    return path


def test_help_imports_no_heavy_module(environment):
    program = (
        "import sys\n"
        "from fieldpost_tools.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'paho', 'psycopg', 'rich', 'sqlite3', 'fieldpost', 'asyncio', 'serial'}\n"
        "sys.exit(str(heavy & set(sys.modules) or '') or 0)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "collect" in result.stdout


def test_version():
    assert run("--version").output == f"fieldpost {__version__}\n"


def test_every_listed_command_is_there_and_has_help():
    names = cli.main.list_commands(None)
    assert {"collect", "query", "export"} <= set(names)
    for name in names:
        module = importlib.import_module(f"fieldpost_tools.cli.{name}")
        assert module.command.get_short_help_str()
        run(name, "--help")


def test_a_command_without_its_file_is_unknown(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "nothing", "Does not exist.")
    assert "nothing" not in run("--help").output
    assert "No such command" in run("nothing", code=2).output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["query", "--db", "none.db"], 1, "store 'none.db': no such file"),
        (["query", "--db", "{db}", "--since", "soon"], 2, "since: 'soon'"),
        (["query", "--db", "{db}", "--node", "x"], 2, "one of gw-1"),
        (["query", "--db", "{db}", "--point", "x"], 2, "one of ahu/dat, ahu/x"),
        (["query", "--db", "{db}", "--limit", "-1"], 2, "--limit"),
        (["query", "--format", "xml"], 2, "'table', 'csv', 'json'"),
        (["export", "csv", "--db", "{db}"], 2, "--out"),
        (
            ["export", "csv", "--db", "{db}", "--out", "no folder/x.csv"],
            1,
            "'no folder/x.csv': No",
        ),
        (["collect"], 2, "--mqtt"),
        (["collect", "--mqtt", "http://u:secret@h"], 2, "mqtt: 'h' is not allowed"),
        (["collect", "--mqtt", "mqtt://h", "--node", "a/b"], 2, "node: 'a/b'"),
        (["collect", "--mqtt", "mqtt://h", "--for", "0"], 2, "--for"),
        (["collect", "--mqtt", "mqtt://h", "--db", "no folder/a.db"], 1, "no folder/a.db"),
        (["collect", "--mqtt", "mqtts://h", "--ca", "none.pem"], 2, "ca: 'none.pem'"),
    ],
)
def test_errors_are_one_line_with_their_code(tmp_path, monkeypatch, db, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    result = run(*[a.format(db=db) for a in arguments], code=code)
    assert words in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.output
    assert "secret" not in result.output


def test_query_shows_the_newest_as_table_csv_and_json(db):
    table = run("query", "--db", db, "--limit", "3").output
    assert "74.5" in table
    assert "72.5" not in table
    assert "\x1b" not in table
    assert "\\x1b[31mred" in table
    rows = list(csv.reader(run("query", "--db", db, "--format", "csv").output.splitlines()))
    assert len(rows) == 101
    objects = json.loads(run("query", "--db", db, "--format", "json", "--limit", "0").output)
    assert len(objects) == 151
    assert objects[1] == {
        "node": "gw-1",
        "device": "ahu",
        "point": "dat",
        "unit": "°C",
        "ts_ms": T0 + 1,
        "value": 0.5,
        "value_text": None,
        "stream": 1,
        "seq": 1,
    }
    assert objects[150]["value"] == "NaN"
    none = run("query", "--db", db, "--until", "1970-01-02", "--format", "json")
    assert json.loads(none.output) == []


def test_export_csv_to_a_file_and_to_stdout(db, tmp_path):
    out = tmp_path / "out.csv"
    assert run("export", "csv", "--db", db, "--out", out).output == "151 rows\n"
    assert out.read_bytes().count(b"\r\n") == 152
    result = run("export", "csv", "--db", db, "--out", "-", "--since", T0 + 149)
    assert result.stderr == "2 rows\n"
    assert result.stdout.count("\n") == 3


def test_a_reader_that_goes_away_is_no_error(db, environment):
    arguments = command("export", "csv", "--db", db, "--out", "-")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, env=environment, **pipes) as process:
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def test_collect_without_a_broker_waits_and_ends_in_time(tmp_path, environment):
    """Nobody listens: it says so, keeps trying, and SIGTERM ends it cleanly."""
    arguments = ["collect", "--mqtt", "mqtt://127.0.0.1:1", "--db", tmp_path / "a.db", "--json"]
    pipes = {"stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(*arguments), env=environment, **pipes) as process:
        first = json.loads(process.stdout.readline())
        assert first["event"] == "progress"
        assert first["broker"].startswith("connection refused, next attempt in ")
        process.send_signal(signal.SIGTERM)
        last = json.loads(process.communicate(timeout=20)[0].splitlines()[-1])
    assert process.returncode == 0
    assert (last["event"], last["records"]) == ("summary", 0)
