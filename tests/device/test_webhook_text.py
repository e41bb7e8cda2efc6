"""Cutting texts to a service's limits."""

import json

import webhook_events as events

from fieldpost.webhook import text


def units(value):
    return sum(2 if ord(char) > 0xFFFF else 1 for char in value)


def test_cut_counts_utf16_units_and_marks_the_end():
    assert text.cut("abcd", 4) == "abcd"
    assert text.cut("abcde", 4) == "abc…"
    assert text.cut("", 4) == ""
    assert text.cut("ab😀", 4) == "ab😀"
    assert text.cut("abc😀", 4) == "abc…"
    assert text.cut("a😀😀", 4) == "a😀…"
    assert text.cut("😀😀", 2) == "…"


def test_cut_at_every_place_of_an_awkward_text():
    for limit in range(1, units(events.AWKWARD) + 2):
        made = text.cut(events.AWKWARD, limit)
        assert units(made) <= limit
        assert limit - units(made) < 2 or made == events.AWKWARD
        assert made == events.AWKWARD or events.AWKWARD.startswith(made[:-1])


def test_cut_bytes_at_every_place():
    size = len(events.AWKWARD.encode())
    for limit in range(size + 2):
        made = text.cut_bytes(events.AWKWARD, limit)
        assert len(made.encode()) <= limit
        assert limit < 3 or limit - len(made.encode()) < 4 or made == events.AWKWARD
        assert made == events.AWKWARD or events.AWKWARD.startswith(made[:-1])
    assert text.cut_bytes(events.AWKWARD, size) == events.AWKWARD


def test_fit_keeps_json_valid_and_uses_most_of_the_room():
    for long in (events.LONG, events.EMOJI, events.AWKWARD * 300, "\x01" * 9000, '"\\' * 5000):
        for limit in (100, 1000, 4096):
            body = text.fit(lambda cut: {"a": [1], "text": cut}, long, limit)
            assert len(body) <= limit
            assert len(body) > limit * 3 // 4 - 40
            kept = json.loads(body)["text"]
            assert kept[-1] == "…" and long.startswith(kept[:-1])


def test_fit_ends_where_uneven_text_is_cut():
    uneven = "a" * 4000 + "\x01" * 4000
    body = text.fit(lambda cut: {"t": cut}, uneven, 2000)
    assert len(json.loads(body)["t"]) > 0 and len(body) <= 2000


def test_fit_refuses_what_is_too_long_without_the_text():
    try:
        text.fit(lambda cut: {"a": "b" * 100, "t": cut}, "text", 100)
    except ValueError as error:
        assert "100" in str(error)
    else:
        raise AssertionError("fitted")


def test_numbers_that_json_has_not_are_null():
    body = json.loads(text.encode({"a": float("nan"), "b": [float("inf"), 1]}))
    assert body == {"a": None, "b": [None, 1]}
