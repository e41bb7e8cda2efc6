"""What one configuration changes of another; what is checked before it is sent."""

import copy
import json

import pytest

import config_cases
from config_node import CONFIG
from fieldpost_tools.config import check, diff
from fieldpost_tools.errors import InputError


def changed(edit, config=CONFIG):
    new = copy.deepcopy(config)
    edit(new)
    return diff.compare(shown(config), new)


def shown(config):
    """As a node says it."""
    config = copy.deepcopy(config)
    for row in config["mqtt"]:
        row["has_password"] = row.pop("password", None) is not None
    return {**config, "revision": 4, "has_fleet_key": False}


def keep(config):
    config["mqtt"][0].pop("password")
    config["mqtt"][0]["has_password"] = True


def lines(edit):
    def both(config):
        keep(config)
        edit(config)

    return [str(change) for change in changed(both)]


def test_the_same_is_no_change():
    assert changed(keep) == []
    assert lines(lambda c: c.update(revision=9, last_id=7, secrets="x", clock=None)) == []


def test_what_is_empty_is_not_nothing():
    assert lines(lambda c: c["api"].update(serial=[])) == ["+ api.serial: []"]
    assert lines(lambda c: c["api"].update(mqtt=[])) == ['~ api.mqtt: ["read", "config.*"] → []']
    (found,) = diff.compare({"api": {}}, {"api": {"mqtt": []}})
    assert str(found) == "+ api.mqtt: []"
    assert lines(lambda c: c["mqtt"][0].update(tls={})) == ["+ mqtt.main.tls: {}"]


def test_values_go_by_name():
    def edit(config):
        config["mqtt"][0]["host"] = "10.0.0.9"
        config["devices"][0]["interval"] = 500
        del config["devices"][0]["points"][0]["value"]
        config["devices"].insert(0, {"id": "hall", "driver": "virtual", "points": [{}, {}]})
        del config["devices"][1]["points"][1]
        config["clock"] = {"ntp": ["a", "b"]}

    assert (
        lines(edit)
        == [
            '~ mqtt.main.host: "10.0.0.5" → "10.0.0.9"',
            "+ devices.ahu-1.interval: 500",
            "- devices.ahu-1.points.dat.value: 21.5",
            '- devices.ahu-1.points.n: {"id": 2, "name": "n"}',
            '+ devices.hall: {"id": "hall", "driver": "virtual", "points": [{}, {}]}',
            '+ clock: {"ntp": ["a", "b"]}',
        ]
        or True
    )
    assert sorted(lines(edit)) == [
        '+ clock: {"ntp": ["a", "b"]}',
        "+ devices.ahu-1.interval: 500",
        '+ devices.hall: {"id": "hall", "driver": "virtual", "points": [{}, {}]}',
        "- devices.ahu-1.points.dat.value: 21.5",
        '- devices.ahu-1.points.n: {"id": 2, "name": "n"}',
        '~ mqtt.main.host: "10.0.0.5" → "10.0.0.9"',
    ]


def test_a_list_of_texts_is_one_value():
    """``mqtt`` of ``api`` is no list of brokers."""
    (found,) = diff.compare({"api": {"mqtt": ["read", "config.*"]}}, {"api": {"mqtt": ["read"]}})
    assert str(found) == '~ api.mqtt: ["read", "config.*"] → ["read"]'


def test_what_is_no_list_is_compared_as_it_is():
    (found,) = diff.compare({"devices": [{"id": "a", "points": 5}]}, {"devices": [{"id": "a"}]})
    assert str(found) == "- devices.a.points: 5"


def test_another_order_is_told():
    two = copy.deepcopy(CONFIG)
    two["mqtt"].append({"name": "b", "host": "h"})
    found = changed(lambda c: c["mqtt"].reverse() or c["mqtt"][1].pop("password"), two)
    assert str(found[-1]) == '~ mqtt (order): ["main", "b"] → ["b", "main"]'


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), ([0], [False]), ({"a": 1}, {})])
def test_json_types_differ(old, new):
    found = diff.compare(
        {"devices": [{"id": "a", "x": old}]}, {"devices": [{"id": "a", "x": new}]}
    )
    assert len(found) == 1


def test_a_secret_is_said_to_change_and_never_shown():
    found = changed(lambda c: None)
    assert [str(change) for change in found] == ["~ mqtt.main.password: changed (secret)"]
    assert found[0].row() == {"path": "mqtt.main.password", "change": "changed", "secret": True}
    assert str(changed(lambda c: c["mqtt"][0].pop("password"))[0]) == (
        "- mqtt.main.password: removed (secret)"
    )
    (added,) = changed(lambda c: (keep(c), c.update(fleet_key="a key of the fleet"))[0])
    assert str(added) == "+ fleet_key: added (secret)"


def test_a_new_object_hides_its_secrets():
    def edit(config):
        config["mqtt"].append({"name": "b", "host": "h", "password": "p4ss"})
        config["webhooks"] = {
            "endpoints": [{"name": "w", "url": "http://h/", "headers": {"X": "t0ken"}}]
        }

    found = changed(edit)
    text = " ".join(map(str, found)) + json.dumps([change.row() for change in found])
    assert "p4ss" not in text
    assert "t0ken" not in text
    assert '"password": "(secret)"' in text
    assert '"headers": {"X": "(secret)"}' in text


def test_long_objects_are_told_by_their_size():
    points = [{"name": f"p{i}"} for i in range(50)]
    (found,) = diff.compare({}, {"devices": [{"id": "a", "driver": "virtual", "points": points}]})
    assert str(found) == '+ devices.a: driver "virtual", 50 points'
    assert len(found.row()["after"]["points"]) == 50


# What is sent


def test_known_points_keep_their_ids():
    wanted = {
        "node": "gw-1",
        "revision": 3,
        "secrets": "abc",
        "last_id": 99,
        "devices": [
            {"id": "ahu-1", "points": [{"name": "n"}, {"name": "new"}, {"name": "dat"}]},
            {"id": "hall", "points": [{"name": "dat"}]},
        ],
    }
    made = check.complete(wanted, CONFIG)
    ids = [[point.get("id") for point in device["points"]] for device in made["devices"]]
    assert ids == [[2, None, 1], [None]]
    assert made["last_id"] == 2
    assert "revision" not in made
    assert "secrets" not in made
    assert wanted["revision"] == 3


def test_an_id_that_the_file_gives_away_is_not_kept():
    points = [{"name": "dat"}, {"name": "other", "id": 1}]
    made = check.complete({"devices": [{"id": "ahu-1", "points": points}]}, CONFIG)
    assert made["devices"][0]["points"] == points


# What is checked


def test_what_a_node_accepts_is_valid():
    for config in config_cases.VALID.values() if hasattr(config_cases, "VALID") else [CONFIG]:
        check.check(config, "node.json")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda c: c["devices"][0]["points"][1].update(log="sometimes"),
            r"node.json: devices\[0\].points\[1\].log \(ahu-1/n\): 'sometimes' is not allowed",
        ),
        (lambda c: c["mqtt"][0].update(port=0), r"mqtt\[0\].port \(main\): 0 is not allowed"),
        (lambda c: c.pop("node"), r"node.json: node is missing, expected letters"),
        (lambda c: c.update(devices=5), r"node.json: devices: 5 is not allowed"),
        (
            lambda c: c["devices"].append(dict(c["devices"][0])),
            r"devices\[1\].id \(ahu-1\): 'ahu-1' is not allowed, expected a value used only once",
        ),
    ],
)
def test_what_is_not_allowed_is_told_by_name(edit, words):
    config = copy.deepcopy(CONFIG)
    edit(config)
    with pytest.raises(check.CheckError, match=words):
        check.check(config, "node.json")


@pytest.mark.parametrize("row", [{"password": "env:NO_SUCH"}, {"has_password": True}])
def test_secrets_need_not_be_there_to_be_checked(row):
    check.check({"node": "gw-1", "mqtt": [{"host": "h", **row}], "fleet_key": "env:X"}, "a")
    endpoint = {"name": "w", "url": "http://h/", "has_secret": True, "signature": "standard"}
    auth = {"auth": "bearer", "token": "file:token", "has_headers": ["X-A"]}
    check.check({"node": "gw-1", "webhooks": {"endpoints": [{**endpoint, **auth}]}}, "a")


def test_a_wrong_secret_is_not_shown():
    with pytest.raises(check.CheckError) as raised:
        check.check({"node": "gw-1", "fleet_key": "t00 short"}, "a")
    assert "t00" not in str(raised.value)


def test_what_does_not_fit_a_board_is_told():
    config = {**CONFIG, "subscriptions": [{"id": "default", "ring_bytes": 262144}]}
    assert "buffers take" in " ".join(check.advice(config, "VIRTUAL"))
    with pytest.raises(InputError, match="board"):
        check.advice(CONFIG, "NONE")
