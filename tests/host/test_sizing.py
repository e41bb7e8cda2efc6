"""``fieldpost plan``: its figures against a node in simulated time, its words, its advice."""

import json
import sys

import pytest
from click.testing import CliRunner

from fieldpost_tools import cli, sizing
from fieldpost_tools.errors import InputError
from node_sim import Sim

TOLERANCE = 0.1
#: Ten reads a second show in minutes what the others take hours for.
HOURS = {"two devices": 0.25}
LIVE = {"value": [{"topic": "fieldpost/{node}/{device_id}/{point_id}/value", "qos": 1}]}


def near(planned, real, what):
    """Print both; they must not differ by more than ``TOLERANCE``."""
    sys.stdout.write(
        f"{what}: planned {planned:.1f}, real {real:.1f}, {planned / real - 1:+.1%}\n"
    )
    assert planned == pytest.approx(real, rel=TOLERANCE), what


def device(count, log="always", interval=1000, id="d", **keys):
    """A virtual device of ``count`` like points."""
    keys = {"kind": "sine", "amplitude": 30, "period": 61_000, "decimals": 1, "log": log, **keys}
    points = [{"name": f"{id}{i}", "phase": 700 * i, **keys} for i in range(count)]
    return {"id": id, "driver": "virtual", "interval": interval, "points": points}


def changing(count, log, **keys):
    """The same, of points that change now and then."""
    keys = {"kind": "constant", "value": 20.03, "writable": True, **keys}
    return device(count, log, **keys)


def config(*devices, form="packed", publish=None, **subscription):
    """A node with one broker and one collector."""
    return {
        "node": "gw-1",
        "mqtt": [{"host": "broker"}],
        "devices": list(devices),
        "subscriptions": [{"id": "default", **subscription}],
        "subscribers": [{"subscriber": "collector", "format": form}],
        "publish": publish or {},
    }


def plan(config, flash_kib=2048, outage_hours=8.0, changes=60.0, heap_kib=128):
    """The plan on the virtual board with so much flash."""
    flash = None if flash_kib is None else flash_kib * 1024
    board = sizing.load_board("VIRTUAL", flash, heap_kib * 1024)
    return sizing.plan(config, board, sizing.Assumptions(changes, outage_hours))


DEVICES = {
    "every second": [device(5)],
    "two devices": [device(3, interval=100), device(10, interval=5000, id="e", kind="toggle")],
    "wall clock": [device(5, "60000"), device(4, "*/15 * * * *", id="e", kind="counter")],
    "updates": [changing(20, "on_update")],
    "bounded": [
        changing(10, "on_cov 0.01 45000 60000"),
        changing(10, "on_cov 0.01 0 90000", id="e"),
    ],
    "either": [changing(10, "on_update or 60000", interval=5000)],
    "texts and states": [
        device(5, kind="constant", value="äuto"),
        device(2, id="e", kind="toggle"),
    ],
}


@pytest.mark.parametrize("name", DEVICES)
def test_records_and_their_bytes(name, tmp_path, monkeypatch):
    made = config(*DEVICES[name], ring_bytes=1 << 19, store={"disk": False})
    (log,) = plan(made).logs
    sim = Sim(made, tmp_path, monkeypatch)
    sim.wire.connected = False
    hours = HOURS.get(name, 2)
    sim.run(hours)
    near(log.records_per_hour, sim.log.next / hours, "records an hour")
    near(
        log.record_bytes,
        sim.log.reader(0).bytes_ahead() / (sim.log.next - sim.log.oldest),
        "bytes a record",
    )


@pytest.mark.parametrize("form", ["packed", "json"])
@pytest.mark.parametrize("name", DEVICES)
def test_bytes_on_the_link(name, form, tmp_path, monkeypatch):
    made = config(*DEVICES[name], form=form)
    found = plan(made)
    sim = Sim(made, tmp_path, monkeypatch)
    hours = HOURS.get(name, 1)
    sim.run(hours)
    days = hours / 24
    near(sum(one.up for one in found.traffic) * days, sim.wire.up, "from the node")
    near(sum(one.down for one in found.traffic) * days, sim.wire.down, "to the node")


@pytest.mark.parametrize(
    "rules",
    [
        {"onEntries": 50, "maxDelay": 60_000},
        {"onEntries": 1000, "maxDelay": 30_000},
        {"onEntries": 1000, "onBytes": 400, "maxDelay": 3_600_000},
        {"minDelay": 5000},
        {"maxEntries": 3},
    ],
)
def test_flush_rules_on_the_link(rules, tmp_path, monkeypatch):
    made = config(device(5), flush=rules)
    found = plan(made)
    sim = Sim(made, tmp_path, monkeypatch)
    sim.run(0.5)
    near(found.mqtt_bytes_per_day / 48, sim.wire.up + sim.wire.down, "both directions")


def test_live_values_on_the_link(tmp_path, monkeypatch):
    made = config(changing(20, "0 0 * * *"), publish=LIVE)
    found = plan(made, changes=600)
    sim = Sim(made, tmp_path, monkeypatch, changes=600)
    sim.run(0.5)
    near(found.mqtt_bytes_per_day / 48, sim.wire.up + sim.wire.down, "both directions")


@pytest.mark.parametrize("frame_bytes", [256, 1024])
def test_how_long_ram_holds(frame_bytes, tmp_path, monkeypatch):
    made = config(device(5), store={"disk": False}, ring_bytes=16384, frame_bytes=frame_bytes)
    (log,) = plan(made).logs
    sim = Sim(made, tmp_path, monkeypatch)
    sim.run(0.1)
    sim.wire.connected = False
    sim.run(log.ram_hours)
    assert not sim.log.dropped
    kept = sim.log.next - sim.log.oldest
    sim.run(log.ram_hours)
    assert sim.log.dropped
    near(log.ram_hours * log.records_per_hour, sim.log.next - sim.log.oldest, "records in RAM")
    assert kept >= log.ram_hours * log.records_per_hour * 0.99


STORES = {
    "default": {},
    "slow": {"maxLatency": 600_000},
    "durable": {"durable": True, "maxLatency": 60_000},
    "early": {"onEntries": 200},
}


@pytest.mark.parametrize("name", STORES)
def test_writes_in_an_outage(name, tmp_path, monkeypatch):
    made = config(device(5), store=STORES[name])
    (log,) = plan(made, outage_hours=2).logs
    sim = Sim(made, tmp_path, monkeypatch)
    sim.run(0.1)
    assert sim.log.flash["segments"] == 0
    sim.wire.connected = False
    sim.run(2)
    near(log.writes_per_day, sim.log.flash["segments"], "segments written")
    real = len(sim.log.segments) * sizing.BLOCK_BYTES
    near(log.need_flash_bytes, real + sizing.BLOCK_BYTES, "flash in use")


def test_a_durable_log_that_flushes_late_writes_all_the_time(tmp_path, monkeypatch):
    rules = {"onEntries": 10_000, "maxDelay": 60_000, "maxEntries": 10_000, "maxBytes": 65536}
    made = config(device(5), flush=rules, store={"durable": True}, ring_bytes=65536)
    (log,) = plan(made, outage_hours=0.01).logs
    sim = Sim(made, tmp_path, monkeypatch)
    sim.run(1)
    near(log.writes_per_day / 24, sim.log.flash["segments"], "segments written an hour")


def test_a_durable_log_without_an_outage_writes_nothing(tmp_path, monkeypatch):
    for number, delay in enumerate((0, 2000)):
        made = config(device(5), flush={"minDelay": delay}, store={"durable": True})
        assert plan(made, outage_hours=1e-6).logs[0].writes_per_day < 0.1
        sim = Sim(made, tmp_path / str(number), monkeypatch)
        sim.run(0.2)
        assert sim.log.flash["segments"] == 0


def test_less_recording_costs_less_and_no_recording_nothing():
    often, seldom = plan(config(device(5))), plan(config(device(5, "60000")))
    assert seldom.mqtt_bytes_per_day < often.mqtt_bytes_per_day / 10
    assert seldom.logs[0].ram_hours > often.logs[0].ram_hours * 30
    made = config(device(5))
    made["subscriptions"][0]["addresses"] = []
    never = plan(made)
    assert never.logs == []
    assert never.fits
    assert {one.kind for one in never.traffic} == {"state", "keepalive"}


def test_single_precision_makes_floats_shorter():
    made = config(device(5))
    (double,) = plan(made).logs
    board = sizing.Board("X", "X", 1 << 21, 1 << 17, 32)
    (single,) = sizing.plan(made, board).logs
    assert double.record_bytes - single.record_bytes == pytest.approx(3.2, abs=0.3)


def modbus(*points, **keys):
    """A Modbus device with these points."""
    rows = [{"name": f"p{i}", "table": "holding", **row} for i, row in enumerate(points)]
    return {"id": "m", "driver": "modbus", "host": "h", "points": rows, **keys}


@pytest.mark.parametrize(
    ("row", "size"),
    [
        ({"type": "bool"}, 3),
        ({"type": "int16"}, 5),
        ({"type": "uint16", "min": 0, "max": 100}, 4),
        ({"type": "uint32"}, 9),
        ({"type": "uint32", "min": 0, "max": 1e6}, 7),
        ({"type": "float32"}, 7),
        ({"type": "uint32", "min": 0, "max": 1e6, "word_order": "little"}, 7),
        ({"type": "float64"}, 11),
        ({"type": "int16", "scale": 0.25}, 7),
        ({"type": "int16", "scale": 2}, 5),
        ({"type": "int16", "scale": 0.1}, 10),
    ],
)
def test_sizes_of_modbus_types(row, size):
    """Tag, id and time take 3 bytes where records follow each other within 128 ms."""
    made = config(modbus({"register": 0, **row}, interval=100))
    assert plan(made).logs[0].record_bytes == pytest.approx(size, abs=1)


def test_points_that_take_two_requests_take_two_flushes():
    near_by = modbus({"register": 0}, {"register": 1})
    apart = modbus({"register": 0}, {"register": 100}, {"register": 300})
    one, two = (plan(config(row)).traffic[0].messages for row in (near_by, apart))
    assert (one, two) == (86400, 2 * 86400)


OUTAGES = {
    "ring": {"store": {"disk": False}},
    "flash": {},
    "onRamOverflow": {"store": {"onRamOverflow": False}},
    "store.maxBytes": {"store": {"maxBytes": 65536}},
    "store.maxEntries": {"store": {"maxEntries": 5000}},
    "store.maxDuration": {"store": {"maxDuration": 3_600_000}},
    "max_age": {"overflow": "max_age", "max_age": 3_600_000},
}


@pytest.mark.parametrize("name", OUTAGES)
def test_what_is_too_small_is_named(name):
    found = plan(config(device(5), **OUTAGES[name]), flash_kib=256 if name == "flash" else 2048)
    assert not found.fits
    assert name in found.advice[0]


def test_advice_that_is_followed_helps():
    made = config(device(5))
    text = plan(made, flash_kib=256).advice[0]
    kib = int(text.split(" KiB")[0].rsplit(" ", 1)[1])
    assert plan(made, flash_kib=kib).fits
    assert not plan(made, flash_kib=kib - 8).fits
    made = config(device(5), store={"disk": False})
    text = plan(made, outage_hours=0.5, heap_kib=512).advice[0]
    made["subscriptions"][0]["ring_bytes"] = int(text.split("ring_bytes to ")[1].split(",")[0])
    assert plan(made, outage_hours=0.5, heap_kib=512).fits


def test_logs_share_the_flash():
    made = config(device(5))
    alone = plan(made).logs[0]
    made["subscriptions"].append({"id": "again", "acquisition": "always"})
    both = plan(made).logs
    assert len(both) == 2
    assert both[0].flash_hours == pytest.approx(alone.flash_hours / 2, rel=0.05)


def test_flash_that_wears_out_and_a_heap_that_is_too_small_are_warned_of():
    hard = config(device(5), store={"durable": True, "maxLatency": 1000})
    assert "worn out" in plan(hard, flash_kib=512, outage_hours=24).advice[-1]
    assert "heap" in plan(config(device(5), ring_bytes=1 << 17)).advice[0]


def test_a_wrong_configuration_or_board_is_refused():
    with pytest.raises(InputError, match=r"devices\[0\]\.driver: 'none'"):
        plan(config({"id": "d", "driver": "none"}))
    with pytest.raises(
        InputError, match=r"board: 'none' is not allowed, expected one of .*VIRTUAL"
    ):
        sizing.load_board("none")


@pytest.fixture
def node_json(tmp_path):
    path = tmp_path / "node.json"
    path.write_text(json.dumps(config(device(5))), encoding="utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(cli.main, ["plan", *map(str, arguments)])


def test_command_says_it_in_words(node_json):
    good = run(node_json, "--flash-kib", 4096)
    assert good.exit_code == 0, good.output
    for words in (
        "RAM holds 4",
        "flash holds",
        "fits.",
        "years",
        "MiB of MQTT a day",
        "60 times",
    ):
        assert words in good.output
    bad = run(node_json, "--flash-kib", 256, "--outage", "2d")
    assert bad.exit_code == 1
    assert "DOES NOT FIT" in bad.output
    assert "Warning: " in bad.output


def test_command_speaks_json(node_json):
    result = run(node_json, "--flash-kib", 1024, "--outage", "90m", "--json", "--changes", 5)
    found = json.loads(result.output)
    assert result.exit_code == 0
    assert found["fits"] is True
    assert found["assumptions"]["outage_hours"] == 1.5
    assert found["board"]["flash_bytes"] == 1 << 20
    assert found["logs"][0]["records_per_hour"] == 18000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--outage", "8"], "'8' is not a duration"),
        (["--outage", "0h"], "'0h' is not a duration"),
        (["--board", "none"], "RPI_PICO_W, VIRTUAL"),
        (["--changes", "-1"], "--changes"),
    ],
)
def test_command_refuses_nonsense(node_json, arguments, words):
    result = run(node_json, *arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_command_wants_json(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("{")
    result = run(path)
    assert result.exit_code == 2
    assert "expected JSON" in result.output
