"""The API client against a fake node over both transports: replies, segments, faults, threads."""

import fcntl
import json
import os
import random
import socket
import termios
import threading
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
    MqttTransport,
    SerialTransport,
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
    return fake_node.FakeNode(
        gateways__readValue=lambda address: (
            {1: 20.5, 2: "ü\n\x1e"}.get(address) or fake_node.refuse("invalid address")
        ),
        system__echo=lambda **arguments: arguments,
        system__wait=lambda seconds: time.sleep(seconds),
    )


@pytest.fixture
def line(fake):
    with fake_node.on_pty(fake) as line:
        yield line


@pytest.fixture(params=["mqtt", "serial"])
def client(request, fake):
    if request.param == "mqtt":
        url = request.getfixturevalue("url")
        broker = request.getfixturevalue("broker")
        with (
            fake_node.on_mqtt(fake, broker.host, broker.port),
            Client(MqttTransport(url, "gw-1"), 10) as client,
        ):
            yield client
    else:
        line = request.getfixturevalue("line")
        with Client(SerialTransport(line.path), 10) as client:
            yield client


def test_values_and_errors(client, fake):
    assert client.call("gateways.readValue", address=1) == 20.5
    assert client.call("gateways.readValue", {"address": 2}) == "ü\n\x1e"
    with pytest.raises(ApiCallError) as raised:
        client.call("gateways.readValue", address=3)
    assert str(raised.value) == "gateways.readValue: invalid address"
    assert (raised.value.method, raised.value.text) == ("gateways.readValue", "invalid address")
    with pytest.raises(ApiCallError, match="invalid method"):
        client.call("gateways.fly")
    ids = [request["id"] for request in fake.requests]
    assert len(set(ids)) == 4
    assert {**fake.requests[0], "id": ""} == {
        "id": "",
        "module": "gateways",
        "method": "readValue",
        "address": 1,
    }


def test_arguments_go_and_come_unchanged(client):
    arguments = {"text": '¬ \\ "q" \x00 😀', "big": 2**53, "list": [None, True, 1.5, {"a": []}]}
    assert client.call("system.echo", arguments, more=1) == {**arguments, "more": 1}


@pytest.mark.parametrize("method", ["gateways", "gateways.", ".readValue", ""])
def test_what_is_no_request_is_not_sent(client, fake, method):
    with pytest.raises(InputError, match=r"module\.method"):
        client.call(method)
    for value in (float("nan"), b"bytes", "x" * Client.MAX_REQUEST_BYTES):
        with pytest.raises(InputError):
            client.call("system.echo", x=value)
    assert fake.requests == []


def test_a_batch_answers_in_its_order(client, fake):
    calls = [("gateways.readValue", {"address": n}) for n in (1, 9, 2)]
    first, second, third = client.batch(calls)
    assert (first, third) == (20.5, "ü\n\x1e")
    assert isinstance(second, ApiCallError)
    assert second.text == "invalid address"
    assert len(fake.requests) == 1


def test_a_batch_with_fewer_replies_is_an_error(client, fake):
    fake.arrange = lambda messages: [messages[0][:1]]
    with pytest.raises(ApiLinkError, match="1 replies to 2 requests"):
        client.batch([("gateways.readValue", {"address": 1})] * 2)


def test_a_notification_waits_for_nothing(client, fake):
    client.notify("system.echo", x=1)
    assert client.call("gateways.readValue", address=1) == 20.5
    assert fake.requests[0] == {"noreply": True, "module": "system", "method": "echo", "x": 1}


@pytest.mark.parametrize("disorder", ["none", "shuffled", "doubled", "both"])
def test_segments_make_the_reply(client, fake, disorder):
    def arrange(messages):
        messages = messages * (2 if disorder in ("doubled", "both") else 1)
        if disorder in ("shuffled", "both"):
            random.Random(1).shuffle(messages)
        return messages

    fake.segment, fake.arrange = 16, arrange
    text = "".join(map(str, range(500)))
    assert client.call("system.echo", text=text) == {"text": text}
    assert client.call("gateways.readValue", address=1) == 20.5


def test_a_missing_segment_is_named(client, fake):
    client.timeout_s = SHORT_S
    fake.segment = 16
    fake.arrange = lambda messages: messages[:2] + messages[3:]
    with pytest.raises(ApiTimeout, match=r"(\d+) of (\d+) segments in 0.3 s, missing 3; "):
        client.call("system.echo", text="x" * 100)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"segment": 0, "total": 2, "value": ""}, "segment that does not fit"),
        ({"segment": 3, "total": 2, "value": ""}, "segment that does not fit"),
        ({"segment": 1, "total": 2, "value": 5}, "segment that does not fit"),
        ({"segment": True, "total": 1, "value": ""}, "segment that does not fit"),
        ({"segment": 1, "value": ""}, "segment that does not fit"),
        ({"segment": 1, "total": 1, "value": "{"}, "do not make JSON"),
        ({"segment": 1, "total": 10**9, "value": ""}, "of more than"),
        ({"segment": 1, "total": 1, "value": "[]"}, "neither value nor error"),
        ({}, "neither value nor error"),
    ],
)
def test_a_malformed_reply_is_an_error_at_once(client, fake, broken, words):
    fake.arrange = lambda messages: [{"id": messages[0]["id"], **broken}]
    with pytest.raises(ApiLinkError, match=words):
        client.call("gateways.readValue", address=1)


def test_totals_that_change_are_an_error(client, fake):
    fake.segment = 16
    fake.arrange = lambda messages: [messages[0], {**messages[1], "total": 99}]
    with pytest.raises(ApiLinkError, match="does not fit"):
        client.call("system.echo", text="x" * 100)


def test_an_endless_reply_is_not_kept(client, fake, monkeypatch):
    monkeypatch.setattr("fieldpost_tools.api.replies.Reply.MAX_CHARS", 100)
    fake.segment = 60
    with pytest.raises(ApiLinkError, match="more than 100 characters"):
        client.call("system.echo", text="x" * 200)


@pytest.mark.parametrize("size", [1, 7, 64, 0])
@pytest.mark.parametrize(
    "value",
    [
        [],
        [1, 23, -4.5e10, None, True],
        [[], {}, [[1]], {"value": ["]", "}"]}, '",]'],
        [{"ts": n, "value": n / 2} for n in range(50)],
        "text",
        {"a": [1]},
        12,
        None,
    ],
)
def test_a_stream_gives_items_of_any_reply(line, size, value):
    line.fake.segment = size
    line.fake.methods["loggers.query"] = lambda: value
    with Client(SerialTransport(line.path)) as client:
        items = list(client.stream("loggers.query"))
    assert items == (value if isinstance(value, list) else [value])


def test_a_stream_is_fetched_as_it_is_used(client, fake):
    fake.segment = 100
    fake.methods["loggers.query"] = lambda start: list(range(start, 1000))
    items = client.stream("loggers.query", start=0)
    assert fake.requests == []
    assert [next(items) for _ in range(10)] == list(range(10))
    assert len(fake.requests) == 1
    assert fake.requests[0]["stream"] == 1
    assert list(items) == list(range(10, 1000))
    assert fake.requests[5]["part"] == 6


def test_a_lost_part_of_a_stream_is_asked_for_again(client, fake):
    lost = []

    def arrange(messages):
        if messages[0].get("part") == 3 and not lost:
            lost.append(messages)
            return []
        return messages

    fake.segment, fake.arrange = 100, arrange
    fake.methods["loggers.query"] = lambda: list(range(200))
    client.timeout_s = SHORT_S
    assert list(client.stream("loggers.query")) == list(range(200))
    assert len(lost) == 1


@pytest.mark.parametrize(
    ("broken", "error", "words"),
    [
        ({"error": "reply is gone"}, ApiCallError, "reply is gone"),
        ({"part": 7}, ApiLinkError, "with part 2"),
        ({"value": 5}, ApiLinkError, "with part 2"),
        ({"value": "@", "last": True}, ApiLinkError, "do not make JSON"),
        ({"value": "", "last": True}, ApiLinkError, "do not make JSON"),
        ({"value": "9 9,", "last": True}, ApiLinkError, "do not make JSON"),
    ],
)
def test_a_stream_that_breaks_is_an_error(client, fake, broken, error, words):
    fake.segment = 100
    fake.arrange = lambda m: [{**m[0], **broken}] if m[0]["part"] == 2 else m
    fake.methods["loggers.query"] = lambda: list(range(200))
    with pytest.raises(error, match=words):
        list(client.stream("loggers.query"))


def test_a_method_that_fails_fails_its_stream(client):
    with pytest.raises(ApiCallError, match="invalid address"):
        next(client.stream("gateways.readValue", address=9))


def test_items_without_an_end_are_not_kept(client, fake, monkeypatch):
    monkeypatch.setattr("fieldpost_tools.api.streams.MAX_ITEM_CHARS", 1000)
    fake.segment = 100
    fake.methods["loggers.query"] = lambda: ["x" * 5000]
    with pytest.raises(ApiLinkError, match="do not make JSON"):
        list(client.stream("loggers.query"))


def test_an_error_without_an_id_is_not_lost(line, fake):
    fake.arrange = lambda messages: [b'{"error":"request longer than 256"}']
    with (
        Client(SerialTransport(line.path)) as client,
        pytest.raises(ApiCallError, match=r"system\.echo: request longer than 256"),
    ):
        client.call("system.echo", x=1)


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


def test_what_answers_no_call_is_ignored(client, fake):
    others = [b"", b"no JSON", b"\xff", b"5", b"[]", b"[[]]", b'{"id":[]}', b'{"id":"x.1"}', b"{}"]
    fake.arrange = lambda messages: [*others, *messages]
    assert client.call("gateways.readValue", address=1) == 20.5
    assert client.ignored == len(others)


def test_no_answer_is_a_timeout_and_the_late_one_disturbs_nobody(client):
    client.timeout_s = SHORT_S
    begin = time.monotonic()
    with pytest.raises(ApiTimeout, match=r"^system.wait: no answer in 0.3 s; "):
        client.call("system.wait", seconds=0.6)
    assert time.monotonic() - begin < 0.6
    client.timeout_s = 10
    assert client.call("gateways.readValue", address=1) == 20.5


def test_parallel_calls_get_their_own_replies(client, fake):
    fake.segment = 20

    def one(number):
        return client.call("system.echo", number=number, text="x" * (number % 50))

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(one, range(200)))
    assert [result["number"] for result in results] == list(range(200))
    assert client._waiting == {}


def test_closing_ends_the_calls_that_wait(client):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.call, "system.wait", seconds=1)
        time.sleep(0.1)
        client.close()
        with pytest.raises(ApiLinkError, match="closed"):
            waiting.result(5)
    with pytest.raises(ApiLinkError, match="closed"):
        client.call("gateways.readValue", address=1)
    client.close()


# MQTT only


def test_mqtt_says_what_it_knows_of_a_silent_node(broker, url):
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
def test_mqtt_that_cannot_be(url, node, error, words):
    with pytest.raises(error, match=words):
        Client(MqttTransport(url, node))


def test_mqtt_refused_login(tmp_path):
    (tmp_path / "users").write_text("")
    lines = (f"password_file {tmp_path / 'users'}", "allow_anonymous false")
    with servers.Mosquitto(tmp_path, *lines) as broker:
        url = f"mqtt://u:secret@{broker.host}:{broker.port}"
        with pytest.raises(ApiLinkError, match="refused: not authorized") as raised:
            Client(MqttTransport(url, "gw-1"))
    assert "secret" not in str(raised.value)


def test_mqtt_signs_what_the_node_accepts_once(broker, url, fake, monkeypatch):
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
def test_mqtt_a_secret_that_no_node_has(secret):
    with pytest.raises(InputError, match=r"secret: '\*\*\*' is not allowed"):
        MqttTransport("mqtt://h", "gw-1", secret=secret)


def test_mqtt_verifies_the_broker(tmp_path, fake):
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


def test_mqtt_a_broker_that_accepts_and_stays_silent(monkeypatch):
    monkeypatch.setattr(MqttTransport, "CONNECT_TIMEOUT_S", SHORT_S)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ApiLinkError, match="no answer"):
            Client(MqttTransport(url, "gw-1"))


def test_mqtt_a_lost_broker_fails_calls_and_comes_back(mosquitto, fake):
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


# Serial only


def test_serial_output_of_the_board_is_kept_apart(line):
    printed = []
    line.before = b"boot \xff\r\n"
    line.between = b"printing\r\n>>> "
    with Client(SerialTransport(line.path, on_output=printed.append)) as client:
        line.fake.segment = 10
        assert client.call("system.echo", text="abcdef" * 5) == {"text": "abcdef" * 5}
        client.call("gateways.readValue", address=1)
    assert b"".join(printed).startswith(b"boot \xff\r\nprinting\r\n>>> printing")


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        (b"", "it printed nothing"),
        (b"hello\r\n", "it printed …'hello'"),
        (b"\r\n>>> ", "at its REPL, no node runs"),
    ],
)
def test_serial_says_what_came_instead_of_an_answer(line, printed, words):
    line.fake.arrange = lambda messages: []
    line.before = printed
    with (
        Client(SerialTransport(line.path), SHORT_S) as client,
        pytest.raises(ApiTimeout, match=words),
    ):
        client.call("gateways.readValue", address=1)


def test_serial_what_came_before_a_request_is_no_answer_to_it(line):
    line.fake.arrange = lambda messages: []
    line.before = b"before"
    with Client(SerialTransport(line.path), SHORT_S) as client:
        with pytest.raises(ApiTimeout, match="printed …'before'"):
            client.call("gateways.readValue", address=1)
        line.before = b""
        with pytest.raises(ApiTimeout, match="printed nothing"):
            client.call("gateways.readValue", address=1)


def test_serial_sends_nothing_but_the_request_and_touches_no_line(line, monkeypatch):
    asked = []
    real = fcntl.ioctl
    settings = termios.tcgetattr(line.device)
    settings[2] |= termios.HUPCL  # as every real port has it
    termios.tcsetattr(line.device, termios.TCSANOW, settings)
    monkeypatch.setattr(fcntl, "ioctl", lambda *args: (asked.append(args[1]), real(*args))[1])
    with Client(SerialTransport(line.path)) as client:
        client.call("gateways.readValue", address=1)
        assert termios.tcgetattr(client._transport._port.fd)[2] & termios.HUPCL == 0
    (request,) = line.fake.requests
    assert line.heard == b"\x1e" + json.dumps(request, separators=(",", ":")).encode() + b"\n"
    assert asked
    assert termios.TIOCMBIC not in asked


def test_serial_a_port_that_is_not_there_or_in_use(line):
    with pytest.raises(ApiLinkError, match="board at /dev/none: no such file"):
        Client(SerialTransport("/dev/none"))
    with Client(SerialTransport(line.path)), pytest.raises(ApiLinkError, match="another program"):
        Client(SerialTransport(line.path))


def test_serial_an_unplugged_board_is_an_error_and_is_found_again(fake, tmp_path):
    link = tmp_path / "tty"
    with fake_node.on_pty(fake) as line:
        link.symlink_to(line.path)
        client = Client(SerialTransport(str(link)))
        assert client.call("gateways.readValue", address=1) == 20.5
        fake.arrange = lambda messages: []
        threading.Timer(0.2, line.close).start()
        line.close = lambda: None
        with pytest.raises(ApiLinkError, match=r"connection lost|input/output error"):
            client.call("gateways.readValue", address=1)
        fake.arrange = list
    with pytest.raises(ApiLinkError, match=r"input/output error|no such"):
        client.call("gateways.readValue", address=1)
    link.unlink()
    with fake_node.on_pty(fake) as line:
        link.symlink_to(line.path)
        assert client.call("gateways.readValue", address=1) == 20.5
        client.close()


def test_serial_leaves_no_thread_or_file(line):
    def resources():
        return set(threading.enumerate()), len(os.listdir("/proc/self/fd"))

    threads, files = resources()
    for _ in range(3):
        with Client(SerialTransport(line.path)) as client:
            client.call("gateways.readValue", address=1)
    assert resources()[0] <= threads
    assert resources()[1] == files
