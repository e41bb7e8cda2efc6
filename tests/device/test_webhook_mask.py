"""What is shown of URLs and bodies; messages cut to what a record holds."""

import json
from binascii import a2b_base64, b2a_base64

from webhook_kit import section

from fieldpost.schema import SCHEMA
from fieldpost.webhook.endpoint import Row
from fieldpost.webhook.mask import hide, mask, preview
from fieldpost.webhook.payload import fit

SECRETS = {"secret": 'say "s3cret"', "token": "t0ken", "password": "pässword"}


def row(**keys):
    """An endpoint's row."""
    made = section(dict({"name": "a", "url": "http://h/"}, **keys))
    return Row(made["endpoints"][0], made["shared"])


def test_urls_show_their_host_only():
    for url, shown in (
        ("https://hooks.slack.com/services/T0/B0/XXXX", "https://hooks.slack.com/***"),
        ("http://10.0.0.5:8080/hook", "http://10.0.0.5:8080/***"),
        ("https://h?key=1", "https://h/***"),
        ("https://h#key", "https://h/***"),
        ("https://[::1]:8/x", "https://[::1]:8/***"),
        ("https://me:pass@h/x", "https://h/***"),
        ("https://h", "https://h"),
        ("https://h/", "https://h/"),
        ("file:///data/x.jsonl", "file:///data/x.jsonl"),
        (None, None),
    ):
        assert mask(url) == shown, url


def test_the_secret_of_a_url():
    made = row(url="https://h/in/{secret}", secret="T0/B0", rules=[])
    assert made["url"] == "https://h/in/T0/B0"
    assert made.expand("https://h/{secret}?x") == "https://h/T0/B0?x" and made.expand(None) is None
    assert hide(made)["url"] == "https://h/***"
    assert "T0" not in json.dumps(hide(made))


def test_every_secret_of_the_schema_is_hidden():
    rules = [{"event": "device_down", "urls": ["https://h/k3y"]}]
    made = row(options={"topic": "plant"}, headers={"X-Key": "k3y"}, rules=rules, **SECRETS)
    shown = hide(made)
    for key in SCHEMA["webhook"]:
        words = SCHEMA["webhook"][key].split()
        if words[0] == "secret":
            assert shown["has_" + key] is (key in SECRETS) and key not in shown, key
        elif words[:2] == ["map", "secret"]:
            assert shown["has_" + key] and key not in shown, key
        else:
            assert key in shown, key
    assert (shown["has_options"], shown["has_headers"]) == (["topic"], ["X-Key"])
    assert shown["rules"][0]["urls"] == ["https://h/***"]
    assert made["rules"][0]["urls"] == ["https://h/k3y"], "the row itself is as it was"


def test_previews_have_no_secrets():
    made = row(options={"routing_key": "R" * 32, "a": "b"}, headers={"X": "h3ader"}, **SECRETS)
    hidden = list(SECRETS.values()) + ["R" * 32, "h3ader"]
    body = json.dumps({"a": hidden, "b": "bbb"}).encode()
    text = preview(body, made)
    assert text.count("***") == 5 and "bbb" in text, text
    for secret in hidden:
        assert secret not in text and secret[1:] not in text, text
    assert preview(b"text: " + SECRETS["secret"].encode(), made) == "text: ***"
    assert preview(json.dumps(SECRETS["secret"]).encode() * 9, made) == '"***"' * 9


def test_previews_are_short_texts():
    made = row()
    assert preview(b"x" * 5000, made) == "x" * 96 == preview(b"x" * 96, made)
    assert preview(b"", made) == ""
    for size in range(1020, 1028):
        assert preview(("x" * size + "€" * 9).encode(), made) == "x" * 96
    assert preview("€€".encode()[:4], made) is None and preview(b"\xff\0", made) is None


def test_no_piece_of_a_secret_is_left_where_the_look_ends():
    made = row(options={"key": "S" * 200})
    for size in range(40):
        body = b'"%s"' % (b"S" * 200) * 4 + b"-" * size + b"S" * 200 + b"S" * 200
        text = preview(body, made)
        assert "S" not in text, text


# -- payloads


def message(size, **more):
    payload = b2a_base64(bytes([at & 255 for at in range(size)])).decode().strip()
    return dict({"topic": "t", "payload": payload}, **more)


def test_payloads_that_fit_stay():
    for size in (0, 1, 2, 3, 100):
        data = message(size)
        assert fit(data, 1024, 20) is data


def test_payloads_that_do_not_are_cut_and_marked():
    for size in (1000, 1001, 1002, 5000):
        for topic in ("t", "long/" * 60):
            data = message(size, topic=topic)
            made = fit(data, 1024, 20)
            assert made["payload_bytes"] == size and made["topic"] == topic
            kept = a2b_base64(made["payload"].encode())
            assert 200 < len(kept) < size
            assert kept == bytes([at & 255 for at in range(len(kept))])
            assert len(json.dumps(made)) < 1024 - 32 - 20
            assert "payload_bytes" not in data


def test_without_any_room_the_payload_is_empty():
    made = fit(message(500, topic="x" * 1000), 1024, 20)
    assert (made["payload"], made["payload_bytes"]) == ("", 500)
