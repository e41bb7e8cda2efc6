"""The MQTT connector against mosquitto."""

import json
import threading
import time

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from export_kit import alarm, export, flush, make_store
from fieldpost_tools.export import settings
from fieldpost_tools.export.connector import Unavailable
from fieldpost_tools.export.pipeline import Exporter
from fieldpost_tools.export.state import States


class Heard(dict):
    def __init__(self):
        super().__init__()
        self.listening = threading.Event()


@pytest.fixture
def heard(mosquitto):
    """``{topic: [payload]}`` of everything below export/; ``listening`` says when it may begin."""
    topics = Heard()

    def take(_client, _userdata, message):
        topics.setdefault(message.topic, []).append(json.loads(message.payload))

    client = Client(CallbackAPIVersion.VERSION2, "hearer", clean_session=False)
    client.on_message = take
    client.on_connect = lambda *_: client.subscribe("export/#", 1)
    client.on_subscribe = lambda *_: topics.listening.set()
    client.reconnect_delay_set(1, 1)
    client.connect(mosquitto.host, mosquitto.port)
    client.loop_start()
    assert topics.listening.wait(10)
    yield topics
    client.loop_stop()
    client.disconnect()


@pytest.fixture
def states(tmp_path):
    with States(tmp_path / "state.db") as opened:
        yield opened


def make(mosquitto, **keys):
    url = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    row = {"name": "again", "type": "mqtt", "url": url, "timeout_s": 5}
    return settings.make(row | keys, "connector[0]").connector


def wait(heard, count):
    deadline = time.monotonic() + 10
    while sum(map(len, heard.values())) < count and time.monotonic() < deadline:
        time.sleep(0.02)


def test_every_record_is_published_and_the_broker_has_it(mosquitto, heard, tmp_path, states):
    store = make_store(tmp_path / "a.db", flush(0, 2500), happened=[alarm(1)])
    one = Exporter(export(make(mosquitto), tmp_path, batch=2500), store, states)
    one.step()
    one.close()
    wait(heard, 2501)
    found = heard["export/gw-1/ahu-1/dat"]
    assert sorted(row["seq"] for row in found) == list(range(2500))
    assert found[3] == {
        "node_id": "ahu-1/dat",
        "value": 1.5,
        "value_type": "float",
        "timestamp_ms": found[3]["timestamp_ms"],
        "node": "gw-1",
        "stream": 1,
        "seq": 3,
    }
    assert [row["alarm_id"] for row in heard["export/gw-1/events"]] == [1]


def test_a_broker_that_goes_costs_a_repetition_and_no_record(mosquitto, heard, tmp_path, states):
    store = make_store(tmp_path / "a.db", flush(0, 100))
    one = Exporter(export(make(mosquitto), tmp_path, batch=50), store, states)
    one.step()
    mosquitto.stop()
    with pytest.raises(Unavailable, match="broker"):
        one.step()
    assert states.standing("again").rows == 50
    heard.listening.clear()
    mosquitto.start()
    assert heard.listening.wait(10)
    while one.step():
        pass
    one.close()
    wait(heard, 100)
    assert {row["seq"] for row in heard["export/gw-1/ahu-1/dat"]} >= set(range(50, 100))


def test_no_broker_is_told(mosquitto):
    mosquitto.stop()
    with pytest.raises(Unavailable, match="refused"):
        make(mosquitto, timeout_s=1).health()
