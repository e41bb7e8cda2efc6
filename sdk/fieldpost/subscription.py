"""Subscriptions and their subscribers: who gets which records when, and who has confirmed them.

A ``Subscription`` owns one log (a ring). A ``Subscriber`` reads it with a cursor of its own: it
sends batches (flushes) when its flush rules say so, keeps several in flight, advances when the
oldest ones are acknowledged, and sends again what was not. Words and defaults are those of the
JSON API (module ``loggers``).
"""

from .compat import TimeoutError, asyncio, const, ticks_diff, ticks_ms, wait_for_ms
from .errors import FieldpostError
from .events import RECORDS_DROPPED
from .ring import Reader

#: A subscriber's task sleeps at most this long, and this long when the link is full.
_IDLE_MS = const(60000)
_FULL_MS = const(50)
#: The ack timeout doubles up to this many times while no acknowledgement arrives.
_DOUBLINGS = const(5)


class SubscriptionError(FieldpostError):
    """A call on a subscriber is refused; the text is the API's error string."""


class Flush:
    """One batch in flight."""

    def __init__(self, id, index, count, skipped):
        self.id = id
        self.index = index
        self.count = count
        #: Records right before ``index`` that were dropped before they could be sent.
        self.skipped = skipped
        #: ``(stream, seq)`` of the first record, and the md5 of the value text; at encoding.
        self.first = None
        self.digest = None
        #: ticks when it was sent; None when it has to be sent (again).
        self.sent = None
        self.acked = False


class Subscription:
    """One log and those who read it."""

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

    def add(self, subscriber):
        """Attach a subscriber; it reads from the oldest record kept."""
        self.subscribers[subscriber.name] = subscriber
        self.ring.cursors.append(subscriber)
        self.ring.listeners.append(subscriber.wake)
        self.activate()

    def remove(self, name, reason="unsubscribed"):
        """Detach a subscriber, which tells its reader the reason. KeyError if there is none."""
        subscriber = self.subscribers.pop(name)
        self.ring.cursors.remove(subscriber)
        self.ring.listeners.remove(subscriber.wake)
        subscriber.end(reason)
        self.activate()

    def state(self):
        """What the node's state object says of this log."""
        ring = self.ring
        lost = ring.dropped.get("rejected", 0) + ring.dropped.get("invalid", 0)
        return {
            "stream": ring.stream,
            "next": ring.next_seq,
            "oldest": ring.oldest,
            "acquired": ring.next + lost,
            "dropped": ring.dropped,
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

    def activate(self):
        """Record, unless every subscriber is paused inactive: then the log is emptied."""
        readers = self.subscribers.values()
        self._inactive = bool(readers) and all(reader.inactive for reader in readers)
        if self._inactive:
            self.ring.clear()


class Subscriber:
    """A reader of one subscription.

    ``config`` has the keys of the schema's ``subscriber`` table.
    ``outlet`` is where batches go: ``outlet.ready()`` says whether sending makes sense now,
    ``outlet.send(subscriber, flush, reader, max_records, max_bytes, done)`` encodes what the
    reader yields, fills in the flush's count, first and digest, and hands it to the link; it
    returns True when taken (count 0: there was nothing), False when the link has no room.
    ``done(ok)`` is called when the peer has it (True) or the connection was lost before (False).
    ``outlet.tell(subscriber, reason)`` reports the end. ``interval`` is the compiled rule of
    ``onInterval``, or None.
    """

    def __init__(self, subscription, config, outlet, first_id=0):
        self.subscription = subscription
        self.name = config["subscriber"]
        self.ack_mode = config["ack"]
        self.format = config["format"]
        self.keepalive = config["keepalive"]
        self.lifetime = config["lifetime"]
        self.outlet = outlet
        self.inflight = []
        self.paused = False
        self.inactive = False
        self.ended = None
        #: Consecutive ack timeouts, and totals of records.
        self.ack_timeouts = 0
        self.delivered = 0
        self.resent = 0
        self.interval = None
        self._ring = subscription.ring
        self._reader = Reader(self._ring, self._ring.oldest)
        self._event = asyncio.Event()
        self._id = first_id
        self._forced = False
        self._born = self._flushed = self._since = ticks_ms()
        self._due = None

    @property
    def acked(self):
        """Index of the first record that is not acknowledged yet."""
        return self.inflight[0].index if self.inflight else self._reader.index

    @property
    def pending(self):
        """Number of records not sent yet."""
        return self._ring.next - max(self._reader.index, self._ring.oldest)

    def wake(self):
        """Look again whether there is something to do."""
        self._event.set()

    def ack(self, id=None, digest=None, first=None):
        """Confirm one flush by its id or md5; ``first`` (stream, seq) must agree where given.

        False when no such flush is in flight: a late or foreign confirmation.
        """
        for flush in self.inflight:
            known = flush.id == id if digest is None else flush.digest == digest
            if known and first in (None, flush.first):
                self._acked(flush)
                return True
        return False

    def pause(self, inactive=False):
        """Stop sending; recording goes on, unless ``inactive``, which also empties the log."""
        if self.paused and self.inactive == inactive:
            raise SubscriptionError("already paused")
        self.paused = True
        self.inactive = inactive
        self.subscription.activate()
        if inactive:
            self._start_over()

    def resume(self):
        """Send again; after an inactive pause only what is acquired from now on."""
        if self.inactive:
            self.inactive = False
            self._start_over()
            self.subscription.activate()
        self.paused = False
        self.wake()

    def force(self):
        """Flush what is pending now, whatever the rules say."""
        self._forced = True
        self.wake()

    def end(self, reason):
        """Finish: the task tells the reader why and stops."""
        self.ended = reason
        self.wake()

    def link_up(self, session_present):
        """The link is back; without a session the peer may have lost what was in flight."""
        if not session_present:
            for flush in self.inflight:
                flush.sent = None
        self.wake()

    async def run(self):
        """The subscriber's task: send until it ends."""
        while not self.ended:
            wait = self.step(ticks_ms())
            if wait <= 0:
                await asyncio.sleep(0)
                continue
            try:
                await wait_for_ms(self._event.wait(), wait)
            except TimeoutError:
                pass
            self._event.clear()
        self.outlet.tell(self, self.ended)

    def step(self, now):
        """Send what is due; returns ms until something may be due again, 0 for at once."""
        wait = _IDLE_MS
        if self.lifetime:
            wait = self.lifetime - ticks_diff(now, self._born)
            if wait <= 0:
                self.end("end of life")
                return 0
        if self.paused or not self.outlet.ready():
            return wait
        wait = min(wait, self._resend(now))
        while len(self.inflight) < self.subscription.rules["parallel"]:
            due = self._due_ms(now)
            if due > 0:
                return min(wait, due)
            if not self._flush(now):
                return _FULL_MS
        return wait

    # -- when

    def _due_ms(self, now):
        """ms until the next flush is due by the rules; 0 or less: now."""
        rules = self.subscription.rules
        pending = self.pending
        if pending >= rules["maxEntries"]:
            return 0
        quiet = ticks_diff(now, self._flushed)
        due = self.keepalive - quiet if self.keepalive else _IDLE_MS
        if self.interval:
            due = min(due, self._interval_ms())
        if pending:
            due = min(due, self._pending_ms(now, pending, quiet))
        else:
            self._since = now
            self._forced = False
        # The append that makes a flush due sooner wakes us.
        wanted = rules["onEntries"] if 0 < pending < rules["onEntries"] else rules["maxEntries"]
        self._ring.arm(self._ring.next + (wanted - pending if pending else 1))
        return due

    def _pending_ms(self, now, pending, quiet):
        rules = self.subscription.rules
        if self._forced:
            return 0
        enough = pending >= rules["onEntries"]
        if rules["onBytes"] and self._reader.bytes_ahead() >= rules["onBytes"]:
            enough = True
        late = 0 if enough else rules["maxDelay"] - ticks_diff(now, self._since)
        return max(late, rules["minDelay"] - quiet)

    def _interval_ms(self):
        wall = self._ring.clock.wall_ms()
        due = self._due
        if due is None or wall >= due:
            self._due = self.interval.next_due(wall)
            self._forced = due is not None and self.pending > 0
        return 0 if self._forced else min(self._due - wall, _IDLE_MS)

    # -- what

    def _flush(self, now):
        """Send the next batch, or an empty one as a keepalive. False: the link has no room."""
        reader = self._reader
        self._id += 1
        flush = Flush(self._id, reader.index, 0, 0)
        if not self._send(
            flush,
            reader,
            self.subscription.rules["maxEntries"],
            self.subscription.rules["maxBytes"],
        ):
            reader.seek(flush.index)
            return False
        self._flushed = self._since = now
        self._forced = False
        if flush.count:
            flush.sent = now
            self.inflight.append(flush)
            if not self.ack_mode:
                self._acked(flush)
        return True

    def _resend(self, now):
        """Send again what was not acknowledged; returns ms until the next ack timeout."""
        timeout = self.subscription.rules["ackTimeout"] << min(self.ack_timeouts, _DOUBLINGS)
        wait = _IDLE_MS
        late = False
        for flush in list(self.inflight):
            if flush.acked:
                continue
            if flush.sent is not None and ticks_diff(now, flush.sent) >= timeout:
                flush.sent = None
                late = True
            if flush.sent is None:
                if not self._again(flush, now):
                    wait = _FULL_MS
                    break
                continue
            wait = min(wait, timeout - ticks_diff(now, flush.sent))
        if late:
            self.ack_timeouts += 1
        return wait

    def _again(self, flush, now):
        reader = Reader(self._ring, flush.index)
        lost = max(0, self._ring.oldest - flush.index)
        if lost >= flush.count:
            # Its records were given up meanwhile; the next flush reports them as skipped.
            self.inflight.remove(flush)
            self._reader.skipped += flush.count + flush.skipped
            return True
        if not self._send(flush, reader, flush.count - lost, None):
            return False
        flush.sent = now
        self.resent += flush.count
        return True

    def _send(self, flush, reader, max_records, max_bytes):
        def done(ok):
            if not ok:
                flush.sent = None
            elif self.ack_mode == "auto":
                self._acked(flush)
            self.wake()

        taken = self.outlet.send(self, flush, reader, max_records, max_bytes, done)
        flush.index = reader.index - flush.count
        if taken:
            flush.skipped += reader.skipped
            reader.skipped = 0
        return taken

    def _acked(self, flush):
        if flush.acked:
            return
        flush.acked = True
        self.ack_timeouts = 0
        self.delivered += flush.count
        inflight = self.inflight
        while inflight and inflight[0].acked:
            inflight.pop(0)
        self.wake()

    def _start_over(self):
        self.inflight = []
        self._reader.seek(self._ring.next)
