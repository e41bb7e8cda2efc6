"""secrets: apart from the configuration, put back where they belong, and nowhere else."""

import json
import os

from config_kit import board, clear, document, folder, push
from gateways_kit import FOLDER, PATH, SECRET, Board, exists, saved

from fieldpost import secrets, staging
from fieldpost.errors import ConfigError
from fieldpost.smallfile import make_folder

HEAP = "1m"
EVERYWHERE = {
    "node": "gw",
    "fleet_key": SECRET,
    "tags": {"has_roof": "yes"},
    "network": {"wifi": [{"ssid": "Plant ]", "password": SECRET}, {"ssid": "open"}]},
    "mqtt": [
        {"host": "h", "password": SECRET, "tls": {"ca": "/ca"}},
        {"name": "b", "host": "h", "password": SECRET + "2"},
        {"name": "c", "host": "h"},
    ],
    "api": {"mqtt_secret": SECRET},
    "webhooks": {
        "endpoints": [
            {
                "name": "ops",
                "url": "http://h",
                "headers": {"B": SECRET, "A": "x"},
                "token": SECRET,
            },
            {"name": "none", "url": "http://h", "headers": {}},
        ]
    },
    "devices": [
        {"id": "v", "driver": "vault", "points": [{"name": "a", "pin": SECRET}, {"name": "b"}]},
        {"id": "w", "driver": "vault", "password": SECRET, "points": None},
        {"id": "x", "driver": "virtual", "points": [{"name": "a"}]},
    ],
}


def copy(value):
    """A deep one."""
    return json.loads(json.dumps(value))


def without_nothing(value):
    """The same without what is null or an empty object."""
    if isinstance(value, dict):
        return {key: without_nothing(value[key]) for key in value if value[key] not in (None, {})}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


def refusal(function, *args):
    """The text of the ConfigError."""
    try:
        function(*args)
    except ConfigError as error:
        assert SECRET not in str(error)
        return str(error)
    raise AssertionError("accepted")


def test_split_and_merge():
    config = copy(EVERYWHERE)
    values = secrets.split(config)
    assert SECRET not in json.dumps(config)
    assert values == {
        "fleet_key": SECRET,
        "network.wifi[Plant ]].password": SECRET,
        "mqtt[main].password": SECRET,
        "mqtt[b].password": SECRET + "2",
        "api.mqtt_secret": SECRET,
        "webhooks.endpoints[ops].headers": {"A": "x", "B": SECRET},
        "webhooks.endpoints[ops].token": SECRET,
        "devices[v].points[a].pin": SECRET,
        "devices[w].password": SECRET,
    }
    assert config["mqtt"][0] == {"host": "h", "has_password": True, "tls": {"ca": "/ca"}}
    assert config["mqtt"][2] == {"name": "c", "host": "h"}
    assert config["webhooks"]["endpoints"][0]["has_headers"] == ["A", "B"]
    assert config["tags"] == {"has_roof": "yes"}
    # What is split stays so, whatever it is split again.
    again = copy(config)
    assert secrets.split(again) == {} and again == config
    secrets.merge(config, values)
    assert without_nothing(config) == without_nothing(EVERYWHERE)


def test_places_do_not_depend_on_the_order():
    config = copy(EVERYWHERE)
    values = secrets.split(config)
    config["mqtt"].reverse()
    config["devices"].reverse()
    config["devices"][2]["points"].reverse()
    secrets.merge(config, values)
    assert [row.get("password") for row in config["mqtt"]] == [None, SECRET + "2", SECRET]
    assert config["devices"][1]["password"] == SECRET
    assert config["devices"][2]["points"][1]["pin"] == SECRET


def test_what_is_given_comes_first():
    config = copy(EVERYWHERE)
    values = secrets.split(config)
    config["mqtt"][1]["password"] = "new"
    config["mqtt"][0]["has_password"] = False
    config["webhooks"]["endpoints"][0].update(has_headers=["A"], headers={"C": "y"})
    secrets.merge(config, values)
    assert config["mqtt"][1]["password"] == "new"
    assert "password" not in config["mqtt"][0]
    assert config["webhooks"]["endpoints"][0]["headers"] == {"A": "x", "C": "y"}


def test_what_there_is_none_of():
    def merge(**keys):
        return refusal(secrets.merge, dict({"node": "gw"}, **keys), {})

    told = merge(mqtt=[{"host": "h"}, {"name": "b", "has_password": True}])
    assert told.startswith("mqtt[1].has_password: True is not allowed, expected true only where")
    point = {"name": "a", "has_pin": True}
    told = merge(devices=[{"id": "v", "driver": "vault", "points": [point]}])
    assert told.startswith("devices[0].points[0].has_pin: ")
    told = merge(webhooks={"endpoints": [{"name": "n", "has_headers": ["X"]}]})
    assert told.startswith("webhooks.endpoints[0].has_headers: 'X' is not allowed")
    for wrong in (SECRET, 1, [SECRET], {"x": SECRET}):
        assert "expected true or false" in merge(api={"has_mqtt_secret": wrong})
    for wrong in (SECRET, True, {"x": SECRET}):
        endpoint = {"name": "n", "has_headers": wrong}
        assert "expected a list of names" in merge(webhooks={"endpoints": [endpoint]})


def test_what_is_no_configuration_is_left_to_the_validation():
    for wrong in (
        {"mqtt": 5, "devices": "x", "api": []},
        {"mqtt": [5, None, []], "devices": [7], "webhooks": {"endpoints": [{"headers": "text"}]}},
        {"devices": [{"id": "v", "driver": "vault", "points": [3, {}]}]},
    ):
        config = copy(wrong)
        secrets.merge(config, {})
        secrets.split(config)


def test_files():
    clear()
    make_folder(FOLDER)
    assert secrets.store(PATH, {}) is None and secrets.load(PATH, None) == {}
    name = secrets.store(PATH, {"b": "2", "a": {"y": "ü", "x": "1"}})
    assert folder("secrets") == [name + ".json"]
    assert secrets.load(PATH, name) == {"a": {"x": "1", "y": "ü"}, "b": "2"}
    # The same content is the same file, and is not written again.
    before = os.stat(FOLDER + "/secrets/" + name + ".json")
    assert secrets.store(PATH, {"a": {"x": "1", "y": "ü"}, "b": "2"}) == name
    assert os.stat(FOLDER + "/secrets/" + name + ".json") == before
    other = secrets.store(PATH, {"a": {"x": "1", "y": "u"}, "b": "2"})
    assert other != name
    for wrong in ("0123456789abcdef", "../config", 5, True):
        assert refusal(secrets.load, PATH, wrong).startswith("secrets: ")
    with open(FOLDER + "/secrets/" + name + ".json", "a") as file:
        file.write(" ")
    assert refusal(secrets.load, PATH, name).startswith("secrets: ")
    with open(FOLDER + "/secrets/rest~", "w") as file:
        file.write("of a cut")
    secrets.collect(PATH, [other])
    assert folder("secrets") == [other + ".json"]
    clear()
    secrets.collect(PATH, [other])


async def test_of_an_api_change():
    gw = await board().boot()
    assert saved()["devices"][2]["password"] == SECRET and not folder("secrets")
    changes = {"private_json": {"password": "another"}}
    await gw.call("gateways.updateGateway", gateway="safe", changes=changes)
    shown = saved()["devices"][2]
    assert shown["has_password"] is True and shown["points"][0]["has_pin"] is True
    text = json.dumps(saved())
    assert SECRET not in text and "another" not in text
    values = secrets.load(PATH, saved()["secrets"])
    assert values == {
        "devices[safe].password": "another",
        "devices[safe].points[door].pin": SECRET,
    }
    for _ in range(2):
        vault = gw.node.devices["safe"].driver
        assert vault.config["password"] == "another"
        assert gw.node.points[5].config["pin"] == SECRET
        gw = await gw.again()
    # Of those that no configuration names nothing is left.
    await gw.call("gateways.updateGateway", gateway="safe", changes={"password": "third"})
    assert folder("secrets") == [saved()["secrets"] + ".json"]
    await gw.call("gateways.updateAddress", address="safe/door", changes={"name": "gate"})
    assert gw.node.points[5].config["pin"] == SECRET
    await gw.call("gateways.deleteGateway", gateway="safe")
    assert saved()["secrets"] is None and folder("secrets") == []
    await gw.halt()


async def test_of_a_push():
    gw = board()
    config = await document(gw)
    config["devices"].reverse()
    config["devices"][0]["points"][1]["pin"] = "low pin"
    config["secrets"] = "0123456789abcdef"
    await push(gw, config)
    assert gw.node.devices["safe"].driver.config["password"] == SECRET
    pins = {point.name: point.config["pin"] for point in gw.node.devices["safe"].points}
    assert pins == {"door": SECRET, "low": "low pin"}
    config = await document(gw)
    assert "secrets" not in config
    config["devices"][0]["points"][1].pop("has_pin")
    del config["devices"][0]["has_password"]
    await push(gw, config)
    assert gw.node.devices["safe"].driver.config["password"] is None
    assert [point.config["pin"] for point in gw.node.devices["safe"].points] == [SECRET, None]
    await gw.node.supervisor.stop_all()


def test_a_node_boots_from_its_plan_alone():
    board()
    config = saved()
    name = secrets.store(PATH, secrets.split(config))
    put(json.dumps(dict(config, secrets=name)))
    assert Board(fresh=False).node.devices["safe"].driver.config["password"] == SECRET
    os.remove(FOLDER + "/secrets/" + name + ".json")
    assert Board(fresh=False).node.devices["safe"].driver.config["password"] == SECRET
    os.remove(FOLDER + "/config.plan")
    told = refusal(lambda: Board(fresh=False))
    assert told.startswith("secrets: '%s'" % name)
    assert not exists(FOLDER + "/config.plan")


def put(content):
    """Write the configuration by hand."""
    with open(PATH, "w") as file:
        file.write(content)


async def test_by_hand_after_a_change():
    gw = board()
    await staging.change(gw.node, lambda config: None)
    config = saved()
    config["devices"][2]["points"][1]["pin"] = "by hand"
    put(json.dumps(config))
    gw = Board(fresh=False)
    assert gw.node.points[6].config["pin"] == "by hand"
    assert gw.node.points[5].config["pin"] == SECRET
    shown = (await document(gw))["devices"][2]["points"]
    assert [point["has_pin"] for point in shown] == [True, True]
    await staging.change(gw.node, lambda config: None)
    assert "by hand" not in json.dumps(saved())
    assert Board(fresh=False).node.points[6].config["pin"] == "by hand"
