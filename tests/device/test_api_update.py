"""API module update: a release comes in parts into the slot that is not active."""

import hashlib
import json
import os
import sys
from binascii import b2a_base64

from gateways_kit import Board, exists

import slots
from fieldpost import __version__, release
from fieldpost.api import update
from fieldpost.compat import MPY, asyncio, hexlify, sleep_ms
from fieldpost.errors import FieldpostError
from fieldpost.hmac import hmac_sha256
from fieldpost.smallfile import make_folder

HEAP = "768k"
ROOT = "update-test/"
KEY = "0123456789abcdef"

OLD = {"pkg/__init__.mpy": b"init", "pkg/same.mpy": b"s" * 1300, "pkg/part.mpy": b"old" * 300}
NEW = {
    "pkg/__init__.mpy": b"init",
    "pkg/deep/er/new.mpy": bytes(range(256)) * 8,
    "pkg/part.mpy": b"new" * 300,
    "pkg/same.mpy": b"s" * 1300,
}


class Machine:
    """The module ``machine``."""

    def __init__(self):
        self.resets = 0

    def reset(self):
        self.resets += 1


def digest(data):
    return hexlify(hashlib.sha256(data).digest())


def encoded(data):
    return b2a_base64(data).decode().strip()


def manifest(files, version="2.0.0", mpy=None, count=None):
    """The file ``release`` of files by path."""
    head = {"version": version, "mpy": mpy, "files": len(files) if count is None else count}
    lines = [json.dumps(head)]
    lines += ["%s %d %s" % (digest(files[path]), len(files[path]), path) for path in sorted(files)]
    return ("\n".join(lines) + "\n").encode()


def clear(folder):
    for name in os.listdir(folder) if exists(folder) else ():
        path = folder + "/" + name
        if os.stat(path)[0] & 0x4000:
            clear(path)
            os.rmdir(path)
        else:
            os.remove(path)


def store(folder, files):
    for path in files:
        make_folder((folder + path).rpartition("/")[0])
        with open(folder + path, "wb") as file:
            file.write(files[path])


def content(path):
    with open(path, "rb") as file:
        return file.read()


def tree(folder):
    """``{path: content}`` of a folder, empty ones with None."""
    found = {}
    for name in os.listdir(folder):
        if os.stat(folder + name)[0] & 0x4000:
            inner = tree(folder + name + "/")
            found.update({name + "/" + path: inner[path] for path in inner} or {name: None})
        else:
            found[name] = content(folder + name)
    return found


class Client:
    """A board with slots, of which ``a`` holds ``OLD``, and what a host does."""

    def __init__(self, **config):
        clear(ROOT[:-1])
        make_folder(ROOT + "b")
        store(ROOT + "a/", dict(OLD, release=manifest(OLD, __version__)))
        slots.ROOT = ROOT
        sys.modules["slots"] = slots
        slots.switch("a")
        slots.healthy()
        update._staged = None
        self.config = config
        self.board = Board(**config)
        self.sent = []

    def restart(self):
        """Cut the power; a new node with what is on flash."""
        if update._staged and update._staged._incoming:
            update._staged._incoming._file.close()
        update._staged = None
        self.board = Board(**self.config)

    async def call(self, method, **args):
        return await self.board.call("update." + method, **args)

    async def refused(self, method, **args):
        try:
            await self.call(method, **args)
        except FieldpostError as error:
            return str(error)
        raise AssertionError("%s of %r was accepted" % (method, args))

    async def begin(self, listing, version="2.0.0", **more):
        return await self.call(
            "begin", version=version, size=len(listing), sha256=digest(listing), **more
        )

    async def put(self, index, data, offset=0, part=700):
        """Put a file from ``offset`` on."""
        while offset < len(data):
            piece = encoded(data[offset : offset + part])
            said = await self.call("put", file=index, offset=offset, data=piece)
            offset = said["offset"]

    async def prepared(self):
        """Wait until the slot is; the reason if it failed."""
        staged = None
        while staged is None or staged["phase"] == "preparing":
            await sleep_ms(1)
            staged = (await self.call("status"))["staged"]
        return staged["error"]

    async def bring(self, files, listing=None):
        """All but ``apply``; what was sent is in ``sent``."""
        listing = listing or manifest(files)
        start = await self.begin(listing)
        await self.put(0, listing, start["offset"])
        problem = await self.prepared()
        if problem:
            return problem
        paths = sorted(files)
        for index, offset in await self.call("need"):
            self.sent.append((paths[index - 1], offset))
            await self.put(index, files[paths[index - 1]], offset)
        return None


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


async def test_a_manifest_that_is_not_the_announced_one():
    client = Client()
    listing = manifest(NEW)
    await client.begin(listing)
    spoiled = encoded(b"x" + listing[1:])
    assert await client.refused("put", file=0, offset=0, data=spoiled) == "wrong hash"
    assert not exists(ROOT + "b/release~")
    await client.put(0, listing)
    assert await client.prepared() is None


async def test_parts_that_do_not_fit():
    client = Client()
    listing = manifest(NEW)
    await client.begin(listing)
    part = encoded(b"abc")
    for args, said in (
        ((0, 3, part), "wrong offset: expected 0"),
        ((0, 0, "a"), "invalid value"),
        ((1, 0, part), "invalid file: phase manifest"),
        ((0, 0, encoded(listing + b"x")), "longer than %d" % len(listing)),
    ):
        assert await client.refused("put", file=args[0], offset=args[1], data=args[2]) == said
    await client.put(0, listing)
    assert await client.refused("put", file=3, offset=0, data=part) == (
        "invalid file: phase preparing"
    )
    assert await client.refused("need") == "preparing"
    assert await client.refused("apply") == "preparing"
    await client.prepared()
    assert await client.refused("put", file=5, offset=0, data=part) == "invalid file"
    assert (
        await client.refused("put", file=0, offset=0, data=part) == "invalid file: phase receiving"
    )
    wrong = encoded(b"x" * 900)
    assert await client.refused("put", file=3, offset=0, data=wrong) == "wrong hash"
    assert await client.refused("apply") == "incomplete: 2 files"
    await client.bring(NEW)
    # What came already may come again, as when a reply was lost.
    assert await client.call("put", file=3, offset=800, data=part) == {"offset": 803}
    await client.call("apply")
    assert tree(ROOT + "b/") == dict(NEW, release=listing)


async def test_manifests_that_are_refused():
    line = digest(b"x") + " 1 "
    head = '{"version": "2.0.0", "mpy": null, "files": 1}\n'
    paths = (
        "../../boot.py",
        "/boot.py",
        "pkg/../../../boot.py",
        "pkg//x.mpy",
        "pkg/",
        "",
        "./x.mpy",
        "release",
        "release/x.mpy",
        "pkg/x.mpy~",
        "pkg\\x.mpy",
        "pkg/\x00.mpy",
        "p" * 101,
    )
    texts = [head + line + path + "\n" for path in paths]
    texts += [
        head + line + "x.mpy",
        head + line + "p" * 300 + "\n",
        head + digest(b"x")[1:] + " 1 x.mpy\n",
        head + digest(b"x") + " -1 x.mpy\n",
        head + digest(b"x") + " 999999 x.mpy\n",
        head + "x.mpy\n",
        head.replace("1}", "2}") + line + "x.mpy\n" + line + "x.mpy\n",
        head,
        head.replace("1}", "2}") + line + "x.mpy\n" + line + "a.mpy\n",
        head.replace("2.0.0", "2.0.1") + line + "x.mpy\n",
        '{"version": "2.0.0"}\n' + line + "x.mpy\n",
        "[]\n",
        "none",
    ]
    if MPY:
        texts.append(head.replace("null", str(MPY + 1)) + line + "x.mpy\n")
    client = Client()
    store(ROOT + "b/", {"pkg/kept.mpy": b"kept"})
    before = sorted(os.listdir("."))
    for text in texts:
        text = text.encode()
        await client.begin(text)
        await client.put(0, text)
        problem = await client.prepared()
        assert problem, text
        assert await client.refused("need") == problem
        assert await client.refused("apply") == "failed"
        assert tree(ROOT + "b/") == {"pkg/kept.mpy": b"kept", "release~": text}
    assert sorted(os.listdir(".")) == before
    assert slots.read()["active"] == "a"
    await client.bring(NEW)
    await client.call("apply")


async def test_too_many_files():
    client = Client()
    many = {"p/%03d.mpy" % number: b"x" for number in range(513)}
    assert await client.bring(many) == "invalid manifest: p/512.mpy"


async def test_a_release_that_does_not_fit():
    if not hasattr(os, "statvfs"):
        return
    client = Client()
    before = release.RESERVE_BYTES
    release.RESERVE_BYTES = 1 << 60
    try:
        problem = await client.bring(NEW)
    finally:
        release.RESERVE_BYTES = before
    assert problem.startswith("flash full: need ") and problem.endswith(", 0 are free")
    assert await client.bring(NEW) is None


async def test_a_file_that_does_not_survive_on_flash():
    client = Client()
    await client.bring(NEW)
    store(ROOT + "b/", {"pkg/same.mpy": b"t" * 1300})
    assert await client.refused("apply") == "damaged: pkg/same.mpy"
    assert slots.read()["active"] == "a"
    assert not exists(ROOT + "b/release")
    client.sent = []
    await client.bring(NEW)
    assert client.sent == []  # copied once more
    await client.call("apply")


async def test_signatures():
    listing = manifest(NEW)

    def signature(*words, key=KEY):
        return hexlify(hmac_sha256(key.encode(), "\n".join(words).encode()))

    client = Client(fleet_key=KEY)
    node, sha256 = client.board.node.name, digest(listing)
    for text in (
        signature("update", node, "2.0.0", sha256, key="another-key-of-16"),
        signature("config", node, "2.0.0", sha256),
        signature("update", "other", "2.0.0", sha256),
        signature("update", node, "2.0.1", sha256),
        signature("update", node, "2.0.0", digest(b"")),
    ):
        args = {"version": "2.0.0", "size": len(listing), "sha256": sha256}
        assert await client.refused("begin", signature=text, **args) == "signature invalid"
    assert await client.refused("begin", **args) == "signature missing"
    assert exists(ROOT + "b") and not exists(ROOT + "b/release~")
    right = signature("update", node, "2.0.0", sha256)
    assert await client.begin(listing, signature=right) == {"offset": 0}
    client = Client()
    assert await client.begin(listing, signature="0" * 64) == {"offset": 0}


async def test_boards_that_take_none():
    listing = manifest(NEW)
    client = Client()
    slots.switch("a")
    store(ROOT + "b/", {"release": b"the one to return to"})
    args = {"version": "2.0.0", "size": len(listing), "sha256": digest(listing)}
    assert await client.refused("begin", **args) == "on trial"
    assert exists(ROOT + "b/release")
    os.remove(ROOT + "a/release")
    os.remove(ROOT + "b/release")
    os.remove(ROOT + "slot")
    assert await client.refused("begin", **args) == "no slots"
    assert (await client.call("status"))["sha256"] is None
    found, update._slots = update._slots, lambda: None
    try:
        assert await client.refused("begin", **args) == "no slots"
        assert (await client.call("status"))["slot"] is None
    finally:
        update._slots = found


async def test_health_is_not_proved_any_more_once_the_next_release_is_active():
    client = Client()
    await client.bring(NEW)
    supervisor = client.board.node.supervisor
    supervisor.start("health", lambda _task: sleep_ms(60000))
    await client.call("apply")
    assert "health" not in supervisor.tasks


async def test_a_switch_that_fails():
    client = Client()
    await client.bring(NEW)

    def full(_slot):
        raise OSError(28)

    switch, slots.switch = slots.switch, full
    try:
        assert "28" in await client.refused("apply")
    finally:
        slots.switch = switch
    assert slots.read()["active"] == "a" and not slots.read()["trial"]
    assert "28" in await client.refused("need")
    await client.bring(NEW)
    await client.call("apply")


async def test_over_mqtt_only_where_it_is_allowed():
    client = Client()
    dispatcher = client.board.node.dispatcher()
    assert (await dispatcher.call("mqtt", "update", "status"))["slot"] == "a"
    for method in ("begin", "put", "apply", "abort"):
        try:
            await dispatcher.call("mqtt", "update", method)
        except FieldpostError as error:
            assert str(error) == "invalid method"
        else:
            raise AssertionError(method)


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
