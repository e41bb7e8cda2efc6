"""API module loggers: values as they change."""

import json

from loggers_kit import Board, until

from fieldpost.compat import asyncio, sleep_ms

HEAP = "512k"


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
