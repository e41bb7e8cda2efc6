"""Signatures by published vectors, filters, and the pauses between attempts."""

from core_kit import refused
from webhook_kit import section

from fieldpost.errors import ConfigError
from fieldpost.webhook import filters, retry, signature

STANDARD = {
    "signature": "standard",
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "secret_old": None,
}
#: standardwebhooks.com's own example.
ID, UNIX_MS, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330999, b'{"test": 2432232314}'
CODE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def row(**keys):
    """One endpoint's validated row."""
    made = section(dict({"name": "a", "url": "http://x/"}, **keys))
    return made["shared"]


def test_the_hmac_header():
    made = {"signature": "hmac", "secret": "key", "signature_header": "X-Sig"}
    text = b"The quick brown fox jumps over the lazy dog"
    code = "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    assert signature.headers(made, "id", None, text) == {"X-Sig": code}
    assert row(signature="hmac", secret="k")["signature_header"] == "X-OpenCrate-Signature"


def test_standard_webhooks():
    made = signature.headers(STANDARD, ID, UNIX_MS, BODY)
    assert made["webhook-signature"] == CODE
    assert (made["webhook-id"], made["webhook-timestamp"]) == (ID, "1614265330")


def test_standard_webhooks_while_secrets_are_rotated():
    rotated = {
        "signature": "standard",
        "secret": "whsec_bmV3IHNlY3JldCBvZiB0aGUgc2VydmVy",
        "secret_old": STANDARD["secret"],
    }
    codes = signature.headers(rotated, ID, UNIX_MS, BODY)["webhook-signature"].split(" ")
    assert len(codes) == 2 and codes[1] == CODE and codes[0] != CODE


def test_toggles_severity_nodes():
    data = {"severity": "warning"}

    def wants(event, key="ahu-1/t", **keys):
        return bool(filters.routes(row(**keys), event, key, data))

    assert wants("alarm_raised") and wants("fdd_fault_cleared") and wants("device_down")
    assert not wants("alarm_acknowledged") and not wants("value_changed")
    assert wants("alarm_acknowledged", alarm_acknowledged=True)
    assert not wants("alarm_raised", alarm_raised=False)
    assert not wants("alarm_raised", min_severity="critical")
    assert wants("alarm_raised", min_severity="warning")
    assert wants("alarm_raised", nodes="pump, ahu-") and not wants("alarm_raised", nodes="pump")


def test_rules_take_the_place_of_toggles():
    made = row(
        rules=[
            {"event": "message_publish", "topics": ["a/+"], "urls": ["http://y/", "http://z/"]},
            {"event": "message_publish", "action": "said"},
            {"event": "client_connected"},
        ]
    )
    both = [(None, "http://y/"), (None, "http://z/"), ("said", None)]
    assert filters.routes(made, "message_publish", "main", {"topic": "a/b"}) == both
    assert filters.routes(made, "message_publish", "main", {"topic": "b"}) == both[2:]
    assert filters.routes(made, "client_connected", "main", {}) == [(None, None)]
    assert not filters.routes(made, "alarm_raised", "v/n", {})


def test_tags():
    wanted = row(
        tags=[
            {"tag": "site", "value": "hq"},
            {"tag": "floor", "op": "!=", "value": "1"},
            {"tag": "critical", "op": "exists"},
        ]
    )["tags"]
    good = {"site": "hq", "floor": "2", "critical": "yes"}
    assert filters.tagged(wanted, good)
    assert filters.tagged(wanted, None), "a node that cannot be resolved passes"
    for key, value in (("site", "x"), ("floor", "1"), ("critical", None)):
        assert not filters.tagged(wanted, dict(good, **{key: value})), key


def test_what_a_status_means():
    for status in (200, 202, 299):
        assert retry.verdict(status) == retry.OK
    for status in (408, 425, 429, 500, 503, 599):
        assert retry.verdict(status) == retry.RETRY
    for status in (301, 400, 401, 404, 422):
        assert retry.verdict(status) == retry.FAILED
    assert retry.verdict(410) == retry.GONE


def test_pauses():
    fixed = {"retry": "fixed"}
    assert [retry.delay_ms(fixed, n, 0) for n in (1, 2, 3, 4)] == [5000, 30000, 120000, None]
    growing = row(retry="exponential")
    for attempts, ms in ((1, 500), (2, 1250), (3, 3125), (4, 7812), (5, 19531)):
        delay = retry.delay_ms(growing, attempts, 0)
        assert ms * 3 // 4 <= delay <= ms * 5 // 4, (attempts, delay)
    assert retry.delay_ms(growing, 6, 32200) is None
    assert retry.delay_ms(row(retry="exponential", retry_cap_ms=1000), 9, 0) <= 1250


def test_what_is_refused():
    for keys, words in (
        ({"provider": "nobody"}, "provider"),
        ({"url": "ftp://x/"}, "url"),
        ({"url": "file:///config.json"}, "url"),
        ({"signature": "hmac"}, "secret"),
        ({"signature": "standard", "secret": "c2hvcnQ="}, "secret"),
        ({"auth": "basic", "user": "u"}, "password"),
        ({"auth": "oauth2", "token_url": "http://x/"}, "client_id"),
        ({"headers": {"Bad\r\nName": "x"}}, "headers"),
        ({"topics": ["a/#/b"]}, "topics[0]"),
        ({"tags": [{"tag": "a", "op": "<", "value": "1"}]}, "tags[0].op"),
        ({"rules": [{"event": "nothing"}]}, "rules[0].event"),
    ):
        path = refused(ConfigError, lambda keys=keys: row(**keys)).split(":")[0]
        assert path == "webhooks.endpoints[0]." + words, path
    one = {"name": "a", "url": "http://x/"}
    assert "endpoints[1].name" in refused(ConfigError, section, one, one)
