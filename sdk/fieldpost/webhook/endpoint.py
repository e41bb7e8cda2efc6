"""An endpoint: its cursor in the queue, and its few deliveries that are not done.

One delivery is under way at a time; others go on while one waits for its next attempt, but none
overtakes an earlier one of the same key: an alarm is not cleared before it is raised.
"""

from ..compat import const, crc32
from ..errors import FieldpostError
from ..point import Settings
from . import context

#: Deliveries of an endpoint that may wait for another attempt.
_WINDOW = const(4)


class Row(Settings):
    """An endpoint's row, as a dict that is only read. Its URL is complete: see ``expand``."""

    def __getitem__(self, key):
        value = Settings.__getitem__(self, key)
        return self.expand(value) if key == "url" else value

    def expand(self, url):
        """A URL with the endpoint's secret in the place of ``{secret}``; None stays None."""
        return url and url.replace("{secret}", self["secret"] or "")

    def get(self, key, default=None):
        """The value of a key, ``default`` where there is none."""
        return self[key] if key in self._own or key in self._shared else default


class LostError(FieldpostError):
    """The queue does not have an event any more."""


class Delivery:
    """One event on its way to one URL of one endpoint, and its line in the delivery log."""

    #: Why the last attempt failed; HTTP status of its reply; the beginning of what was sent.
    error = http_status = preview = None
    #: Monotonic ms of the first attempt.
    first = None
    attempts = 0
    #: How many events it is, and whether more may join.
    count = 1
    open = False
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

    async def render(self, hooks, endpoint, provider):
        """``(url, headers, body)`` by the provider, or None: nothing to send. Raises LostError."""
        record = hooks.queue.get(self.index)
        if record is None:
            raise LostError
        event = await context.event(hooks, endpoint.row, record, self.action)
        return event and provider.render(event, endpoint.row, hooks.node)

    def records(self, queue):
        """What the queue still has of it."""
        record = queue.get(self.index)
        return [record] if record else []


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
        #: Its last attempt got no reply.
        self.silent = False
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
        return crc32(("%s %s" % (self.name, self.row["url"])).encode())

    @property
    def acked(self):
        """Index of the first event that is not done."""
        return min([one.index for one in self.pending] + [self.index])

    #: What is done by then is not lost if it is given up.
    owed = acked

    def paused_ms(self):
        """For how long it was paused: it never is."""

    @property
    def wants_more(self):
        """Whether to read on in the queue: there is room, and nothing is ready to begin."""
        if len(self.pending) >= _WINDOW:
            return False
        keys = []
        for one in self.pending:
            if not (one.attempts or one.open or one.key in keys):
                return False
            keys.append(one.key)
        return True

    @property
    def secure(self):
        """Whether it takes a TLS session."""
        row = self.row
        return (row["url"] or "https").startswith("https") or (row["token_url"] or "")[
            :5
        ] == "https"

    def held(self, clock):
        """Whether its signature has to wait until the time is known."""
        return self.row["signature"] == "standard" and not clock.trusted

    def next(self, now, more=False):
        """``(delivery that is due or None, ms until one is)``; None for the ms: only an event.

        While there is ``more`` to read, what others may join is not due.
        """
        wait = None
        keys = []
        for delivery in self.pending:
            if delivery.key not in keys:
                ms = max(delivery.due, self.ready_at) - now
                if ms <= 0 and not (more and delivery.open):
                    return delivery, 0
                wait = ms if wait is None else min(wait, ms)
            keys.append(delivery.key)
        return None, wait

    def begin(self, delivery, now):
        """An attempt begins."""
        self.current = delivery
        delivery.open = False
        if delivery.first is None:
            delivery.first = now
        delivery.attempts += 1
        if self.row["rate"]:
            self.ready_at = now + 60000 // self.row["rate"]

    def finish(self, delivery, counter, status):
        """A delivery is done, well (OK) or not."""
        delivery.status = status
        self.counters[counter] += delivery.count
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
        count = sum([one.count for one in lost])
        if self.index < index:
            count += index - self.index
            self.index = index
        self.counters["dropped"] += count
        return count
