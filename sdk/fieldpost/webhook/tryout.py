"""Test delivery: an alarm of the type ``test``, sent at once; loaded when somebody asks for it."""

from . import context, deliver, retry
from .endpoint import Delivery
from .queue import Record


class _Tryout(Delivery):
    """A delivery of what is in no queue."""

    def __init__(self, endpoint, record):
        Delivery.__init__(self, endpoint, record, (None, None), 0)
        self.attempts = 1
        self._record = record

    async def render(self, hooks, endpoint, provider):
        """See ``Delivery``."""
        # Its point does not exist, so no tag filter refuses it.
        event = await context.event(hooks, endpoint.row, self._record, None)
        return provider.render(event, endpoint.row, hooks.node)


async def run(hooks, endpoint, number):
    """Send it to an endpoint; returns the ``Delivery``."""
    node = hooks.node
    now = hooks.clock.unix_ms()
    data = {
        "alarm_id": 0,
        "node_id": "test/test",
        "device_id": "test",
        "point_id": "test",
        "type": "test",
        "severity": "info",
        "state": "raised",
        "value": None,
        "message": "Test of " + node.name,
        "timestamp_ms": now,
    }
    value = {"e": "alarm_raised", "k": "test/test", "d": data}
    id = "%s-test-%d-%d" % (node.name.replace(".", "_"), node.boot, number)
    delivery = _Tryout(endpoint, Record(-1, id, now, value))
    if endpoint.held(hooks.clock):
        delivery.status, delivery.error = retry.FAILED, "clock not set"
    else:
        made = await deliver.attempt(hooks, endpoint, delivery)
        delivery.status = retry.OK if made and made.status == retry.OK else retry.FAILED
        if made:
            delivery.http_status, delivery.error = made.http_status, made.error
    hooks.note(delivery)
    return delivery
