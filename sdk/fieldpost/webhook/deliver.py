"""One attempt: render what is to be delivered, sign it, post it."""

from ..compat import TimeoutError, wait_for_ms
from ..errors import LinkError
from .endpoint import LostError
from .mask import preview
from .retry import FAILED, LOST, MOST_S, OK, RETRY, verdict


class Outcome:
    """``status`` is one of ``retry``; ``http_status``, ``error`` and ``after_ms`` (what the server
    asks to wait) are None where there are none."""

    def __init__(self, status, http_status=None, error=None, after_ms=None):
        self.status = status
        self.http_status = http_status
        self.error = error
        self.after_ms = after_ms


async def attempt(hooks, endpoint, delivery):
    """Deliver once; returns an ``Outcome``, or None: there is nothing to send."""
    row = endpoint.row
    try:
        made = await delivery.render(hooks, endpoint, _provider(row["provider"]))
        if made is None:
            return None
        url, headers, body = made
        delivery.preview = preview(body, row)
        url = row.expand(delivery.url) or url
        request = _post(hooks, endpoint, delivery.id, url, headers, body)
        return await wait_for_ms(request, row["timeout_ms"])
    except LostError:
        return Outcome(LOST, error="dropped")
    except TimeoutError:
        return Outcome(RETRY, error="timeout")
    except (LinkError, OSError) as error:
        return Outcome(RETRY, error=_text(error))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # A bug of the provider, or what no request can carry: another attempt is no better.
        return Outcome(FAILED, error=_text(error))


async def _post(hooks, endpoint, id, url, headers, body):
    row = endpoint.row
    if url.startswith("file://"):
        from .file_sink import append

        append(url, body, row["file_bytes"])
        return Outcome(OK)
    clock = hooks.node.clock
    tls = row["tls"] or hooks.tls
    headers = dict(headers)
    # Told also without a signature: a receiver may get an event twice.
    headers["webhook-id"] = id
    headers.update(row["headers"])
    if row["auth"] != "none":
        from . import auth

        headers.update(await auth.headers(endpoint, hooks.client, clock.mono_ms(), tls))
    if row["signature"] != "none":
        from . import signature

        headers.update(signature.headers(row, id, clock.unix_ms(), body))
    reply = await hooks.client.request("POST", url, headers, body, tls, repeat=True)
    status = verdict(reply.status)
    if reply.status == 401 and endpoint.token:
        # It may have been withdrawn: once more, with a new one.
        endpoint.token, status = None, RETRY
    error = None if status == OK else "status %d" % reply.status
    return Outcome(status, reply.status, error, _after_ms(reply.headers, clock))


def _after_ms(headers, clock):
    asked = headers.get("retry-after")
    if asked is None:
        return None
    from ..http_date import parse_date, retry_after

    now = clock.unix_ms()
    now = parse_date(headers.get("date", "")) if now is None else now // 1000
    seconds = retry_after(asked, now)
    return None if seconds is None else min(seconds, MOST_S) * 1000


def _provider(name):
    return __import__("fieldpost.webhook.providers." + name, None, None, ("render",))


def _text(error):
    return str(error.args[0] if isinstance(error, LinkError) else repr(error))[:80]
