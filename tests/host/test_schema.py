"""The JSON Schema of the configuration against the validation it is generated beside."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given

from config_cases import damaged, table
from fieldpost.config import SCHEMA, validate
from fieldpost.errors import ConfigError
from fieldpost_tools import schema

FILE = Path(__file__).parents[2] / "docs" / "config.schema.json"
CHECK = jsonschema.Draft202012Validator(schema.json_schema())

FULL = {
    "node": "gw-1",
    "mqtt": [{"host": "10.0.0.5", "password": "…", "tls": {"ca": "/ca.pem"}}],
    "devices": [
        {
            "id": "ahu-1",
            "driver": "modbus",
            "interval": 1000,
            "host": "ahu",
            "points": [
                {"id": 1, "name": "dat", "unit": "°C", "table": "holding", "register": 0},
                {"name": "fan", "table": "coil", "register": 5, "log": 60000},
            ],
        },
        {"id": "v", "driver": "virtual", "points": [{"name": "x", "kind": "sine"}]},
    ],
    "subscriptions": [{"id": "a/b", "addresses": ["ahu-1/dat"], "flush": {"onInterval": 900000}}],
    "subscribers": [{"subscriber": "c", "ack": False}, {"subscriber": "d", "ack": "md5"}],
    "publish": {"value": [{"topic": "{node}/{node_id}", "broker": "main"}]},
    "watchdog_ms": None,
}


def changed(value, *path):
    """The full configuration with one place replaced, or removed if the value is ``...``."""
    config = json.loads(json.dumps(FULL))
    place = config
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return config


BAD = {
    "no object": [],
    "no node": changed(..., "node"),
    "reserved name": changed("nodes", "node"),
    "slash in a name": changed("a/b", "node"),
    "name too long": changed("x" * 65, "node"),
    "null where a value is required": changed(None, "node"),
    "unknown key": changed(1, "nodde"),
    "unknown key of a table": changed("i", "mqtt", 0, "hots"),
    "object for a list": changed(FULL["mqtt"][0], "mqtt"),
    "too many": changed([{"host": "h", "name": f"n{i}"} for i in range(5)], "mqtt"),
    "port": changed(65536, "mqtt", 0, "port"),
    "bool for a number": changed(True, "mqtt", 0, "port"),
    "text for a number": changed("1883", "mqtt", 0, "port"),
    "fraction": changed(1.5, "mqtt", 0, "keepalive_s"),
    "number for a secret": changed(1234, "mqtt", 0, "password"),
    "text for a bool": changed("yes", "mqtt", 0, "publish"),
    "no host": changed(..., "mqtt", 0, "host"),
    "unknown driver": changed("modbuss", "devices", 0, "driver"),
    "no driver": changed(..., "devices", 0, "driver"),
    "key of another driver": changed(502, "devices", 1, "port"),
    "device without its driver's key": changed(..., "devices", 0, "host"),
    "point without its driver's key": changed(..., "devices", 0, "points", 0, "register"),
    "point key of another driver": changed("sine", "devices", 0, "points", 0, "kind"),
    "word": changed("holdings", "devices", 0, "points", 0, "table"),
    "literal that is no word": changed(True, "subscribers", 0, "ack"),
    "point id": changed(0, "devices", 0, "points", 0, "id"),
    "rule of no ms": changed(0, "devices", 0, "points", 0, "log"),
    "path": changed("/a", "subscriptions", 0, "id"),
    "list item": {**FULL, "clock": {"ntp": [5]}},
    "map value": {**FULL, "tags": {"site": 5}},
    "no topic": changed(..., "publish", "value", 0, "topic"),
    "empty topic": changed("", "publish", "value", 0, "topic"),
    "qos": changed(2, "publish", "value", 0, "qos"),
}


def test_is_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(CHECK.schema)


def test_file_is_current():
    assert FILE.read_text(encoding="utf-8") == schema.text(), (
        "python -m fieldpost_tools.schema > docs/config.schema.json"
    )


def test_accepts_a_configuration_and_its_completion():
    CHECK.validate({"node": "gw"})
    CHECK.validate(FULL)
    CHECK.validate(json.loads(json.dumps(validate(FULL))))


@given(table("node") | damaged())
def test_accepts_whatever_validation_accepts(config):
    try:
        made = validate(config)
    except ConfigError:
        return
    CHECK.validate(config)
    CHECK.validate(made)


@pytest.mark.parametrize("name", BAD)
def test_refuses_what_validation_refuses(name):
    with pytest.raises(ConfigError):
        validate(BAD[name])
    assert not CHECK.is_valid(BAD[name])


def test_describes_every_key_with_its_default():
    definitions = CHECK.schema["$defs"]
    for name in set(SCHEMA) - {"device", "point"}:
        assert set(definitions[name]["properties"]) == set(SCHEMA[name])
    assert definitions["broker"]["properties"]["window"] == {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 200,
        "default": 20,
    }
    assert definitions["broker"]["properties"]["password"]["writeOnly"]
    assert definitions["point.modbus"]["required"] == ["name", "table", "register"]


def test_knows_every_driver():
    assert {"modbus", "virtual", "host"} <= set(schema.drivers())
    assert "base" not in schema.drivers()
