"""validate() on anything that JSON can hold: a completed configuration or a ConfigError."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config_cases import DRIVERS, anything, damaged, places, table
from fieldpost.config import SCHEMA, load_driver, rows, validate
from fieldpost.errors import ConfigError
from fieldpost.rows import Row, describe

SECRET = "Xy7-geheim"


def outcome(config):
    """``(completed configuration, None)`` or ``(None, error)``, whose text has to say it all."""
    try:
        return validate(config), None
    except ConfigError as raised:
        error = raised
    for part in (error.path, repr(error.value), error.allowed):
        assert part
        assert part in str(error)
    return None, error


@given(damaged() | anything)
def test_a_completed_configuration_or_a_config_error(config):
    before = copy.deepcopy(config)
    made, error = outcome(config)
    assert repr(config) == repr(before)
    if error is None:
        assert sorted(made) == sorted(SCHEMA["node"])
        assert json.loads(json.dumps(made)) == made
        assert validate(json.loads(json.dumps(made))) == made


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(table("node"))
def test_errors_of_nearly_valid_configurations_are_about_the_whole(config):
    _, error = outcome(config)
    # A row by itself is valid here; what is left to refuse is what rows say of each other, which
    # of its keys an alarm's type needs, and what stands in texts.
    others = ("alarms[", "faults[", "webhooks")
    if error is None or error.path.startswith(others) or "encoding" in error.path:
        return
    words = ("only once", "exactly one point", "one of", "md5", "format", "frame_bytes")
    assert any(word in error.allowed for word in words)


@given(table("broker"), st.data())
def test_secrets_are_never_shown(broker, data):
    broker["password"] = SECRET
    spots = [{"mqtt": [broker]}, {"mqtt": broker}, {"mqtt": [[broker]]}, {"mqtt": [{"a": broker}]}]
    config = data.draw(st.sampled_from(spots)) | {"node": "gw"}
    where, key = data.draw(st.sampled_from(list(places(config))))
    change = data.draw(st.sampled_from(["wrap", "rename", "long", "list", "none"]))
    if change == "wrap":
        where[key] = {"password": where[key]}
    elif change == "list":
        where[key] = [where[key]]
    elif change == "rename" and isinstance(where, dict):
        where[f"{key}s"] = where.pop(key)
    elif change == "long":
        broker["password"] = SECRET * 100
    _, error = outcome(config)
    assert error is None or SECRET not in f"{error} {error.value!r}"


@pytest.mark.parametrize("name", DRIVERS)
def test_rows_of_drivers_are_rows(name):
    driver = load_driver(name)
    for text in {**rows(driver.DEVICE), **rows(driver.POINT)}.values():
        row = Row(text)
        assert describe(row)
        assert row.required or row.default is None or row.default == row.default
