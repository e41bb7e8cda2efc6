"""Requests over MQTT: ``.../api``, ``.../api/<module>``, ``.../api/<module>/<method>``.

Replies go to ``.../reply``, QoS 1, to the broker that the request came from. Retained requests are
ignored: they would be done again after every connection.
"""

from ..compat import TimeoutError, const, wait_for_ms
from .dispatch import CONFIRM

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

    dispatcher = node.dispatcher()
    unseal = None
    if dispatcher.settings["mqtt_secret"] and not topic.endswith("/" + CONFIRM.replace(".", "/")):
        unseal = _unseal(dispatcher, topic)
    dispatcher.submit(payload, "mqtt", send, module, method, unseal)


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


def _unseal(dispatcher, topic):
    secret = dispatcher.settings["mqtt_secret"]
    signatures = dispatcher.signatures
    if signatures is None or signatures.secret != secret:
        from .signature import Signatures

        signatures = dispatcher.signatures = Signatures(secret, dispatcher.node.clock)
    return lambda envelope: signatures.open(topic, envelope)
