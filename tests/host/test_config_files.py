"""Configuration files, paths into them, and secrets by reference."""

import json

import pytest

from fieldpost_tools.config import files, paths, secrets, template, tree
from fieldpost_tools.errors import InputError, OutputError
from fieldpost_tools.inventory import Entry

CONFIG = {
    "node": "gw-1",
    "mqtt": [{"host": "10.0.0.5", "has_password": True}],
    "devices": [
        {
            "id": "ahu.1",
            "driver": "virtual",
            "interval": 1000,
            "points": [{"name": "dat", "log": "always"}, {"name": "dat.raw"}],
        },
        {"id": "ahu", "driver": "virtual", "tags": {"a.b": "c"}},
    ],
    "subscribers": [{"subscriber": "collector"}, {"subscription": "fast", "subscriber": "x"}],
    "publish": {"value": [{"topic": "a/{node}"}, {"topic": "b"}]},
}


# Files


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"node": "gw-1",\n  "mqtt": [}', ":2:12: expecting value"),
        ("a.json", '{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
        ("a.json", '{"a": NaN}', "NaN is no JSON"),
        ("a.json", "[1]", "an object expected"),
        ("a.toml", 'node = "gw-1"\nmqtt = [', ":2: unexpected end of file"),
        ("a.toml", "a = 1\na = 2", 'key "a" already exists'),
        ("a.toml", "a = 2026-01-01", "a date or time where a configuration has none"),
        ("a.toml", "a = [inf]", "nan or inf"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(files.FileError) as raised:
        files.load(path)
    assert str(raised.value).startswith(str(path))
    assert words in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_missing_or_binary_file(tmp_path):
    with pytest.raises(files.FileError, match="no such file"):
        files.load(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"{\xff")
    with pytest.raises(files.FileError, match="no UTF-8 text at byte 1"):
        files.load(tmp_path / "b.json")


@pytest.mark.parametrize("name", ["node.json", "node.toml"])
def test_what_is_written_reads_the_same(tmp_path, name):
    files.save(tmp_path / name, CONFIG)
    assert files.load(tmp_path / name) == CONFIG
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_toml_leaves_out_null_and_keeps_scalars_before_tables(tmp_path):
    config = {"mqtt": [{"tls": {"ca": "x"}, "host": "h", "port": None}], "node": "gw-1"}
    text = files.dumps(config, toml=True)
    assert text.startswith('node = "gw-1"')
    (tmp_path / "a.toml").write_text(text)
    assert files.load(tmp_path / "a.toml")["mqtt"] == [{"host": "h", "tls": {"ca": "x"}}]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="no such file"):
        files.save(tmp_path / "none" / "a.json", {})


# Paths


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("node", "gw-1"),
        ("mqtt.main.host", "10.0.0.5"),
        ("devices.ahu.1.interval", 1000),
        ('devices."ahu.1".interval', 1000),
        ("devices.ahu.1.points.dat.log", "always"),
        ("devices.ahu.1.points.dat.raw.name", "dat.raw"),
        ('devices.ahu.tags."a.b"', "c"),
        ("subscribers.default:collector.subscriber", "collector"),
        ("subscribers.fast:x", {"subscription": "fast", "subscriber": "x"}),
        ("publish.value.1.topic", "b"),
    ],
)
def test_a_value_is_found(path, value):
    assert paths.get(CONFIG, path) == value


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("devices.hall.interval", "ahu.1, ahu"),
        ("node.x", "nothing"),
        ("nothing", "devices, mqtt, node"),
        ("publish.value.2", "0, 1"),
        ("a..b", "keys and names with dots between"),
        ("", "keys and names"),
        ('a."b', "keys and names"),
    ],
)
def test_a_path_that_leads_nowhere(path, words):
    with pytest.raises(InputError, match=words):
        paths.get(CONFIG, path)


@pytest.mark.parametrize(
    ("text", "where", "value"),
    [
        ("mqtt.main.host=10.0.0.9", "mqtt.main.host", "10.0.0.9"),
        ("devices.ahu.1.interval=500", "devices.ahu.1.interval", 500),
        ("devices.ahu.1.interval=null", "devices.ahu.1.interval", None),
        ("devices.ahu.1.points.dat.log=on_cov 0.5", "devices.ahu.1.points.dat.log", "on_cov 0.5"),
        ("clock.ntp=[]", "clock.ntp", []),
        ("network.wifi=[]", "network.wifi", []),
        ("publish.value.1.topic=c", "publish.value.1.topic", "c"),
        ("mqtt.main.password=env:PW", "mqtt.main.password", "env:PW"),
        ("subscribers.fast:x=null", "subscribers.fast:x", None),
        ('devices.hall={"driver":"virtual"}', "devices.hall.id", "hall"),
        ('subscribers.fast:y={"ack":"id"}', "subscribers.fast:y.subscription", "fast"),
        ('alarms.hot={"type":"high_limit"}', "alarms.hot.id", "hot"),
        ('network.wifi.home={"password":"env:W"}', "network.wifi.home.ssid", "home"),
        ('publish.value.2={"topic":"c"}', "publish.value.2.topic", "c"),
    ],
)
def test_a_value_is_set(text, where, value):
    config = json.loads(json.dumps(CONFIG))
    paths.put(config, *paths.assignment(text))
    if value is None:
        with pytest.raises(InputError):
            paths.get(config, where)
    else:
        assert paths.get(config, where) == value
    assert "has_password" not in config["mqtt"][0] or "password" not in config["mqtt"][0]


@pytest.mark.parametrize(
    "text", ["devices.hall.interval=5", "node.x=1", "devices.hall=5", "subscribers.no=null"]
)
def test_what_is_not_there_cannot_be_set(text):
    config = json.loads(json.dumps(CONFIG))
    with pytest.raises(InputError, match="a place that is there"):
        paths.put(config, *paths.assignment(text))


@pytest.mark.parametrize("text", ["node", "=x", "a..b=1"])
def test_what_is_no_assignment(text):
    with pytest.raises(InputError):
        paths.assignment(text)


# Secrets


WITH_SECRETS = {
    "node": "gw-1",
    "fleet_key": "file:fleet.key",
    "mqtt": [{"host": "h", "password": "env:PW"}, {"name": "b", "host": "h", "password": "p4ss"}],
    "network": {"wifi": [{"ssid": "home", "has_password": True}]},
    "devices": [{"id": "m", "driver": "mqtt", "host": "h", "password": "env:PW"}],
    "webhooks": {
        "endpoints": [
            {"name": "w", "url": "http://h/", "headers": {"X": "env:PW"}, "has_headers": ["Y"]}
        ]
    },
}


def test_references_become_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("PW", "hush")
    (tmp_path / "fleet.key").write_text("0123456789abcdef\n")
    made = secrets.resolved(WITH_SECRETS, tmp_path)
    assert made["fleet_key"] == "0123456789abcdef"
    assert [row["password"] for row in made["mqtt"]] == ["hush", "p4ss"]
    assert made["devices"][0]["password"] == "hush"
    assert made["webhooks"]["endpoints"][0]["headers"] == {"X": "hush"}
    assert WITH_SECRETS["mqtt"][0]["password"] == "env:PW"


@pytest.mark.parametrize("reference", ["env:FIELDPOST_NO_SUCH", "file:none", "secret:wifi"])
def test_a_reference_to_nothing(reference, tmp_path):
    config = {"node": "x", "mqtt": [{"host": "h", "password": reference}]}
    with pytest.raises(InputError, match=r"mqtt\.main\.password: '" + reference):
        secrets.resolved(config, tmp_path)


def test_marks_hold_no_secret():
    marked = secrets.marked(WITH_SECRETS)
    assert "p4ss" not in str(marked)
    assert "env:PW" not in str(marked)
    assert marked["network"]["wifi"][0]["password"] == secrets.Secret(kept=True)
    assert marked["mqtt"][1]["password"] == secrets.Secret(kept=False)
    headers = marked["webhooks"]["endpoints"][0]["headers"]
    assert headers == {"X": secrets.Secret(False), "Y": secrets.Secret(True)}


def test_what_says_that_there_is_no_secret_is_left_out():
    made = secrets.shortened({"node": "x", "has_fleet_key": False, "mqtt": [{"host": "h"}]})
    assert made == {"node": "x", "mqtt": [{"host": "h"}]}
    assert secrets.shortened({"has_fleet_key": True}) == {"has_fleet_key": True}


# Templates


ENTRY = Entry("gw-7", "ESP32_GENERIC", "north", {"floor": "3"}, secrets={"wifi": "env:WIFI"})


def test_a_template_is_filled_for_each_node():
    config = {
        "description": "{board} at {site}, floor {floor}, {unknown}",
        "mqtt": [{"host": "h", "user": "{node}", "password": "secret:wifi"}],
        "publish": {"value": [{"topic": "x/{node}"}]},
    }
    made = template.fill(config, "gw-7", ENTRY)
    assert made["node"] == "gw-7"
    assert made["description"] == "ESP32_GENERIC at north, floor 3, {unknown}"
    assert made["mqtt"] == [{"host": "h", "user": "gw-7", "password": "env:WIFI"}]
    assert made["publish"] == config["publish"]
    assert template.fill({"node": "own"}, "gw-7")["node"] == "own"
    assert template.stand_in(config)["description"] == "board at site, floor floor, unknown"


def test_a_secret_that_the_inventory_lacks():
    with pytest.raises(InputError, match=r"'secret:no' is not allowed.*secret:wifi"):
        template.fill({"mqtt": [{"password": "secret:no"}]}, "gw-7", ENTRY)


def test_keys_have_the_order_of_the_schema():
    config = {"devices": [{"points": [], "driver": "virtual", "id": "a"}], "node": "x", "zz": 1}
    made = tree.ordered(config)
    assert list(made) == ["node", "devices", "zz"]
    assert list(made["devices"][0]) == ["id", "driver", "points"]
