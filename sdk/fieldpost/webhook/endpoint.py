"""An endpoint: its cursor in the queue, and its few deliveries that are not done.

One delivery is under way at a time; others go on while one waits for its next attempt, but none
overtakes an earlier one of the same key: an alarm is not cleared before it is raised.
"""

from ..compat import const, crc32
from ..point import Settings
from .retry import OK

#: Deliveries of an endpoint that may wait for another attempt.
_WINDOW = const(4)


class Row(Settings):
    """An endpoint's row, as a dict that is only read."""

    def get(self, key, default=None):
        """The value of a key, ``default`` where there is none."""
        return self[key] if key in self._own or key in self._shared else default


class Delivery:
    """One event on its way to one URL of one endpoint, and its line in the delivery log."""

    #: Why the last attempt failed; HTTP status of its reply.
    error = http_status = None
    #: Monotonic ms of the first attempt.
    first = None
    attempts = 0
    status = "pending"

    def __init__(self, endpoint, record, route, now):
        self.endpoint = endpoint.name
        self.index = record.index
        self.id = record.id
        self.key = record.key
        self.action, self.url = route
        self.event = record.event
        self.ts_ms = record.ts_ms
        self.due = now


class Endpoint:
    """Reads the queue from ``index`` on; a cursor as ``log.Log`` asks for.

    ``attached``: it is enabled and gets events. ``counters`` are totals since it was made.
    """

    ack_timeouts = 0

    def __init__(self, row, index):
        self.name = row["name"]
        self.counters = {"delivered": 0, "retried": 0, "failed": 0, "dropped": 0}
        self.index = index
        self.pending = []
        self.current = None
        #: Monotonic ms before which nothing may be sent: its rate, a Retry-After.
        self.ready_at = 0
        self.attached = False
        self.configure(row)

    def configure(self, row):
        """Go on with another row."""
        self.row = row
        #: ``(access token, monotonic ms of its end)``
        self.token = None

    @property
    def digest(self):
        """Tells whether this is the endpoint that was once disabled."""
        return crc32((self.name + " " + self.row["url"]).encode())

    @property
    def acked(self):
        """Index of the first event that is not done."""
        return self.pending[0].index if self.pending else self.index

    #: What is done by then is not lost if it is given up.
    owed = acked

    def paused_ms(self):
        """For how long it was paused: it never is."""

    @property
    def has_room(self):
        """Whether another delivery may begin."""
        return len(self.pending) < _WINDOW

    @property
    def secure(self):
        """Whether it takes a TLS session."""
        row = self.row
        return row["url"].startswith("https") or (row["token_url"] or "").startswith("https")

    def held(self, clock):
        """Whether its signature has to wait until the time is known."""
        return self.row["signature"] == "standard" and not clock.trusted

    def next(self, now):
        """``(delivery that is due or None, ms until one is)``; None for the ms: only an event."""
        wait = None
        keys = []
        for delivery in self.pending:
            if delivery.key not in keys:
                ms = max(delivery.due, self.ready_at) - now
                if ms <= 0:
                    return delivery, 0
                wait = ms if wait is None else min(wait, ms)
            keys.append(delivery.key)
        return None, wait

    def begin(self, delivery, now):
        """An attempt begins."""
        self.current = delivery
        if delivery.first is None:
            delivery.first = now
        delivery.attempts += 1
        if self.row["rate"]:
            self.ready_at = now + 60000 // self.row["rate"]

    def finish(self, delivery, status):
        """A delivery is done, well (OK) or not."""
        delivery.status = status
        self.counters["delivered" if status == OK else "failed"] += 1
        self.remove(delivery)

    def remove(self, delivery):
        """Forget a delivery; one that is gone already is ignored."""
        if delivery in self.pending:
            self.pending.remove(delivery)

    def give_up_before(self, index):
        """Drop what is before an index and not under way; returns how many events."""
        lost = [one for one in self.pending if one.index < index and one is not self.current]
        for delivery in lost:
            delivery.status, delivery.error = "failed", "dropped"
            self.pending.remove(delivery)
        count = len(lost)
        if self.index < index:
            count += index - self.index
            self.index = index
        self.counters["dropped"] += count
        return count
