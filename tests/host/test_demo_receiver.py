"""The receiver of webhooks: what is signed is taken once, everything else is refused."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from fieldpost.webhook import signature
from fieldpost_tools.webhook_receiver import Receiver, verified

BODY = json.dumps({"event": "alarm_raised"}).encode()


@pytest.fixture
def receiver():
    with Receiver("key") as receiver:
        yield receiver


@pytest.fixture
def post(receiver):
    """``post(id, body, secret)``: the status of the answer; all on one connection."""
    url = urlsplit(receiver.url)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)

    def post(id, body=BODY, secret="key", **headers):
        row = {**receiver.endpoint("local"), "secret": secret}
        signed = signature.headers(row, id, 0, body)
        connection.request("POST", url.path, body, {"webhook-id": id, **signed, **headers})
        response = connection.getresponse()
        assert response.read() == b""
        return response.status

    yield post
    connection.close()


def test_the_vector_of_the_signature():
    body = b"The quick brown fox jumps over the lazy dog"
    code = "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    assert verified("key", body, code)
    assert not verified("key2", body, code)
    assert not verified("key", body + b".", code)
    assert not verified("key", body, code.removeprefix("sha256="))
    assert not verified("key", body, "sha256=ü")
    assert not verified("key", body, None)


def test_what_is_signed_is_taken_once(receiver, post):
    assert [post("a"), post("b"), post("a")] == [200, 200, 200]
    assert [one.id for one in receiver.arrivals] == ["a", "b"]
    assert receiver.arrivals[0].body == {"event": "alarm_raised"}
    assert (receiver.again, receiver.refused) == (1, 0)


def test_what_is_not_signed_with_the_secret_is_refused(receiver, post):
    assert post("a", secret="other") == 401
    assert post("a", **{"X-OpenCrate-Signature": "sha256=00"}) == 401
    assert (receiver.arrivals, receiver.refused) == ([], 2)
    assert post("a") == 200


def test_a_body_that_is_no_json_or_too_long_is_refused(receiver, post):
    assert post("a", b"{") == 400
    assert post("a", b" " * 65537) == 413
    assert (receiver.arrivals, receiver.refused) == ([], 0)
