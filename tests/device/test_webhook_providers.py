"""What providers make of events: the fields of each service, its limits, awkward texts."""

import json

import webhook_events as events
from webhook_events import ENDPOINT, Node

from fieldpost.webhook.providers import (
    datastream,
    generic,
    ntfy,
    pagerduty,
    rainmaker,
    rmqtt,
    slack,
    teams,
)

#: Bodies at the limits of the services are larger than what a node sends.
HEAP = "1m"
ALL = (datastream, generic, ntfy, pagerduty, rainmaker, rmqtt, slack, teams)
INCIDENTS = {
    "alarm_raised": "trigger",
    "alarm_acknowledged": "acknowledge",
    "alarm_cleared": "resolve",
    "fdd_fault_raised": "trigger",
    "fdd_fault_cleared": "resolve",
    "device_down": "trigger",
    "device_recovered": "resolve",
}


def body(provider, event, **endpoint):
    made = provider.render(event, dict(ENDPOINT, **endpoint), Node)
    return made and json.loads(made[2])


def test_every_provider_renders_every_event():
    for provider in ALL:
        for event in events.every() + events.awkward():
            made = provider.render(event, ENDPOINT, Node)
            if made is None:
                assert provider in (pagerduty, rainmaker)
                continue
            url, headers, data = made
            assert url.startswith("https://")
            assert headers["Content-Type"].startswith("application/json")
            assert isinstance(data, bytes)
            json.loads(data)
            assert b"NaN" not in data and b"nan," not in data


def test_the_same_event_gives_the_same_bytes():
    for provider in ALL:
        first = provider.render(events.alarm(), ENDPOINT, Node)
        assert provider.render(events.alarm(), ENDPOINT, Node) == first


# -- Slack


def test_slack():
    made = body(slack, events.alarm(message="a < b & c > d"))
    header, section = made["blocks"]
    assert header["text"]["text"] == "alarm raised (high_limit): ahu-1/dat"
    assert made["text"] == header["text"]["text"]
    assert made["attachments"] == [{"color": "#f59e0b", "text": "a &lt; b &amp; c &gt; d"}]
    fields = [field["text"] for field in section["fields"]]
    assert "*Value*\n31.5 °C" in fields
    assert "*Tags*\narea=roof, site=hq" in fields
    assert "*Time*\n" + events.TS_ISO in fields


def test_slack_colours():
    colours = ("#3b82f6", "#f59e0b", "#dc2626", "#7c2d12")
    for severity, colour in zip(events.SEVERITIES, colours):
        assert body(slack, events.alarm(severity=severity))["attachments"][0]["color"] == colour
    assert body(slack, events.device("down"))["attachments"][0]["color"] == "#dc2626"
    assert body(slack, events.device("recovered"))["attachments"][0]["color"] == "#3b82f6"


def test_slack_limits():
    for event in events.awkward():
        header, section = body(slack, event)["blocks"]
        assert 0 < len(header["text"]["text"]) <= 150
        assert 0 < len(section["fields"]) <= 10
        assert all(len(field["text"]) <= 2000 for field in section["fields"])


def test_slack_cuts_no_escape_in_two():
    for size in range(1990, 2001):
        text = body(slack, events.alarm(message="a" * size + "&<>"))["attachments"][0]["text"]
        assert len(text) <= 2000
        plain = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert "&" not in plain
        assert text.endswith("…") or size < 1988


# -- Teams


def test_teams():
    made = body(teams, events.alarm())
    (attachment,) = made["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    title, text, facts = attachment["content"]["body"]
    assert (title["type"], text["type"], facts["type"]) == ("TextBlock", "TextBlock", "FactSet")
    assert title["color"] == "warning"
    assert text["text"] == "too hot"
    assert {"title": "Value", "value": "31.5 °C"} in facts["facts"]
    cleared = body(teams, events.alarm("cleared"))["attachments"][0]["content"]["body"][0]
    assert cleared["color"] == "good"


def test_teams_size():
    for event in events.awkward():
        assert len(teams.render(event, ENDPOINT, Node)[2]) <= 28 * 1024
    worst = events.alarm(message=events.EMOJI * 9, value=events.EMOJI, type=events.EMOJI)
    assert 20000 < len(teams.render(worst, ENDPOINT, Node)[2]) <= 28 * 1024


# -- PagerDuty


def test_pagerduty_actions():
    for event in events.every():
        made = body(pagerduty, event)
        action = INCIDENTS.get(event["event"])
        assert action == (made and made["event_action"])
        assert made is None or ("payload" in made) == (action == "trigger")


def test_pagerduty_recovery_has_the_key_of_what_it_ends():
    alarms = [body(pagerduty, events.alarm(s)) for s in ("raised", "acknowledged", "cleared")]
    assert [one["dedup_key"] for one in alarms] == ["hq/alarm/gw-1/ahu-1/dat/high_limit"] * 3
    faults = [body(pagerduty, events.fault(s))["dedup_key"] for s in ("raised", "cleared")]
    assert faults == ["hq/fault/gw-1/AHU & Co/expression"] * 2
    devices = [body(pagerduty, events.device(s))["dedup_key"] for s in ("down", "recovered")]
    assert devices == ["hq/device/gw-1/ahu-1/down"] * 2
    plain = body(pagerduty, events.device("down"), options={})
    assert plain["dedup_key"] == "fieldpost/device/gw-1/ahu-1/down"


def test_pagerduty_long_keys_stay_apart():
    keys = set()
    for end in ("a", "b"):
        made = body(pagerduty, events.fault(equipment="e" * 400 + end))
        assert len(made["dedup_key"]) <= 255
        keys.add(made["dedup_key"])
    assert len(keys) == 2


def test_pagerduty_payload():
    wanted = ("info", "warning", "critical", "critical")
    for severity, level in zip(events.SEVERITIES, wanted):
        payload = body(pagerduty, events.alarm(severity=severity))["payload"]
        assert payload["severity"] == level
    assert payload["summary"] == "ahu-1/dat: too hot"
    assert (payload["source"], payload["component"]) == ("gw-1", "ahu-1/dat")
    assert payload["timestamp"] == events.TS_ISO
    assert payload["custom_details"]["value"] == 31.5
    assert payload["custom_details"]["point"]["tags"]["site"] == "hq"
    for event in events.awkward():
        assert len(body(pagerduty, event)["payload"]["summary"]) <= 1024


def test_pagerduty_routing_key_and_url():
    made = pagerduty.render(events.alarm(), dict(ENDPOINT, options={}, url=""), Node)
    assert made[0] == "https://events.pagerduty.com/v2/enqueue"
    assert json.loads(made[2])["routing_key"] == "s3cret"
    assert body(pagerduty, events.alarm())["routing_key"] == "R" * 32


# -- ntfy


def test_ntfy():
    made = body(ntfy, events.alarm())
    assert made == {
        "topic": "plant",
        "title": "alarm raised (high_limit): ahu-1/dat",
        "message": "too hot",
        "tags": ["warning", "alarm_raised"],
        "priority": 3,
    }
    levels = [body(ntfy, events.alarm(severity=s))["priority"] for s in events.SEVERITIES]
    assert levels == [2, 3, 4, 5]


def test_ntfy_posts_to_the_root():
    url, _, data = ntfy.render(
        events.alarm(), {"url": "https://ntfy.example:8443/plant/", "options": {}}, Node
    )
    assert url == "https://ntfy.example:8443"
    assert json.loads(data)["topic"] == "plant"
    made = ntfy.render(events.alarm(), dict(ENDPOINT, url="https://ntfy.example/"), Node)
    assert made[0] == "https://ntfy.example/"


def test_ntfy_size():
    for event in events.awkward():
        assert len(ntfy.render(event, ENDPOINT, Node)[2]) <= 4096


# -- datastream


def test_datastream_value():
    url, _, data = datastream.render(events.value(), ENDPOINT, Node)
    assert url == "https://hooks.example/in/values"
    assert json.loads(data) == {
        "deviceId": "ahu-1",
        "property": "dat",
        "timestamp": events.TS,
        "payload": 21.5,
        "name": "dat",
        "unit": "°C",
        "tags": {"site": "hq", "area": "roof"},
        "receivedAt": None,
        "scaledPayload": None,
        "externalId": None,
        "propertyId": None,
        "equipmentId": None,
        "gatewayInterfaceId": None,
        "slug": None,
        "isOutOfService": None,
    }


def test_datastream_routes():
    for event in events.every():
        url = datastream.render(event, ENDPOINT, Node)[0]
        route = "events"
        if event["event"].startswith("alarm_"):
            route = "alarms"
        elif event["event"] == "value_changed":
            route = "values"
        assert url == "https://hooks.example/in/" + route
    options = {"alarms": "/v2/a"}
    assert (
        datastream.render(events.alarm(), dict(ENDPOINT, options=options), Node)[0]
        == "https://hooks.example/in/v2/a"
    )


def test_datastream_tags_are_texts_and_never_null():
    bare = events.value()
    bare["point"] = None
    assert body(datastream, bare)["tags"] == {}
    bare["point"] = dict(events.POINT, unit="", tags={"floor": 3})
    made = body(datastream, bare)
    assert made["tags"] == {"floor": "3"}
    assert made["unit"] is None


def several(provider):
    """URL and body of two values at once."""
    made = [dict(events.value(n), ts_ms=n) for n in (1, 2)]
    parts = [provider.part(one, ENDPOINT, Node) for one in made]
    url, headers, data = provider.batch(parts, made[0], ENDPOINT, Node)
    assert headers["Content-Type"] == "application/json"
    return url, json.loads(data)


def test_datastream_several_values():
    url, found = several(datastream)
    assert url.endswith("/values")
    assert [(one["payload"], one["timestamp"]) for one in found] == [(1, 1), (2, 2)]
    assert found[0] == body(datastream, dict(events.value(1), ts_ms=1))


def test_generic_several_values():
    url, found = several(generic)
    assert url == ENDPOINT["url"]
    assert found == [body(generic, dict(events.value(n), ts_ms=n)) for n in (1, 2)]


def test_rainmaker_several_values():
    _, found = several(rainmaker)
    assert found["EventType"] == "rmaker.event.node_ts_data" and found["Id"] == "gw-1-5-17"
    data = found["EventData"]
    assert data["NodeId"] == "gw-1"
    assert [(one["value"], one["timestamp_ms"]) for one in data["Payload"]] == [(1, 1), (2, 2)]


# -- RMQTT


def test_rmqtt():
    event = events.mqtt("client_connected", keepalive=30, session_present=False)
    assert body(rmqtt, event) == {
        "action": "client_connected",
        "time": "2026-08-01 04:00:00.123",
        "node": "gw-1",
        "ipaddress": None,
        "clientid": "c",
        "username": "undefined",
        "keepalive": 30,
        "session_present": False,
    }
    event["action"] = "mine"
    event["ts_ms"] = None
    made = body(rmqtt, event)
    assert (made["action"], made["time"]) == ("mine", None)


# -- RainMaker


def test_rainmaker_connection():
    made = body(rainmaker, events.mqtt("client_disconnected", reason="timeout"))
    assert made == {
        "EventVersion": "v1",
        "Id": "gw-1-5-17",
        "EventType": "rmaker.event.node_disconnected",
        "Timestamp": "08-01-2026 04:00:00",
        "Description": "client disconnected",
        "EventData": {"UserId": "u-1", "NodeId": "gw-1", "Connected": False},
    }
    made = body(rainmaker, events.mqtt("client_connected"), options={})
    assert made["EventData"] == {"UserId": "", "NodeId": "gw-1", "Connected": True}


def test_rainmaker_names():
    names = {
        "alarm_raised": "alert",
        "fdd_fault_cleared": "alert",
        "device_down": "alert",
        "value_changed": "node_params_changed",
        "message_publish": None,
        "device_discovered": None,
    }
    seen = {}
    for event in events.every():
        made = body(rainmaker, event)
        seen[event["event"]] = made and made["EventType"][len("rmaker.event.") :]
        assert made is None or "Payload" in made["EventData"] or "Connected" in made["EventData"]
    assert {name: seen[name] for name in names} == names
