"""API module update: what is refused, and that nothing has changed then."""

import os

from gateways_kit import exists
from release_kit import NEW, ROOT, Client, digest, encoded, manifest, store, tree

import slots
from fieldpost import release
from fieldpost.api import update
from fieldpost.compat import MPY, hexlify
from fieldpost.errors import FieldpostError
from fieldpost.hmac import hmac_sha256

HEAP = "768k"
KEY = "0123456789abcdef"


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
