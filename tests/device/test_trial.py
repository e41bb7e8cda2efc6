"""trial: a configuration proves itself, or the node returns by itself, also over restarts."""

import json
import os
import sys

from config_kit import board, document, folder, push, refused
from gateways_kit import FOLDER, PATH, SECRET, SMALL, Board, Module, Vault, exists, saved, text
from mqtt_peer import Peer, until
from patch_kit import Patch

from fieldpost import ring, trial
from fieldpost.node import Node

NEEDS = "socket"
HEAP = "1m"

LOG = dict(SMALL, ring_bytes=8192, store={"disk": True})
FAST = {"id": "fast", "driver": "virtual", "interval": 20, "points": [{"name": "p", "value": 1}]}


class Machine:
    """As much of the module ``machine`` as a restart needs."""

    def __init__(self):
        self.resets = 0

    def reset(self):
        self.resets += 1

    def __enter__(self):
        sys.modules["machine"] = self
        return self

    def __exit__(self, *_):
        del sys.modules["machine"]


def broker(port, **more):
    """The row of a broker."""
    row = {"name": "main", "host": "127.0.0.1", "port": port, "password": SECRET}
    return dict(row, backoff_min_ms=20, backoff_max_ms=100, timeout_ms=300, **more)


async def connected(peer, **keys):
    """A board with records on flash, connected to a broker."""
    keys = dict({"devices": [FAST], "subscriptions": [LOG], "mqtt": [broker(peer.port)]}, **keys)
    gw = await board(**keys).boot()
    await until(lambda: gw.node.links[0].connected)
    return gw


async def moved(gw, port, confirm_s=1, **keys):
    """Push another port of the broker; what ``apply`` said."""
    config = await document(gw)
    config["mqtt"][0]["port"] = port
    config.update(keys)
    done = await push(gw, config, confirm_s)
    if confirm_s == 1 and not done["restart"]:
        gw.node.trial["trial"]["confirm_ms"] = 200
    return done


def unharmed(gw, stream):
    """Every record since the start is in the log."""
    state = gw.node.subscriptions["default"].state()
    assert state["stream"] == stream and state["dropped"] == {}
    assert state["kept"] == state["acquired"] > 5
    return state["acquired"]


def gone():
    """Nothing of a trial is left."""
    return not any(exists(path) for path in (FOLDER + "/trial", PATH + ".back"))


async def test_a_good_broker_is_kept():
    async with Peer() as one, Peer() as other:
        gw = await connected(one)
        stream = gw.node.subscriptions["default"].ring.stream
        done = await moved(gw, other.port, 30)
        assert done == {
            "revision": 1,
            "changed": ["mqtt:main"],
            "restart": False,
            "confirm_s": 30,
        }
        status = await gw.call("config.status")
        assert (status["revision"], status["returned"]) == (1, None)
        waits = {"revision": 1, "previous": 0, "left_s": None, "waits": ["mqtt:main"]}
        assert status["trial"] == waits
        assert gw.node.state()["config"]["trial"]["revision"] == 1
        # The link went on until the reply was on its way.
        assert gw.node.links[0].connected and other.connections == 0
        assert (
            await refused(gw, "gateways.stopGateway", gateway="fast") == "configuration on trial"
        )
        assert await refused(gw, "config.rollback") == "configuration on trial"
        await until(lambda: gw.node.trial is None)
        assert gone() and gw.node.links[0].connected and other.connections == 1
        assert gw.node.settings["revision"] == 1 and "config" not in gw.node.state()
        assert unharmed(gw, stream)
        gw = await gw.again()
        await until(lambda: other.connections == 2)
        assert gw.node.trial is None
        await gw.halt()


async def test_a_wrong_broker_is_returned_from():
    async with Peer() as peer:
        gw = await connected(peer)
        log = gw.node.subscriptions["default"].ring.stream
        before = unharmed(gw, log) if await settled(gw) else 0
        assert (await moved(gw, 1))["confirm_s"] == 1
        await until(lambda: not gw.node.links[0].connected)
        during = unharmed(gw, log)
        await until(lambda: "returned" in (gw.node.trial or ()))
        await until(lambda: gw.node.links[0].connected)
        status = await gw.call("config.status")
        assert status["trial"] is None and status["revision"] == 2
        returned = status["returned"]
        assert returned["revision"] == 1 and returned["reason"].startswith("mqtt:main: ")
        assert returned["ts"] > 1700000000000
        assert gw.node.state()["config"]["returned"]["revision"] == 1
        # The broker is told.
        await until(lambda: '"returned"' in published(peer))
        assert any("revision 1 not kept" in one[2] for one in gw.node.errors)
        config = saved()
        assert (config["revision"], config["mqtt"][0]["port"]) == (2, peer.port)
        assert gw.node.links[0].config["password"] == SECRET
        assert before < during < unharmed(gw, log)
        # The number of the failed one is not used again.
        told = await refused(gw, "config.begin", size=9, sha256="0" * 64, base=1)
        assert told == "stale revision: 1, the node has 2"
        # The reason remains over a restart, until the next configuration is good.
        gw = await gw.again()
        assert (await gw.call("config.status"))["returned"] == returned
        assert not gw.node.errors
        assert (await push(gw, dict(await document(gw), description="x")))["revision"] == 3
        assert (await gw.call("config.status"))["returned"] is None and gone()
        await gw.halt()


async def settled(gw):
    """Wait for some records."""
    await until(lambda: gw.node.subscriptions["default"].ring.next > 5)
    return True


def published(peer):
    """All that came to a broker."""
    return "".join([str(bytes(body), "utf-8", "replace") for body in peer.of(0x30)])


async def test_a_clock_is_changed_while_the_node_runs():
    gw = await board().boot()
    assert "ntp" not in gw.node.supervisor.tasks
    config = await document(gw)
    done = await push(gw, dict(config, clock={"ntp": ["127.0.0.1"]}))
    assert (done["changed"], done["restart"]) == (["clock"], False)
    assert "ntp" in gw.node.supervisor.tasks
    await push(gw, config)
    assert "ntp" not in gw.node.supervisor.tasks
    await gw.halt()


async def test_without_confirmation_there_is_no_trial():
    async with Peer() as peer:
        gw = await connected(peer)
        done = await moved(gw, 1, 0)
        assert done["confirm_s"] == 0 and gw.node.trial is None and gone()
        assert gw.node.links[0].config["port"] == 1
        # What does not need another connection is proven by the one there is.
        await gw.call("config.rollback", confirm_s=0)
        await until(lambda: gw.node.links[0].connected)
        config = await document(gw)
        config["mqtt"][0]["queue_bytes"] = 4096
        assert (await push(gw, config, 5))["confirm_s"] == 5
        await until(lambda: gw.node.trial is None, 1000)
        assert peer.connections == 2 and gone()
        await gw.halt()


async def test_the_loss_of_a_link_is_tried_on_those_that_remain():
    async with Peer() as one, Peer() as other:
        rows = [broker(one.port), dict(broker(other.port), name="b")]
        gw = await connected(one, mqtt=rows)
        await until(lambda: gw.node.links[1].connected)
        config = await document(gw)
        config["mqtt"].pop(0)
        await push(gw, config, 5)
        assert gw.node.trial["trial"]["waits"] == ["mqtt:b"]
        await until(lambda: gw.node.trial is None)
        assert [link.name for link in gw.node.links] == ["b"]
        config["mqtt"] = []
        assert (await push(gw, config, 5))["confirm_s"] == 0
        assert gw.node.links == []
        await gw.halt()


async def test_a_restart_in_the_midst_of_a_trial():
    async with Peer() as peer:
        gw = await connected(peer)
        await moved(gw, 1, 1)
        gw = await gw.again()
        assert gw.node.trial["trial"]["boots"] == 1 and saved()["mqtt"][0]["port"] == 1
        await until(lambda: "returned" in gw.node.trial)
        await until(lambda: gw.node.links[0].connected)
        assert saved()["mqtt"][0]["port"] == peer.port
        await gw.halt()


async def test_a_restart_without_links():
    gw = await board().boot()
    config = await document(gw)
    config["subscriptions"][0]["ring_bytes"] = 2048
    await push(gw, config)
    gw = await gw.again()
    # It has to run for a while.
    assert gw.node.trial["trial"]["boots"] == 1 and saved()["revision"] == 1
    gw = await gw.again()
    assert gw.node.trial["trial"]["boots"] == 2
    await until(lambda: gw.node.trial is None)
    assert gone() and saved()["revision"] == 1
    await gw.halt()


async def test_three_starts_in_vain():
    async with Peer() as peer:
        gw = await connected(peer)
        good = peer.port
        await moved(gw, 1, 30)
        await gw.halt()
    for boots in (1, 2, 3):
        node = Node(PATH, FOLDER)
        assert node.trial["trial"]["boots"] == boots and node.links[0].config["port"] == 1
    gw = await Board(fresh=False).boot()
    assert gw.node.trial["returned"]["reason"] == "3 starts in vain"
    assert gw.node.links[0].config["port"] == good and saved()["revision"] == 2
    assert any("3 starts in vain" in one[2] for one in gw.node.errors)
    assert not exists(PATH + ".back")
    await gw.halt()


async def test_what_cannot_be_built_is_not_kept():
    gw = await board().boot()
    config = await document(gw)
    config["subscriptions"][0]["ring_bytes"] = 4096
    assert (await push(gw, config))["restart"] is True
    await gw.halt()

    def tight(size, *shape):
        if size == 4096:
            raise MemoryError("memory allocation failed")
        return make(size, *shape)

    make = ring.Ring
    with Patch(ring, Ring=tight):
        gw = await Board(fresh=False).boot()
    assert saved()["subscriptions"][0]["ring_bytes"] == 1024
    returned = gw.node.trial["returned"]
    assert returned["revision"] == 1 and "MemoryError" in returned["reason"]
    assert sorted(gw.node.devices) == ["ahu-1", "off", "safe"]
    await gw.halt()


async def test_what_cannot_be_read_is_not_kept():
    gw = await board().boot()
    await push(gw, dict(await document(gw), node="gw-2"))
    await gw.halt()
    put(PATH, text()[:99])
    assert Node(PATH, FOLDER).name == "gw"
    assert saved()["revision"] == 2


def put(path, content):
    """Write a file."""
    with open(path, "w") as file:
        file.write(content)


def test_what_was_good_before_is_not_returned_from():
    board()

    class Broken(Vault):
        def __init__(self, config, points):
            raise OSError(5)

    with Patch(Module, driver=Broken):
        try:
            Node(PATH, FOLDER)
        except OSError:
            assert gone()
        else:
            raise AssertionError


def test_what_never_became_the_configuration():
    board(revision=4)
    good = text()
    put(PATH + ".back", '{"node": "other"}')
    made = {"revision": 5, "previous": 4, "confirm_ms": 1, "boots": 0, "waits": []}
    trial.save(FOLDER + "/trial", {"trial": made})
    node = Node(PATH, FOLDER)
    assert node.trial is None and node.name == "gw" and text() == good and gone()
    put(FOLDER + "/trial", "damaged")
    assert Node(PATH, FOLDER).trial is None


async def test_a_board_restarts_by_itself():
    """With another name, and a log of another shape: its records are those of before."""
    async with Peer() as peer:
        gw = await connected(peer, subscribers=[{"subscriber": "c"}])
        await settled(gw)
        shape = dict(LOG, ring_bytes=4096, frame_bytes=512)
        with Machine() as machine:
            done = await moved(gw, peer.port, 1, node="gw-2", subscriptions=[shape])
            assert (done["restart"], done["confirm_s"]) == (True, 1)
            assert machine.resets == 0
            await until(lambda: machine.resets)
            stored = gw.node.subscriptions["default"].ring.stored
            gw = await gw.again()
            await until(lambda: gw.node.trial is None)
            state = gw.node.subscriptions["default"].state()
            assert gw.node.name == "gw-2" and state["dropped"] == {}
            assert state["kept"] - state["acquired"] == stored > 5
            assert machine.resets == 1
        await gw.halt()


async def test_a_return_that_takes_a_restart():
    async with Peer() as peer:
        gw = await connected(peer)
        await moved(gw, 1, 1, node="gw-2")
        await gw.halt()
        with Machine() as machine:
            gw = await Board(fresh=False).boot()
            assert gw.node.name == "gw-2"
            await until(lambda: machine.resets)
            assert saved()["node"] == "gw" and saved()["revision"] == 2
            gw = await gw.again()
            assert gw.node.name == "gw" and "returned" in gw.node.trial
            await until(lambda: gw.node.links[0].connected)
            assert machine.resets == 1
        await gw.halt()


async def test_what_cannot_be_applied_is_returned_from():
    async with Peer() as peer:
        gw = await connected(peer)
        apply = gw.node.apply

        async def tight(path):
            if gw.node.trial and "trial" in gw.node.trial:
                raise MemoryError("memory allocation failed")
            return await apply(path)

        gw.node.apply = tight
        await moved(gw, 1, 5)
        await until(lambda: "returned" in (gw.node.trial or ()))
        assert "MemoryError" in gw.node.trial["returned"]["reason"]
        await until(lambda: gw.node.settings["revision"] == 2)
        assert gw.node.links[0].connected and peer.connections == 1
        await gw.halt()


async def test_a_full_flash_keeps_no_node_from_returning():
    async with Peer() as peer:
        gw = await connected(peer)
        await moved(gw, 1, 1)

        def full(path, value):
            raise OSError(28)

        with Patch(trial, save=full):
            await until(lambda: "returned" in (gw.node.trial or ()))
        await until(lambda: gw.node.links[0].connected)
        gw = await gw.again()
        assert gw.node.trial["returned"]["revision"] == 1
        assert folder("history") == ["0.json"] and json.dumps(saved())
        await gw.halt()


def test_small():
    """Inline in the metadata of the file system."""
    board()
    told = {"revision": 99, "previous": 98, "confirm_ms": 60000, "boots": 3}
    trial.save(FOLDER + "/trial", {"trial": dict(told, waits=["mqtt:main"])})
    assert os.stat(FOLDER + "/trial")[6] <= 128
    os.remove(FOLDER + "/trial")
