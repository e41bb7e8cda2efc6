"""The client of one node's API: requests with ids of their own, replies to whom they belong."""

import itertools
import json
import secrets
import threading

from fieldpost_tools.api.errors import ApiCallError, ApiLinkError
from fieldpost_tools.api.replies import Reply
from fieldpost_tools.errors import InputError


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
        self._lock = threading.Lock()
        transport.open(self._receive, self._lost)

    def call(self, method, arguments=None, /, **more):
        """The value of ``module.method``, called with arguments by name.

        They come as a dict, by keyword, or both. Raises ApiCallError with the node's error,
        ApiTimeout, ApiLinkError; InputError for a name without a dot and for what is no JSON.
        """
        return self._value(method, self._exchange(method, self._request(method, arguments, more)))

    def batch(self, calls):
        """Several calls in one request: ``[(method, arguments), ...]``, done in this order.

        Returns a list of their values; in the place of one that the node refused stands its
        ApiCallError. Raises like ``call``.
        """
        requests = [self._request(method, arguments, {}) for method, arguments in calls]
        replies = self._exchange("batch", {"requests": requests})
        if not isinstance(replies, list):
            return self._value("batch", replies)
        if len(replies) != len(calls):
            raise ApiLinkError(f"batch: {len(replies)} replies to {len(calls)} requests")
        pairs = zip(calls, replies, strict=True)
        return [self._result(method, reply) for (method, _), reply in pairs]

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

    def _exchange(self, method, request):
        """Send a request under an id of its own and wait for the reply."""
        reply = Reply(method)
        id = f"{self._prefix}.{next(self._numbers)}"
        data = self._encode(method, {"id": id, **request})
        with self._lock:
            self._waiting[id] = reply
        try:
            self._transport.send(data)
            return reply.wait(self.timeout_s, self._transport.hint)
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

    def _value(self, method, reply):
        result = self._result(method, reply)
        if isinstance(result, ApiCallError):
            raise result
        return result

    def _result(self, method, reply):
        if isinstance(reply, dict) and "error" in reply:
            return ApiCallError(method, str(reply["error"]))
        if isinstance(reply, dict) and "value" in reply:
            return reply["value"]
        raise ApiLinkError(f"{method}: the node's reply has neither value nor error")

    # Called by the transport's thread

    def _receive(self, data):
        try:
            message = json.loads(data)
        except ValueError:
            message = None
        with self._lock:
            reply = self._waiting.get(_id(message))
        if reply:
            reply.take(message)
        else:
            self.ignored += 1

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
