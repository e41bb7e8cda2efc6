"""A configuration's way to a node: compared, sent in parts, applied, and followed until the node
has confirmed it or returned to the one before.

The node keeps what was sent of a configuration, so a push that was interrupted goes on where it
ended. Whether the reply to ``apply`` came or not, what became of it is what the node says.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fieldpost_tools.api.errors import ApiCallError, ApiLinkError, ApiTimeout
from fieldpost_tools.config import check, diff, secrets
from fieldpost_tools.errors import ToolError

CONFIRM_S = 60
#: A node's own limits where its configuration does not say them.
_LIMIT_BYTES = 4096
#: What stands around a part: the request, its signature, the MQTT packet.
_AROUND_BYTES = 192
_SEALED_BYTES = 512
_UNREACHED = (ApiTimeout, ApiLinkError)


class PushError(ToolError):
    """The node has refused the configuration, or has returned to the one before."""


@dataclass
class Node:
    """How a node is reached.

    ``client``: an ``api.Client``; ``fleet_key`` signs; ``report(words)`` is told what goes on.
    ``reach(name)`` makes the client of a node that has got another name, None over a serial line.
    There, and with ``lock_out``, it may have a configuration that allows no other over MQTT.
    """

    client: Any
    fleet_key: str | None = None
    report: Callable[[str], None] = lambda _words: None
    reach: Callable[[str], Any] | None = None
    lock_out: bool = False
    #: A request may take so long, the node's validation of a large configuration included.
    APPLY_TIMEOUT_S = 60.0
    #: An answer that says how it goes.
    STATUS_TIMEOUT_S = 3.0
    STATUS_PAUSE_S = 0.3
    #: Without any progress for so long, sending is given up.
    PATIENCE_S = 60.0
    #: Without a reply to ``apply``, the node may be about to do it for so long.
    LOST_S = 15.0
    #: What coming back takes, beside ``confirm_s``: to a broker, after a restart.
    RECONNECT_S = 20.0
    RESTART_S = 60.0


@dataclass
class Result:
    """What became of a push.

    ``status`` is "ok", "unchanged" or "planned"; ``before`` and ``after`` are revisions,
    ``changes`` a list of ``diff.Change``, ``applied`` the node's own words for what it changed.
    """

    status: str
    before: int
    after: int
    changes: list = field(default_factory=list)
    applied: list = field(default_factory=list)

    @property
    def detail(self):
        """One line for a person."""
        if self.status == "unchanged":
            return "has it already"
        words = self.applied or [str(change) for change in self.changes]
        return ", ".join(words) if len(words) < 4 else f"{len(words)} changes"


@dataclass(frozen=True)
class Current:
    """What a node has: secrets are shown as ``has_…``."""

    revision: int
    config: dict[str, Any]


def current(client):
    """The ``Current`` of a node. Raises ApiError."""
    (reply,) = client.stream("config.get")
    return Current(reply["revision"], reply["config"])


def push(node, now, wanted, name, folder=".", confirm_s=CONFIRM_S, dry_run=False):
    """Bring the configuration ``wanted`` to a ``Node`` that has ``now``; its ``Result``.

    ``name`` is what errors call it. Secrets may be references, files of them relative to
    ``folder``. Where ``wanted`` has a ``revision``, the node must be at it. Raises CheckError for
    what is not allowed, PushError for what the node refuses or returns from, ApiError.
    """
    made = check.complete(wanted, now.config)
    check.check(made, name)
    changes = diff.compare(now.config, made)
    if not changes or dry_run:
        return Result("planned" if changes else "unchanged", now.revision, now.revision, changes)
    _guard(node, now.config, made)
    made = secrets.resolved(made, folder)
    check.check(made, name)
    data = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
    document = _Document(node, now.config, data, wanted.get("revision", now.revision))
    document.send()
    node.report("applying")
    result = _apply(node, "config.apply", {"confirm_s": confirm_s}, now, made["node"])
    result.changes = changes if result.status == "ok" else []
    return result


def rollback(node, now, revision=None, confirm_s=CONFIRM_S):
    """Give a node its former configuration, or that of ``revision``, as a new revision.

    Returns a ``Result``; raises as ``push``.
    """
    arguments = {"revision": _former(node.client) if revision is None else revision}
    (former,) = node.client.stream("config.getRevision", arguments)
    _guard(node, now.config, former["config"])
    arguments["confirm_s"] = confirm_s
    result = _apply(node, "config.rollback", arguments, now, former["config"]["node"])
    result.changes = diff.compare(now.config, former["config"])
    return result


def _guard(node, now, wanted):
    """Refuse to close the door that we came through."""
    closes = check.takes_more(now) and not check.takes_more(wanted)
    if node.reach and not node.lock_out and closes:
        raise PushError(
            "with this, the node would take no other configuration over MQTT: its api.mqtt lacks"
            ' "config.*" (--lock-out is for those who want that)'
        )


def _former(client):
    found = client.call("config.history")
    if not found:
        raise PushError("there is no former configuration")
    return found[0]["revision"]


class _Document:
    """A configuration that goes to a node, in parts that it takes."""

    def __init__(self, node, now, data, base):
        self._node = node
        self._data = data
        self.names = now.get("node"), json.loads(data).get("node")
        self._part_bytes = _part_bytes(now)
        sha256 = hashlib.sha256(data).hexdigest()
        self._begin = {"size": len(data), "sha256": sha256, "base": base}
        if node.fleet_key:
            self._begin["signature"] = signature(node.fleet_key, self.names[0], base, sha256)

    def send(self):
        """Send what the node does not have yet; go on where the connection was lost."""
        offset, reached, deadline = None, -1, time.monotonic() + self._node.PATIENCE_S
        while offset != len(self._data):
            try:
                offset = self._more(offset)
            except _UNREACHED:
                if time.monotonic() > deadline:
                    raise
                offset = None
                time.sleep(self._node.STATUS_PAUSE_S)
            if offset is not None and offset > reached:
                reached, deadline = offset, time.monotonic() + self._node.PATIENCE_S
                self._node.report(f"sent {offset} of {len(self._data)} bytes")

    def _more(self, offset):
        if offset is None:
            return self._call("config.begin", self._begin)["offset"]
        part = base64.b64encode(self._data[offset : offset + self._part_bytes]).decode()
        return self._call("config.put", {"offset": offset, "data": part})["offset"]

    def _call(self, method, arguments):
        try:
            return self._node.client.call(method, arguments)
        except ApiCallError as error:
            if error.text in ("invalid method", "invalid module"):
                raise PushError(_not_allowed(error)) from None
            raise


def _part_bytes(now):
    """How much of a configuration goes into one request, before base64."""
    api = now.get("api") or {}
    request = (api.get("max_request") or _LIMIT_BYTES) - _AROUND_BYTES
    packets = [row.get("receive_max_bytes") or _LIMIT_BYTES for row in now.get("mqtt") or ()]
    if packets:
        request = min(request, min(packets) - _SEALED_BYTES)
    return max(request * 3 // 4, 32)


def _not_allowed(error):
    return (
        f"{error}: the node takes no configuration this way;"
        ' its api.mqtt would have to list "config.*" (or use --serial)'
    )


def signature(fleet_key, node, base, sha256):
    """The signature of a configuration, as the node checks it: hexadecimal HMAC-SHA256."""
    text = f"config\n{node}\n{base}\n{sha256}"
    return hmac.new(fleet_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def _apply(node, method, arguments, now, name):
    """Have the node change its configuration, and follow it to the end; a ``Result``."""
    reply = _call(node, method, arguments) or {}
    after = reply.get("revision")
    if reply and not reply["changed"] and not reply["restart"]:
        return Result("unchanged", now.revision, after)
    confirm_s = reply.get("confirm_s", arguments["confirm_s"])
    spare_s = node.RECONNECT_S if reply and not reply["restart"] else node.RESTART_S
    deadline = time.monotonic() + confirm_s + spare_s
    with contextlib.ExitStack() as stack:
        if name != now.config["node"] and node.reach:
            node.client = stack.enter_context(node.reach(name))
        after = _followed(node, now.revision, after, deadline)
    return Result("ok", now.revision, after, applied=reply.get("changed", []))


def _call(node, method, arguments):
    """The reply; None where there is none: then the node may have done it, or do it still."""
    usual, node.client.timeout_s = node.client.timeout_s, node.APPLY_TIMEOUT_S
    try:
        return node.client.call(method, arguments)
    except _UNREACHED:
        return None
    except ApiCallError as error:
        if error.text == "timeout":
            return None
        raise PushError(error.text) from None
    finally:
        node.client.timeout_s = usual


def _followed(node, before, after, deadline):
    """Wait until the node has confirmed the configuration; its revision.

    ``after`` is None where the reply was lost. Raises PushError if the node has returned.
    """
    status = _status(node, deadline)
    lost = time.monotonic() + node.LOST_S
    while True:
        returned, trial = status["returned"], status["trial"]
        if trial:
            after = trial["revision"]
            node.report(_trial_words(trial))
        elif returned and returned["revision"] > before:
            raise PushError(_returned_words(returned, before, status["revision"]))
        elif status["revision"] != before:
            return status["revision"]
        elif time.monotonic() > (lost if after is None else deadline):
            raise PushError("the node has not applied it")
        time.sleep(node.STATUS_PAUSE_S)
        status = _status(node, deadline)


def _trial_words(trial):
    waits = ", ".join(trial["waits"]) or "its start"
    left = "" if trial["left_s"] is None else f", {trial['left_s']} s left"
    return f"revision {trial['revision']} waits for {waits}{left}"


def _returned_words(returned, before, now):
    return (
        f"revision {returned['revision']} not kept: {returned['reason']};"
        f" what was revision {before} is back as {now}"
    )


def _status(node, deadline):
    """``config.status`` as soon as the node answers; it may restart meanwhile."""
    while True:
        usual, node.client.timeout_s = node.client.timeout_s, node.STATUS_TIMEOUT_S
        try:
            return node.client.call("config.status")
        except _UNREACHED as error:
            if time.monotonic() > deadline:
                raise ApiTimeout(
                    "applied, but the node has not come back: it is off,"
                    f" or at another broker for good ({error})"
                ) from None
            node.report("waiting for the node")
            time.sleep(node.STATUS_PAUSE_S)
        finally:
            node.client.timeout_s = usual
