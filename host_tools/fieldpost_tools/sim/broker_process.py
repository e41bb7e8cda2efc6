"""What runs in the process of the embedded broker: amqtt, with two of its faults removed.

Left as they are, and harmless to Fieldpost, whose acknowledgements are end to end: a QoS 1
message that a subscriber does not acknowledge within 5 s, or that is on its way when the
subscriber's connection breaks, is not sent again; a QoS 0 message goes out with the QoS of the
subscription.
"""

import asyncio
import logging
import os
import sys

from amqtt.broker import Broker
from amqtt.plugins.base import BaseAuthPlugin

KEEPALIVE_GRACE_S = 5  # amqtt itself gives none, the standard half of the keepalive


class AnyoneAuth(BaseAuthPlugin):
    """Lets everyone in, as a known client: amqtt forgets the session of an anonymous one."""

    async def authenticate(self, *, session):  # noqa: ARG002 - amqtt's signature
        """Always true."""
        return True


class EmbeddedBroker(Broker):
    """amqtt's broker; retained messages go to subscribers only, queued ones are not retained."""

    async def _publish_retained_messages_for_subscription(self, subscription, session):
        # amqtt also comes here on CONNECT, with the filters of all clients.
        subscribers = self._subscriptions.get(subscription[0], ())
        if any(subscriber is session for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _publish_session_retained_messages(self, session):
        # What came while the client was away; amqtt marks it as retained.
        handler = self._get_handler(session)
        sending = []
        while handler and not session.retained_messages.empty():
            message = session.retained_messages.get_nowait()
            sending.append(handler.mqtt_publish(message.topic, message.data, message.qos, False))
        await asyncio.gather(*sending, return_exceptions=True)


async def serve(host, port):
    """Run until stdin ends: the program that started us is gone."""
    broker = EmbeddedBroker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
            "timeout_disconnect_delay": KEEPALIVE_GRACE_S,
            "plugins": {f"{__name__}.{AnyoneAuth.__name__}": {}},
        }
    )
    await broker.start()
    abandoned = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, abandoned.set)
    _say_ready()
    await abandoned.wait()


def _say_ready():
    """Tell the parent, then be silent: nobody reads stdout any more."""
    os.write(1, b"ready\n")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def main(host, port):
    """Serve; does not wait for clients or tasks at the end."""
    logging.disable(logging.CRITICAL)
    asyncio.run(serve(host, port))
