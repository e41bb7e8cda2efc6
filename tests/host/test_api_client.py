"""The API client against a fake node over both transports: replies, segments, threads."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import fake_node
import servers
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
