"""Requests over MQTT: ``.../api``, ``.../api/<module>``, ``.../api/<module>/<method>``.

Replies go to ``.../reply``, QoS 1, to the broker that the request came from. Retained requests are
ignored: they would be done again after every connection.
"""

from ..compat import TimeoutError, const, wait_for_ms
from . import submit
from .call import CONFIRM

#: For so long a message of a reply waits for room in the link; then it is dropped, and counted.
_ROOM_MS = const(10000)


def receive(node, link, topic, payload):
    """Have a request answered. ``topic`` (str) is below the node's control topic."""
    levels = topic[len(node.prefix) + 1 :].split("/") + [None, None]
    if len(levels) > 5:
        node.counters["bad_requests"] += 1
        return
    module, method = levels[1], levels[2]

    def send(data):
        return _send(link, node.prefix + "/reply", data)

    secret = node.settings["api"]["mqtt_secret"]
    unseal = None
    if secret and not topic.endswith("/" + CONFIRM.replace(".", "/")):

        def unseal(envelope):
            return _signatures(node, secret).open(topic, envelope)

    submit(node, payload, "mqtt", send, module, method, unseal)


async def _send(link, topic, data):
    try:
        return await wait_for_ms(_publish(link, topic, data), _ROOM_MS)
    except TimeoutError:
        return False


async def _publish(link, topic, data):
    while await link.ready(len(topic) + len(data)):
        if link.publish(topic, data, 1):
            return True
    return False


def _signatures(node, secret):
    dispatcher = node.dispatcher()
    known = dispatcher.signatures
    if known is None or known.secret != secret:
        from .signature import Signatures

        known = dispatcher.signatures = Signatures(secret, node.clock)
    return known
