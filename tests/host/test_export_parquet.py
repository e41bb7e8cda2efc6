"""The Parquet connector: values and names come back, a batch written twice is there once."""

import math

import pyarrow.parquet as pq
import pytest

from export_kit import T0, alarm, export, flush, make_store, values
from fieldpost_tools.export import settings
from fieldpost_tools.export.connector import Unavailable
from fieldpost_tools.export.pipeline import Exporter
from fieldpost_tools.export.state import States

VALUES = [None, True, 2**64 - 1, 2**63 - 1, 0.1, math.nan, -math.inf, "", 'a\0"b",\n ü']


def make(folder, **keys):
    row = {"name": "pq", "type": "parquet", "path": "out"}
    sink = settings.make(row | keys, "connector[0]").connector
    sink.folder = folder
    return sink


@pytest.fixture
def states(tmp_path):
    with States(tmp_path / "state.db") as opened:
        yield opened


def rows(folder, pattern="pq-0*.parquet"):
    return [
        row
        for path in sorted((folder / "out").glob(pattern))
        for row in pq.read_table(path).to_pylist()
    ]


def test_round_trip(tmp_path, states):
    store = make_store(tmp_path / "a.db", values(*VALUES), happened=[alarm(1)])
    one = Exporter(export(make(tmp_path), tmp_path, tags={"a": "ü, ="}), store, states)
    one.step()
    found = rows(tmp_path)
    assert [row["value_text"] for row in found][-2:] == VALUES[-2:]
    numbers = [row["value"] for row in found[:7]]
    assert numbers[0] is None
    assert numbers[1] == 1.0
    assert found[1]["value_json"] == "true"
    assert [found[2]["value_exact"], found[3]["value_exact"]] == [str(2**64 - 1), str(2**63 - 1)]
    assert numbers[4] == 0.1
    assert math.isnan(numbers[5])
    assert numbers[6] == -math.inf
    assert found[0]["ts"].timestamp() * 1000 == T0
    assert found[0]["tags"] == '{"a": "ü, ="}'
    (event,) = rows(tmp_path, "pq-events*")
    assert (event["key"], event["state"]) == ("ahu-1/dat", "raised")


def test_a_batch_without_its_mark_is_written_again_once(tmp_path, states):
    store = make_store(tmp_path / "a.db", flush(0, 30))
    sink = make(tmp_path)
    one = Exporter(export(sink, tmp_path, batch=10), store, states)
    one.step()
    standing = states.standing("pq")
    one.step()
    # As after a kill between the file and the state: the second batch is not known.
    states.execute(
        "UPDATE connectors SET run = ?, seq = ?, mark = ?",
        (*standing.position, '{"records": 2, "events": 1}'),
    )
    again = Exporter(export(make(tmp_path), tmp_path, batch=10), store, states)
    while again.step():
        pass
    assert [row["seq"] for row in rows(tmp_path)] == list(range(30))


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pq-000001.parquet").write_bytes(b"mine")
    with pytest.raises(Unavailable, match="is there already"):
        make(tmp_path).open()
