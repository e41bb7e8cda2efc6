"""An inventory names the boards of a fleet; secrets stay where they are."""

import pytest

from fieldpost_tools.errors import InputError
from fieldpost_tools.inventory import Inventory

CSV = """name,board,site,tags,port,config,secrets
gw-1,ESP32_GENERIC,north,floor=1;unit=ahu,/dev/ttyUSB0,ahu.json,wifi=env:FP_WIFI
gw-2,ESP32_GENERIC,south,floor=2,,ahu.json,wifi=file:wifi.txt
pico,RPI_PICO_W,south,,,,
"""
TOML = """
[defaults]
board = "ESP32_GENERIC"
config = "ahu.json"
tags = {unit = "ahu"}
secrets = {wifi = "env:FP_WIFI"}

[[node]]
name = "gw-1"
site = "north"
port = "/dev/ttyUSB0"
tags = {floor = 1}

[[node]]
name = "pico"
board = "RPI_PICO_W"
"""


@pytest.fixture
def load(tmp_path):
    def load(text, name="fleet.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return Inventory.load(path)

    return load


def test_csv(load, tmp_path, monkeypatch):
    first, second, third = load(CSV).entries
    assert (first.name, first.board, first.site) == ("gw-1", "ESP32_GENERIC", "north")
    assert first.tags == {"floor": "1", "unit": "ahu"}
    assert (first.port, first.config) == ("/dev/ttyUSB0", tmp_path / "ahu.json")
    assert (second.port, third.config, third.tags) == (None, None, {})
    monkeypatch.setenv("FP_WIFI", "from the environment")
    (tmp_path / "wifi.txt").write_text("from a file\n")
    assert first.secret("wifi") == "from the environment"
    assert second.secret("wifi") == "from a file"


def test_toml_has_defaults(load, tmp_path):
    first, second = load(TOML, "fleet.toml").entries
    assert first.tags == {"unit": "ahu", "floor": "1"}
    assert (first.board, first.port) == ("ESP32_GENERIC", "/dev/ttyUSB0")
    assert (second.board, second.config) == ("RPI_PICO_W", tmp_path / "ahu.json")
    assert second.secrets["wifi"] == "env:FP_WIFI"


def test_credentials_are_secrets_of_every_node(load, tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDPOST_CREDENTIALS", str(tmp_path / "keys"))
    text = CSV + "own,RPI_PICO_W,,,,,mqtt_password=env:FP_WIFI\n"
    *_, third, own = load(text).entries
    assert third.secrets["mqtt_password"] == f"file:{tmp_path}/keys/nodes/pico/mqtt_password"
    assert own.secrets["mqtt_password"] == "env:FP_WIFI"
    assert set(third.secrets) == {"mqtt_password", "api_secret", "fleet_key"}


@pytest.mark.parametrize(
    ("patterns", "tags", "names"),
    [
        ((), (), ["gw-1", "gw-2", "pico"]),
        (("gw-*",), (), ["gw-1", "gw-2"]),
        (("pico", "gw-1"), (), ["gw-1", "pico"]),
        ((), ("site=south",), ["gw-2", "pico"]),
        ((), ("site=south", "floor=2"), ["gw-2"]),
        (("gw-*",), ("board=RPI_PICO_W",), []),
    ],
)
def test_select(load, patterns, tags, names):
    assert [entry.name for entry in load(CSV).select(patterns, tags)] == names


@pytest.mark.parametrize(("patterns", "tags"), [(("x*",), ()), ((), ("floor",))])
def test_what_selects_nothing_is_told(load, patterns, tags):
    with pytest.raises(InputError):
        load(CSV).select(patterns, tags)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,board\na,B\na,B\n", "'a' is not allowed, expected a name used only once"),
        ("name,board\na b,B\n", "line 2: name: 'a b'"),
        ("name,board\nnodes,B\n", "'nodes'"),
        ("name,board\n..,B\n", "line 2: name: '..'"),
        ("name,board\na,\n", "a: board"),
        ("name,board\na,B,c\n", "line 2.*one cell a column"),
        ("name,board,colour\na,B,red\n", "'colour' is not allowed, expected one of name, board"),
        ("name,board,tags\na,B,floor\n", "tags: 'floor' is not allowed, expected key=value"),
        ("name,board,secrets\na,B,wifi=hunter2\n", "secret wifi.*env:NAME or file:PATH"),
        ('name,board\n"a,B\n', "valid CSV"),
    ],
)
def test_mistakes_are_named(load, text, words):
    with pytest.raises(InputError, match=words) as caught:
        load(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["x = 1\n", "node = 1\n", "[[node]\n", '[[node]]\nname = 5\nboard = "B"\n']
)
def test_mistakes_in_toml_are_named(load, text):
    with pytest.raises(InputError):
        load(text, "fleet.toml")


def test_a_missing_secret_is_named_but_not_shown(load, monkeypatch):
    monkeypatch.delenv("FP_WIFI", raising=False)
    first, second, _ = load(CSV).entries
    for entry, place in ((first, "env:FP_WIFI"), (second, "file:")):
        with pytest.raises(InputError, match=f"{entry.name}: secret wifi.*{place}"):
            entry.secret("wifi")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="inventory"):
        Inventory.load(tmp_path / "none.csv")
