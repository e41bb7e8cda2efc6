"""The API client over MQTT: what a broker can do to it, signatures, other clients."""

import contextlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from paho.mqtt.publish import single

import fake_node
import servers
from certificates import Certificates
from fieldpost.api.signature import Signatures
from fieldpost.errors import ApiError
from fieldpost_tools.api import (
    ApiCallError,
    ApiLinkError,
    ApiTimeout,
    Client,
    MqttHub,
    MqttTransport,
)
from fieldpost_tools.errors import InputError

SHORT_S = 0.3
SECRET = "a secret of the node"


class Clock:
    """What the node's check of signatures asks for."""

    offset_ms = 1

    def unix_ms(self):
        return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with servers.Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def url(broker):
    return f"mqtt://{broker.host}:{broker.port}"


@pytest.fixture
def fake():
    return fake_node.usual()


def test_says_what_it_knows_of_a_silent_node(broker, url):
    with Client(MqttTransport(url, "gw-9"), SHORT_S) as client:
        with pytest.raises(ApiTimeout, match="has heard of no node 'gw-9'"):
            client.call("system.echo")
        publish(broker, "fieldpost/nodes/gw-9/state", b'{"state":"online"}')
        with pytest.raises(ApiTimeout, match="the node is online"):
            client.call("system.echo")
        publish(broker, "fieldpost/nodes/gw-9/state", b'{"state":"offline"}')
        wait(lambda: client._transport.node_state == "offline")
        with pytest.raises(ApiLinkError, match=r"node 'gw-9' at broker [\d.:]+ is offline"):
            client.call("system.echo")
        for strange in (b"", b"5", b"{}", b"{"):
            publish(broker, "fieldpost/nodes/gw-9/state", strange)
        wait(lambda: client._transport.node_state is None)


def publish(broker, topic, payload):
    single(topic, payload, 1, True, broker.host, broker.port)


def wait(done, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("url", "node", "error", "words"),
    [
        ("mqtt://127.0.0.1:1", "gw-1", ApiLinkError, "broker 127.0.0.1:1: connection refused"),
        ("mqtt://no-such-host.invalid", "gw-1", ApiLinkError, "host name is not known"),
        ("http://u:secret@h", "gw-1", InputError, "mqtt: 'h' is not allowed"),
        ("mqtt://h", "a/b", InputError, "node: 'a/b'"),
        ("mqtt://h", "", InputError, "node: ''"),
    ],
)
def test_that_cannot_be(url, node, error, words):
    with pytest.raises(error, match=words):
        Client(MqttTransport(url, node))


def test_refused_login(tmp_path):
    (tmp_path / "users").write_text("")
    lines = (f"password_file {tmp_path / 'users'}", "allow_anonymous false")
    with servers.Mosquitto(tmp_path, *lines) as broker:
        url = f"mqtt://u:secret@{broker.host}:{broker.port}"
        with pytest.raises(ApiLinkError, match="refused: not authorized") as raised:
            Client(MqttTransport(url, "gw-1"))
    assert "secret" not in str(raised.value)


def test_signs_what_the_node_accepts_once(broker, url, fake, monkeypatch):
    """Opened by the node's own code; ``hmac`` of that is tested with the RFC's vectors."""
    sealed = []
    answer = fake.answer
    signatures = Signatures(SECRET, Clock())

    def unseal(payload):
        sealed.append(payload)
        return answer(signatures.open("fieldpost/nodes/gw-1/api", json.loads(payload)))

    monkeypatch.setattr(fake, "answer", unseal)
    with (
        fake_node.on_mqtt(fake, broker.host, broker.port),
        Client(MqttTransport(url, "gw-1", secret=SECRET)) as client,
    ):
        assert client.call("system.echo", text='ü\n"') == {"text": 'ü\n"'}
        assert client.call("gateways.readValue", address=1) == 20.5
    assert [json.loads(one)["id"] for one in sealed] == [one["id"] for one in fake.requests]
    with pytest.raises(ApiError, match="used"):
        unseal(sealed[0])
    with pytest.raises(ApiError, match="invalid"):
        signatures.open("fieldpost/nodes/gw-2/api", json.loads(sealed[0]))


@pytest.mark.parametrize("secret", ["short", "x" * 129])
def test_a_secret_that_no_node_has(secret):
    with pytest.raises(InputError, match=r"secret: '\*\*\*' is not allowed"):
        MqttTransport("mqtt://h", "gw-1", secret=secret)


def test_verifies_the_broker(tmp_path, fake):
    made = Certificates(tmp_path)
    made.authority("ca")
    made.authority("other")
    made.sign("server", "ca", "subjectAltName=IP:127.0.0.1")
    lines = (f"certfile {made.path('server.pem')}", f"keyfile {made.path('server.key')}")
    with servers.Mosquitto(tmp_path, *lines) as broker:
        url = f"mqtts://{broker.host}:{broker.port}"
        with (
            Client(MqttTransport(url, "gw-1", ca=made.path("ca.pem")), SHORT_S) as client,
            pytest.raises(ApiTimeout, match="heard of no node"),
        ):
            client.call("system.echo")
        for ca in (made.path("other.pem"), None):
            with pytest.raises(ApiLinkError, match="certificate is not trusted"):
                Client(MqttTransport(url, "gw-1", ca=ca))
    with pytest.raises(InputError, match=r"none\.pem"):
        MqttTransport("mqtts://h", "gw-1", ca="none.pem")


def test_a_broker_that_accepts_and_stays_silent(monkeypatch):
    monkeypatch.setattr(MqttHub, "CONNECT_TIMEOUT_S", SHORT_S)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ApiLinkError, match="no answer"):
            Client(MqttTransport(url, "gw-1"))


def test_a_lost_broker_fails_calls_and_comes_back(mosquitto, fake):
    transport = MqttTransport(f"mqtt://{mosquitto.host}:{mosquitto.port}", "gw-1")
    with fake_node.on_mqtt(fake, mosquitto.host, mosquitto.port), Client(transport) as client:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.call, "system.wait", seconds=5)
            time.sleep(0.2)
            mosquitto.kill()
            with pytest.raises(ApiLinkError, match="connection lost"):
                waiting.result(5)
        with pytest.raises(ApiLinkError, match="connection lost"):
            client.call("gateways.readValue", address=1)
        mosquitto.start()
        client.timeout_s = SHORT_S
        wait(lambda: answers(client), 20)


def answers(client):
    try:
        return client.call("gateways.readValue", address=1) == 20.5
    except (ApiLinkError, ApiTimeout):
        return False


def test_an_error_without_an_id_may_be_of_another_client(broker, url, fake):
    fake.arrange = lambda messages: [b'{"error":"request longer than 256"}']
    with (
        fake_node.on_mqtt(fake, broker.host, broker.port),
        Client(MqttTransport(url, "gw-1"), SHORT_S) as client,
    ):
        with pytest.raises(ApiTimeout, match="online; it says 'request longer than 256'"):
            client.call("system.echo", x=1)
        with pytest.raises(ApiCallError, match=r"system\.echo: request longer than 256"):
            client.call("system.echo", x="x" * 256)


def test_a_call_ends_when_the_node_goes(broker, url, fake):
    with (
        fake_node.on_mqtt(fake, broker.host, broker.port),
        Client(MqttTransport(url, "gw-1")) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(client.call, "system.wait", seconds=5)
        time.sleep(0.2)
        publish(broker, "fieldpost/nodes/gw-1/state", b'{"state":"offline"}')
        with pytest.raises(ApiLinkError, match=r"node 'gw-1' .* is offline"):
            waiting.result(2)


def test_nodes_share_a_connection(broker, url):
    fakes = {f"gw-{i}": fake_node.FakeNode(system__echo=lambda i=i: i) for i in range(5)}
    with contextlib.ExitStack() as stack:
        for name, fake in fakes.items():
            stack.enter_context(fake_node.on_mqtt(fake, broker.host, broker.port, name))
        hub = stack.enter_context(MqttHub(url))
        assert dict.fromkeys(fakes, "online").items() <= hub.states().items()
        before = broker.log.count("fieldpost-api-")
        clients = [stack.enter_context(Client(MqttTransport(hub, name))) for name in fakes]
        assert [client.call("system.echo") for client in clients] == [0, 1, 2, 3, 4]
        clients[0].close()
        with pytest.raises(ApiLinkError, match="closed"):
            clients[0].call("system.echo")
        assert clients[1].call("system.echo") == 1
        with Client(MqttTransport(hub, "gw-1")) as again:
            assert again.call("system.echo") == 1
        assert clients[1].call("system.echo") == 1
        with Client(MqttTransport(hub, "gw-0")) as again:
            assert again.call("system.echo") == 0
        assert broker.log.count("fieldpost-api-") == before


def test_nodes_that_share_a_connection_come_back(mosquitto, fake):
    url = f"mqtt://{mosquitto.host}:{mosquitto.port}"
    with (
        fake_node.on_mqtt(fake, mosquitto.host, mosquitto.port),
        MqttHub(url) as hub,
        Client(MqttTransport(hub, "gw-1")) as client,
    ):
        mosquitto.restart()
        client.timeout_s = SHORT_S
        wait(lambda: answers(client), 20)
