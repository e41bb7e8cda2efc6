"""The client of one node's API: requests with ids of their own, replies to whom they belong."""

import itertools
import json
import re
import secrets
import threading

from fieldpost_tools.api import streams
from fieldpost_tools.api.errors import ApiCallError, ApiLinkError, ApiTimeout
from fieldpost_tools.api.replies import Reply
from fieldpost_tools.errors import InputError

#: The default of a node's ``api.max_request``.
_USUAL_BYTES = 4096
_TOO_LONG = re.compile(r"request longer than (\d+)")


class Client:
    """Calls the methods of a node. Any number of threads may call at once.

    ``transport`` is a ``MqttTransport`` or a ``SerialTransport``; ``timeout_s`` limits every call.
    Made, it is connected; it is a context manager that closes. Raises ApiLinkError.

    Attribute: ``ignored``, messages that answered no call of ours (those of other clients, too).
    """

    TIMEOUT_S = 10.0
    #: The node's own limit (``api.max_request``) is at most that.
    MAX_REQUEST_BYTES = 65536

    def __init__(self, transport, timeout_s=TIMEOUT_S):
        self.timeout_s = timeout_s
        self.ignored = 0
        self._transport = transport
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._waiting = {}
        self._complaint = None
        self._lock = threading.Lock()
        transport.open(self._receive, self._lost)

    def call(self, method, arguments=None, /, **more):
        """The value of ``module.method``, called with arguments by name.

        They come as a dict, by keyword, or both. Raises ApiCallError with the node's error,
        ApiTimeout, ApiLinkError; InputError for a name without a dot and for what is no JSON.
        """
        return _value(method, self._exchange(method, self._request(method, arguments, more)))

    def stream(self, method, arguments=None, /, **more):
        """Iterate over the items of a reply of any length, fetched part by part.

        For methods whose value is an array; another value is the only item. The node makes the
        reply while it is fetched, and forgets it after a minute in which it is not. ``timeout_s``
        is for each part. Raises like ``call``, also in the middle.
        """
        parts = self._parts(method, self._request(method, arguments, more))
        return streams.items(method, parts)

    def batch(self, calls):
        """Several calls in one request: ``[(method, arguments), ...]``, done in this order.

        Returns a list of their values; in the place of one that the node refused stands its
        ApiCallError. Raises like ``call``.
        """
        requests = [self._request(method, arguments, {}) for method, arguments in calls]
        replies = self._exchange("batch", {"requests": requests})
        if not isinstance(replies, list):
            return _value("batch", replies)
        if len(replies) != len(calls):
            raise ApiLinkError(f"batch: {len(replies)} replies to {len(calls)} requests")
        pairs = zip(calls, replies, strict=True)
        return [_result(method, reply) for (method, _), reply in pairs]

    def notify(self, method, arguments=None, /, **more):
        """Call a method without wanting to know what becomes of it (``noreply``)."""
        request = {"noreply": True, **self._request(method, arguments, more)}
        self._transport.send(self._encode(method, request))

    def close(self):
        """Close the connection; calls that wait fail."""
        self._lost(ApiLinkError(f"{self._transport}: closed"))
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exc_info):
        self.close()

    def _request(self, method, arguments, more):
        module, dot, name = method.partition(".")
        if not (module and dot and name):
            raise InputError("method", method, "module.method, as gateways.readValue")
        return {"module": module, "method": name, **(arguments or {}), **more}

    def _parts(self, method, request):
        """Yield the parts of a streamed reply; one that is lost is asked for again."""
        reply = self._exchange(method, {**request, "stream": 1})
        number = 1
        while True:
            yield _part(method, reply, number)
            if reply.get("last"):
                return
            number += 1
            request = {"stream": reply["stream"], "part": number}
            try:
                reply = self._exchange(method, request)
            except ApiTimeout:
                reply = self._exchange(method, request)

    def _exchange(self, method, request):
        """Send a request under an id of its own and wait for the reply."""
        id = f"{self._prefix}.{next(self._numbers)}"
        data = self._encode(method, {"id": id, **request})
        reply = Reply(method, len(data))
        with self._lock:
            self._waiting[id] = reply
            self._complaint = None
        try:
            self._transport.send(data, id)
            return reply.wait(self.timeout_s, lambda: self._hint(reply))
        finally:
            with self._lock:
                del self._waiting[id]

    def _encode(self, method, request):
        try:
            text = json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            data = text.encode()
        except (ValueError, TypeError) as error:
            raise InputError(method, str(error), "arguments that JSON can say") from None
        if len(data) > self.MAX_REQUEST_BYTES:
            raise InputError(method, f"{len(data)} bytes", f"at most {self.MAX_REQUEST_BYTES}")
        return data

    def _hint(self, reply):
        """Words about why there may be no answer."""
        words = self._transport.hint()
        if self._complaint:
            words += f"; it says {self._complaint!r}"
        elif reply.size > _USUAL_BYTES:
            words += f"; the request has {reply.size} bytes, most nodes take {_USUAL_BYTES}"
        return words

    # Called by the transport's thread

    def _receive(self, data):
        try:
            message = json.loads(data)
        except ValueError:
            message = None
        with self._lock:
            meant = self._meant(message)
        for reply in meant:
            reply.take(message)
        self.ignored += not meant

    def _meant(self, message):
        """The replies that a message belongs to, as a list."""
        reply = self._waiting.get(_id(message))
        if reply:
            return [reply]
        if not isinstance(message, dict) or "error" not in message or "id" in message:
            return []
        # The node could not even read the id: it may have been our request, or must have been.
        self._complaint = str(message["error"])
        waiting = list(self._waiting.values())
        if len(waiting) == 1 and not self._transport.shared:
            return waiting
        limit = _TOO_LONG.fullmatch(self._complaint)
        return [one for one in waiting if limit and one.size > int(limit[1])]

    def _lost(self, error):
        with self._lock:
            waiting = list(self._waiting.values())
        for reply in waiting:
            reply.fail(error)


def _id(message):
    """The id of a reply, or of the replies to a batch; None if there is none of ours."""
    if isinstance(message, list) and message:
        message = message[0]
    id = message.get("id") if isinstance(message, dict) else None
    return id if isinstance(id, str) else None


def _value(method, reply):
    result = _result(method, reply)
    if isinstance(result, ApiCallError):
        raise result
    return result


def _result(method, reply):
    """The value of a reply, or its error as an exception."""
    if isinstance(reply, dict) and "error" in reply:
        return ApiCallError(method, str(reply["error"]))
    if isinstance(reply, dict) and "value" in reply:
        return reply["value"]
    raise ApiLinkError(f"{method}: the node's reply has neither value nor error")


def _part(method, reply, number):
    """The text of a part of a streamed reply."""
    text = _value(method, reply)
    if not isinstance(text, str) or reply.get("part") != number or "stream" not in reply:
        raise ApiLinkError(f"{method}: the node does not answer with part {number} of a stream")
    return text
