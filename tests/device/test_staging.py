"""staging: changes that last, or leave nothing behind; ids that never change or come again."""

import os

from gateways_kit import FOLDER, PATH, SMALL, Board, Module, Vault, exists, saved, text
from patch_kit import Patch

from fieldpost import staging
from fieldpost.compat import asyncio, sleep_ms
from fieldpost.errors import ApiError, ConfigError
from fieldpost.node import Node

HEAP = "768k"


async def refused(board, edit, folder=False):
    """The error of a change, after which everything has to be as before; ``folder``: there was a
    folder in its way."""
    before = text(), board.node.digests, sorted(board.node.devices)
    try:
        await staging.change(board.node, edit)
    except (ApiError, ConfigError) as error:
        assert (text(), board.node.digests, sorted(board.node.devices)) == before
        assert not exists(FOLDER + "/config.next")
        assert folder or not exists(PATH + ".next")
        return str(error)
    raise AssertionError("it was accepted")


def describe(config):
    """A small edit."""
    config["devices"][0]["description"] = "Cellar"


def rename(config):
    """An edit that makes a device start anew."""
    config["devices"][0]["points"][0]["name"] = "temp"


async def description(board):
    """What that edit changes."""
    return (await board.call("gateways.getGateway", gateway="ahu-1"))["description"]


async def test_a_change_is_in_the_file_and_in_the_node():
    board = await Board().boot()
    assert await staging.change(board.node, rename) is None
    assert await staging.change(board.node, lambda _config: "result") == "result"
    for _ in range(2):
        assert saved()["revision"] == 2
        assert board.node.settings["revision"] == 2
        assert board.node.points[1].name == "temp"
        assert not exists(PATH + ".next")
        board = await board.again()
    await board.halt()


async def test_a_plan_fits_its_file():
    board = await Board().boot()
    await staging.change(board.node, describe)
    await board.halt()
    validated = []

    class Watched(Vault):
        def __init__(self, config, points):
            validated.append(config["id"])
            super().__init__(config, points)

    with Patch(Module, driver=Watched):
        node = Node(PATH, FOLDER)
    # Once to build it; it is not validated again.
    assert validated == ["safe"]
    assert node.devices["safe"].driver.config["room"] == "hall"


async def test_ids_are_written_once_and_for_all():
    board = Board()
    assert all("id" not in point for device in saved()["devices"] for point in device["points"])
    await staging.change(board.node, describe)
    ids = [[point["id"] for point in device["points"]] for device in saved()["devices"]]
    assert ids == [[1, 2, 3], [4], [5, 6]]
    assert saved()["last_id"] == 6

    def reorder(config):
        config["devices"].reverse()
        config["devices"][0]["points"].pop()
        config["devices"][0]["points"].insert(0, {"name": "new"})
        config["devices"][2]["points"] += [{"name": "x"}, {"name": "y", "id": 20}]

    await staging.change(board.node, reorder)
    points = {point.key: point.id for point in board.node.points.values()}
    assert points == {
        "safe/new": 21,
        "safe/door": 5,
        "off/dat": 4,
        "ahu-1/dat": 1,
        "ahu-1/fan": 2,
        "ahu-1/set": 3,
        "ahu-1/x": 22,
        "ahu-1/y": 20,
    }

    def remove(config):
        config["devices"] = [{"id": "v", "driver": "vault", "points": [{"name": "n"}]}]

    await staging.change(board.node, remove)
    assert sorted(board.node.points) == [23]
    assert sorted(Node(PATH, FOLDER).points) == [23]
    await board.node.supervisor.stop_all()


async def test_ids_are_those_that_the_node_gave():
    points = [{"name": "a"}, {"name": "b", "id": 1}, {"name": "c"}, {"name": "d", "id": 9}]
    board = Board(devices=[{"id": "v", "driver": "vault", "points": points}])
    before = {point.key: point.id for point in board.node.points.values()}
    await staging.change(board.node, lambda _config: None)
    assert [point["id"] for point in saved()["devices"][0]["points"]] == [2, 1, 3, 9]
    assert {point.key: point.id for point in board.node.points.values()} == before


async def test_what_an_edit_raises_changes_nothing():
    board = await Board().boot()

    def refuse(config):
        config["devices"] = []
        raise ApiError("no")

    def wrong(config):
        describe(config)
        config["devices"][1]["interval"] = 1

    def other_node(config):
        config["node"] = "other"

    def other_log(config):
        config["subscriptions"][0]["ring_bytes"] = 2048

    assert await refused(board, refuse) == "no"
    assert "devices[1].interval" in await refused(board, wrong)
    assert "until a restart" in await refused(board, other_node)
    assert "until a restart" in await refused(board, other_log)
    assert await description(board) == "Roof"
    # What an edit has broken is not a fault of the board.
    try:
        await staging.change(board.node, lambda config: config["nothing"])
    except KeyError:
        assert "revision" not in saved()
    else:
        raise AssertionError
    await staging.change(board.node, describe)
    assert await description(board) == "Cellar"
    await board.halt()


async def test_flash_that_cannot_be_written():
    board = await Board().boot()
    os.mkdir(PATH + ".next")
    assert "configuration not changed: " in await refused(board, describe, folder=True)
    os.rmdir(PATH + ".next")
    assert await description(board) == "Roof"

    class Broken:
        """An os whose last step fails."""

        @staticmethod
        def rename(old, new):
            raise OSError(28)

    for edit in (describe, rename):
        with Patch(staging, os=Broken):
            assert "configuration not changed: " in await refused(board, edit)
        await sleep_ms(60)
        assert await description(board) == "Roof"
        assert board.node.points[1].name == "dat"
        assert board.node.devices["ahu-1"].status == "ok"
    await staging.change(board.node, rename)
    assert board.node.points[1].name == "temp"
    await board.halt()


def brokers(name):
    """The section of one broker that is not there; none where there are no sockets."""
    try:
        import socket
    except ImportError:
        return []
    return [{"name": name, "host": "127.0.0.1", "port": 1}] if socket else []


async def test_no_memory_in_the_midst_of_it():
    board = await Board(mqtt=brokers("main")).boot()

    def edit(config):
        rename(config)
        config["devices"][1]["enabled"] = True
        config["devices"][2]["room"] = "other"
        config["devices"].append({"id": "more", "driver": "vault"})
        config["mqtt"] = brokers("new")
        config["subscriptions"].append(dict(config["subscriptions"][0], id="fresh"))
        config["publish"] = {"value": [{"topic": "x/{node}"}]}

    made = []

    class Tight(Vault):
        """Enough memory to check a device, not to build it."""

        def __init__(self, config, points):
            if config["id"] == "more":
                made.append(1)
                if len(made) > 1:
                    raise MemoryError
            super().__init__(config, points)

    with Patch(Module, driver=Tight):
        assert "configuration not changed: MemoryError" in await refused(board, edit)
    await sleep_ms(60)
    node = board.node
    assert sorted(node.devices) == ["ahu-1", "off", "safe"]
    assert [link.name for link in node.links] == [row["name"] for row in brokers("main")]
    assert list(node.subscriptions) == ["default"]
    assert node.points[1].name == "dat" and not node.devices["off"].enabled
    assert {device.status for device in node.devices.values()} == {"ok", "stopped"}
    assert node.devices["safe"].driver.config["room"] == "hall"
    assert await board.call("mqtt.getPatterns") == []
    # And forwards again.
    await staging.change(node, edit)
    assert sorted(node.devices) == ["ahu-1", "more", "off", "safe"]
    assert [link.name for link in node.links] == [row["name"] for row in brokers("new")]
    await board.halt()


async def test_changes_wait_for_one_another():
    board = await Board().boot()

    def add(name):
        def edit(config):
            # A device that runs: to stop it takes a while.
            config["devices"][0]["points"].append({"name": name})

        return staging.change(board.node, edit)

    names = ["n%d" % i for i in range(5)]
    await asyncio.gather(*[add(name) for name in names])
    assert saved()["revision"] == 5
    found = [point["name"] for point in saved()["devices"][0]["points"]]
    assert sorted(found) == sorted(["dat", "fan", "set"] + names)
    assert {point.name for point in board.node.devices["ahu-1"].points} == set(found)
    await board.halt()


def test_what_was_not_finished_is_ignored():
    board = Board()
    good = text()
    for rest in ("", "{", good[:50], '{"node": "other"}'):
        with open(PATH + ".next", "w") as file:
            file.write(rest)
        with open(FOLDER + "/config.next", "w") as file:
            file.write(rest)
        board = Board(fresh=False)
        assert board.node.name == "gw" and text() == good
        assert not exists(PATH + ".next") and not exists(FOLDER + "/config.next")


async def test_a_configuration_that_is_no_file():
    node = Node({"node": "gw", "subscriptions": [SMALL]}, FOLDER)
    for function in (lambda: staging.path_of(node), lambda: staging.change(node, describe)):
        try:
            result = function()
            if result is not None:
                await result
        except ApiError as error:
            assert str(error) == "configuration is not a file"
        else:
            raise AssertionError


def damage(content):
    """Make the file anything, or remove it."""
    with open(PATH, "w") as file:
        file.write(content or "")
    if content is None:
        os.remove(PATH)


async def test_a_file_that_cannot_be_read():
    board = Board()
    for content in ("", "{", None):
        damage(content)
        try:
            await staging.change(board.node, describe)
        except ApiError as error:
            assert "configuration cannot be read" in str(error)
        else:
            raise AssertionError
    assert sorted(board.node.devices) == ["ahu-1", "off", "safe"]
