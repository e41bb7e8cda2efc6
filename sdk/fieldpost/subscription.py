"""Subscriptions: one log each, and those who read it."""

from .events import RECORDS_DROPPED
from .subscriber import Subscriber


class Subscription:
    """One log and those who read it.

    Beside the reasons of its log, ``dropped`` counts ``paused`` (see ``Subscriber.pause``) and
    ``deleted`` records.
    """

    #: Its row of the configuration, set by the node.
    config = None

    def __init__(self, id, ring, rules, bus):
        self.id = id
        self.ring = ring
        self.bus = bus
        ring.on_drop = self._dropped
        #: The flush rules, a validated ``flush`` table.
        self.rules = rules
        self.subscribers = {}
        self._inactive = False

    def record(self, point, ticks):
        """Store a point's value with the time ``ticks``; False if it was not stored."""
        return not self._inactive and self.ring.append(point.id, point.value, point.text, ticks)

    def subscribe(self, config, outlet, first_id=0):
        """Attach a ``Subscriber``, which reads from the oldest record kept; returns it.

        One that the log knows from before a restart goes on where it was. Flush ids follow
        ``first_id``.
        """
        subscriber = Subscriber(self, config, outlet, first_id)
        self.subscribers[subscriber.name] = subscriber
        self.ring.cursors.append(subscriber)
        self.ring.listeners.append(subscriber.wake)
        self.activate(self.ring.next)
        return subscriber

    def remove(self, name, reason="unsubscribed"):
        """Detach a subscriber, which tells its reader the reason. KeyError if there is none."""
        subscriber = self.subscribers.pop(name)
        self.ring.cursors.remove(subscriber)
        self.ring.listeners.remove(subscriber.wake)
        self.ring.forget(name)
        subscriber.end(reason)
        self.activate(self.ring.next)

    def close(self):
        """End every subscriber, and forget the records."""
        self._clear(
            min([self.ring.next] + [one.acked for one in self.subscribers.values()]), "deleted"
        )
        for name in list(self.subscribers):
            self.remove(name)

    def state(self):
        """What the node's state object says of this log."""
        ring = self.ring
        lost = ring.dropped.get("rejected", 0) + ring.dropped.get("invalid", 0)
        return {
            "stream": ring.stream,
            "next": ring.next_seq,
            "stored": max(0, ring.next_seq - (ring.next - ring.stored)),
            "kept": ring.next - ring.oldest,
            "acquired": ring.next - ring.opened + lost,
            "dropped": ring.dropped,
            "mode": ring.mode,
            "flash": ring.flash,
            "subscribers": {
                name: {
                    "unacked": ring.next - reader.acked,
                    "delivered": reader.delivered,
                    "resent": reader.resent,
                }
                for name, reader in self.subscribers.items()
            },
        }

    def _dropped(self, reason, count):
        self.bus.emit(RECORDS_DROPPED, self.id, (reason, count))

    def activate(self, needed):
        """Record, unless every subscriber is paused inactive: then the log is emptied.

        ``needed`` is the index from which on one of them needed the records until now.
        """
        readers = self.subscribers.values()
        self._inactive = bool(readers) and all(reader.inactive for reader in readers)
        if self._inactive:
            self._clear(needed, "paused")

    def _clear(self, needed, reason):
        ring = self.ring
        lost = ring.next - max(needed, ring.oldest)
        ring.clear()
        if lost > 0:
            ring.count_drop(reason, lost)
