"""Reading records back and writing them as CSV."""

import csv
import io
import math
import tracemalloc
from datetime import datetime, timezone

import pytest

from fieldpost_tools import query
from fieldpost_tools.errors import InputError, OutputError
from fieldpost_tools.export import csv as csv_export
from fieldpost_tools.flush import Chunk, Flush, JsonText, Points
from fieldpost_tools.store import Store

T0 = 1_700_000_000_000
NAMES = [
    Points("gw-1", "ahu-1", "modbus", [(1, "dat", "°C"), (2, "fan[1]", "")]),
    Points("gw-1", "ahu-2", "modbus", [(3, "dat", "°C")]),
    Points("gw,2", "ahu-1", "modbus", [(1, "dat", "K")]),
]


def put(store, node, records, dated=True, stream=1):
    store.write([Flush(node, "default", 1, 0, [Chunk(stream, 0, 1, dated, records)])])


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "a.db", create=True) as opened:
        opened.write([], NAMES)
        put(opened, "gw-1", [(T0 + n, 1 + n % 3, n / 2, None) for n in range(9)])
        put(opened, "gw,2", [(T0 + 100, 1, 280.5, None), (T0 + 101, 44, 1, "x")])
        put(opened, "gw-1", [(77, 1, 5, None)], dated=False, stream=2)
        yield opened


def read(store, *arguments, **options):
    rows = query.records(store, query.Selection(*arguments, **options))
    return [(row.node, row.device, row.point, row.value) for row in rows]


def test_selection_by_node_point_and_time(store):
    assert len(read(store)) == 12
    assert {row[0] for row in read(store, ("gw-1",))} == {"gw-1"}
    assert len(read(store, points=("ahu-1/dat",))) == 5
    assert {row[:3] for row in read(store, points=("ahu-*/dat",))} == {
        ("gw-1", "ahu-1", "dat"),
        ("gw-1", "ahu-2", "dat"),
        ("gw,2", "ahu-1", "dat"),
    }
    assert len(read(store, ("gw-1",), ("ahu-1/fan[1]",))) == 3
    # A range holds its start, not its end, and nothing without a time.
    assert [row[3] for row in read(store, since=T0 + 2, until=T0 + 4)] == [1.0, 1.5]
    assert len(read(store, since=0)) == 11


def test_a_point_without_a_name_is_named_by_its_id(store):
    assert read(store, points=("44",)) == [("gw,2", "", "44", 1)]


def test_unknown_names_are_refused_with_those_that_are_known(store):
    with pytest.raises(InputError, match=r"node: 'gw-9' .* gw,2"):
        read(store, ("gw-9",))
    with pytest.raises(InputError, match=r"point: 'ahu-9/dat' .* ahu-1/dat"):
        read(store, points=("ahu-9/dat",))
    with pytest.raises(InputError, match="ahu-2/dat"):
        read(store, ("gw,2",), ("ahu-2/dat",))
    for number in ("45", str(2**64)):
        with pytest.raises(InputError):
            read(store, points=(number,))


def test_newest_are_the_last_by_time_over_all_nodes(store):
    rows = query.newest(store, limit=3)
    assert [row.ts_ms for row in rows] == [T0 + 8, T0 + 100, T0 + 101]
    every = query.newest(store)
    assert [row.ts_ms for row in every] == [None, *range(T0, T0 + 9), T0 + 100, T0 + 101]
    only = query.Selection(points=("ahu-1/dat",), until=T0 + 100)
    assert [row.ts_ms for row in query.newest(store, only, 2)] == [T0 + 3, T0 + 6]


NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        (None, None),
        ("0", 0),
        ("1700000000123", 1_700_000_000_123),
        ("-15m", NOW - 900_000),
        ("-250ms", NOW - 250),
        ("-2w", NOW - 14 * 86_400_000),
        ("1970-01-02", 86_400_000),
        ("2023-11-14T22:13:20Z", T0),
        ("2023-11-14 22:13:20.001", T0 + 1),
        ("2023-11-14T23:13:20+01:00", T0),
    ],
)
def test_times(text, ms):
    assert query.parse_time("since", text, NOW) == ms


@pytest.mark.parametrize("text", ["", "x", "-15", "-15y", "15m", "2023-13-01", "1e9", "9" * 30])
def test_bad_times_say_what_is_allowed(text):
    with pytest.raises(InputError, match=r"since: .* ISO 8601"):
        query.parse_time("since", text, NOW)


def test_times_are_written_in_utc_with_milliseconds():
    assert query.format_time(T0 + 7) == "2023-11-14T22:13:20.007Z"
    assert query.format_time(T0) == "2023-11-14T22:13:20.000Z"
    assert query.format_time(None) == query.format_time(2**63 - 1) == ""
    far = datetime(9999, 12, 31, 23, 59, 59, 999_000, timezone.utc)
    assert query.format_time(round(far.timestamp() * 1000)) == "9999-12-31T23:59:59.999Z"


AWKWARD = [
    'quote " comma , semicolon ;',
    "line\r\nbreak",
    "ünïcödé ✓",
    "=1+1",
    "",
    " padded ",
    2**64 - 1,
    -(2**63),
    0.1,
    1e300,
    math.nan,
    -math.inf,
    True,
    None,
    JsonText('{"a":"b,c"}'),
]


def test_awkward_values_come_back_from_a_strict_reader(tmp_path):
    out = tmp_path / "out.csv"
    with Store(tmp_path / "a.db", create=True) as store:
        put(store, 'n"1', [(T0, 1, value, 'driver, "text"') for value in AWKWARD])
        assert csv_export.write_file(query.records(store), out) == len(AWKWARD)
    raw = out.read_bytes()
    assert raw.startswith(b"node,device,point,unit,ts_ms,time,value,value_text,stream,seq\r\n")
    header, *rows = csv.reader(io.StringIO(raw.decode(), newline=""), strict=True)
    assert {len(row) for row in rows} == {len(header)}
    values = [row[header.index("value")] for row in rows]
    assert values[:6] == AWKWARD[:6]
    assert values[6:] == [
        "18446744073709551615",
        "-9223372036854775808",
        "0.1",
        "1e+300",
        "NaN",
        "-Infinity",
        "true",
        "",
        '{"a":"b,c"}',
    ]
    first = dict(zip(header, rows[0], strict=True))
    assert first["node"] == 'n"1'
    assert first["value_text"] == 'driver, "text"'
    assert (first["ts_ms"], first["time"]) == (str(T0), "2023-11-14T22:13:20.000Z")
    assert (first["device"], first["point"], first["seq"]) == ("", "1", "0")


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("before")

    def failing():
        raise KeyError
        yield

    with pytest.raises(KeyError):
        csv_export.write_file(failing(), out)
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(OutputError, match="no folder"):
        csv_export.write_file([], tmp_path / "no folder" / "out.csv")


def test_memory_does_not_grow_with_the_rows(tmp_path):
    with Store(tmp_path / "a.db", create=True) as store:
        peaks = []
        for count in (2_000, 40_000):
            put(store, "gw", [(T0 + n, n % 7, n * 1.5, None) for n in range(count)])
            tracemalloc.start()
            csv_export.write_file(query.records(store), tmp_path / "out.csv")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000
