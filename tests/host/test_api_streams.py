"""Streamed replies: items of any size from parts of any size, fetched as they are used."""

import pytest

import fake_node
from fieldpost_tools.api import ApiCallError, ApiLinkError, Client, SerialTransport

SHORT_S = 0.3


@pytest.fixture
def fake():
    return fake_node.usual()


@pytest.fixture
def line(fake):
    with fake_node.on_pty(fake) as line:
        yield line


@pytest.fixture
def client(line):
    with Client(SerialTransport(line.path), 10) as client:
        yield client


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
