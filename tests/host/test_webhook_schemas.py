"""Bodies of the providers against schemas written from the services' public documentation."""

import copy
import json

import jsonschema
import pytest
import webhook_events as events
from hypothesis import given
from hypothesis import strategies as st

import device_suite
from fieldpost.webhook.providers import datastream, ntfy, pagerduty, rainmaker, slack, teams

PROVIDERS = {
    "datastream": datastream,
    "ntfy": ntfy,
    "pagerduty": pagerduty,
    "rainmaker": rainmaker,
    "slack": slack,
    "teams": teams,
}
#: Bytes of a body, where the service has a limit.
LIMITS = {"ntfy": 4096, "teams": 28 * 1024, "pagerduty": 512 * 1024}
FOLDER = device_suite.ROOT / "tests" / "schemas"
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
CHECKS = {name: jsonschema.Draft202012Validator(SCHEMAS[name]) for name in SCHEMAS}


def rendered(name, event):
    """The body as bytes, or None."""
    made = PROVIDERS[name].render(event, events.ENDPOINT, events.Node)
    return made and made[2]


def check(name, event):
    data = rendered(name, event)
    if data is None:
        return
    assert len(data) <= LIMITS.get(name, 1 << 20)
    CHECKS[name].validate(json.loads(data, parse_constant=lambda word: 1 / 0))


def test_every_schema_is_valid_and_has_a_provider():
    assert set(SCHEMAS) == set(PROVIDERS)
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_event(name):
    for event in events.every():
        check(name, event)


@pytest.mark.parametrize("name", PROVIDERS)
def test_awkward_events(name):
    for event in events.awkward():
        check(name, event)


@pytest.mark.parametrize("name", PROVIDERS)
@given(
    message=st.text(max_size=300),
    repeat=st.integers(1, 60),
    value=st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=40),
    unit=st.text(max_size=16),
    severity=st.sampled_from(events.SEVERITIES),
    state=st.sampled_from(["raised", "cleared", "acknowledged"]),
)
def test_any_text(name, message, repeat, value, unit, severity, state):
    event = events.alarm(state, message=message * repeat, value=value, severity=severity)
    event["point"] = dict(events.POINT, unit=unit)
    check(name, event)


def broken(name, change):
    body = json.loads(rendered(name, events.alarm()))
    change(body)
    return body


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("slack", lambda body: body["blocks"][0]["text"].update(text="a" * 151)),
        ("slack", lambda body: body["blocks"][0]["text"].update(type="mrkdwn")),
        ("slack", lambda body: body["blocks"][1]["fields"].extend(body["blocks"][1]["fields"])),
        ("slack", lambda body: body["attachments"][0].update(color="red")),
        ("teams", lambda body: body["attachments"][0]["content"]["body"].append({"type": "X"})),
        ("teams", lambda body: body["attachments"][0]["content"].update(version="9")),
        ("pagerduty", lambda body: body.pop("payload")),
        ("pagerduty", lambda body: body["payload"].update(severity="life_safety")),
        ("pagerduty", lambda body: body.update(dedup_key="k" * 256)),
        ("ntfy", lambda body: body.update(priority=6)),
        ("ntfy", lambda body: body.update(topic="a/b")),
        ("datastream", lambda body: body.update(tags=None)),
        ("datastream", lambda body: body.pop("slug")),
        ("rainmaker", lambda body: body.update(Timestamp="2026-08-01")),
        ("rainmaker", lambda body: body["EventData"].pop("Payload")),
    ],
)
def test_schemas_refuse_what_the_services_refuse(name, change):
    assert not CHECKS[name].is_valid(copy.deepcopy(broken(name, change)))
