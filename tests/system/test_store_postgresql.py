"""The PostgreSQL store: the same cases as SQLite, several writers, lost connections."""

import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from fieldpost_tools import arrivals, query
from fieldpost_tools.cli import main
from fieldpost_tools.errors import InputError, StoreError
from fieldpost_tools.flush import Points
from fieldpost_tools.stores import open_store
from store_cases import *  # noqa: F403 – its tests are ours
from store_cases import T0, flush, follow


@pytest.fixture
def url(postgres, request):
    """The URL of a database of this test's own."""
    name = f"t{abs(hash(request.node.name))}"
    postgres.query(f"CREATE DATABASE {name}")
    yield f"{postgres.url.rpartition('/')[0]}/{name}"
    postgres.query(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(url):
    with open_store(url, create=True) as opened:
        yield opened


def test_the_view_for_people(store):
    store.write([flush(0, 1)], [Points("gw-1", "ahu", "modbus", [(7, "dat", "°C")])])
    sql = "SELECT node, device, point, unit, value FROM point_values"
    assert list(store.read(sql)) == [("gw-1", "ahu", "dat", "°C", 0.0)]


def test_a_failed_transaction_leaves_nothing_and_the_store_goes_on(store):
    with pytest.raises(StoreError):
        store.write([flush(0, 10), flush(0, 1, node="new-node", point=2**63)])
    assert store.totals()[:3] == (0, 0, 0)
    store.write([flush(0, 10, node="new-node"), flush(0, 10)])
    assert len(list(query.records(store))) == 20


def test_a_cut_connection_costs_a_transaction_and_comes_back(store, postgres):
    store.write([flush(0, 5)])
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    postgres.query(kill, "fieldpost")
    with pytest.raises(StoreError):
        store.write([flush(5, 5)])
    store.write([flush(5, 5)])
    assert store.totals()[:4] == (1, 1, 10, 0)


def test_it_needs_no_more_memory_for_more_rows(store):
    for first in range(0, 20000, 1000):
        store.write([flush(first, 1000)])
    rows = query.records(store)
    assert next(rows).seq == 0
    # Its own connection: the store can be used meanwhile.
    store.write([flush(20000, 1)])
    assert sum(1 for _ in rows) == 19999


WRITER = """
import sys; sys.path[:0] = sys.argv[3:]
from fieldpost_tools.stores import open_store
from store_cases import flush
with open_store(sys.argv[1], create=True) as store:
    for first in range(0, 400, 10):
        store.write([flush(first, 10), flush(first, 10, node=sys.argv[2])])
"""


def test_several_writers_and_one_that_follows(url):
    paths = [path for path in sys.path if path]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, f"own-{i}", *paths]) for i in range(3)
    ]
    with open_store(url, create=True) as store:
        seen, position = [], arrivals.START
        while any(writer.poll() is None for writer in writers):
            keys, position = follow(store, position, 70)
            seen += keys
        assert [writer.returncode for writer in writers] == [0, 0, 0]
        keys, position = follow(store, position)
        seen += keys
        assert len(seen) == len(set(seen)) == 1600
        assert store.totals()[:4] == (4, 4, 1600, 0)


def test_what_is_wrong_is_told_without_the_password(url, postgres):
    with pytest.raises(StoreError, match="no tables"):
        open_store(url)
    with pytest.raises(StoreError) as caught:
        open_store(url.replace("secret", "hunter2"), create=True)
    assert "password authentication failed" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        open_store("postgresql://a:hunter2@host:port/x?y")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InputError, match="a file, or"):
        open_store("mysql://x")


def test_a_newer_version_is_refused(store, url):
    store._db.execute("UPDATE version SET number = 9")
    with pytest.raises(StoreError, match="version 9 is newer"):
        open_store(url)


def test_exports_follow_it(store, url, tmp_path):
    store.write([flush(0, 30)], [Points("gw-1", "ahu", "modbus", [(7, "dat", "°C")])])
    config = tmp_path / "exports.toml"
    config.write_text(f'store = "{url}"\n[[connector]]\nname="x"\ntype="csv"\npath="o"\n')
    words = ["export", "run", "--until-idle", "--config", str(config)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert len((tmp_path / "o" / "x-000001.csv").read_text().splitlines()) == 31
    result = CliRunner().invoke(main, ["query", "--store", url, "--format", "csv"])
    assert len(result.output.splitlines()) == 31


def test_two_collectors_on_a_shared_subscription_one_is_killed(url, mosquitto, tmp_path):
    """The recipe of README: nothing is lost, nothing doubled, by whichever collector it comes."""
    broker = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    words = ["collect", "--mqtt", broker, "--store", url, "--share", "pair", "--json"]
    command = [sys.executable, "-m", "fieldpost_tools", *words]
    pipe = {"stdout": subprocess.PIPE, "text": True, "env": environment()}
    with subprocess.Popen(command, **pipe) as one, subprocess.Popen(command, **pipe) as two:
        for process in (one, two):
            while json.loads(process.stdout.readline())["broker"] != "connected":
                pass
        node = SharedNode(mosquitto)
        node.send(range(100))
        assert node.settle(30)
        one.kill()
        node.send(range(100, 200))
        assert node.settle(60)
        two.terminate()
        two.wait(20)
        node.close()
    with open_store(url) as store:
        assert store.totals()[:4] == (1, 1, 2000, 0)
        assert [row.seq for row in query.records(store)] == list(range(2000))


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class SharedNode:
    """Sends flushes of ten records, and again what is not acknowledged."""

    def __init__(self, broker):
        self._open = {}
        self._client = Client(CallbackAPIVersion.VERSION2, "node")
        self._client.on_message = self._acknowledged
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._client.subscribe("fieldpost/nodes/gw-1/api/#", 1)
        time.sleep(0.2)

    def send(self, numbers):
        for number in numbers:
            rows = [[T0 + seq, 7, seq] for seq in range(number * 10, number * 10 + 10)]
            message = {"module": "loggers", "method": "subscribe", "subscription": "default"}
            message |= {"event": "flush", "flush": number, "stream": 1, "seq": number * 10}
            self._open[number] = json.dumps(message | {"value": rows})
            self._publish(number)

    def settle(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        while self._open and time.monotonic() < deadline:
            time.sleep(0.5)
            for number in list(self._open):
                self._publish(number)
        return not self._open

    def close(self):
        self._client.loop_stop()
        self._client.disconnect()

    def _publish(self, number):
        text = self._open.get(number)
        if text:
            self._client.publish("fieldpost/nodes/gw-1/flush/collector", text, 1)

    def _acknowledged(self, _client, _userdata, message):
        self._open.pop(json.loads(message.payload)["flush"], None)
