"""One text for one content; digests of a plan are those of every interpreter."""

from fieldpost.canonical import canonical
from fieldpost.plan import _digest


def text(value):
    return "".join(canonical(value))


def test_the_order_of_keys_and_what_is_null_do_not_matter():
    one = {"b": [1, {"y": None, "x": "ü"}], "a": True, "c": {}, "d": None}
    other = {"d": None, "c": {"z": None}, "a": True, "b": [1, {"x": "ü"}]}
    assert text(one) == text(other) == '{"a":true,"b":[1,{"x":"ü"}],"c":{}}'


def test_what_differs_has_another_text():
    texts = {text(value) for value in ({}, [], None, 0, False, "", [[]], [None], {"a": []})}
    assert len(texts) == 9


def test_a_digest_is_the_same_on_every_interpreter():
    row = {"name": "main", "port": 1883, "tls": None, "tags": {"b": "2", "a": "1"}, "unit": "°C"}
    assert _digest(row) == 0xE81A8BDA
