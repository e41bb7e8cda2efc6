"""config: defaults, every kind of row, what is refused and in which words, selection of points."""

import json

from core_kit import refused

from fieldpost.config import SCHEMA, Validator, select, validate
from fieldpost.errors import ConfigError
from fieldpost.rows import Row, describe


class Tank:
    DEVICE = {"pin": "int 0..48", "token": "secret 4..8 = ?"}
    POINT = """
        gain: num -1.5..1e3 = 1
        mode: enum a b = ?
    """


class Plain:
    DEVICE = POINT = {}


def driver(name):
    """Two drivers that exist nowhere else."""
    if name not in ("tank", "plain"):
        raise ImportError(name)
    return Tank if name == "tank" else Plain


def config(**keys):
    keys.setdefault("node", "gw")
    return keys


def device(id="d", points=(), **keys):
    keys.setdefault("driver", "plain")
    return dict(keys, id=id, points=list(points))


def complete(**keys):
    return validate(config(**keys), driver)


def error(**keys):
    """``(path, value, allowed)`` of the refusal; its text has to name all three."""
    try:
        complete(**keys)
    except ConfigError as raised:
        for part in (raised.path, repr(raised.value), raised.allowed):
            assert part and part in str(raised), str(raised)
        return raised.path, raised.value, raised.allowed
    raise AssertionError("accepted: %r" % (keys,))


def row_error(row, value):
    """What a single row says of a value it refuses."""
    text = refused(ConfigError, Validator({}).value, Row(row), value, "x")
    assert text.startswith("x: "), text
    return text.split("expected ")[1]


# -- completion


def test_the_smallest_configuration_gets_every_default():
    made = complete()
    assert made["node"] == "gw"
    assert sorted(made) == sorted(SCHEMA["node"])
    assert made["state_interval"] == 60000
    assert made["description"] is None
    assert made["mqtt"] == []
    assert made["clock"] == {"ntp": [], "ntp_interval": 43200000, "trust_system": True}
    assert made["publish"] == {"value": [], "alarm": [], "status": []}
    [default] = made["subscriptions"]
    assert default["id"] == "default"
    assert default["acquisition"] == "adr.log"
    assert default["addresses"] == "all"
    assert default["flush"] == {
        "maxEntries": 100,
        "maxBytes": 4096,
        "onEntries": 1,
        "onBytes": None,
        "onInterval": None,
        "minDelay": 250,
        "maxDelay": 1000,
        "parallel": 20,
        "ackTimeout": 10000,
        "catchUp": 10,
    }


def test_every_default_of_the_schema_is_valid_itself():
    for table in SCHEMA.values():
        for text in table.values():
            row = Row(text)
            if not row.required and row.default is not None:
                Validator(SCHEMA).value(row, row.default, "x")


def test_null_counts_as_absent():
    made = complete(revision=None, mqtt=None, clock={"trust_system": None})
    assert made == complete()
    assert error(devices=[{"id": None, "driver": "plain"}])[:2] == ("devices[0].id", None)


def test_a_completed_configuration_validates_to_itself():
    made = complete(
        mqtt=[{"host": "h", "tls": {"ca": "/ca.pem"}, "password": "geheim"}],
        devices=[
            device(points=[{"name": "a", "log": 1000}, {"name": "b", "tags": {"x": "y"}}]),
            device("t", [{"name": "c"}], driver="tank", pin=3),
        ],
        subscriptions=[{"id": "s/1", "addresses": ["a", {"address": 3}], "acquisition": 500}],
        subscribers=[{"subscriber": "c", "ack": False}, {"subscriber": "d", "ack": "auto"}],
        publish={"value": [{"topic": "{node}/{node_id}"}]},
    )
    text = json.dumps(made)
    assert validate(made, driver) == made
    assert validate(json.loads(text), driver) == made
    assert json.loads(text) == made


def test_the_argument_is_not_changed():
    given = config(devices=[device(points=[{"name": "a"}])], subscribers=[{"subscriber": "c"}])
    before = json.loads(json.dumps(given))
    validate(given, driver)
    assert given == before


def test_defaults_are_fresh_objects():
    complete()["publish"]["value"].append(1)
    assert complete()["publish"]["value"] == []


# -- kinds of rows


def test_integers():
    row = Row("int -2..5")
    for good in (-2, 0, 5):
        assert Validator({}).value(row, good, "x") == good
    for bad in (-3, 6, 1.0, True, "1", [], {}):
        assert row_error("int -2..5", bad) == "an integer from -2 to 5"
    assert row_error("int 0..", -1) == "an integer from 0"
    assert row_error("int", None) == "an integer"


def test_numbers():
    row = Row("num -1.5..1e3")
    for good in (-1.5, 0, 1000, 999.5):
        assert Validator({}).value(row, good, "x") == good
    for bad in (-1.75, 1001, True, "1", float("nan")):
        assert row_error("num -1.5..1e3", bad).startswith("a number from -1.5 to 1000")
    for bad in (float("inf"), -float("inf"), float("nan")):
        assert row_error("num", bad) == "a number"


def test_bools():
    assert Validator({}).value(Row("bool"), False, "x") is False
    for bad in (0, 1, "true", None):
        assert row_error("bool", bad) == "true or false"


def test_text_is_counted_in_characters():
    assert Validator({}).value(Row("str 1..2"), "°C", "x") == "°C"
    for bad in ("", "abc", 1, True, ["a"]):
        assert row_error("str 1..2", bad) == "text, length from 1 to 2"
    assert row_error("str", 1) == "text"


def test_ids_and_paths():
    for good in ("a", "A-1_.z", "9"):
        assert Validator({}).value(Row("id 1..8"), good, "x") == good
    for bad in ("", "a b", "a/b", "ä", "nodes", "a" * 9, "{a}", "a\0", 1):
        assert "letters, digits and _ - ." in row_error("id 1..8", bad)
    for good in ("a", "a/b", "nodes/a"):
        assert Validator({}).value(Row("path 1..8"), good, "x") == good
    for bad in ("/a", "a/", "a//b", "", "a b", "#", 1):
        assert "with / between parts" in row_error("path 1..8", bad)


def test_enums_take_json_literals_for_their_words():
    row = Row("enum id false auto")
    assert Validator({}).value(row, "id", "x") == "id"
    assert Validator({}).value(row, False, "x") is False
    assert Validator({}).value(row, "false", "x") is False
    for bad in (True, "ID", 0, None, []):
        assert row_error("enum id false auto", bad) == "one of auto, false, id"


def test_lists():
    row = Row("list int 1..2")
    assert Validator({}).value(row, [1, 2], "x") == [1, 2]
    for bad in ([], [1, 2, 3], "ab", {}, 1):
        assert row_error("list int 1..2", bad) == "a list, length from 1 to 2"
    text = refused(ConfigError, Validator({}).value, row, [1, "b"], "x")
    assert text == "x[1]: 'b' is not allowed, expected an integer"


def test_maps():
    row = Row("map int")
    assert Validator({}).value(row, {"a": 1, "b c": 2}, "x") == {"a": 1, "b c": 2}
    assert row_error("map int", [1]) == "an object"
    text = refused(ConfigError, Validator({}).value, row, {"a": 1.5}, "x")
    assert text == "x.a: 1.5 is not allowed, expected an integer"


def test_acquisition_rules_are_compiled():
    point = {"name": "p"}
    for good in (1000, "1000", "on_cov 0.5 1000", "", "*/5 * * * *"):
        made = complete(devices=[device(points=[dict(point, log=good)])])
        assert made["devices"][0]["points"][0]["log"] == str(good)
    for bad in ("sometimes", "adr.log", "on_cov", 0, -1, 1.5, True, []):
        path, value, _ = error(devices=[device(points=[dict(point, log=bad)])])
        assert path == "devices[0].points[0].log"
        assert value == (str(bad) if type(bad) is int else "[...]" if bad == [] else bad)


def test_flush_intervals_are_wall_clock_rules():
    for good in ("900000", 900000, "*/15 * * * *", "1000 or 0 0 * * *"):
        made = complete(subscriptions=[{"id": "a", "flush": {"onInterval": good}}])
        assert made["subscriptions"][0]["flush"]["onInterval"] == str(good)
    for bad in ("always", "adr.log", "1000 or always", "on_cov 1 0 1000", ""):
        path, _, _ = error(subscriptions=[{"id": "a", "flush": {"onInterval": bad}}])
        assert path == "subscriptions[0].flush.onInterval"


def test_topics_are_templates():
    made = complete(publish={"value": [{"topic": "a/{node}/{point_id}"}]})
    assert made["publish"]["value"][0]["qos"] == 0
    for bad in ("a/{what}", "a/#", "", "fieldpost/nodes/{node}/x", 1):
        assert error(publish={"status": [{"topic": bad}]})[0] == "publish.status[0].topic"


# -- what is refused


def test_errors_name_the_whole_path():
    points = [{"name": "a"}, {"name": "b", "unit": 5}]
    path, value, allowed = error(devices=[device(), device("e", points)])
    assert path == "devices[1].points[1].unit"
    assert value == 5
    assert allowed == "text, length from 0 to 16"


def test_a_configuration_that_is_no_object():
    for bad in (None, [], "gw", 5, True):
        text = refused(ConfigError, validate, bad, driver)
        assert text.startswith("configuration: ") and text.endswith("expected an object"), text


def test_missing_keys():
    assert refused(ConfigError, validate, {}, driver).startswith("node: None is not allowed")
    assert error(mqtt=[{}])[0] == "mqtt[0].host"


def test_unknown_keys_list_those_that_exist():
    path, value, allowed = error(mqtt=[{"host": "h", "hots": "i"}])
    assert (path, value) == ("mqtt[0].hots", "hots")
    assert " host, " in allowed


def test_secrets_are_not_shown():
    broker = {"host": "h", "password": "geheim"}
    for keys in (
        {"mqtt": broker},
        {"mqtt": [dict(broker, password=["geheim"])]},
        {"mqtt": [dict(broker, password="geheim" * 50)]},
        {"mqtt": [{"host": "h", "pasword": "geheim"}]},
        {"mqtt": [dict(broker, tls=["geheim"])]},
        {"mqtt": [dict(broker, host=broker)]},
        {"mqtt": [[broker]]},
        {"mqtt": [broker], "node": broker},
        {"mqtt": [broker], "publish": {"value": broker}},
        {"devices": [device(driver="tank", pin=1, token="geheim geheim")]},
    ):
        assert "geheim" not in str(error(**keys)), keys


def test_long_values_are_cut():
    assert len(str(error(description="x" * 5000))) < 200


def test_the_node_may_not_be_called_nodes():
    assert "not 'nodes'" in error(node="nodes")[2]


def test_names_are_unique():
    for path, keys in (
        ("mqtt[1].name", {"mqtt": [{"host": "a"}, {"host": "b"}]}),
        ("devices[1].id", {"devices": [device(), device()]}),
        ("subscriptions[1].id", {"subscriptions": [{"id": "a"}, {"id": "a"}]}),
        ("devices[0].points[1].name", {"devices": [device(points=[{"name": "a"}] * 2)]}),
        ("subscribers[1].subscriber", {"subscribers": [{"subscriber": "a"}] * 2}),
    ):
        assert error(**keys)[0] == path


def test_the_same_name_in_different_places():
    complete(
        devices=[device("a", [{"name": "x"}]), device("b", [{"name": "x"}])],
        subscriptions=[{"id": "s"}],
        subscribers=[{"subscriber": "c"}, {"subscriber": "c", "subscription": "s"}],
    )


def test_subscribers_need_their_subscription():
    path, value, allowed = error(subscribers=[{"subscriber": "c", "subscription": "fast"}])
    assert (path, value) == ("subscribers[0].subscription", "fast")
    assert allowed == "one of default, or a prefix that ends with /"


def test_md5_acknowledges_json_only():
    subscriber = {"subscriber": "c", "ack": "md5"}
    complete(subscribers=[subscriber])
    assert error(subscribers=[dict(subscriber, format="packed")])[:2] == (
        "subscribers[0].ack",
        "md5",
    )


def test_patterns_name_a_broker_that_exists():
    pattern = {"topic": "x", "broker": "main"}
    complete(mqtt=[{"host": "h"}], publish={"value": [pattern]})
    assert error(publish={"value": [pattern]}) == (
        "publish.value[0].broker",
        "main",
        "one of none",
    )


def test_a_ring_has_at_least_two_frames():
    complete(subscriptions=[{"id": "a", "ring_bytes": 2048, "frame_bytes": 1024}])
    path, value, _ = error(subscriptions=[{"id": "a", "ring_bytes": 2047, "frame_bytes": 1024}])
    assert (path, value) == ("subscriptions[0].ring_bytes", 2047)


def test_the_default_subscription_may_be_configured():
    made = complete(subscriptions=[{"id": "a"}, {"id": "default", "ring_bytes": 4096}])
    assert [item["id"] for item in made["subscriptions"]] == ["a", "default"]
    assert made["subscriptions"][1]["ring_bytes"] == 4096


# -- drivers and points


def test_drivers_add_their_rows():
    made = complete(devices=[device(driver="tank", pin=4, points=[{"name": "p"}])])
    [tank] = made["devices"]
    assert (tank["pin"], tank["token"], tank["interval"]) == (4, None, 1000)
    assert tank["points"][0]["gain"] == 1
    assert error(devices=[device(driver="tank")])[0] == "devices[0].pin"
    assert error(devices=[device(pin=4)])[:2] == ("devices[0].pin", "pin")
    path, _, _ = error(
        devices=[device(driver="tank", pin=4), device(points=[{"name": "p", "gain": 1}])]
    )
    assert path == "devices[1].points[0].gain"


def test_unknown_drivers():
    for bad in ("nothing", "", "a b", 5, ["tank"], {"a": 1}):
        assert error(devices=[device(driver=bad)])[0] == "devices[0].driver"


def test_drivers_are_files_of_their_folder():
    assert (
        validate(config(devices=[device(driver="virtual")]))["devices"][0]["driver"] == "virtual"
    )
    for bad in ("base", "none", "..config", ".virtual", "virtual.const", "__init__", "__path__"):
        text = refused(ConfigError, validate, config(devices=[device(driver=bad)]))
        assert text.endswith("expected the name of a driver"), text


def test_points_without_id_get_the_lowest_free_one():
    first = device("a", [{"name": "w"}, {"name": "x", "id": 1}, {"name": "y"}])
    made = complete(devices=[first, device("b", [{"name": "z", "id": 3}, {"name": "q"}])])
    assert [point["id"] for point in made["devices"][0]["points"]] == [2, 1, 4]
    assert [point["id"] for point in made["devices"][1]["points"]] == [3, 5]


def test_point_ids_are_unique_on_the_node():
    devices = [device("a", [{"name": "w", "id": 7}]), device("b", [{"name": "z", "id": 7}])]
    assert error(devices=devices)[:2] == ("devices[1].points[0].id", 7)


# -- selection


def selected(addresses, rule="adr.log"):
    devices = [
        device("a", [{"name": "x", "log": "always"}, {"name": "y", "log": 500}]),
        device("b", [{"name": "x"}]),
    ]
    row = {"id": "s", "addresses": addresses, "acquisition": rule}
    made = complete(devices=devices, subscriptions=[row])
    return select(made["subscriptions"][0], made["devices"], "s")


def test_selection_of_points():
    for addresses, ids in (
        ("all", [1, 2, 3]),
        (2, [2]),
        ("y", [2]),
        ("a/x", [1]),
        ("b\u00acx", [3]),
        ("gateway_id=a", [1, 2]),
        (["y", 3, "b/x"], [2, 3]),
        ([], []),
        ({"address": "y", "acquisition": "always"}, [2]),
    ):
        assert [entry[0] for entry in selected(addresses)] == ids, addresses


def test_selection_names_the_rules():
    assert selected("all") == [
        (1, "adr.log", "always"),
        (2, "adr.log", "500"),
        (3, "adr.log", "always"),
    ]
    chosen = selected(["all", {"address": 2, "acquisition": 1000}, {"address": "b/x"}], "always")
    assert [entry[1] for entry in chosen] == ["always", "1000", "always"]


def test_selection_of_nothing_is_refused():
    for bad in ("x", "c/x", "a/z", "", 9, 0, True, 1.5, "gateway_id=c", {"address": "x"}):
        text = refused(ConfigError, selected, bad)
        assert "exactly one point" in text and text.startswith("subscriptions[0].addresses"), text
    for bad in ([["y"]], {"address": ["y"]}, [{"address": {"address": "y"}}]):
        assert "exactly one point" in refused(ConfigError, selected, bad)
    assert "addresses[1].acquisition" in refused(
        ConfigError, selected, ["y", {"address": 1, "acquisition": "now"}]
    )
    assert "addresses.adress" in refused(ConfigError, selected, {"adress": "y"})


def test_descriptions_speak_for_every_kind():
    for table in SCHEMA.values():
        for text in table.values():
            assert describe(Row(text)), text
