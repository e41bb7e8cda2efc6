"""API module loggers: subscriptions, live and in the configuration file."""

import json

from loggers_kit import SMALL, Board, rows, saved, until

HEAP = "512k"


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
    # Before it there may be a flush.
    await until(lambda: any(b"error" in message.payload for message in board.link.sent))
    end = json.loads(board.link.sent[-1].payload)
    assert end == {
        "module": "loggers",
        "method": "subscribe",
        "subscription": "a",
        "error": "unsubscribed",
    }
    assert "any but default" in await board.refused("deleteSubscription", subscription="default")
    assert "default" in await board.refused("deleteSubscription", subscription="a")
    await board.close()
