"""API module loggers: subscribers, live and in the configuration file; prefixes and guests."""

import json

from loggers_kit import SMALL, Board, rows, saved, until

from fieldpost.compat import sleep_ms

HEAP = "512k"


def has_md5():
    """Not every build has it."""
    try:
        from hashlib import md5
    except ImportError:
        return False
    return bool(md5)


# -- subscribers that last


async def test_subscribe_is_kept_and_starts_with_the_oldest_record():
    board = Board()
    board.ring().append(1, 5)
    assert await board.call("subscribe", subscriber="c", ack="md5", keepalive=500) == ["default"]
    (row,) = rows()
    assert (row["subscriber"], row["ack"], row["keepalive"]) == ("c", "md5", 500)
    (shown,) = await board.call("getSubscribers")
    assert shown["subscription"] == shown["reads"] == "default"
    assert (shown["ack"], shown["unacked"]) == ("md5", 1)
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
