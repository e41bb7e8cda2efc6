"""API module loggers: subscriptions and subscribers, live and in the configuration file."""

import json

from loggers_kit import SMALL, Board, saved

from fieldpost.compat import asyncio, sleep_ms

HEAP = "512k"


def rows(key="subscribers"):
    """The section of the file."""
    return saved().get(key) or []


def has_md5():
    """Not every build has it."""
    try:
        from hashlib import md5
    except ImportError:
        return False
    return bool(md5)


async def until(condition):
    """Wait until ``condition()`` is true."""
    for _ in range(400):
        if condition():
            return
        await sleep_ms(5)
    raise AssertionError("it did not happen in time")


# -- subscriptions


async def test_subscriptions_with_every_key():
    board = Board(subscribers=[{"subscriber": "c"}])
    one = await board.call("getSubscription", subscription="default")
    assert (one["id"], one["acquisition"], one["addresses"]) == ("default", "adr.log", "all")
    assert (one["maxEntries"], one["maxBytes"], one["encoding"]) == (0, 0, None)
    assert one["flush"]["maxEntries"] == 100 and one["store"]["onAckTimeouts"] == 3
    assert one["subscribers"][0]["subscriber"] == "c"
    assert one["state"]["kept"] == 0 and one["state"]["mode"] == "RAM"
    assert "default" in await board.refused("getSubscription", subscription="x")


async def test_subscriptions_of_a_prefix():
    ids = ("default", "a", "a/b", "a/c", "ab/c")
    board = Board(subscriptions=[dict(SMALL, id=id) for id in ids])

    async def found(**args):
        return [one["id"] for one in await board.call("getSubscriptions", **args)]

    assert await found() == ["a", "a/b", "a/c", "ab/c", "default"]
    assert await found(prefix="/") == await found()
    assert await found(prefix="a/") == ["a/b", "a/c"]
    assert await found(prefix="x/") == []
    assert await board.refused("getSubscriptions", prefix="a") == "invalid value"


async def test_insert_subscription():
    board = Board()
    given = dict(SMALL, id="fast/one", addresses=[1], acquisition="on_update", maxEntries=5000)
    made = await board.call("insertSubscription", subscription=given)
    assert made["id"] == "fast/one" and made["addresses"] == [1]
    assert made["maxEntries"] == made["store"]["maxEntries"] == 5000
    assert [row["id"] for row in rows("subscriptions")] == ["default", "fast/one"]
    board.node.points[1].update(5)
    board.node.points[2].update(6)
    assert board.ring("fast/one").next == 1
    again = await board.refused("insertSubscription", subscription=given)
    assert "an id that is not used yet" in again
    for wrong in ("a//b", "/a", "a/", "ä"):
        text = await board.refused("insertSubscription", subscription=dict(SMALL, id=wrong))
        assert "subscriptions[2].id" in text
    assert "subscription.id" in await board.refused("insertSubscription", subscription={})
    assert len(rows("subscriptions")) == 2 and saved()["revision"] == 1
    # It is there after a restart.
    again = Board(fresh=False)
    assert sorted(again.node.subscriptions) == ["default", "fast/one"]
    await board.close()


async def test_update_subscription():
    board = Board(subscribers=[{"subscriber": "c"}])
    changed = {"id": "default", "flush": {"onEntries": 7}, "store": {"onEntries": 9}}
    await board.call("updateSubscription", subscription=changed)
    changed = {"id": "default", "flush": {"minDelay": 0}, "maxBytes": 100000}
    made = await board.call("updateSubscription", subscription=changed)
    assert (made["flush"]["onEntries"], made["flush"]["minDelay"]) == (7, 0)
    assert (made["store"]["onEntries"], made["maxBytes"], made["store"]["disk"]) == (
        9,
        100000,
        False,
    )
    assert board.node.subscriptions["default"].rules["onEntries"] == 7
    back = {"id": "default", "flush": {"onEntries": None}, "acquisition": "on_update"}
    made = await board.call("updateSubscription", subscription=back)
    assert (made["flush"]["onEntries"], made["acquisition"]) == (1, "on_update")
    text = await board.refused("updateSubscription", subscription={"id": "x"})
    assert "subscription: 'x'" in text
    text = await board.refused(
        "updateSubscription", subscription={"id": "default", "ring_bytes": 8192}
    )
    assert "until a restart" in text
    text = await board.refused(
        "updateSubscription", subscription={"id": "default", "flush": {"minDelay": -1}}
    )
    assert "subscriptions[0].flush.minDelay: -1" in text
    assert saved()["revision"] == 3
    await board.close()


async def test_what_get_says_may_be_given_back():
    board = Board(subscribers=[{"subscriber": "c", "keepalive": 1000}])
    board.ring().append(1, 5)
    reader = board.reader()
    one = await board.call("getSubscription", subscription="default")
    assert await board.call("replaceSubscription", subscription=one) == one
    assert board.reader() is reader and board.reader().pending == 1
    await board.close()


async def test_replace_subscription():
    board = Board(subscribers=[{"subscriber": "c"}, {"subscriber": "d"}])
    given = dict(SMALL, id="default", flush={"onEntries": 5})
    await board.call("replaceSubscription", subscription=given)
    given = dict(SMALL, id="default", flush={"minDelay": 5}, subscribers=[{"subscriber": "d"}])
    made = await board.call("replaceSubscription", subscription=given)
    assert (made["flush"]["onEntries"], made["flush"]["minDelay"]) == (1, 5)
    assert [one["subscriber"] for one in made["subscribers"]] == ["d"]
    assert [row["subscriber"] for row in rows()] == ["d"]
    made = await board.call("replaceSubscription", subscription=dict(SMALL, id="new"))
    assert made["id"] == "new" and "new" in board.node.subscriptions
    await board.close()


async def test_delete_subscription():
    board = Board(
        subscriptions=[dict(SMALL, id="default"), dict(SMALL, id="a")],
        subscribers=[{"subscriber": "c"}, {"subscriber": "c", "subscription": "a"}],
    )
    for subscriber in (board.reader("c", "a"), board.reader()):
        board.node.start_subscriber(subscriber)
    log = board.ring("a")
    log.append(1, 5)
    assert await board.call("deleteSubscription", subscription="a") is True
    assert list(board.node.subscriptions) == ["default"]
    assert log.dropped == {"deleted": 1}
    assert [row["id"] for row in rows("subscriptions")] == ["default"]
    assert [row.get("subscription", "default") for row in rows()] == ["default"]
    await until(lambda: board.link.sent)
    (end,) = [json.loads(message.payload) for message in board.link.sent]
    assert end == {
        "module": "loggers",
        "method": "subscribe",
        "subscription": "a",
        "error": "unsubscribed",
    }
    assert "any but default" in await board.refused("deleteSubscription", subscription="default")
    assert "default" in await board.refused("deleteSubscription", subscription="a")
    await board.close()


# -- subscribers that last


async def test_subscribe_is_kept_and_starts_with_the_oldest_record():
    board = Board()
    board.ring().append(1, 5)
    assert await board.call("subscribe", subscriber="c", ack="md5", keepalive=500) == ["default"]
    (row,) = rows()
    assert (row["subscriber"], row["ack"], row["keepalive"]) == ("c", "md5", 500)
    assert board.reader().pending == 1
    (shown,) = await board.call("getSubscribers")
    assert shown["subscription"] == shown["reads"] == "default"
    assert (shown["ack"], shown["pending"], shown["unacked"]) == ("md5", 1, 1)
    assert (shown["paused"], shown["lifetime"], shown["remaining"]) == (False, 0, 0)
    again = Board(fresh=False)
    assert again.reader().config["keepalive"] == 500
    await board.close()


async def test_subscribe_that_changes_nothing_writes_nothing():
    board = Board()
    encoding = {"address": "$name $description"}
    await board.call("subscribe", subscriber="c", encoding=encoding)
    reader = board.reader()
    board.ring().append(1, 5)
    board.flushes()
    before = saved()
    assert await board.call("subscribe", subscriber="c", encoding=encoding) == ["default"]
    assert saved() == before and board.reader() is reader and reader.pending == 0
    assert board.flushes() == []
    await board.close()


async def test_subscribe_again_goes_on_where_it_was():
    if not has_md5():
        return
    board = Board()
    await board.call("subscribe", subscriber="c")
    reader = board.reader()
    board.ring().append(1, 5)
    (flush,) = board.flushes()
    await board.call("ackSubscribe", subscriber="c", flush=flush["flush"])
    board.ring().append(1, 6)
    (flush,) = board.flushes()
    await board.call("subscribe", subscriber="c", ack="md5")
    assert board.reader() is reader and len(rows()) == 1
    # In flight: again, now with an md5.
    assert [row[2] for again in board.flushes() for row in again["value"]] == [6]
    assert reader.inflight[0].digest
    # Nobody confirms any more.
    await board.call("subscribe", subscriber="c", ack=False)
    assert reader.inflight == [] and reader.acked == 2
    await board.close()


async def test_what_cannot_be_subscribed():
    board = Board(
        subscriptions=[dict(SMALL, id="default"), dict(SMALL, id="a/b")],
        subscribers=[{"subscriber": "c"}, {"subscriber": "d", "subscription": "a/"}],
    )
    for text, args in (
        ("a prefix that ends with /", {"subscription": "x"}),
        ("ack: 'md5'", {"ack": "md5", "format": "packed"}),
        ("a name used only once", {"subscription": "", "subscriber": "c"}),
        ("a name used only once", {"subscription": "a/b", "subscriber": "d"}),
        ("missing parameter: subscriber", {"subscriber": None}),
        ("encoding.value", {"encoding": {"value": "x"}}),
        ("no $ but", {"encoding": {"address": "$nme"}}),
        ("no $ but", {"encoding": {"address": "$nme"}, "lifetime": 1000}),
        ("with a lifetime", {"encoding": {"address": "$description"}, "lifetime": 1000}),
    ):
        for lifetime in (0, 1000):
            given = dict({"subscriber": "n", "lifetime": lifetime}, **args)
            assert text in await board.refused("subscribe", **given), given
    assert len(rows()) == 2 and board.node.guests == []
    await board.close()


async def test_unsubscribe():
    board = Board(subscribers=[{"subscriber": "c"}])
    board.node.start_subscriber(board.reader())
    assert await board.call("unsubscribe", subscriber="c") is True
    assert rows() == [] and await board.call("getSubscribers") == []
    await until(lambda: board.link.sent)
    assert json.loads(board.link.sent[0].payload)["error"] == "unsubscribed"
    assert await board.refused("unsubscribe", subscriber="c") == "unsubscribed"
    for method in ("flushSubscribe", "pauseSubscribe", "resumeSubscribe", "ackSubscribe"):
        more = {"flush": 1} if method == "ackSubscribe" else {}
        assert await board.refused(method, subscriber="c", **more) == "unsubscribed"
    await board.close()


# -- prefixes


async def test_a_prefix_reads_what_there_is_and_what_comes_later():
    board = Board(subscriptions=[dict(SMALL, id=id) for id in ("default", "a/b")])
    assert await board.call("subscribe", subscription="a/", subscriber="c") == ["a/b"]
    assert await board.call("subscribe", subscription="/", subscriber="d") == ["a/b", "default"]
    await board.call("insertSubscription", subscription=dict(SMALL, id="a/c"))
    read = [(one["subscriber"], one["reads"]) for one in await board.call("getSubscribers")]
    assert read == [("c", "a/b"), ("d", "a/b"), ("c", "a/c"), ("d", "a/c"), ("d", "default")]
    board.ring("a/b").append(1, 5)
    board.ring("a/c").append(1, 6)
    sent = board.flushes("c", "a/b") + board.flushes("c", "a/c")
    assert [(one["subscription"], one["value"][0][2]) for one in sent] == [("a/b", 5), ("a/c", 6)]
    # Each is confirmed by itself.
    for one in sent:
        assert await board.call(
            "ackSubscribe",
            subscription=one["subscription"],
            subscriber="c",
            flush=one["flush"],
            stream=one["stream"],
            seq=one["seq"],
        )
    assert [row["subscription"] for row in rows()] == ["a/", ""]
    again = Board(fresh=False)
    assert len(await again.call("getSubscribers", subscription="a/")) == 4
    assert len(await again.call("getSubscribers", subscription="a/b")) == 2
    await board.close()


async def test_a_prefix_ends_as_a_whole():
    board = Board(subscriptions=[dict(SMALL, id=id) for id in ("default", "a/b", "a/c")])
    await board.call("subscribe", subscription="a/", subscriber="c")
    await board.call("pauseSubscribe", subscription="a/b", subscriber="c")
    assert board.reader("c", "a/b").paused and not board.reader("c", "a/c").paused
    await board.call("pauseSubscribe", subscription="a/", subscriber="c")
    assert board.reader("c", "a/c").paused
    assert "already" in await board.refused("pauseSubscribe", subscription="", subscriber="c")
    await board.call("deleteSubscription", subscription="a/b")
    assert board.reader("c", "a/c")
    # It is no subscriber of a/c itself.
    text = await board.refused("unsubscribe", subscription="a/c", subscriber="c")
    assert text == "unsubscribed"
    await board.call("unsubscribe", subscription="a/", subscriber="c")
    assert await board.call("getSubscribers") == [] and rows() == []
    await board.close()


# -- guests


async def test_a_lifetime_ends():
    board = Board()
    assert await board.call("subscribe", subscriber="c", lifetime=60) == ["default"]
    (shown,) = await board.call("getSubscribers")
    assert 0 < shown["remaining"] <= 60
    assert rows() == []
    await until(lambda: board.link.sent)
    assert json.loads(board.link.sent[0].payload)["error"] == "end of life"
    assert await board.call("getSubscribers") == []
    assert Board(fresh=False).node.subscriptions["default"].subscribers == {}
    # Nor does it read what is made after its end.
    await board.call("subscribe", subscription="a/", subscriber="d", lifetime=20)
    await sleep_ms(40)
    await board.call("insertSubscription", subscription=dict(SMALL, id="a/b"))
    assert await board.call("getSubscribers") == [] and board.node.guests == []
    await board.close()


async def test_a_lifetime_begins_anew():
    board = Board()
    await board.call("subscribe", subscriber="c", lifetime=200)
    reader = board.reader()
    for _ in range(4):
        await sleep_ms(80)
        await board.call("subscribe", subscriber="c", lifetime=200)
    assert board.reader() is reader
    # And with a prefix, whose later readers end with the others.
    await board.call("subscribe", subscription="a/", subscriber="d", lifetime=5000)
    await board.call("insertSubscription", subscription=dict(SMALL, id="a/b"))
    assert board.reader("d", "a/b").born == board.node.guests[-1][1]
    assert rows() == []
    await board.close()


async def test_from_guest_to_subscriber_and_back():
    board = Board()
    await board.call("subscribe", subscriber="c", lifetime=60000)
    reader = board.reader()
    board.ring().append(1, 5)
    board.flushes()
    await board.call("subscribe", subscriber="c")
    assert board.reader() is reader and reader.pending == 0
    assert reader.config["lifetime"] == 0 and board.node.guests == [] and len(rows()) == 1
    await board.call("subscribe", subscriber="c", lifetime=60000)
    assert rows() == [] and board.reader().config["lifetime"] == 60000
    await board.call("unsubscribe", subscriber="c")
    assert board.node.guests == [] and await board.call("getSubscribers") == []
    await board.close()


# -- sending


async def test_flush_subscribe():
    board = Board(
        subscriptions=[dict(SMALL, id="default", flush={"onEntries": 100, "maxDelay": 60000})],
        subscribers=[{"subscriber": "c"}],
    )
    board.ring().append(1, 5)
    board.reader().step()
    assert board.link.sent == []
    assert await board.call("flushSubscribe", subscriber="c") == 1
    board.reader().step()
    assert len(board.link.sent) == 1
    assert await board.call("flushSubscribe", subscriber="c") == 0


async def test_ack_subscribe():
    board = Board(subscribers=[{"subscriber": "c"}, {"subscriber": "m", "ack": "md5"}])
    board.ring().append(1, 5)
    (flush,) = board.flushes()

    async def ack(**args):
        return await board.call("ackSubscribe", subscriber="c", **args)

    assert await ack(flush=flush["flush"] + 1) is False
    assert await ack(flush=flush["flush"], stream=flush["stream"], seq=1) is False
    assert board.node.counters["stale_acks"] == 2 and board.reader().acked == 0
    assert await ack(flush=flush["flush"], stream=flush["stream"], seq=0) is True
    assert board.reader().acked == 1
    text = await board.refused("ackSubscribe", subscriber="c")
    assert text == "missing parameter: flush"
    if not has_md5():
        return
    board.flushes("m")
    digest = board.reader("m").inflight[0].digest
    assert await board.call("ackSubscribe", subscriber="m", md5=digest) is True
    assert board.reader("m").acked == 1


async def test_pause_and_resume():
    board = Board(subscribers=[{"subscriber": "c"}])
    await board.call("pauseSubscribe", subscriber="c")
    board.ring().append(1, 5)
    assert board.flushes() == []
    assert await board.refused("pauseSubscribe", subscriber="c") == "already paused"
    (shown,) = await board.call("getSubscribers")
    assert (shown["paused"], shown["inactive"], shown["pending"]) == (True, False, 1)
    await board.call("resumeSubscribe", subscriber="c")
    assert [one["value"][0][2] for one in board.flushes()] == [5]


async def test_pause_inactive():
    board = Board(subscribers=[{"subscriber": "c"}])
    point = board.node.points[1]
    point.update(1)
    await board.call("pauseSubscribe", subscriber="c")
    await board.call("pauseSubscribe", subscriber="c", inactive=True)
    state = (await board.call("getSubscription", subscription="default"))["state"]
    assert state["dropped"] == {"paused": 1} and state["kept"] == 0
    point.update(2)
    assert board.ring().next == 1
    text = await board.refused("pauseSubscribe", subscriber="c", inactive=True)
    assert text == "already paused"
    await board.call("resumeSubscribe", subscriber="c")
    point.update(3)
    (flush,) = board.flushes()
    assert (flush["value"][0][2], flush["skipped"]) == (3, 1)


# -- live


def lives(board):
    """The live messages so far."""
    return [json.loads(m.payload) for m in board.link.sent if m.topic.endswith("/reply")]


async def test_live():
    board = Board()
    board.node.points[1].update(5)
    assert await board.call("live", address=["v/a", 2], lifetime=1000, minDelay=100) == 2
    await until(lambda: lives(board))
    board.node.points[2].update(6.5, "warm")
    board.node.points[3].update(7)
    await until(lambda: len(lives(board)) > 1)
    first, second = lives(board)
    assert first["event"] == "live" and first["subscriber"] == "live" and first["dropped"] == 0
    ts, *rest = first["value"][0]
    assert rest == [1, 5] and abs(ts - board.node.clock.wall_ms()) < 2000
    assert [row[1:] for row in second["value"]] == [[2, 6.5, "warm"]]
    await until(lambda: "error" in lives(board)[-1])
    assert lives(board)[-1]["error"] == "end of life"
    board.node.points[1].update(8)
    await sleep_ms(20)
    assert "error" in lives(board)[-1] and not board.node.supervisor.tasks
    await board.close()


async def test_live_drops_what_is_too_fast():
    board = Board()
    await board.call("live", address="all", lifetime=1000, minDelay=100)
    board.link.connected = False
    await sleep_ms(10)
    for value in range(100):
        board.node.points[1].update(value)
    board.link.connected = True
    await until(lambda: len(lives(board)) == 2)
    assert [one["dropped"] for one in lives(board)] == [36, 36]
    values = [row[2] for one in lives(board) for row in one["value"]]
    assert values == list(range(36, 100))
    await board.close()


async def test_live_is_bounded():
    board = Board()
    for text, args in (
        ("lifetime", {"lifetime": 600001}),
        ("lifetime", {"lifetime": 0}),
        ("missing parameter: lifetime", {"lifetime": None}),
        ("invalid address", {"address": 99}),
    ):
        args = dict({"address": "all", "lifetime": 1000}, **args)
        assert text in await board.refused("live", **args)
    for i in range(4):
        await board.call("live", address=1, lifetime=5000, subscriber="s%d" % i)
    assert await board.refused("live", address=1, lifetime=5000) == "busy"
    await board.call("live", address=1, lifetime=1000, subscriber="s0")
    assert len(board.node.supervisor.tasks) == 4
    await board.close()
    await asyncio.sleep(0)
    board.node.points[1].update(5)
    assert not lives(board)
