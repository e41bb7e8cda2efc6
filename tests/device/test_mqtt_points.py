"""The MQTT driver without a broker: filters, JSON paths, types, and what a message does."""

import json

from driver_kit import make, values

from fieldpost.drivers.mqtt import Mqtt, convert, covers, follow, parse_path, valid_filter
from fieldpost.errors import ConfigError

PLAIN = {"type": "number", "scale": 1, "offset": 0, "decimals": None}


def driver(*points):
    return make(Mqtt, points, host="broker")


def arrives(one, topic, payload, retain=False):
    """Give a message; what the points hold then."""
    one._on_message(topic, payload, retain, False)
    return values(one)


def why_not(function, *args):
    """The reason of the ValueError that must come."""
    try:
        function(*args)
    except ValueError as error:
        return error.args[0] if error.args else ""
    raise AssertionError("accepted: %r" % (args,))


def test_filters_cover_topics():
    for pattern, topic in (
        ("a/b", "a/b"),
        ("a/+", "a/b"),
        ("+/+", "a/b"),
        ("a/+", "a/"),
        ("+", "a"),
        ("/+", "/a"),
        ("#", "a/b/c"),
        ("a/#", "a/b/c"),
        ("a/#", "a"),
        ("+/b/#", "a/b"),
        ("$SYS/#", "$SYS/uptime"),
    ):
        assert covers(pattern, topic), (pattern, topic)
    for pattern, topic in (
        ("a/b", "a/c"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("a/+", "a"),
        ("a/+", "a/b/c"),
        ("+", "/a"),
        ("a/#", "ab"),
        ("#", "$SYS/uptime"),
        ("+/uptime", "$SYS/uptime"),
    ):
        assert not covers(pattern, topic), (pattern, topic)


def test_filters():
    for text in ("a", "a/b", "+", "#", "a/+/b", "+/#", "/", "a//b"):
        assert valid_filter(text), text
    for text in ("a#", "#/a", "a/#/b", "a+/b", "a/b+", "++", "a\0b"):
        assert not valid_filter(text), text


def test_paths():
    for text, steps in (
        ("$", []),
        ("$.a", ["a"]),
        ("$.a.b[0]", ["a", "b", 0]),
        ("$[12][3].x-y", [12, 3, "x-y"]),
        ("$['a.b'][\"c d\"].e", ["a.b", "c d", "e"]),
        ("$['a]'][0]", ["a]", 0]),
        ("$.ä", ["ä"]),
    ):
        assert parse_path(text) == steps, text
    for text in (
        "a",
        "a.b",
        ".a",
        "$a",
        "$.",
        "$..a",
        "$.a.",
        "$[",
        "$[]",
        "$[a]",
        "$[-1]",
        "$[1.5]",
        "$['a'",
        "$['a",
        "$.a[0]b",
        "$[0]]",
    ):
        why_not(parse_path, text)


def test_following_a_path():
    document = [json.loads('{"a": {"b": [1, {"c": null}]}, "0": 5}')]
    assert follow(document, ["a", "b", 0], "") == 1
    assert follow(document, ["0"], "") == 5
    assert follow(document, ["a", "b", 1, "c"], "") is None
    assert follow([7], [], "") == 7
    for steps in (["x"], ["a", "x"], ["a", "b", 2], ["a", 0], [0], ["a", "b", "0"], ["0", "x"]):
        assert why_not(follow, document, steps, "$.it") == "no $.it", steps
    assert why_not(follow, [], [], "$") == "bad JSON"


def test_numbers():
    for value, wanted in (
        (5, 5),
        (-2.5, -2.5),
        ("21.5", 21.5),
        (" 7\n", 7),
        ("+12", 12),
        ("1e3", 1000.0),
        ("007", 7),
        ((1 << 64) - 1, (1 << 64) - 1),
        (-(1 << 63), -(1 << 63)),
        ("9223372036854775808", 1 << 63),
    ):
        got = convert(value, PLAIN)
        assert got == wanted and type(got) is type(wanted), value
    for value in (
        True,
        False,
        "",
        " ",
        "ON",
        "nan",
        "inf",
        "1_0",
        "21,5",
        "5 °C",
        "1e999",
        "-",
        [],
        [1],
        {},
        1 << 64,
        -(1 << 63) - 1,
        "9" * 400,
        float("nan"),
        float("inf"),
    ):
        assert why_not(convert, value, PLAIN) == "not a number", value
    assert why_not(convert, None, PLAIN) == "null"


def test_scale_and_decimals():
    scaled = dict(PLAIN, scale=0.5, offset=-1)
    assert convert(7, scaled) == 2.5
    assert convert("7", dict(scaled, decimals=0)) == 2
    assert convert(1 << 62, dict(PLAIN, scale=2)) == 1 << 63
    assert convert(3, dict(PLAIN, scale=0.1, decimals=2)) == 0.3
    assert convert(5, dict(PLAIN, decimals=2)) == 5


def test_booleans():
    config = dict(PLAIN, type="bool")
    for value in (True, 1, "true", "ON", " on ", "1"):
        assert convert(value, config) is True, value
    for value in (False, 0, "false", "Off", "0"):
        assert convert(value, config) is False, value
    for value in (2, -1, "", "yes", 0.5, [], {}):
        assert why_not(convert, value, config) == "not true or false", value


def test_texts_and_json():
    config = dict(PLAIN, type="text")
    for value, wanted in (("ä b", "ä b"), (5, "5"), (True, "true"), ([1], "[1]"), ("", "")):
        assert convert(value, config) == wanted
    config = dict(PLAIN, type="json")
    for value in ({"a": [1, 2.5, "x", None]}, [], 5, "x", False):
        assert convert(value, config) == value
    assert why_not(convert, {"a": [1, float("inf")]}, config) == "not a number"
    assert why_not(convert, None, config) == "null"


def test_one_message_feeds_many_points():
    one = driver(
        {"topic": "plug/+/state", "path": "$.power.w"},
        {"topic": "plug/+/state", "path": "$.on", "type": "bool"},
        {"topic": "plug/1/state", "path": "$.name", "type": "text"},
        {"topic": "plug/#", "path": "$", "type": "json"},
        {"topic": "raw"},
    )
    message = b'{"power": {"w": 12.5}, "on": true, "name": "lamp"}'
    found = arrives(one, "plug/1/state", message)
    assert found[:3] == [12.5, True, "lamp"] and found[3]["power"] == {"w": 12.5}
    assert found[4] == "init"
    assert arrives(one, "raw", b"-3")[4] == -3
    assert arrives(one, "other", b"5") == arrives(one, "raw/x", b"5")
    assert one.counters == {"updates": 5}


def test_what_cannot_be_used_fails_and_is_counted():
    one = driver(
        {"topic": "t", "path": "$.a"},
        {"topic": "t", "path": "$.b", "type": "bool"},
        {"topic": "t", "type": "json"},
    )
    good = b'{"a": 1, "b": false}'
    assert arrives(one, "t", good)[:2] == [1, False]
    for payload, wanted in (
        (b"", ["bad JSON"] * 3),
        (b"{", ["bad JSON"] * 3),
        (b'{"a": 1} x', ["bad JSON"] * 3),
        (b"\xff\xfe", ["bad JSON"] * 3),
        (b"[" * 4000, ["bad JSON"] * 3),
        (b"{}", ["no $.a", "no $.b", {}]),
        (b"[1]", ["no $.a", "no $.b", [1]]),
        (b'{"a": null, "b": 5}', ["null", "not true or false", {"a": None, "b": 5}]),
        (b'{"a": "x", "b": "off"}', ["not a number", False, {"a": "x", "b": "off"}]),
        (b"null", ["no $.a", "no $.b", "null"]),
    ):
        assert arrives(one, "t", payload) == wanted, payload[:20]
        # The last good value stays, as for every point that fails.
        assert one.points[0].value == 1
    assert one.counters["bad JSON"] == 15 and one.counters["no $.a"] == 3
    assert arrives(one, "t", good)[:2] == [1, False]
    one = driver({"topic": "t"}, {"topic": "t", "type": "text"})
    assert arrives(one, "t", b"\xff") == ["not text", "not text"]
    assert arrives(one, "t", "grün".encode()) == ["not a number", "grün"]


def test_retained_messages_may_be_left_out():
    one = driver({"topic": "t", "retained": False}, {"topic": "t"})
    assert arrives(one, "t", b"1", retain=True) == ["init", 1]
    assert arrives(one, "t", b"2") == [2, 2]


def test_every_message_reaches_the_triggers():
    one = driver({"topic": "t"})
    seen = []
    one.points[0].triggers = (lambda point, _ticks: seen.append(point.value),)
    for payload in (b"1", b"1", b"x", b"2", b"2"):
        arrives(one, "t", payload)
    assert seen == [1, 1, 2, 2]


def test_refused_configurations():
    for point in (
        {},
        {"topic": ""},
        {"topic": "a#"},
        {"topic": "a/#/b"},
        {"topic": "t", "path": "a"},
        {"topic": "t", "path": "$.a["},
        {"topic": "t", "type": "int"},
        {"topic": "t", "stale_ms": 5},
    ):
        try:
            driver(point)
        except ConfigError:
            continue
        raise AssertionError(point)
