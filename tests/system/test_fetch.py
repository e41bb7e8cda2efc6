"""fieldpost fetch: a real node's own log, by the serial line and over MQTT, into one store."""

import json
import time

import pytest
from click.testing import CliRunner

import servers
from api_lines import NODE, board, configuration
from fieldpost_tools import cli, query
from fieldpost_tools.stores import open_store


@pytest.fixture(scope="module")
def running(tmp_path_factory, micropython, umqtt_path):
    """``(mosquitto, board)`` of one node."""
    broker = servers.Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    with broker, board(configuration(broker.port)) as made:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if invoke("api", "--serial", made.path, "system.getInfo", code=None).exit_code == 0:
                break
        yield broker, made


def invoke(*words, code=0):
    result = CliRunner().invoke(cli.main, list(map(str, words)))
    assert code is None or result.exit_code == code, result.output
    return result


def test_the_log_by_both_ways_into_one_store(running, tmp_path):
    broker, made = running
    store = tmp_path / "a.db"
    time.sleep(2)
    words = ("fetch", "--store", store, "--json")
    first = json.loads(invoke(*words, "--serial", made.path, "--follow", 2).output)
    assert first["node"] == NODE
    assert first["records"] > 10
    assert first["duplicates"] == first["skipped"] == 0
    url = f"mqtt://{broker.host}:{broker.port}"
    second = json.loads(invoke(*words, "--mqtt", url, "--node", NODE).output)
    assert second["duplicates"] == first["records"]
    with open_store(store) as opened:
        totals = opened.totals()
        assert totals.records == first["records"] + second["records"]
        assert totals.missing == 0
        rows = list(query.records(opened))
        assert all(row.device and row.ts_ms for row in rows)
        assert [row.seq for row in rows] == list(range(len(rows)))


def test_from_the_node_through_the_export(running, tmp_path):
    _, made = running
    store = tmp_path / "fieldpost.db"
    invoke("fetch", "--store", store, "--serial", made.path)
    config = tmp_path / "exports.toml"
    config.write_text('[[connector]]\nname = "t"\ntype = "csv"\npath = "out"\n')
    invoke("export", "run", "--until-idle", "--config", config)
    with open_store(store) as opened:
        count = opened.totals().records
    assert len((tmp_path / "out" / "t-000001.csv").read_text().splitlines()) == count + 1 > 10


def test_a_node_that_is_not_there(tmp_path):
    result = invoke("fetch", "--store", tmp_path / "a.db", "--serial", tmp_path / "none", code=3)
    assert "none" in result.output
