"""A subscriber: which batches go when, and which of them have been confirmed.

It reads one log with a cursor of its own: it sends batches (flushes) when the flush rules of the
subscription say so, keeps several in flight, advances when the oldest ones are acknowledged, and
sends again what was not. Words and defaults are those of the JSON API (module ``loggers``).
"""

from .compat import asyncio, const, wait_set
from .errors import ApiError

#: A subscriber's task sleeps at most this long, and this long when the link is full.
_IDLE_MS = const(60000)
_FULL_MS = const(50)
#: The ack timeout doubles up to this many times while no acknowledgement arrives.
_DOUBLINGS = const(5)


class Flush:
    """One batch in flight."""

    def __init__(self, id, index, count=0):
        self.id = id
        self.index = index
        self.count = count
        #: Records right before ``index`` that were dropped before they could be sent.
        self.skipped = 0
        #: ``(stream, seq)`` of the first record, and the md5 of the value text; at encoding.
        self.first = self.digest = None
        #: Clock ms when it was sent; None when it has to be sent (again).
        self.sent = None
        self.acked = False


class Subscriber:
    """A reader of one subscription, made by ``Subscription.subscribe``.

    ``config`` has the keys of the schema's ``subscriber`` table; its ``subscription`` may be a
    prefix that stands for this one among others, see ``covers``.
    ``outlet`` is where batches go: ``outlet.ready()`` says whether sending makes sense now,
    ``outlet.send(subscriber, flush, reader, max_records, max_bytes, done)`` encodes what the
    reader yields, fills in the flush's count, first and digest, and hands it to the link; it
    returns True when taken (count 0: there was nothing), False when the link has no room.
    ``done(ok)`` is called when the peer has it (True) or the connection was lost before (False).
    ``outlet.tell(subscriber, reason)`` reports the end. ``interval`` is the compiled rule of
    ``onInterval``, or None; ``encoder`` an ``encoding.Encoder`` for its JSON flushes, or None.
    """

    def __init__(self, subscription, config, outlet, first_id=0):
        self.subscription = subscription
        self.config = config
        self.name = config["subscriber"]
        self.outlet = outlet
        self.inflight = []
        self.paused = False
        self.inactive = False
        self.ended = None
        #: Consecutive ack timeouts, and totals of records.
        self.ack_timeouts = 0
        self.delivered = 0
        self.resent = 0
        self.interval = self.encoder = None
        self._ring = subscription.ring
        self._reader = self._ring.reader(self._ring.start(self.name))
        self._event = asyncio.Event()
        self._id = first_id
        #: What is before this index is sent whatever the rules say.
        self._forced = 0
        #: Clock ms from which its lifetime counts.
        self.born = self._flushed = self._now()
        # When the oldest pending record was first seen; wall ms of the next interval.
        self._since = self._due = None
        self._paused_at = 0

    @property
    def acked(self):
        """Index of the first record that it still needs: what is not acknowledged yet."""
        if self.inactive:
            return self._ring.next
        return self.inflight[0].index if self.inflight else self._reader.index

    @property
    def owed(self):
        """Index from which on it was told neither the records nor that they were skipped."""
        # Any of them may report losses from before the first one.
        return min([part.index - part.skipped for part in self.inflight + [self._reader]])

    @property
    def pending(self):
        """Number of records not sent yet."""
        return self._ring.next - max(self._reader.index, self._ring.oldest)

    def configure(self, config):
        """Go on from the same record with another configuration; its lifetime begins anew."""
        known, self.config = self.config, config
        self.born = self._now()
        if any(known[key] != config[key] for key in ("ack", "format", "encoding")):
            self.again()
        self.wake()

    def again(self):
        """Send what is in flight again, as it is encoded and confirmed by now."""
        if not self.config["ack"]:
            for flush in list(self.inflight):
                self._acked(flush)
        self._restart(None)

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

    def paused_ms(self):
        """For how long it has been paused; None while it is not."""
        return self._now() - self._paused_at if self.paused else None

    def pause(self, inactive=False):
        """Stop sending; recording goes on.

        ``inactive``: give up what it has not got. With every subscriber of the log inactive, the
        log is emptied, what one still needed counts as dropped (``paused``), and nothing is
        recorded: that is not acquired, and not counted. Raises ApiError("already paused").
        """
        if self.paused and self.inactive == inactive:
            raise ApiError("already paused")
        if not self.paused:
            self._paused_at = self._now()
        self.paused = True
        self._activate(inactive)

    def resume(self):
        """Send again; after an inactive pause only what is acquired from now on."""
        self._activate(False)
        self.paused = False
        self._restart(self._now())

    def force(self):
        """Flush what is pending now, whatever the rules say."""
        self._forced = self._ring.next
        self.wake()

    def end(self, reason):
        """Finish: the task tells the reader why and stops."""
        self.ended = reason
        self.wake()

    def link_up(self, session_present):
        """The link is back; without a session the peer may have lost what was in flight."""
        self._restart(self._now() if session_present else None)

    async def run(self):
        """The subscriber's task: send until it ends."""
        while not self.ended:
            wait = self.step()
            if wait <= 0:
                await asyncio.sleep(0)
                continue
            await wait_set(self._event, wait)
            self._event.clear()
        self.outlet.tell(self, self.ended)

    def step(self):
        """Send what is due; returns ms until something may be due again, 0 for at once."""
        now = self._now()
        wait = _IDLE_MS
        lifetime = self.config["lifetime"]
        if lifetime:
            wait = min(wait, self.born + lifetime - now)
            if wait <= 0:
                self.subscription.remove(self.name, "end of life")
                return 0
        if self.paused or not self.outlet.ready():
            return wait
        wait = min(wait, self._resend(now))
        if any(flush.sent is None and not flush.acked for flush in self.inflight):
            # In order: a power cut in between would leave a hole that nobody can explain.
            return wait
        while len(self.inflight) < self.subscription.rules["parallel"]:
            due = self._due_ms(now)
            if due <= 0 and not self._flush(now):
                due = _FULL_MS
            if due > 0:
                return min(wait, due)
            wait = min(wait, self._timeout_ms())
        return wait

    def _now(self):
        return self._ring.clock.mono_ms()

    # -- when

    def _due_ms(self, now):
        """ms until the next flush is due by the rules; 0 or less: now."""
        rules = self.subscription.rules
        pending = self.pending
        quiet = now - self._flushed
        if pending >= rules["maxEntries"]:
            # A backlog on flash leaves time and room to others.
            return rules["catchUp"] - quiet if self._reader.index < self._ring.ram_oldest else 0
        keepalive = self.config["keepalive"]
        due = keepalive - quiet if keepalive else _IDLE_MS
        if self.interval:
            due = min(due, self._interval_ms())
        wanted = 1
        if pending:
            due = min(due, self._pending_ms(now, pending, quiet))
            if not rules["onBytes"]:
                enough = pending >= rules["onEntries"]
                wanted = rules["maxEntries" if enough else "onEntries"] - pending
        # The append that makes a flush due sooner wakes us.
        self._ring.arm(self._ring.next + wanted)
        return due

    def _pending_ms(self, now, pending, quiet):
        rules = self.subscription.rules
        if self._since is None:
            self._since = now
        if self._reader.index < self._forced:
            return 0
        enough = pending >= rules["onEntries"]
        if rules["onBytes"] and self._reader.bytes_ahead() >= rules["onBytes"]:
            enough = True
        late = 0 if enough else rules["maxDelay"] - (now - self._since)
        return max(late, rules["minDelay"] - quiet)

    def _interval_ms(self):
        wall = self._ring.clock.wall_ms()
        if self._due is not None and wall >= self._due:
            self._forced = self._ring.next
        # Anew each time: the clock may have been set.
        self._due = self.interval.next_due(wall)
        return self._due - wall

    def _timeout_ms(self):
        return self.subscription.rules["ackTimeout"] << min(self.ack_timeouts, _DOUBLINGS)

    # -- what

    def _flush(self, now):
        """Send the next batch, or an empty one as a keepalive. False: the link has no room."""
        reader = self._reader
        rules = self.subscription.rules
        index, skipped = reader.index, reader.skipped
        flush = Flush(self._id + 1, index)
        # In flight before it is sent: memory may run out anywhere, and then nothing may have been
        # stepped over.
        self.inflight.append(flush)
        try:
            taken = self._send(flush, reader, rules["maxEntries"], rules["maxBytes"])
        except Exception:
            self.inflight.remove(flush)
            reader.seek(index)
            reader.skipped = skipped
            raise
        if not (taken and flush.count):
            self.inflight.remove(flush)
        if not taken:
            reader.seek(flush.index)
            return False
        self._id += 1
        self._flushed = flush.sent = now
        self._since = None
        if flush.count:
            flush.skipped = reader.skipped
            reader.skipped = 0
            if not self.config["ack"]:
                self._acked(flush)
        return True

    def _resend(self, now):
        """Send again what was not acknowledged; returns ms until the next ack timeout."""
        oldest = now - self._timeout_ms()
        late = False
        for flush in self.inflight:
            if not flush.acked and flush.sent is not None and flush.sent <= oldest:
                flush.sent = None
                late = True
        if late:
            self.ack_timeouts += 1
        timeout = self._timeout_ms()
        wait = _IDLE_MS
        ring = self._ring
        reader = None
        for flush in list(self.inflight):
            if flush.acked:
                continue
            if flush.sent is None:
                # One reader for all: what is on flash is loaded once.
                reader = reader or ring.reader(flush.index)
                if not self._again(flush, now, reader):
                    return _FULL_MS
                if ring.oldest <= flush.index < ring.ram_oldest:
                    return self.subscription.rules["catchUp"]
            wait = min(wait, flush.sent + timeout - now)
        return wait

    def _again(self, flush, now, reader):
        """Send one flush again, as much of it as the log still has. False: no room."""
        end = flush.index + flush.count
        reader.seek(flush.index)
        reader.skipped = 0
        reader.open()
        count = end - reader.index
        flush.sent = now
        if count <= 0:
            self._give_up(flush)
            return True
        taken = self._send(flush, reader, count, None)
        flush.skipped += reader.skipped
        if taken:
            self.resent += flush.count
        else:
            flush.sent = None
        if flush.count < count:
            # Its text has grown with its dates: the rest becomes a batch of its own.
            self._id += 1
            rest = Flush(self._id, flush.index + flush.count, count - flush.count)
            self.inflight.insert(self.inflight.index(flush) + 1, rest)
            taken = taken and self._again(rest, now, reader)
        return taken

    def _send(self, flush, reader, max_records, max_bytes):
        def done(ok):
            if not ok:
                flush.sent = None
            elif self.config["ack"] == "auto":
                self._acked(flush)
            self.wake()

        count = flush.count
        try:
            taken = self.outlet.send(self, flush, reader, max_records, max_bytes, done)
        except Exception:
            # What was encoded so far is not all that it holds.
            flush.count = count
            raise
        flush.index = reader.index - flush.count
        return taken

    def _acked(self, flush):
        if not flush.acked:
            flush.acked = True
            self.ack_timeouts = 0
            self.delivered += flush.count
            self._settle()
            self.wake()

    def _settle(self):
        inflight = self.inflight
        while inflight and inflight[0].acked:
            inflight.pop(0)
        self._ring.released(self)

    def _give_up(self, flush):
        # The next new flush reports all from here on; what arrived in between, a collector knows.
        reader = self._reader
        reader.skipped = max(reader.skipped, reader.index - flush.index + flush.skipped)
        self.inflight.remove(flush)
        self._settle()

    def _restart(self, sent):
        """Let the ack timeouts begin at ``sent``; None: have everything sent again."""
        for flush in self.inflight:
            if flush.sent is not None:
                flush.sent = sent
        self.wake()

    def _activate(self, inactive):
        needed = self.acked
        if inactive or self.inactive:
            reader = self._reader
            # All that was owed is reported as skipped.
            owed = self.owed
            self.inflight = []
            reader.seek(self._ring.next)
            reader.skipped = reader.index - owed
        self.inactive = inactive
        self.subscription.activate(needed)


def covers(wanted, id):
    """Whether a subscriber of ``wanted`` reads the subscription ``id``.

    ``wanted`` is an id, or a prefix of ids that ends with ``/``; ``""`` stands for all.
    """
    return wanted == id or (wanted[-1:] in ("", "/") and id.startswith(wanted))
