"""Signatures verified by others: the ``standardwebhooks`` package and Python's hmac."""

import hashlib
import hmac
import time

import pytest
import webhook_events as events
from standardwebhooks import Webhook, WebhookVerificationError

from fieldpost.webhook import signature
from fieldpost.webhook.providers import datastream, ntfy, pagerduty, rainmaker, slack, teams

OLD = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
ID = "gw-1-5-17"
BODIES = [
    provider.render(event, events.ENDPOINT, events.Node)[2]
    for provider in (datastream, ntfy, pagerduty, rainmaker, slack, teams)
    for event in (events.alarm(), events.alarm(message=events.AWKWARD))
]


def row(scheme, secret, old=None):
    return {
        "signature": scheme,
        "signature_header": "X-OpenCrate-Signature",
        "secret": secret,
        "secret_old": old,
    }


def standard(body, secret, old=None, at_s=None):
    unix_ms = int((time.time() if at_s is None else at_s) * 1000)
    return signature.headers(row("standard", secret, old), ID, unix_ms, body)


@pytest.mark.parametrize("secret", [OLD, NEW])
@pytest.mark.parametrize("body", BODIES)
def test_standard_webhooks(secret, body):
    headers = standard(body, secret)
    assert Webhook(secret).verify(body, headers) is not None
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, {**headers, "webhook-id": "other"})


def test_both_secrets_verify_while_they_are_rotated():
    headers = standard(BODIES[0], NEW, OLD)
    for secret in (NEW, OLD):
        assert Webhook(secret).verify(BODIES[0], headers)
    after = standard(BODIES[0], NEW)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODIES[0], after)


def test_an_old_attempt_is_refused():
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODIES[0], standard(BODIES[0], NEW, at_s=time.time() - 600))


def test_standard_webhooks_vector():
    made = signature.headers(
        row("standard", OLD),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330000,
        b'{"test": 2432232314}',
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert made["webhook-timestamp"] == "1614265330"


def test_hmac_vector():
    body = b"The quick brown fox jumps over the lazy dog"
    made = signature.headers(row("hmac", "key"), ID, None, body)
    code = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    assert made == {"X-OpenCrate-Signature": "sha256=" + code}


@pytest.mark.parametrize("body", BODIES)
def test_hmac_header(body):
    made = signature.headers(row("hmac", "s3cret"), ID, None, body)["X-OpenCrate-Signature"]
    assert made == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
