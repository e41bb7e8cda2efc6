"""The collector against a real mosquitto: nothing lost, nothing doubled, whatever fails."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

import flush_wire as wire
import servers
from fieldpost_tools import broker, events, query, store
from fieldpost_tools.collect import Collector
from fieldpost_tools.errors import BrokerError
from fieldpost_tools.store import Store

T0 = 1_700_000_000_000


class Node:
    """Publishes flushes of ten records and remembers what was acknowledged."""

    def __init__(self, host, port, name="gw-1"):
        self.name = name
        self.acks = []
        self.sent = {}
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _data, message: self._on_ack(message)
        self._client.connect(host, port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def _on_connect(self, client, *_):
        client.subscribe(f"fieldpost/nodes/{self.name}/api/loggers/ackSubscribe", 1)

    def _on_ack(self, message):
        self.acks.append(json.loads(message.payload))

    def publish(self, level, payload, retain=False):
        topic = f"fieldpost/nodes/{self.name}/{level}"
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def send(self, number, packed=True, stream=1, point=1, skipped=0):
        """Flush ``number`` holds records ``10 * number`` and the nine that follow."""
        seq = 10 * number
        if packed:
            rows = [(point, 1, seq + i) for i in range(10)]
            chunk = wire.chunk(stream, seq, T0 + seq, rows)
            payload = wire.packed(number, [chunk], skipped=skipped)
        else:
            rows = [[T0 + seq + i, point, seq + i] for i in range(10)]
            payload = wire.json_flush(number, stream, seq, rows, skipped=skipped)
        self.sent[number] = payload
        self.publish("flush/collector", payload)

    def resend(self):
        """Send every flush again that is not acknowledged, as a node does after its timeout."""
        done = self.acknowledged
        for number, payload in list(self.sent.items()):
            if number not in done:
                self._client.publish(f"fieldpost/nodes/{self.name}/flush/collector", payload, 1)

    @property
    def acknowledged(self):
        return {ack["flush"] for ack in self.acks}

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def node(mosquitto):
    played = Node(mosquitto.host, mosquitto.port)
    yield played
    played.close()


@pytest.fixture
def db(tmp_path):
    return tmp_path / "fieldpost.db"


@contextmanager
def collecting(mosquitto, db, **options):
    url = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    with Store(db, create=True) as opened, Collector(url, opened, **options) as collector:
        until(collector, lambda: collector.link.connected)
        # One more round trip, so that the subscription stands too.
        until(collector, lambda: collector.step(0.3) == 0)
        yield collector


def until(collector, done, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, vars(collector.counters)
        collector.step(0.05)


def wait(done, timeout_s=30, meanwhile=lambda: None, pause_s=0.2):
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(pause_s)
        meanwhile()


def stored(db):
    """Sequence numbers in the database, by a connection of its own."""
    with Store(db) as reader:
        return [row.seq for row in query.records(reader)]


@pytest.mark.parametrize("packed", [True, False])
def test_records_are_committed_before_they_are_acknowledged(mosquitto, node, db, packed):
    seen = []
    received = node._on_ack
    node._on_ack = lambda message: (seen.append(stored(db)), received(message))
    with collecting(mosquitto, db) as collector:
        for number in range(5):
            node.send(number, packed)
        until(collector, lambda: len(node.acks) == 5)
    assert [ack["flush"] for ack in node.acks] == list(range(5))
    assert node.acks[3] == {
        "noreply": True,
        "subscription": "default",
        "subscriber": "collector",
        "flush": 3,
        "stream": 1,
        "seq": 30,
    }
    assert all(set(range(10 * n, 10 * n + 10)) <= set(rows) for n, rows in enumerate(seen))
    assert stored(db) == list(range(50))
    assert (collector.counters.records, collector.counters.duplicates) == (50, 0)


def test_names_and_states_are_kept_and_an_emptied_topic_changes_nothing(mosquitto, node, db):
    points = {"device": "ahu-1", "driver": "modbus", "points": [[1, "dat", "°C"]]}
    node.publish("points/ahu-1", json.dumps(points), retain=True)
    node.publish("points/ahu-1/1", json.dumps({**points, "points": [[9, "fan"]]}), retain=True)
    node.publish("state", b'{"state":"online","boot":4}', retain=True)
    with collecting(mosquitto, db) as collector:
        node.send(0)
        until(collector, lambda: len(node.acks) == 1)
        node.publish("points/ahu-1", b"", retain=True)
        node.publish("state", b'{"state":"offline","boot":4}', retain=True)
        node.send(1)
        until(collector, lambda: len(node.acks) == 2)
    assert collector.counters.malformed == 0
    with Store(db) as reader:
        assert reader.nodes() == {"gw-1": {"state": "offline", "boot": 4}}
        rows = list(query.records(reader))
        assert {row[:4] for row in rows} == {("gw-1", "ahu-1", "dat", "°C")}
        names = reader.read("SELECT id, device, name FROM points")
        assert sorted(names) == [(1, "ahu-1", "dat"), (9, "ahu-1", "fan")]


def test_a_redelivered_flush_is_acknowledged_again_and_stored_once(mosquitto, node, db):
    with collecting(mosquitto, db) as collector:
        for _ in range(3):
            node.send(0)
        until(collector, lambda: len(node.acks) == 3)
    assert stored(db) == list(range(10))
    assert (collector.counters.records, collector.counters.duplicates) == (10, 20)


def test_flushes_sent_while_the_collector_is_away_wait_in_its_session(mosquitto, node, db):
    with collecting(mosquitto, db):
        pass
    node.send(0)
    with collecting(mosquitto, db) as collector:
        until(collector, lambda: len(node.acks) == 1)


def test_a_collector_that_stops_in_a_flood_leaves_nothing_behind(mosquitto, node, db):
    """What it read after its last commit is still the broker's: no flush is sent again."""
    with collecting(mosquitto, db):
        pass
    for number in range(300):
        rows = [(1, 1, i) for i in range(10)]
        payload = wire.packed(number, [wire.chunk(1, 10 * number, T0, rows)])
        node._client.publish("fieldpost/nodes/gw-1/flush/collector", payload, 1)
    url = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    for _ in range(40):
        with Store(db) as opened, Collector(url, opened) as collector:
            collector.MAX_MESSAGES = 10
            until(collector, lambda: collector.counters.messages >= 10)
        if node.acknowledged == set(range(300)):
            break
    assert node.acknowledged == set(range(300))
    assert stored(db) == list(range(3000))


def test_a_broker_that_sends_two_at_a_time_is_kept_going(tmp_path, db, monkeypatch):
    """Each message is answered to the broker, whatever became of it."""
    monkeypatch.setattr(store, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(Collector, "STORE_RETRY_S", 0.01)
    with servers.Mosquitto(tmp_path, "max_inflight_messages 2") as narrow:
        node = Node(narrow.host, narrow.port)
        with collecting(narrow, db) as collector, Store(db) as other:
            with other._transaction():
                for number in range(5):
                    node.send(number)
                    node.publish("flush/collector", b"garbage")
                until(collector, lambda: collector.counters.messages == 10)
            assert collector.counters.malformed == 5
            assert node.acks == []
            node.resend()
            until(collector, lambda: node.acknowledged == set(range(5)))
        node.close()


DYING = """
import os, signal, sys
from fieldpost_tools.collect import Collector
from fieldpost_tools.store import Store

url, path, where = sys.argv[1:]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if where == "after commit":
    Collector._acknowledge = die
else:
    Store.write = die
with Store(path, create=True) as store, Collector(url, store) as collector:
    while not collector.link.connected or collector.step(0.3):
        collector.step(0.1)
    print("ready", flush=True)
    collector.run()
"""


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@pytest.mark.parametrize("where", ["before commit", "after commit"])
def test_a_collector_killed_around_its_commit(mosquitto, node, db, where):
    url = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    command = [sys.executable, "-c", DYING, url, str(db), where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as dying:
        assert dying.stdout.readline() == b"ready\n"
        node.send(0)
        assert dying.wait(20) == -9
    assert node.acks == []
    assert stored(db) == (list(range(10)) if where == "after commit" else [])
    with collecting(mosquitto, db) as collector:
        node.resend()
        until(collector, lambda: len(node.acks) == 1)
    assert stored(db) == list(range(10))


def test_a_broker_that_goes_away_costs_nothing(mosquitto, node, db):
    with collecting(mosquitto, db) as collector:
        node.send(0)
        until(collector, lambda: len(node.acks) == 1)
        mosquitto.stop()
        until(collector, lambda: not collector.link.connected)
        assert "next attempt in" in collector.link.state
        assert collector.step(0.1) == 0
        mosquitto.start()
        until(collector, lambda: collector.link.connected)
        wait(lambda: node._client.is_connected(), meanwhile=lambda: collector.step(0.05))
        for number in range(1, 4):
            node.send(number)
        until(collector, lambda: node.acknowledged == {0, 1, 2, 3})
        assert collector.link.outages == 1
    assert stored(db) == list(range(40))


def test_a_broker_killed_again_and_again_under_load(mosquitto, node, db):
    with collecting(mosquitto, db) as collector:
        for life in range(3):
            for number in range(20 * life, 20 * life + 20):
                node.sent[number] = wire.packed(
                    number, [wire.chunk(1, 10 * number, T0, [(1, 1, i) for i in range(10)])]
                )
            node.resend()
            for _ in range(3):
                collector.step(0.05)
            mosquitto.kill()
            collector.step(0.1)
            mosquitto.start()
            until(collector, lambda: collector.link.connected)
            wait(lambda: node._client.is_connected(), meanwhile=lambda: collector.step(0.05))
        node.resend()
        until(collector, lambda: node.acknowledged == set(range(60)))
    assert stored(db) == list(range(600))
    with Store(db) as reader:
        assert reader.gaps() == []


def test_alarms_and_status_are_stored_once(mosquitto, node, db):
    alarm = {"alarm_id": 1, "node_id": "ahu/dat", "severity": "critical", "state": "raised"}
    status = {"device_key": "ahu", "event": "down", "protocol": "modbus", "timestamp_ms": 5}
    with collecting(mosquitto, db) as collector:
        for state in ("raised", "raised", "cleared"):
            body = json.dumps(alarm | {"state": state})
            node._client.publish("fieldpost/gw-1/alarms/critical/ahu-dat", body, qos=1)
        node._client.publish("fieldpost/gw-1/status/ahu", json.dumps(status), 1, retain=True)
        node._client.publish("fieldpost/gw-1/alarms/critical/ahu-dat", b"{}", qos=1)
        until(collector, lambda: collector.counters.messages == 5)
        assert (collector.counters.events, collector.counters.malformed) == (3, 1)
    with collecting(mosquitto, db) as again:
        until(again, lambda: again.counters.messages >= 1)
        assert again.counters.events == 0
    with Store(db) as store:
        found = [(one.kind, one.key, one.state) for one in events.after(store)]
    assert found == [
        ("alarm", "ahu/dat", "raised"),
        ("alarm", "ahu/dat", "cleared"),
        ("status", "ahu", "down"),
    ]


def test_a_flood_of_garbage_harms_nothing(mosquitto, node, db):
    # Version 2: of version 1, eleven random bytes may be a flush without records.
    garbage = [b"\xfb\2" + os.urandom(n) for n in range(100)]
    garbage += [b"{" + os.urandom(9), b"[]", b"", os.urandom(1_100_000), b"{}", b'{"a":' * 5000]
    with collecting(mosquitto, db) as collector:
        for number, payload in enumerate(garbage * 3):
            topic = ("flush/collector", "points/x", "state")[number % 3]
            node._client.publish(f"fieldpost/nodes/gw-1/{topic}", payload, qos=1)
            if number % 10 == 0:
                node.send(number // 10)
        sent = len(node.sent)
        until(collector, lambda: node.acknowledged == set(range(sent)))
        until(collector, lambda: collector.counters.messages == len(garbage) * 3 + sent)
    # An empty points or state message is no garbage: it removes the retained one.
    assert collector.counters.malformed == len(garbage) * 3 - 2
    assert "malformed message on 'fieldpost/nodes/gw-1/" in collector.counters.problem
    assert stored(db) == list(range(10 * sent))


def test_two_collectors_share_the_flushes_and_one_is_killed(mosquitto, node, db):
    url = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    arguments = ["collect", "--mqtt", url, "--db", str(db), "--share", "pair", "--json"]
    command = [sys.executable, "-m", "fieldpost_tools", *arguments]
    pipe = {"stdout": subprocess.PIPE, "env": environment(), "text": True}
    with subprocess.Popen(command, **pipe) as one, subprocess.Popen(command, **pipe) as two:
        for process in (one, two):
            while json.loads(process.stdout.readline())["broker"] != "connected":
                pass
        for number in range(100):
            node.send(number)
        wait(lambda: node.acknowledged == set(range(100)))
        two.kill()
        two.wait()
        for number in range(100, 140):
            node.send(number)
        wait(lambda: node.acknowledged == set(range(140)), 60, node.resend, pause_s=2)
        one.terminate()
        last = json.loads(one.communicate(timeout=20)[0].splitlines()[-1])
    assert one.returncode == 0
    assert stored(db) == list(range(1400))
    assert (last["stored"], last["missing"], last["event"]) == (1400, 0, "summary")
    # Both had a share of the first hundred, and none was sent to both.
    assert 40 < last["messages"] < 140
    assert last["records"] < 1400


def test_gaps_are_told_from_drops(mosquitto, node, db):
    with collecting(mosquitto, db) as collector:
        for number, skipped in ((0, 0), (2, 10), (3, 0), (7, 15)):
            node.send(number, skipped=skipped)
        until(collector, lambda: len(node.acks) == 4)
    with Store(db) as reader:
        gaps = [(gap.from_seq, gap.to_seq, gap.explained) for gap in reader.gaps()]
        totals = reader.totals()
    assert gaps == [(10, 19, "dropped"), (40, 54, None), (55, 69, "dropped")]
    assert (totals.gaps, totals.missing, totals.dropped) == (1, 15, 25)


def test_a_database_that_fails_delays_but_loses_nothing(mosquitto, node, db, monkeypatch):
    monkeypatch.setattr(store, "BUSY_TIMEOUT_S", 0.1)
    with collecting(mosquitto, db) as collector, Store(db) as other:
        points = {"device": "ahu-1", "driver": "modbus", "points": [[1, "dat", "°C"]]}
        with other._transaction():
            node.publish("points/ahu-1", json.dumps(points))
            node.send(0)
            until(collector, lambda: collector.counters.messages == 2)
            until(collector, lambda: collector.counters.store_errors >= 1)
        assert "database is locked" in collector.counters.problem
        assert node.acks == []
        node.resend()
        until(collector, lambda: len(node.acks) == 1)
    with Store(db) as reader:
        # The names came once only, and were kept.
        assert {row.point for row in query.records(reader)} == {"dat"}


def test_a_conflicting_stream_is_reported_and_not_acknowledged(mosquitto, node, db):
    with collecting(mosquitto, db) as collector:
        node.send(0, point=1)
        until(collector, lambda: len(node.acks) == 1)
        node.send(0, point=2)
        node.send(1, point=1)
        until(collector, lambda: node.acknowledged == {0, 1})
    assert len(node.acks) == 2
    assert collector.counters.conflicts == 1
    assert "gw-1: stream 1 holds other records" in collector.counters.problem


def test_only_the_nodes_asked_for(mosquitto, node, db):
    other = Node(mosquitto.host, mosquitto.port, "gw-2")
    with collecting(mosquitto, db, nodes=["gw-2"]) as collector:
        node.send(0)
        other.send(0)
        until(collector, lambda: len(other.acks) == 1)
    other.close()
    assert collector.counters.messages == 1
    assert node.acks == []


def test_the_command_ends_when_idle_and_prints_its_counts(mosquitto, node, db):
    url = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    with collecting(mosquitto, db):
        pass
    for number in range(30):
        node.send(number)
    arguments = ["collect", "--mqtt", url, "--db", str(db), "--until-idle", "1.5"]
    command = [sys.executable, "-m", "fieldpost_tools", *arguments]
    result = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert "1 nodes  300 records" in result.stdout.splitlines()[-1]
    assert node.acknowledged == set(range(30))


@pytest.fixture
def certificates(tmp_path):
    """``(CA file, server certificate, server key)`` for 127.0.0.1, and a CA of nobody's."""
    program = servers.program("openssl", "openssl")

    def openssl(*arguments):
        subprocess.run([program, *arguments], cwd=tmp_path, check=True, capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for name in ("ca", "other"):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        openssl("req", "-x509", *new, *files, "-subj", f"/CN={name}", "-days", "2")
    (tmp_path / "san").write_text("subjectAltName=IP:127.0.0.1")
    openssl("req", *new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=broker")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san"]
    openssl("x509", "-req", "-in", "server.csr", *signing, "-out", "server.pem", "-days", "2")
    return tmp_path


def test_tls_verifies_the_broker(certificates, db):
    lines = [f"certfile {certificates}/server.pem", f"keyfile {certificates}/server.key"]
    with servers.Mosquitto(certificates, *lines) as secured, Store(db, create=True) as opened:
        url = f"mqtts://{secured.host}:{secured.port}"
        with Collector(url, opened, ca=str(certificates / "ca.pem")) as collector:
            until(collector, lambda: collector.link.connected)
        for ca in (str(certificates / "other.pem"), None):
            refused = pytest.raises(BrokerError, match="certificate is not trusted")
            with Collector(url, opened, ca=ca) as collector, refused:
                until(collector, lambda: False, 5)


def test_wrong_credentials_end_at_once_with_a_clear_error(tmp_path, db):
    passwords = tmp_path / "passwords"
    command = [servers.program("mosquitto_passwd", "mosquitto"), "-b", "-c", passwords, "gw", "pw"]
    subprocess.run(command, check=True, capture_output=True)
    lines = ("allow_anonymous false", f"password_file {passwords}")
    with servers.Mosquitto(tmp_path, *lines) as closed, Store(db, create=True) as opened:
        refused = pytest.raises(BrokerError, match="refused: not authorized")
        with Collector(f"mqtt://gw:no@{closed.host}:{closed.port}", opened) as collector, refused:
            until(collector, lambda: False, 5)
        with Collector(f"mqtt://gw:pw@{closed.host}:{closed.port}", opened) as collector:
            until(collector, lambda: collector.link.connected)


def test_a_broker_that_accepts_and_stays_silent_is_left(db, monkeypatch):
    monkeypatch.setattr(broker.Link, "KEEPALIVE_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent, Store(db, create=True) as opened:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        with Collector(url, opened) as collector:
            until(collector, lambda: "next attempt in" in collector.link.state)
            assert not collector.link.connected
