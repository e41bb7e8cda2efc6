"""API module update: a release comes in parts into the slot that is not active."""

import json
import sys

from gateways_kit import exists
from release_kit import (
    NEW,
    OLD,
    ROOT,
    Client,
    Machine,
    content,
    digest,
    encoded,
    manifest,
    store,
    tree,
)

import slots
from fieldpost import __version__
from fieldpost.api import update
from fieldpost.compat import asyncio, sleep_ms

HEAP = "768k"


async def test_only_what_the_node_does_not_have_is_sent():
    client = Client()
    store(ROOT + "b/", {"release": b"old", "pkg/stale.mpy": b"x", "gone/deep/x.mpy": b"x"})
    config = content(client.board.node.config_path)
    await client.bring(NEW)
    assert client.sent == [("pkg/deep/er/new.mpy", 0), ("pkg/part.mpy", 0)]
    staged = (await client.call("status"))["staged"]
    assert [staged[key] for key in ("phase", "files", "need")] == ["receiving", 4, 0]
    assert not exists(ROOT + "b/release")
    assert slots.read()["active"] == "a"

    sys.modules["machine"] = machine = Machine()
    try:
        assert await client.call("apply") == {"slot": "b", "restart": True}
        assert machine.resets == 0
        await sleep_ms(1100)
        assert machine.resets == 1
    finally:
        del sys.modules["machine"]
    assert slots.read()["active"] == "b" and slots.read()["trial"]
    assert tree(ROOT + "b/") == dict(NEW, release=manifest(NEW))
    assert tree(ROOT + "a/") == dict(OLD, release=manifest(OLD, __version__))
    assert content(client.board.node.config_path) == config


async def test_status():
    client = Client()
    assert await client.call("status") == {
        "version": __version__,
        "sha256": digest(manifest(OLD, __version__)),
        "slot": "a",
        "trial": False,
        "attempts": 0,
        "returned": None,
        "max_request": 4096,
        "staged": None,
    }
    listing = manifest(NEW)
    assert await client.begin(listing) == {"offset": 0}
    assert (await client.call("status"))["staged"] == {
        "version": "2.0.0",
        "sha256": digest(listing),
        "phase": "manifest",
        "files": 0,
        "need": 0,
        "bytes": 0,
        "error": None,
    }
    await client.put(0, listing)
    assert await client.prepared() is None
    staged = (await client.call("status"))["staged"]
    assert (staged["files"], staged["need"], staged["bytes"]) == (4, 2, 2048 + 900)
    assert await client.call("abort") is True
    assert (await client.call("status"))["staged"] is None
    assert await client.refused("need") == "nothing staged"
    assert await client.refused("put", file=1, offset=0, data="") == "nothing staged"
    assert await client.refused("apply") == "nothing staged"


async def test_another_host_goes_on_where_the_first_one_stopped():
    client = Client()
    store(ROOT + "b/", {"release": b"old"})
    listing = manifest(NEW)
    await client.begin(listing)
    assert not exists(ROOT + "b/release")
    await client.put(0, listing[:100])
    assert await client.begin(listing) == {"offset": 100}
    await client.put(0, listing, 100)
    assert await client.prepared() is None
    assert await client.begin(listing) == {"offset": len(listing)}
    await client.put(2, NEW["pkg/deep/er/new.mpy"][:1400])
    assert await client.call("need") == [[2, 1400], [3, 0]]
    assert await client.call("need", after=2) == [[3, 0]]
    await client.bring(NEW)
    assert client.sent == [("pkg/deep/er/new.mpy", 1400), ("pkg/part.mpy", 0)]
    assert (await client.call("apply"))["slot"] == "b"


async def test_after_a_restart_only_the_rest_is_sent():
    client = Client()
    listing = manifest(NEW)
    await client.begin(listing)
    await client.put(0, listing[:100])
    client.restart()
    assert await client.begin(listing) == {"offset": 0}
    await client.put(0, listing)
    assert await client.prepared() is None
    await client.put(2, NEW["pkg/deep/er/new.mpy"])
    await client.put(3, NEW["pkg/part.mpy"][:500])
    client.restart()
    assert await client.begin(listing) == {"offset": len(listing)}
    assert await client.prepared() is None
    assert not exists(ROOT + "b/pkg/part.mpy~")
    assert await client.call("need") == [[3, 0]]
    await client.bring(NEW)
    await client.call("apply")
    assert tree(ROOT + "b/") == dict(NEW, release=listing)


async def test_another_release_takes_the_place_of_one_that_was_not_finished():
    client = Client()
    await client.bring(NEW)
    newer = {"pkg/deep/er/new.mpy": NEW["pkg/deep/er/new.mpy"], "top.mpy": b"t" * 900}
    client.sent = []
    assert await client.bring(newer) is None
    assert client.sent == [("top.mpy", 0)]
    await client.call("apply")
    assert tree(ROOT + "b/") == dict(newer, release=manifest(newer))


async def test_health_is_not_proved_any_more_once_the_next_release_is_active():
    client = Client()
    await client.bring(NEW)
    supervisor = client.board.node.supervisor
    supervisor.start("health", lambda _task: sleep_ms(60000))
    await client.call("apply")
    assert "health" not in supervisor.tasks


class Turns:
    """Another task: how often it had a turn while something was done."""

    async def __aenter__(self):
        self.count = 0
        self.task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()

    async def _run(self):
        while True:
            self.count += 1
            await asyncio.sleep(0)


async def test_other_tasks_have_a_turn_after_every_piece():
    big = {"p/%d.mpy" % number: bytes([number]) * 4096 for number in range(8)}
    client = Client()
    store(ROOT + "a/", big)
    await client.begin(manifest(big))
    async with Turns() as preparing:
        await client.put(0, manifest(big), part=2048)
        while update._staged.phase == "preparing":
            await sleep_ms(1)
    assert update._staged.need == 0
    async with Turns() as applying:
        await client.call("apply")
    pieces = 8 * 4096 // 512
    assert preparing.count >= pieces and applying.count >= pieces


async def test_other_tasks_have_a_turn_before_every_part_of_a_batch():
    client = Client()
    few = {"p/%d.mpy" % number: b"%d" % number for number in range(10)}
    await client.begin(manifest(few))
    await client.put(0, manifest(few))
    await client.prepared()
    parts = []
    for number in range(10):
        part = {"file": number + 1, "offset": 0, "data": encoded(few["p/%d.mpy" % number])}
        parts.append(dict(part, module="update", method="put"))
    replies = []

    async def send(data):
        replies.append(json.loads(bytes(data)))
        return True

    async with Turns() as turns:
        text = json.dumps({"requests": parts})
        await client.board.node.dispatcher().handle(text, "serial", send)
    assert [reply["value"] for reply in replies[0]] == [{"offset": 1}] * 10
    assert turns.count >= 10
