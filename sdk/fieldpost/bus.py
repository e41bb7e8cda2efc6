"""Event bus: typed events and callbacks.

``emit`` costs one dict look-up and allocates nothing while nobody listens to the kind. Callbacks
run inside ``emit`` and must not block; a slow consumer takes a ``Queue`` (``queue.py``). A
callback that raises never stops the others: it is counted and reported as an ``error`` event.
"""

from .compat import print_exception
from .events import ANY, ERROR


class Bus:
    """Publish and subscribe by kind and key prefix. ``failures`` counts raising callbacks."""

    def __init__(self):
        self._subscribers = {}
        self.failures = 0

    def subscribe(self, kind, callback, prefix=""):
        """Call ``callback(kind, key, data)`` for events of ``kind`` whose key has ``prefix``.

        ``kind`` may be ``events.ANY``. Returns a handle for ``unsubscribe``.
        """
        handle = (kind, prefix, callback)
        # A new list: an emit that is going on keeps walking the one it started with.
        self._subscribers[kind] = self._subscribers.get(kind, []) + [handle]
        return handle

    def unsubscribe(self, handle):
        """End a subscription; a handle that is not subscribed is ignored."""
        kept = [item for item in self._subscribers.get(handle[0], ()) if item is not handle]
        if kept:
            self._subscribers[handle[0]] = kept
        else:
            self._subscribers.pop(handle[0], None)

    def queue(self, kind, size, prefix=""):
        """Subscribe a new bounded ``Queue``; its ``handle`` attribute ends the subscription."""
        from .queue import Queue

        queue = Queue(size)
        queue.handle = self.subscribe(kind, queue.put, prefix)
        return queue

    def emit(self, kind, key, data=None):
        """Deliver an event to every subscriber of ``kind`` and of ``events.ANY``."""
        subscribers = self._subscribers
        if not subscribers:
            return
        listeners = subscribers.get(kind)
        if listeners:
            self._deliver(listeners, kind, key, data)
        listeners = subscribers.get(ANY)
        if listeners:
            self._deliver(listeners, kind, key, data)

    def _deliver(self, listeners, kind, key, data):
        for _, prefix, callback in listeners:
            if prefix and not key.startswith(prefix):
                continue
            try:
                callback(kind, key, data)
            except Exception as error:
                self._failed(kind, error)

    def _failed(self, kind, error):
        self.failures += 1
        if kind == ERROR:
            # Reporting a failed error handler through itself would not end.
            print_exception(error)
        else:
            self.emit(ERROR, "bus", error)
