"""The InfluxDB connector: version 1 against a real server, version 2 against a strict stand-in."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import influx_stand_in as influx2
from export_kit import T0, alarm, export, flush, make_store, values
from fieldpost_tools.errors import InputError
from fieldpost_tools.export import settings
from fieldpost_tools.export.connector import Sample, Unavailable
from fieldpost_tools.export.pipeline import Exporter
from fieldpost_tools.export.state import States
from fieldpost_tools.flush import Chunk, Flush

ODD = "a, b=c 'd' \"e\" \\f ü 🌡"
VALUES = [
    True,
    False,
    0,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    0.1,
    -0.0,
    1e300,
    "",
    'text, with = "quotes" \\ and\nline',
]
UNSPEAKABLE = [None, math.nan, math.inf, -math.inf]


@pytest.fixture
def states(tmp_path):
    with States(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture
def stand_in():
    server = influx2.StandIn()
    yield server
    server.close()


def make(url, **keys):
    row = {"name": "influx", "type": "influxdb", "url": url, "timeout_s": 5}
    return settings.make(row | keys, "connector[0]").connector


def v1(server, **keys):
    return make(server.url, version="v1", database="plant", **keys)


def v2(server, **keys):
    row = {"org": influx2.ORG, "bucket": influx2.BUCKET, "token": influx2.TOKEN}
    return make(server.url, **(row | keys))


def drain(exporter):
    while exporter.step():
        pass
    exporter.close()


def value_of(fields):
    """The value that the fields of a point stand for."""
    for name in ("value_bool", "value_int", "value_text", "value"):
        if fields.get(name) is not None:
            return fields[name]
    return None


def fitting(value):
    """What a value is in InfluxDB."""
    if type(value) is int:
        if abs(value) <= 2**53:
            return float(value)
        return value if -(2**63) <= value < 2**63 else str(value)
    return value


def test_the_line_of_the_documentation():
    sink = make("http://x", version="v1", database="d")
    sample = Sample("", "ahu-1", "dat", "", 1711756800000, 72.5, None, 1, 0, {})
    line = "point_value,device=ahu-1,point=dat value=72.5 1711756800000"
    assert sink._line(sample, {}) == line


def test_version_1_gives_every_value_and_awkward_name_back(influx, tmp_path, states):
    store = make_store(
        tmp_path / "a.db", values(*VALUES, *UNSPEAKABLE), happened=[alarm(1), alarm(1, "cleared")]
    )
    keys = {"tags": {"odd key, =": ODD, "none": "{tag.x}"}, "rename": {"point": ODD}}
    one = Exporter(export(v1(influx, measurement="odd m,1"), tmp_path, **keys), store, states)
    drain(one)
    rows = influx.query('SELECT * FROM "odd m,1"')
    assert [value_of(row) for row in rows] == [fitting(value) for value in VALUES]
    assert {row["point"] for row in rows} == {ODD}
    assert {row["odd key, ="] for row in rows} == {ODD}
    assert "none" not in rows[0]
    assert rows[0]["time"] == T0
    assert states.standing("influx").skipped == len(UNSPEAKABLE)
    (alarms,) = influx.query("SELECT count(state) FROM alarm")
    assert alarms["count"] == 1  # at one time there is one state of an alarm: the last


def test_version_2_gives_every_value_and_awkward_name_back(stand_in, tmp_path, states):
    store = make_store(tmp_path / "a.db", values(*VALUES, *UNSPEAKABLE), happened=[alarm(1)])
    keys = {"tags": {"odd key, =": ODD, "none": "{tag.x}"}, "rename": {"point": ODD}}
    drain(Exporter(export(v2(stand_in), tmp_path, **keys), store, states))
    rows = stand_in.fields("point_value")
    assert [value_of(fields) for _, fields, _ in rows] == [fitting(value) for value in VALUES]
    tags = {"point": ODD, "odd key, =": ODD, "device": "ahu-1", "node": "gw-1", "unit": "°C"}
    assert all(found == tags for found, _, _ in rows)
    ((found, fields, ts),) = stand_in.fields("alarm")
    assert fields == {"state": "raised", "alarm_id": 1, "value": 31.5}
    assert found == {"node": "gw-1", "point": "ahu-1/dat", "severity": "critical"}
    assert ts == T0 + 1


TEXTS = st.text(max_size=12)


@given(TEXTS, TEXTS, TEXTS, st.one_of(TEXTS, st.floats(), st.integers(), st.booleans()))
def test_any_name_and_value_is_one_valid_line(device, point, tag, value):
    sink = make("http://x", version="v1", database="d")
    sample = Sample("gw", device, point, "", T0, value, tag, 1, 0, {"k" + tag: tag})
    line = sink._line(sample, {})
    if line is None:
        assert not math.isfinite(value)
        return
    line = line.encode("utf-8", "replace").decode()
    assert list(influx2.lines(line)) == [line]
    _, tags, fields, ts = influx2.parse(line)
    assert ts == T0
    assert tags["node"] == "gw"
    if not set(point) & set("\\\r\n"):
        assert tags.get("point", "") == point.encode("utf-8", "replace").decode()
    assert fields["text"] if tag else "text" not in fields


def test_what_comes_twice_stands_there_once(influx, tmp_path, states):
    store = make_store(tmp_path / "a.db", flush(0, 500))
    sink = v1(influx, measurement="twice")
    drain(Exporter(export(sink, tmp_path), store, states))
    with States(tmp_path / "other.db") as lost:
        drain(Exporter(export(sink, tmp_path), store, lost))
    assert influx.query("SELECT count(value) FROM twice")[0]["count"] == 500


def test_nanoseconds_keep_records_of_one_millisecond_apart(stand_in, tmp_path, states):
    records = [(T0, 7, number, None) for number in range(5)]
    same = Flush("gw-1", "default", 1, 0, [Chunk(1, 0, None, True, records)])
    store = make_store(tmp_path / "a.db", same)
    drain(Exporter(export(v2(stand_in, precision="ns"), tmp_path), store, states))
    rows = stand_in.fields("point_value")
    assert [ts for *_, ts in rows] == [T0 * 1_000_000 + n for n in range(5)]


@pytest.mark.parametrize("act", [(500, {}), "partial", "cut", "hang", (429, {"Retry-After": "2"})])
def test_a_failing_server_costs_a_retry_and_nothing_else(stand_in, tmp_path, states, act):
    store = make_store(tmp_path / "a.db", flush(0, 1000))
    stand_in.script = [None, act]
    sink = v2(stand_in, timeout_s=1)
    one = Exporter(export(sink, tmp_path, batch=300), store, states)
    one.step()
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        one.step()
    assert time.monotonic() - started < 4
    assert caught.value.retry_after_s == (2 if act[0] == 429 else None)
    assert states.standing("influx").rows == 300
    drain(one)
    rows = stand_in.fields("point_value")
    assert [fields["value"] for _, fields, _ in rows] == [seq / 2 for seq in range(1000)]
    assert states.standing("influx").rows == 1000


def test_one_connection_is_kept(stand_in, tmp_path, states):
    store = make_store(tmp_path / "a.db", flush(0, 1000))
    drain(Exporter(export(v2(stand_in), tmp_path, batch=100), store, states))
    assert len(stand_in.requests) == 10
    assert stand_in.connections == 1


def test_a_line_that_the_server_rejects_is_buried(stand_in, tmp_path, states):
    store = make_store(tmp_path / "a.db", values(*range(10), 5.5, "text", 7))
    stand_in.types["point_value", "value_text"] = float
    drain(Exporter(export(v2(stand_in), tmp_path), store, states))
    assert states.standing("influx").dead == 1
    assert len(stand_in.fields("point_value")) == 12
    assert "field type conflict" in (tmp_path / "dead.jsonl").read_text()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"token": "hunter2"}, "401 unauthorized"),
        ({"bucket": "other"}, "404 bucket not found"),
        ({"url": "http://127.0.0.1:1"}, "no connection"),
    ],
)
def test_what_is_wrong_is_told_without_the_token(stand_in, keys, words):
    row = {"url": stand_in.url, "org": influx2.ORG, "bucket": influx2.BUCKET}
    sink = make(**(row | {"token": influx2.TOKEN} | keys))
    with pytest.raises(Unavailable) as caught:
        sink.health()
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_missing_database_is_told(influx):
    sink = make(influx.url, version="v1", database="nothing")
    sink.open()
    with pytest.raises(Unavailable, match="database not found"):
        sink.write([Sample("n", "d", "p", "", T0, 1.0, None, 1, 0, {})])


def test_health_names_the_server(influx, stand_in):
    assert v1(influx).health().startswith("InfluxDB 1.")
    assert v2(stand_in).health().startswith("InfluxDB 2.")


def test_a_configuration_that_lacks_something_is_refused():
    with pytest.raises(InputError, match=r"influx\.bucket"):
        make("http://x", org="o", token="t")
