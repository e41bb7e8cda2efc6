"""Replies: encoding, segments counted in characters, streams fetched in parts."""

import json

from api_kit import Api, rows, turns

from fieldpost.api.call import Rows
from fieldpost.api.reply import cut, messages, pieces
from fieldpost.compat import asyncio

VALUES = (
    None,
    True,
    0,
    -1.5,
    'é\\"\n\u20ac\U0001f600',
    [],
    {},
    [[]],
    [{}],
    {"a": []},
    [1, [2, [3, {"x": [4]}]], "t"],
    {"a": 1, "b": {"c": [True, None]}, "": ""},
    [{"n": 1, "t": "x"}] * 3,
)


def test_pieces_make_the_json_of_a_value():
    for value in VALUES:
        assert json.loads("".join(pieces(value))) == value
    assert json.loads("".join(pieces((1, (2, 3))))) == [1, [2, 3]]


def test_rows_are_an_array_wherever_they_stand():
    assert json.loads("".join(pieces(rows(2, "x")))) == [
        {"n": 0, "item": "x"},
        {"n": 1, "item": "x"},
    ]
    nested = {"a": Rows(lambda: iter([1, Rows(lambda: iter([]))])), "b": 2}
    assert json.loads("".join(pieces(nested))) == {"a": [1, []], "b": 2}


def test_what_is_no_json_is_refused():
    for value in (object(), b"x", [object()], {"a": {"b": object()}}):
        try:
            "".join(pieces(value))
        except TypeError:
            continue
        raise AssertionError(value)


def test_cutting_counts_characters_and_splits_none():
    text = "aé€\U0001f600" * 5
    data = bytearray(text.encode())
    for count in range(1, 22):
        start = 0
        parts = []
        while start < len(data):
            end = cut(data, start, count)
            parts.append(str(data[start:end], "utf-8"))
            start = end
        assert "".join(parts) == text
        assert all(len(part) == count for part in parts[:-1])


def test_a_reply_of_just_the_limit_is_not_cut():
    text = "é" * 50
    assert list(messages(bytearray(text.encode()), "", 50)) == [text.encode()]
    segments = [json.loads(bytes(m)) for m in messages(bytearray(text.encode()), '"id":7,', 49)]
    assert segments == [
        {"id": 7, "segment": 1, "total": 2, "value": "é" * 49},
        {"id": 7, "segment": 2, "total": 2, "value": "é"},
    ]


async def test_long_replies_come_in_segments():
    api = Api(segment=128, max_reply=8192)
    reply = await api.kit("rows", count=80, item="é€", id="r")
    assert [row["n"] for row in reply["value"]] == list(range(80))
    assert reply["id"] == "r"
    segments = api.replies()
    assert len(segments) > 10
    assert all(len(segment["value"]) == 128 for segment in segments[:-1])
    assert all(segment["id"] == "r" for segment in segments)
    batch = {"id": 3, "requests": [{"module": "kit", "method": "rows", "count": 20}]}
    assert len((await api.ask(batch))[0]["value"]) == 20
    assert api.replies()[0]["id"] == 3
    assert await api.kit("echo", value=1) == {"value": 1}


async def test_a_segment_that_cannot_be_sent_ends_the_reply():
    api = Api(segment=128, max_reply=8192)
    api.room = 2
    try:
        await api.kit("rows", count=50)
    except AssertionError:
        pass  # not all of the segments
    assert len(api.sent) == 2
    assert api.dispatcher.counters["unsent"] == 1


async def test_a_long_reply_gives_others_their_turn():
    api = Api(max_reply=65536, timeout_ms=10000)
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0)

    task = asyncio.create_task(tick())
    await turns(1)
    before = len(ticks)
    await api.kit("rows", count=200)
    paused = len(ticks) - before
    assert paused >= 200
    before = len(ticks)
    await api.kit("echo", value="x" * 900)
    assert len(ticks) - before < 10
    task.cancel()


async def fetch(api, handle, **more):
    return await api.ask(dict({"stream": handle}, **more))


async def whole(api, part):
    """The reply of a stream that begins with ``part``; how many parts it had."""
    text = part["value"]
    count = 1
    while not part.get("last"):
        part = await fetch(api, part["stream"], id="f")
        count += 1
        assert part["part"] == count
        assert part["id"] == "f"
        assert len(api.sent) == 1
        assert len(api.sent[0]) <= api.dispatcher.settings["segment"]
        text += part["value"]
    return json.loads(text), count


async def test_a_stream_is_fetched_part_by_part():
    api = Api(segment=256, max_reply=512)
    first = await api.kit("rows", count=300, item='quotes " and é', stream=1, id=5)
    assert (first["id"], first["part"]) == (5, 1)
    reply, count = await whole(api, first)
    assert reply["id"] == 5
    assert [row["n"] for row in reply["value"]] == list(range(300))
    assert count > 30


async def test_a_short_reply_may_be_a_stream_too():
    api = Api()
    reply, count = await whole(api, await api.kit("echo", value=7, stream=1))
    assert (reply, count) == ({"value": 7}, 1)
    # Ended, but not all of it fits: every quote takes four characters.
    api = Api(segment=256)
    reply, count = await whole(api, await api.kit("echo", value='"' * 60, stream=1))
    assert (reply, count) == ({"value": '"' * 60}, 2)
    assert await api.kit("fail", how="api", stream=1) == {"error": "end of life"}


async def test_a_part_that_was_lost_is_sent_again():
    api = Api(segment=256)
    first = await api.kit("rows", count=30, stream=1)
    handle = first["stream"]
    assert await fetch(api, handle, part=1) == first
    second = await fetch(api, handle, part=2)
    assert await fetch(api, handle, part=2) == second
    assert await fetch(api, handle, part=1) == {"error": "invalid part"}
    assert await fetch(api, handle, part=4) == {"error": "invalid part"}
    third = await fetch(api, handle)
    assert third["part"] == 3
    while not third.get("last"):
        third = await fetch(api, handle)
    assert await fetch(api, handle, part=third["part"]) == third
    assert await fetch(api, handle) == {"error": "invalid part"}


async def test_streams_are_few_and_of_their_transport():
    api = Api(segment=256)
    handles = []
    for _ in range(4):
        handles.append((await api.kit("rows", count=30, stream=1))["stream"])
    assert len(set(handles)) == 4
    assert await api.kit("rows", count=30, stream=1) == {"error": "too many streams"}
    assert await api.ask({"stream": handles[0]}, "mqtt") == {"error": "invalid stream"}
    for wrong in (1, 0, True, "x", [], 99, -1):
        assert await fetch(api, wrong) == {"error": "invalid stream"}
    for _ in range(20):
        if (await fetch(api, handles[1])).get("last"):
            break
    # One that was fetched to its end makes room.
    assert "stream" in await api.kit("rows", count=30, stream=1)


async def test_a_stream_expires():
    api = Api(segment=256)
    streams = await api.kit("rows", count=30, stream=1)
    api.dispatcher.tend()
    assert "value" in await fetch(api, streams["stream"])
    api.dispatcher.streams.EXPIRE_MS = -1
    api.dispatcher.tend()
    assert await fetch(api, streams["stream"]) == {"error": "invalid stream"}


async def test_an_error_ends_a_stream():
    api = Api(segment=256)
    assert await api.kit("broken", how="api", stream=1) == {"error": "end of life"}
    assert await api.kit("broken", how="bug", stream=1) == {"error": "internal error"}
    assert api.dispatcher.streams._open == {}


async def test_two_fetches_of_one_stream_do_not_meet():
    api = Api(segment=1024, timeout_ms=5000)
    first = await api.kit("rows", count=200, stream=1)
    api.sent = []
    api.submit({"id": "a", "stream": first["stream"]})
    api.submit({"id": "b", "stream": first["stream"]})
    while len(api.sent) < 2:
        await asyncio.sleep(0.001)
    errors = [reply.get("error") for reply in api.replies()]
    assert sorted(errors, key=str) == [None, "busy"]
