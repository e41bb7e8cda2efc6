"""API module config: pushes in parts, what is refused, what changes, history, rollback."""

import json
import os

from config_kit import board, clear, digest, document, folder, push, refused, stage
from gateways_kit import FOLDER, PATH, SECRET, SMALL, Board, exists, saved, text
from patch_kit import Patch

from fieldpost import transfer
from fieldpost.compat import hexlify, sleep_ms
from fieldpost.errors import FieldpostError
from fieldpost.hmac import hmac_sha256

HEAP = "1m"
KEY = "a key of the whole fleet"


def content(path, mode="rb"):
    """The bytes of a file, which is made empty by another mode."""
    with open(path, mode) as file:
        return file.read() if mode == "rb" else None


async def test_get():
    gw = board(revision=3)
    found = await gw.call("config.get")
    assert found["revision"] == 3
    assert found["config"]["node"] == "gw" and "revision" not in found["config"]
    assert found["config"]["devices"][2]["has_password"] is True
    assert SECRET not in json.dumps(found)


async def test_a_push_is_applied_while_the_node_runs():
    gw = await board().boot()
    config = await document(gw)
    config["devices"][0]["points"].append({"name": "more"})
    config["devices"][2]["room"] = "cellar"
    config["description"] = "Plant"
    done = await push(gw, config)
    assert done == {
        "revision": 1,
        "changed": ["device:ahu-1", "device:safe"],
        "restart": False,
        "confirm_s": 0,
    }
    assert gw.node.settings["revision"] == 1
    assert gw.node.points[7].key == "ahu-1/more"
    assert gw.node.devices["safe"].driver.config["password"] == SECRET
    assert saved()["description"] == "Plant" and saved()["last_id"] == 7
    for name in ("config.json.next", "config.next", "config.push", "config.push.of", "trial"):
        assert not exists(FOLDER + "/" + name), name
    gw = await gw.again()
    assert gw.node.devices["safe"].driver.config["room"] == "cellar"
    assert gw.node.devices["safe"].driver.config["password"] == SECRET
    await gw.halt()


async def test_the_same_again_changes_nothing():
    gw = board()
    config = await document(gw)
    config["devices"][0]["description"] = "Cellar"
    assert (await push(gw, config))["changed"] == ["texts"]
    before = text(), folder("history"), folder("secrets")
    written = os.stat(PATH)[8]
    for same in (config, dict(config, revision=7, tags=None), await document(gw)):
        done = await push(gw, same)
        assert done == {"revision": 1, "changed": [], "restart": False, "confirm_s": 0}
    config["devices"][2]["password"] = SECRET
    assert (await push(gw, config))["changed"] == []
    assert (text(), folder("history"), folder("secrets")) == before
    assert os.stat(PATH)[8] == written
    config["devices"][2]["password"] = "another"
    assert (await push(gw, config))["changed"] == ["device:safe"]
    await gw.node.supervisor.stop_all()


async def test_points_keep_their_ids_by_name():
    gw = board()
    config = await document(gw)
    for device in config["devices"]:
        for point in device["points"]:
            point.pop("id", None)
    assert (await push(gw, config))["changed"] == []
    config["devices"].reverse()
    config["devices"][0]["points"].insert(0, {"name": "new"})
    config["devices"][2]["points"][0]["name"] = "renamed"
    config.pop("last_id")
    await push(gw, config)
    points = {point.key: point.id for point in gw.node.points.values()}
    assert points == {
        "safe/new": 7,
        "safe/door": 5,
        "safe/low": 6,
        "off/dat": 4,
        "ahu-1/renamed": 8,
        "ahu-1/fan": 2,
        "ahu-1/set": 3,
    }
    # One of that id wants it.
    config = await document(gw)
    for point in config["devices"][2]["points"]:
        point["id"] = {"renamed": None, "fan": 8, "set": 3}[point["name"]]
    await push(gw, config)
    assert {gw.node.points[id].name for id in (8, 9)} == {"fan", "renamed"}
    assert gw.node.points[8].name == "fan"
    await gw.node.supervisor.stop_all()


async def test_what_is_not_allowed_leaves_everything_as_it_was():
    gw = await board().boot()
    await push(gw, dict(await document(gw), description="Plant"))
    before = text(), gw.node.digests, folder("history"), folder("secrets")
    good = await document(gw)

    async def wrong(**keys):
        try:
            await push(gw, dict(good, **keys))
        except FieldpostError as error:
            assert not exists(FOLDER + "/config.push") and not exists(PATH + ".next")
            assert not exists(FOLDER + "/config.next") and not exists(FOLDER + "/trial")
            assert (text(), gw.node.digests, folder("history"), folder("secrets")) == before
            return str(error)
        raise AssertionError

    device = {"id": "v", "driver": "virtual", "interval": 1}
    error = await wrong(devices=[device])
    assert (
        error == "devices[0].interval: 1 is not allowed, expected an integer from 10 to 86400000"
    )
    assert "unheard" in await wrong(unheard=1)
    assert "devices" in await wrong(devices=5)
    assert "the name of a driver" in await wrong(devices=[dict(device, driver="none")])
    for devices in ([5], [{"points": 5}], [{"driver": "virtual", "points": [7, {}]}]):
        assert "devices[0]" in await wrong(devices=devices)
    broker = {"host": "h", "has_password": True}
    error = await wrong(mqtt=[broker])
    assert error.startswith("mqtt[0].has_password: True is not allowed, expected")
    secret = [{"id": "s", "driver": "vault", "password": [SECRET]}]
    assert SECRET not in await wrong(devices=secret)
    await gw.halt()


async def test_documents_that_are_none():
    gw = board()
    for data in (b'{"node":', b"[1]", b'"x"', b"\xff\xfe"):
        args = {"size": len(data), "sha256": digest(data), "base": 0}
        await gw.call("config.begin", **args)
        made = transfer.Transfer(FOLDER + "/config.push")
        made.put(0, data)
        told = await refused(gw, "config.apply")
        assert "configuration" in told, told
        assert made.state() is None
    assert await refused(gw, "config.apply") == "nothing staged"


async def test_parts():
    gw = board()
    data = json.dumps(await document(gw)).encode()
    args = {"size": len(data), "sha256": digest(data), "base": 0}
    assert await gw.call("config.begin", **args) == {"offset": 0}
    assert await refused(gw, "config.put", offset=1, data="eA==") == "wrong offset: expected 0"
    assert await refused(gw, "config.put", offset=0, data="x") == "invalid value"
    assert await gw.call("config.put", offset=0, data="e30=") == {"offset": 2}
    staged = (await gw.call("config.status"))["staged"]
    assert staged == {"sha256": args["sha256"], "size": len(data), "offset": 2}
    assert "incomplete: 2 of" in await refused(gw, "config.apply")
    # After a restart of either side.
    gw = Board(fresh=False)
    assert await gw.call("config.begin", **args) == {"offset": 2}
    assert await gw.call("config.abort") is True
    assert (await gw.call("config.status"))["staged"] is None
    assert await gw.call("config.abort") is True
    args["sha256"] = "0" * 64
    await stage(gw, await document(gw))
    await gw.call("config.begin", **args)
    await gw.call("config.abort")


async def test_stale_revisions():
    gw = board(revision=4)
    config = await document(gw)
    error = "stale revision: %d, the node has 4"
    for base in (3, 5):
        told = await refused(gw, "config.begin", size=9, sha256="0" * 64, base=base)
        assert told == error % base
    # Another change comes between.
    await stage(gw, config)
    await gw.call("gateways.updateGateway", gateway="ahu-1", changes={"description": "x"})
    told = await refused(gw, "config.apply")
    assert told == "stale revision: 4, the node has 5"
    assert (await gw.call("config.status"))["staged"] is None


async def test_what_only_a_restart_changes():
    gw = await board().boot()
    config = await document(gw)
    config["subscriptions"][0]["ring_bytes"] = 2048
    done = await push(gw, dict(config, node="gw-2"))
    assert done["restart"] is True and done["revision"] == 1 and done["confirm_s"] == 0
    assert done["changed"] == ["node", "subscription:default"]
    # Nothing restarts here; the next change would be one of the wrong configuration.
    assert gw.node.name == "gw" and saved()["node"] == "gw-2"
    assert await refused(gw, "gateways.stopGateway", gateway="ahu-1") == "configuration on trial"
    assert (await gw.call("config.status"))["trial"]["left_s"] is None
    gw = await gw.again()
    assert gw.node.name == "gw-2"
    for _ in range(100):
        await sleep_ms(20 if gw.node.trial else 0)
    assert gw.node.trial is None and not exists(FOLDER + "/trial")
    assert (await gw.call("config.status"))["trial"] is None
    await gw.halt()


async def test_history_and_rollback():
    gw = await board().boot()
    assert await gw.call("config.history") == []
    assert await refused(gw, "config.rollback") == "no such revision"
    for number in range(6):
        config = await document(gw)
        config["devices"][2]["room"] = "room %d" % number
        config["devices"][2]["password"] = "%s %d" % (SECRET, number)
        await push(gw, config)
    kept = await gw.call("config.history")
    assert [one["revision"] for one in kept] == [5, 4, 3, 2]
    data = content(FOLDER + "/history/5.json")
    assert (kept[0]["size"], kept[0]["sha256"]) == (len(data), digest(data))
    # Those of the four, and of the present one.
    assert len(folder("secrets")) == 5
    found = await gw.call("config.getRevision", revision=4)
    assert found["config"]["devices"][2]["room"] == "room 3"
    assert found["config"]["devices"][2]["has_password"] is True
    assert SECRET not in json.dumps(found)
    assert await gw.call("config.getRevision", revision=6) == await gw.call("config.get")
    assert await refused(gw, "config.getRevision", revision=1) == "no such revision"
    assert await refused(gw, "config.rollback", revision=1) == "no such revision"
    done = await gw.call("config.rollback", revision=3)
    assert (done["revision"], done["changed"]) == (7, ["device:safe"])
    assert gw.node.devices["safe"].driver.config["password"] == SECRET + " 2"
    assert (await gw.call("config.rollback"))["revision"] == 8
    assert gw.node.devices["safe"].driver.config["password"] == SECRET + " 5"
    assert [one["revision"] for one in await gw.call("config.history")] == [7, 6, 5, 4]
    # That is what it has.
    assert (await gw.call("config.rollback", revision=6))["changed"] == []
    await gw.halt()


async def test_ids_never_come_again():
    gw = board()
    before = await document(gw)
    await push(gw, dict(before, devices=before["devices"] + [added("x")]))
    assert max(gw.node.points) == 7
    await gw.call("config.rollback")
    assert max(gw.node.points) == 6 and saved()["last_id"] == 7
    await push(gw, dict(before, devices=before["devices"] + [added("y")]))
    assert max(gw.node.points) == 8
    await gw.node.supervisor.stop_all()


def added(id):
    """A device with a point."""
    return {"id": id, "driver": "virtual", "points": [{"name": "p"}]}


async def test_signatures():
    gw = board(fleet_key=KEY)
    config = await document(gw)
    assert config["has_fleet_key"] is True
    config["description"] = "signed"
    data = json.dumps(config).encode()
    args = {"size": len(data), "sha256": digest(data), "base": 0}

    def sign(key=KEY, node="gw", base=0):
        words = "config\n%s\n%d\n%s" % (node, base, args["sha256"])
        return hexlify(hmac_sha256(key.encode(), words.encode()))

    assert await refused(gw, "config.begin", **args) == "signature missing"
    for wrong in (sign("another key of a fleet"), sign(node="gw-2"), sign(base=1)):
        told = await refused(gw, "config.begin", signature=wrong, **args)
        assert told == "signature invalid"
    assert (await gw.call("config.status"))["staged"] is None
    assert (await push(gw, config, signature=sign()))["revision"] == 1


async def test_permissions():
    gw = board()
    api = gw.node.dispatcher()
    sent = []

    async def send(data):
        sent.append(json.loads(str(bytes(data), "utf-8")))
        return True

    for method in ("begin", "put", "apply", "abort", "rollback"):
        await api.handle('{"module":"config","method":"%s"}' % method, "mqtt", send)
        assert sent.pop() == {"error": "invalid method"}, method
    for method in ("get", "status", "history"):
        await api.handle('{"module":"config","method":"%s"}' % method, "mqtt", send)
        assert "value" in sent.pop(), method


async def test_no_room_for_the_former_configuration():
    gw = await board().boot()
    config = await document(gw)
    config["devices"][2]["password"] = "another"
    before = text(), gw.node.digests
    content(FOLDER + "/history", "wb")
    await stage(gw, config)
    assert "configuration not changed: OSError" in (await refused(gw, "config.apply")).replace(
        "NotADirectoryError", "OSError"
    )
    assert (text(), gw.node.digests) == before and not exists(PATH + ".next")
    assert gw.node.devices["safe"].driver.config["password"] == SECRET
    os.remove(FOLDER + "/history")
    assert (await push(gw, config))["changed"] == ["device:safe"]
    await gw.halt()


async def test_a_configuration_that_is_no_file():
    from fieldpost.node import Node

    clear()
    gw = board()
    gw.node = Node({"node": "gw", "subscriptions": [SMALL]}, FOLDER)
    for method in ("get", "history", "status"):
        assert await refused(gw, "config." + method) == "configuration is not a file"
    with Patch(transfer, _free=lambda path: None):
        told = await refused(gw, "config.begin", size=9, sha256="0" * 64, base=0)
    assert told == "configuration is not a file"
