"""The private servers of the other tests do what those rely on."""

import socket
import time

import paho.mqtt.client as paho
import pytest

import servers


def retained(broker, topic):
    """The retained payload of a topic, or None when nothing comes within a second."""
    received = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: client.subscribe(topic)
    client.on_message = lambda _client, _data, message: received.append(message.payload)
    _run(client, broker, lambda: received)
    return received[0] if received else None


def retain(broker, topic, payload):
    """Publish a retained message and wait for its acknowledgement."""
    acknowledged = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: client.publish(topic, payload, qos=1, retain=True)
    client.on_publish = lambda *_: acknowledged.append(True)
    _run(client, broker, lambda: acknowledged)
    assert acknowledged


def _run(client, broker, done):
    client.connect(broker.host, broker.port)
    for _ in range(20):
        client.loop(0.05)
        if done():
            break
    client.disconnect()


def wait_until_saved(broker):
    deadline = time.monotonic() + 5
    while not (broker.folder / "mosquitto.db").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def accepts(broker):
    return servers.wait_port(broker.port, timeout_s=0.2)


def test_mosquitto_keeps_its_port_over_restarts(mosquitto):
    port = mosquitto.port
    for end in (mosquitto.stop, mosquitto.kill):
        assert accepts(mosquitto)
        end()
        assert not accepts(mosquitto)
        mosquitto.start()
    mosquitto.restart()
    assert accepts(mosquitto)
    assert mosquitto.port == port


def test_mosquitto_forgets_without_persistence(mosquitto):
    retain(mosquitto, "a/b", b"1")
    assert retained(mosquitto, "a/b") == b"1"
    mosquitto.restart()
    assert retained(mosquitto, "a/b") is None


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_mosquitto_remembers_with_persistence(end, tmp_path):
    with servers.Mosquitto(tmp_path, persistence=True) as broker:
        retain(broker, "a/b", b"1")
        wait_until_saved(broker)
        getattr(broker, end)()
        broker.start()
        assert retained(broker, "a/b") == b"1"


def test_server_that_does_not_start_shows_its_log(tmp_path):
    broker = servers.Mosquitto(tmp_path, "no_such_option true")
    with pytest.raises(RuntimeError, match="no_such_option"):
        broker.start()
    assert broker.process is None


def test_free_port_is_outside_the_clients_range():
    with open("/proc/sys/net/ipv4/ip_local_port_range") as range_file:
        first_client_port = int(range_file.read().split()[0])
    port = servers.free_port()
    assert 1024 < port < first_client_port
    with socket.create_server((servers.HOST, port)):
        assert servers.wait_port(port, timeout_s=1)


@pytest.mark.parametrize(("ci", "outcome"), [("true", "fail"), ("", "skip")])
def test_missing_program_fails_only_under_ci(ci, outcome, monkeypatch):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(getattr(pytest, outcome).Exception, match="apt-get install some-package"):
        servers.program("no-such-program", "some-package")
