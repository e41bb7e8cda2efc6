"""The dispatcher: forms of requests and replies, errors, permissions, audit, many at a time."""

from api_kit import Api, Module, until

from fieldpost.compat import asyncio
from fieldpost.errors import ApiError


async def test_a_reply_repeats_what_was_asked_for():
    api = Api()
    assert await api.kit("echo", value=7) == {"value": 7}
    for id in (1, 0, "", "x", -5, 2.5, True, 1 << 60):
        assert await api.kit("echo", value=7, id=id) == {"id": id, "value": 7}
    assert await api.kit("echo", id=None) == {"value": None}
    whole = {"id": 1, "module": "kit", "method": "echo", "value": 7}
    assert await api.ask(dict(whole, replyWithModule=True, replyWithMethod=1)) == whole
    assert await api.ask(dict(whole, replyWithMethod=True)) == {
        "id": 1,
        "method": "echo",
        "value": 7,
    }
    assert await api.ask(dict(whole, method="x", replyWithModule=1)) == {
        "id": 1,
        "module": "kit",
        "error": "invalid method",
    }


async def test_noreply_means_no_reply_whatever_happens():
    api = Api()
    for method in ("echo", "fail", "none"):
        assert await api.kit(method, how="bug", value=1, noreply=True) is None
    assert (
        await api.ask({"noreply": True, "requests": [{"module": "kit", "method": "odd"}]}) is None
    )
    assert await api.kit("put", address=1, value=5, noreply=True) is None
    assert api.node.done == [5]


async def test_errors_have_the_words_of_the_wire_format():
    api = Api()
    for request, error in (
        ("", "invalid request"),
        ("{", "invalid request"),
        (b"\xff", "invalid request"),
        ("7", "invalid request"),
        ("[]", "invalid request"),
        ("null", "invalid request"),
        ({}, "invalid module"),
        ({"module": "none", "method": "echo"}, "invalid module"),
        ({"module": "dispatch", "method": "echo"}, "invalid module"),
        ({"module": ["kit"], "method": "echo"}, "invalid module"),
        ({"module": "kit"}, "invalid method"),
        ({"module": "kit", "method": "none"}, "invalid method"),
        ({"module": "kit", "method": {}}, "invalid method"),
        ({"module": "kit", "method": "put"}, "missing parameter: address"),
        ({"module": "kit", "method": "put", "address": 1}, "missing parameter: value"),
        ({"module": "kit", "method": "put", "address": None}, "missing parameter: address"),
        ({"module": "kit", "method": "echo", "x": 1}, "unknown parameter: x"),
        ({"module": "kit", "method": "put", "address": 1, "value": "bad"}, "invalid value"),
        ({"module": "kit", "method": "fail", "how": "api"}, "end of life"),
        ({"module": "kit", "method": "fail", "how": "driver"}, "timeout"),
        ({"module": "kit", "method": "fail", "how": "bug"}, "internal error"),
        ({"module": "kit", "method": "fail", "how": "memory"}, "out of memory"),
        ({"module": "kit", "method": "broken", "how": "api"}, "end of life"),
        ({"module": "kit", "method": "object"}, "internal error"),
    ):
        assert await api.ask(request) == {"error": error}, request
    reply = await api.kit("fail", how="config")
    assert reply == {"error": "a.b: 5 is not allowed, expected less"}
    assert await api.ask({"id": [1]}) == {"error": "invalid id"}
    assert await api.ask(b'{"id":1e999,"module":"kit","method":"echo"}') == {"error": "invalid id"}


async def test_a_bug_is_reported():
    api = Api()
    await api.kit("fail", how="bug")
    await api.kit("object")
    assert [key for key, _error in api.node.faults] == ["api", "api"]
    assert isinstance(api.node.faults[0][1], KeyError)
    await api.kit("fail", how="driver")
    assert len(api.node.faults) == 2


async def test_arguments_are_checked_and_completed():
    api = Api()
    assert await api.kit("all", a=3) == {"value": {"a": 3, "b": "x", "c": []}}
    assert await api.kit("all", a=3, b="y", c=["p", "q"]) == {
        "value": {"a": 3, "b": "y", "c": ["p", "q"]}
    }
    for wrong in ({"a": 10}, {"a": "1"}, {"a": 1, "b": 5}, {"a": 1, "c": ["/"]}, {"a": True}):
        reply = await api.kit("all", **wrong)
        assert "is not allowed, expected" in reply["error"], wrong
    assert await api.kit("shape", shape={"size": 4}) == {"value": {"size": 4, "name": "none"}}
    assert "shape.size" in (await api.kit("shape", shape={"size": 10}))["error"]
    # A table of the configuration's schema.
    reply = await api.kit("flush", flush={"maxEntries": 7})
    assert reply["value"]["maxEntries"] == 7
    assert reply["value"]["parallel"] == 20


async def test_compact_arguments_at_the_address_of_a_method():
    api = Api()
    assert await api.address("7", "echo") == {"value": 7}
    assert await api.address('"a b"', "echo") == {"value": "a b"}
    assert await api.address("5", "all") == {"value": {"a": 5, "b": "x", "c": []}}
    assert await api.address('[5,"y"]', "all") == {"value": {"a": 5, "b": "y", "c": []}}
    assert await api.address('[{"id":9},5,"y"]', "all") == {
        "id": 9,
        "value": {"a": 5, "b": "y", "c": []},
    }
    reply = await api.address('[{"id":9,"replyWithMethod":true},5]', "all")
    assert (reply["id"], reply["method"]) == (9, "all")
    assert await api.address('[{"id":9,"noreply":true},5,6]', "put") is None
    assert api.node.done == [6]
    assert await api.address('[{"gateway":"a","name":"b"}]', "echo") == {
        "value": {"gateway": "a", "name": "b"}
    }
    assert await api.address('[{"id":9,"x":1}]', "echo") == {"value": {"id": 9, "x": 1}}
    assert await api.address("[5,6]", "echo") == {"error": "too many parameters"}
    assert await api.address("[5]", "put") == {"error": "missing parameter: value"}
    assert await api.address("[]", "all") == {"error": "missing parameter: a"}
    assert await api.address('{"a":5}', "all") == {"value": {"a": 5, "b": "x", "c": []}}
    # Nothing else names a method there.
    assert await api.ask("5", "serial", "kit") == {"error": "invalid request"}
    assert await api.ask({"method": "echo", "value": 5}, "serial", "kit") == {"value": 5}


async def test_the_single_required_argument_takes_a_scalar():
    api = Api()
    seen = []
    Module.METHODS["later"] = (lambda _node, args: seen.append(args), "x: int = 1\ny: str", "read")
    await api.address('"text"', "later")
    del Module.METHODS["later"]
    assert seen == [{"x": 1, "y": "text"}]


async def test_a_method_may_have_a_parameter_called_stream():
    api = Api()
    assert await api.kit("stream", stream=5, id=1) == {"id": 1, "value": 5}


async def test_a_batch_is_answered_in_order_each_with_its_id():
    api = Api()
    echo = {"module": "kit", "method": "echo"}
    replies = await api.ask(
        {
            "id": "b",
            "requests": [
                dict(echo, value=1),
                dict(echo, value=2, id=2),
                dict(echo, value=3, noreply=True),
                dict(echo, method="none"),
                7,
                {"requests": []},
                {"module": "kit", "method": "rows", "count": 1, "id": 0},
            ],
        }
    )
    assert replies == [
        {"id": "b", "value": 1},
        {"id": 2, "value": 2},
        {"id": "b", "error": "invalid method"},
        {"id": "b", "error": "invalid request"},
        {"id": "b", "error": "invalid request"},
        {"id": 0, "value": [{"n": 0, "item": "text"}]},
    ]
    assert await api.ask({"id": "b", "requests": []}) == []
    assert await api.ask({"requests": [dict(echo, value=1)]}) == [{"value": 1}]
    reply = await api.ask({"requests": [{"value": 4}, {}]}, "serial", "kit", "echo")
    assert reply == [{"value": 4}, {"value": None}]


async def test_a_batch_is_bounded():
    api = Api()
    error = {"id": 1, "error": "requests: want a list of at most 32"}
    assert await api.ask({"id": 1, "requests": [0] * 33}) == error
    assert await api.ask({"id": 1, "requests": {}}) == error
    assert len(await api.ask({"id": 1, "requests": [0] * 32})) == 32
    large = {"module": "kit", "method": "rows", "count": 30}
    replies = await api.ask({"id": 1, "requests": [large] * 5})
    assert len(replies[0]["value"]) == 30
    assert "value" in replies[1]
    assert [reply.get("error", "")[:12] for reply in replies[2:]] == ["reply longer"] * 3


async def test_requests_and_replies_have_a_limit():
    api = Api(max_request=256, max_reply=512)
    assert await api.ask(b"{" + b" " * 256) == {"error": "request longer than 256"}
    assert await api.kit("echo", value="x" * 200) == {"value": "x" * 200}
    reply = await api.kit("rows", count=1000, id=3)
    assert reply == {"id": 3, "error": 'reply longer than 512: ask for it with "stream":1'}


async def test_halves_of_characters_do_not_come_in():
    api = Api()
    error = {"error": "invalid request: escaped halves of characters"}
    for text in ('"\\ud83d"', '"\\uD83D\\uDE00"', '"\\udfff"'):
        assert await api.address(text, "echo") == error
    assert await api.address('"\\u00b0\\ud7ff\U0001f600"', "echo") == {
        "value": "\xb0\ud7ff\U0001f600"
    }


async def test_nesting_is_survived():
    api = Api(max_request=4096, max_reply=65536)
    for depth in (10, 400, 1300):
        reply = await api.address("[%s]" % ("[" * depth + "]" * depth), "echo")
        assert reply.get("error") in (None, "invalid request", "internal error"), depth
        if depth == 10:
            assert "value" in reply
        reply = await api.ask('{"a":' * depth + "1" + "}" * depth)
        assert "error" in reply
    assert await api.kit("echo", value=1) == {"value": 1}


async def test_numbers_that_json_has_not_become_null():
    api = Api()
    assert await api.kit("odd") == {"value": [None, {"x": None}]}


async def test_what_a_transport_may_not_call_is_an_invalid_method():
    api = Api(mqtt=["read", "kit.put"], serial=["kit.echo"])
    invalid = {"error": "invalid method"}
    echo = {"module": "kit", "method": "echo", "value": 1}
    put = {"module": "kit", "method": "put", "address": 1, "value": 2}
    work = {"module": "kit", "method": "work", "ms": 1}
    assert await api.ask(echo, "mqtt") == {"value": 1}
    assert await api.ask(put, "mqtt") == {"value": 1}
    assert await api.ask(work, "mqtt") == invalid
    assert await api.ask(echo, "serial") == {"value": 1}
    assert await api.ask(put, "serial") == invalid
    assert await api.ask({"requests": [work]}, "mqtt") == [invalid]
    assert api.dispatcher.counters["denied"] == 3
    assert await api.ask(work, "python") == {"value": "waited"}
    api.dispatcher.settings["serial"] = ["kit.*"]
    assert await api.ask(work, "serial") == {"value": "waited"}
    api.dispatcher.settings["serial"] = []
    assert await api.ask(echo, "serial") == invalid
    assert len(api.node.audit.entries) == 3


async def test_confirmations_are_allowed_and_not_audited():
    from fieldpost.api import dispatch

    api = Api(mqtt=[])
    known, dispatch.CONFIRM = dispatch.CONFIRM, "kit.put"
    put = {"module": "kit", "method": "put", "address": 1, "value": 2}
    assert await api.ask(put, "mqtt") == {"value": 1}
    dispatch.CONFIRM = known
    assert await api.ask(put, "mqtt") == {"error": "invalid method"}
    assert known == "loggers.ackSubscribe"
    assert api.node.audit.total == 0


async def test_every_change_leaves_an_entry():
    api = Api()
    await api.kit("put", address=5, value=1, id="first")
    api.node.ticks.advance(50)
    await api.kit("put", address={"id": 1}, value="bad")
    await api.kit("put", address=5)
    await api.kit("echo", value=5)
    await api.kit("work", ms=1, id=2)
    assert api.node.audit.entries == [
        (0, "serial", "kit.put", "first", 5, "ok"),
        (50, "serial", "kit.put", None, None, "invalid value"),
        (50, "serial", "kit.work", 2, 1, "ok"),
    ]


async def test_the_audit_is_bounded_and_counts_what_it_forgot():
    api = Api()
    for number in range(40):
        await api.kit("put", address="x" * 100, value=number, id="i" * 100)
    audit = api.node.audit
    assert len(audit.entries) == audit.SIZE == 32
    assert audit.total == 40
    assert audit.entries[0][3:5] == ("i" * 40, "x" * 40)


async def test_a_slow_method_does_not_hold_up_others():
    api = Api()
    api.submit({"id": 1, "module": "kit", "method": "wait", "ms": 60})
    api.submit({"id": 2, "module": "kit", "method": "wait", "ms": 20})
    api.submit({"id": 3, "module": "kit", "method": "echo"})
    await until(lambda: len(api.sent) == 3)
    assert [reply["id"] for reply in api.replies()] == [3, 2, 1]


async def test_too_many_at_a_time_are_refused_and_counted():
    api = Api()
    for number in range(9):
        api.submit({"id": number, "module": "kit", "method": "wait", "ms": 30})
    await until(lambda: len(api.sent) == 6)
    replies = {reply["id"]: reply for reply in api.replies()}
    assert [replies[number].get("error") for number in range(6)] == [None] * 3 + ["busy"] * 3
    counters = api.dispatcher.counters
    assert (counters["busy"], counters["dropped"], counters["requests"]) == (3, 3, 6)
    assert (await api.kit("echo", value=1)) == {"value": 1}


async def test_a_read_ends_at_its_deadline():
    api = Api(timeout_ms=30)
    assert await api.kit("wait", ms=100, id=1) == {"id": 1, "error": "timeout"}
    assert await api.kit("wait", ms=1) == {"value": "waited"}
    await asyncio.sleep(0.12)
    assert api.node.done == [1]


async def test_rows_without_an_end_end_at_the_deadline():
    api = Api(timeout_ms=30)
    assert await api.kit("endless") == {"error": "timeout"}
    assert await api.kit("endless", stream=1) == {"error": "timeout"}
    try:
        await api.dispatcher.call("python", "kit", "endless")
    except ApiError as error:
        assert str(error) == "timeout"
    else:
        raise AssertionError("it ended")


async def test_a_change_goes_on_past_its_deadline():
    api = Api(timeout_ms=30)
    assert await api.kit("work", ms=80) == {"error": "timeout"}
    assert api.node.audit.entries == []
    await until(lambda: api.node.done == [80])
    assert [entry[-1] for entry in api.node.audit.entries] == ["ok"]


async def test_changes_that_never_end_take_no_more_than_their_places():
    api = Api(timeout_ms=10)
    for _ in range(3):
        assert await api.kit("work", ms=60000) == {"error": "timeout"}
    assert await api.kit("work", ms=60000) == {"error": "busy"}
    assert await api.kit("echo", value=1) == {"value": 1}
    api.dispatcher.stop()
    await until(lambda: len(api.node.audit.entries) == 3)
    assert await api.kit("work", ms=1) == {"value": "waited"}


async def test_a_reply_that_cannot_be_sent_is_counted():
    api = Api()
    api.room = 0
    assert await api.kit("echo", value=1) is None
    assert api.dispatcher.counters["unsent"] == 1


async def test_stop_ends_what_is_going_on():
    api = Api(timeout_ms=60000)
    api.submit({"module": "kit", "method": "wait", "ms": 30000})
    api.submit({"module": "kit", "method": "work", "ms": 30000})
    await asyncio.sleep(0.02)
    api.dispatcher.stop()
    await until(lambda: not api.dispatcher._tasks and not api.dispatcher._jobs)
    assert api.node.done == []


async def test_direct_calls_return_values_and_raise():
    api = Api()
    call = api.dispatcher.call
    assert await call("python", "kit", "echo", {"value": 5}) == 5
    assert await call("python", "kit", "odd") is not None
    assert len(await call("python", "kit", "rows", {"count": 20})) == 20
    assert await call("python", "kit", "put", {"address": 1, "value": 2}) == 1
    for method, args in (("none", {}), ("echo", {"x": 1}), ("put", {})):
        try:
            await call("python", "kit", method, args)
        except ApiError:
            continue
        raise AssertionError(method)
    assert [entry[1] for entry in api.node.audit.entries] == ["python"]
