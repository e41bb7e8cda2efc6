"""File sinks: what is written twice stands there once; rotation, gzip, awkward values."""

import csv
import gzip
import io
import json
import math

import pytest

from export_kit import T0, alarm, flush, make_store, values
from fieldpost_tools import events, query
from fieldpost_tools.arrivals import START
from fieldpost_tools.export import settings
from fieldpost_tools.export.connector import Unavailable

AWKWARD = [
    None,
    True,
    2**63 - 1,
    0.1,
    -0.0,
    math.nan,
    -math.inf,
    'a, "quoted"\r\nline\\ = ünïcödé',
    "",
]


@pytest.fixture
def samples(tmp_path):
    with make_store(tmp_path / "a.db", values(*AWKWARD)) as store:
        rows, _ = query.after(store, START)
    made = settings.make({"name": "x", "type": "csv", "path": "x", "tags": {"a": "{node}"}}, "c")
    return made.mapping.samples(rows)


@pytest.fixture
def found(tmp_path):
    with make_store(tmp_path / "b.db", flush(0, 1), happened=[alarm(1)]) as store:
        return events.after(store)


def make(folder, kind, **keys):
    sink = settings.make({"name": "out", "type": kind, "path": "files", **keys}, "c").connector
    sink.folder = folder
    return sink


def read(folder, pattern):
    """What a series holds, all files in order."""
    parts = [path.read_bytes() for path in sorted((folder / "files").glob(pattern))]
    return b"".join(gzip.decompress(one) if one[:2] == b"\x1f\x8b" else one for one in parts)


def test_csv_round_trip(tmp_path, samples, found):
    sink = make(tmp_path, "csv")
    sink.open()
    assert sink.write(samples) == 0
    sink.write_events(found)
    text = read(tmp_path, "out-0*.csv").decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert text.count("\r\n") == len(AWKWARD) + 2
    assert [row["value"] for row in rows] == [
        "",
        "true",
        "9223372036854775807",
        "0.1",
        "-0.0",
        "NaN",
        "-Infinity",
        AWKWARD[7],
        "",
    ]
    assert rows[0]["time"] == "2023-11-14T22:13:20.000Z"
    assert json.loads(rows[0]["tags"]) == {"a": "gw-1"}
    events_text = read(tmp_path, "out-events-*.csv").decode()
    (row,) = csv.DictReader(io.StringIO(events_text, newline=""))
    assert (row["key"], row["state"], row["ts_ms"]) == ("ahu-1/dat", "raised", str(T0 + 1))
    assert json.loads(row["body"])["message"] == 'too "warm", 31 °C'


def test_json_lines_round_trip(tmp_path, samples, found):
    sink = make(tmp_path, "jsonl", gzip=True)
    sink.open()
    sink.write(samples)
    sink.write_events(found)
    rows = [json.loads(line) for line in read(tmp_path, "out-0*.gz").splitlines()]
    expected = [None, True, 2**63 - 1, 0.1, -0.0, "NaN", "-Infinity", *AWKWARD[7:]]
    assert [row["value"] for row in rows] == expected
    assert rows[3]["seq"] == 3
    assert json.loads(read(tmp_path, "out-events-*.gz"))["body"]["alarm_id"] == 1


@pytest.mark.parametrize("kind", ["jsonl", "csv"])  # without and with a head
@pytest.mark.parametrize("packed", [False, True])
def test_what_follows_the_mark_is_cut_off(tmp_path, samples, kind, packed):
    sink = make(tmp_path, kind, gzip=packed, max_bytes=300)
    sink.open()
    sink.write(samples[:2])
    mark = sink.mark()
    whole = read(tmp_path, "out-0*")
    for _ in range(3):  # into new files, too
        sink.write(samples[2:])
    assert len(list((tmp_path / "files").iterdir())) > 1
    again = make(tmp_path, kind, gzip=packed, max_bytes=300)
    again.open(mark)
    assert read(tmp_path, "out-0*") == whole
    again.write(samples[2:4])
    text = read(tmp_path, "out-0*").decode()
    if kind == "jsonl":
        seqs = [json.loads(line)["seq"] for line in text.splitlines()]
    else:
        rows = csv.DictReader(io.StringIO(text, newline=""))
        seqs = [int(row["seq"]) for row in rows if row["seq"] != "seq"]
    assert seqs == [0, 1, 2, 3]


def test_rotation_by_size_and_day(tmp_path, samples, monkeypatch):
    sink = make(tmp_path, "csv", max_bytes=200, daily=True)
    sink.open()
    for _ in range(3):
        sink.write(samples)
    names = sorted(path.name for path in (tmp_path / "files").iterdir())
    assert names == [f"out-{number:06d}.csv" for number in (1, 2, 3)]
    for name in names:
        assert (tmp_path / "files" / name).read_text().startswith("node,device,point,")
    sink.open(sink.mark())
    monkeypatch.setattr("fieldpost_tools.export.sinks.files._today", lambda: "2031-01-01")
    sink.write(samples[:1])
    assert sink.mark()["records"]["number"] == 4


def test_files_of_an_earlier_life_are_not_written_into(tmp_path, samples):
    sink = make(tmp_path, "csv")
    sink.open()
    sink.write(samples)
    with pytest.raises(Unavailable, match="is there already"):
        make(tmp_path, "csv").open()


def test_a_file_that_was_cut_by_others_is_told(tmp_path, samples):
    sink = make(tmp_path, "csv")
    sink.open()
    sink.write(samples)
    mark = sink.mark()
    (tmp_path / "files" / "out-000001.csv").write_text("")
    with pytest.raises(Unavailable, match="lost what was written"):
        make(tmp_path, "csv").open(mark)


def test_a_full_disk_is_told_and_nothing_doubles(tmp_path, samples):
    sink = make(tmp_path, "csv")
    sink.open()
    mark = sink.mark()
    (tmp_path / "files" / "out-000001.csv").symlink_to("/dev/full")
    with pytest.raises(Unavailable, match="No space left on device"):
        sink.write(samples)
    sink.open(mark)
    sink.write(samples)
    assert read(tmp_path, "out-0*").count(b"\n") >= len(samples)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    sink = make(tmp_path, "csv", path="/dev/full/x")
    with pytest.raises(Unavailable, match="Not a directory"):
        sink.open()
