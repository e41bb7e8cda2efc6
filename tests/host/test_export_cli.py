"""fieldpost export and backfill from the command line."""

import csv
import json

import pytest
from click.testing import CliRunner

from export_kit import alarm, flush, make_store
from fieldpost_tools.cli import main


@pytest.fixture
def call(tmp_path, monkeypatch):
    """``call(words, code=0)``: output of the command in a folder with a store."""
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "fieldpost.db", flush(0, 200), happened=[alarm(1)]).close()

    def call(words, code=0):
        result = CliRunner().invoke(main, words.split())
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    return call


CONFIG = """# exports of the plant
store = "fieldpost.db"

[[connector]]
name = "lines"      # a comment
type = "jsonl"
path = "out"
interval_s = 0.1
"""


def test_from_nothing_to_files(call, tmp_path):
    assert "added" in call(
        "export add table csv path=out batch=50 interval_s=0.1 points=['ahu-*/*']"
    )
    call("export add lines jsonl path=out gzip=true interval_s=0.1")
    assert call("export list") == "table  csv\nlines  jsonl\n"
    assert "MiB free" in call("export test")
    output = call("export run --until-idle --json").splitlines()[-1]
    rows = {row["name"]: row for row in json.loads(output)}
    assert rows["table"]["rows"] == rows["lines"]["rows"] == 200
    assert rows["lines"]["events"] == 1
    with (tmp_path / "out" / "table-000001.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 201
    assert "table            csv          idle                200" in call("export status")
    call("export run --until-idle")
    with (tmp_path / "out" / "table-000001.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 201


def test_backfill_and_its_status(call):
    call("export add table csv path=out batch=50")
    text = "done: 200 of 200 records, 0 skipped, 0 dead"
    assert text in call("backfill --to table")
    assert text in call("backfill --to table")
    one = json.loads(call("backfill --to table --since 1700000100000 --json").splitlines()[-1])
    assert (one["state"], one["rows"]) == ("done", 100)
    status = json.loads(call("export status --json"))
    assert [job["rows"] for job in status["backfills"]] == [200, 100]


def test_the_file_keeps_its_comments(call, tmp_path):
    path = tmp_path / "exports.toml"
    path.write_text(CONFIG)
    call("export add more csv path=x")
    call("export remove more")
    assert path.read_text().strip() == CONFIG.strip()
    call("export remove lines")
    assert "none: the file names no connector" in call("export remove lines", 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("export add a nothing", "type: 'nothing' is not allowed, expected one of csv, influxdb,"),
        ("export add a csv", "connector.path"),
        ("export add a csv path=x batch=0", "connector.batch: 0 is not allowed"),
        ("export add a csv path=x color=red", "connector.color"),
        ("export add a csv path", "expected KEY=VALUE"),
        ("export add a csv path=x rename={color='x'}", "one of node, device, point"),
        ("export add a csv path=x tags={a='{x}'}", "{tag.NAME}"),
        ("export add a influxdb url=http://x", "a.org"),
        ("export list", "a readable file"),
        ("backfill --to a --config none.toml", "none.toml"),
    ],
)
def test_what_is_wrong_is_named(call, tmp_path, words, said):
    assert said in call(words, 2)
    assert not (tmp_path / "exports.toml").exists()


def test_a_secret_comes_from_the_environment_and_is_not_shown(call, tmp_path, monkeypatch):
    path = tmp_path / "exports.toml"
    base = 'url="http://127.0.0.1:1" version="v1" database="d" user="u"'
    assert "INFLUX_PASSWORD" in call(
        f"export add a influxdb {base} password=env:INFLUX_PASSWORD", 2
    )
    monkeypatch.setenv("INFLUX_PASSWORD", "hunter2")
    call(f"export add a influxdb {base} password=env:INFLUX_PASSWORD")
    assert "hunter2" not in path.read_text()
    assert "hunter2" not in call("export test", 1)


def test_a_name_used_twice_and_a_file_that_is_no_toml(call, tmp_path):
    call("export add a csv path=x")
    assert "only once" in call("export add a csv path=y", 2)
    (tmp_path / "exports.toml").write_text("[[connector]\n")
    assert "TOML" in call("export list", 2)
