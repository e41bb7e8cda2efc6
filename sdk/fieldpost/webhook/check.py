"""Checks what the tables of the schema cannot say of webhooks; loaded for that only."""

from ..errors import ConfigError
from ..http_request import Request
from ..rows import one_of
from ..topics import valid_filter
from .file_sink import path_of
from .filters import TOGGLES
from .mask import HIDDEN, mask
from .signature import key

#: Keys that a way of authentication needs.
_NEEDS = {
    "basic": "user password",
    "bearer": "token",
    "api_key": "token",
    "oauth2": "token_url client_id client_secret",
}
#: Events of the node's own MQTT client, by RMQTT's names.
_MQTT = (
    "session_created",
    "session_terminated",
    "session_subscribed",
    "session_unsubscribed",
    "client_connect",
    "client_connack",
    "client_connected",
    "client_disconnected",
    "client_subscribe",
    "client_unsubscribe",
    "message_publish",
    "message_delivered",
    "message_acked",
    "message_dropped",
)


def check(webhooks):
    """Check a ``webhooks`` section whose tables are valid. Raises ConfigError."""
    seen = set()
    for i, row in enumerate(webhooks["endpoints"]):
        path = "webhooks.endpoints[%d]" % i
        if row["name"] in seen:
            raise ConfigError(path + ".name", row["name"], "a name used only once")
        seen.add(row["name"])
        _check_provider(row, path, webhooks["queue"]["capacity"])
        _check_request(row, path)
        _check_secrets(row, path)
        _check_filters(row["topics"], path + ".topics")
        _check_tags(row["tags"], path + ".tags")
        for j, rule in enumerate(row["rules"]):
            _check_rule(rule, "%s.rules[%d]" % (path, j), row["secret"])


def _check_provider(row, path, capacity):
    try:
        name = "fieldpost.webhook.providers." + row["provider"]
        provider = __import__(name, None, None, ("render",))
        good = callable(provider.render)
    except (ImportError, AttributeError):
        good = False
    if not good:
        raise ConfigError(path + ".provider", row["provider"], "the name of a provider")
    if row["url"] is None and not hasattr(provider, "URL"):
        raise ConfigError(path + ".url", None, "a URL, with this provider")
    if row["batch"] > 1 and not hasattr(provider, "batch"):
        raise ConfigError(path + ".batch", row["batch"], "1, with this provider")
    if row["batch"] > 1 and row["batch"] * 2 > capacity:
        raise ConfigError(path + ".batch", row["batch"], "at most half of queue.capacity")


def _check_request(row, path):
    if row["url"] is not None:
        _check_url(row["url"], path + ".url", row["secret"])
    if row["token_url"]:
        _check_url(row["token_url"], path + ".token_url", None, False)
    headers = dict(row["headers"])
    headers[row["signature_header"]] = headers[row["auth_header"]] = ""
    try:
        Request("POST", "http://x/", headers, b"")
    except ValueError as error:
        raise ConfigError(path + ".headers", "{...}", "good headers (%s)" % error) from None


def _check_url(url, path, secret, file=True):
    allowed = "an http, https or file:/// URL" if file else "an http or https URL"
    if "{secret}" in url and secret is None:
        raise ConfigError(path, mask(url)[:60], "a secret beside it, for {secret}")
    try:
        url = url.replace("{secret}", secret or "")
        if file and url.startswith("file:"):
            path_of(url)
        else:
            Request("POST", url, {}, b"")
        good = not url.endswith("/" + HIDDEN)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(path, mask(url)[:60], allowed)


def _check_secrets(row, path):
    needed = _NEEDS.get(row["auth"], "").split()
    if row["signature"] != "none":
        needed.append("secret")
    for name in needed:
        if row[name] is None:
            raise ConfigError(path + "." + name, None, "a value, with this auth or signature")
    if row["signature"] == "standard":
        for name in ("secret", "secret_old"):
            try:
                good = row[name] is None or len(key(row[name])) >= 16
            except ValueError:
                good = False
            if not good:
                raise ConfigError(path + "." + name, "***", "base64 of at least 16 bytes")


def _check_filters(filters, path):
    for i, one in enumerate(filters):
        try:
            valid_filter(one)
        except ValueError:
            raise ConfigError("%s[%d]" % (path, i), one[:60], "an MQTT topic filter") from None


def _check_tags(tags, path):
    for i, one in enumerate(tags):
        if one["op"] not in ("=", "!=", "exists"):
            raise ConfigError("%s[%d].op" % (path, i), one["op"], "one of =, !=, exists")
        if one["op"] != "exists" and one["value"] is None:
            raise ConfigError("%s[%d].value" % (path, i), None, "text")


def _check_rule(rule, path, secret):
    known = TOGGLES + _MQTT
    if rule["event"] not in known:
        raise ConfigError(path + ".event", rule["event"], one_of(known))
    for i, url in enumerate(rule["urls"]):
        _check_url(url, "%s.urls[%d]" % (path, i), secret)
    _check_filters(rule["topics"], path + ".topics")


def compact(webhooks):
    """The section as a node is built from it: ``shared`` has the keys of the first endpoint,
    every endpoint only its name and what differs from them."""
    shared = webhooks["endpoints"][0]
    endpoints = []
    for row in webhooks["endpoints"]:
        own = {key: row[key] for key in row if not _same(row[key], shared[key])}
        own["name"] = row["name"]
        endpoints.append(own)
    return dict(webhooks, endpoints=endpoints, shared=shared)


def _same(a, b):
    return a == b and type(a) is type(b)
