"""Dispatcher: bus -> queue -> endpoints, whose deliveries are tried until they are done.

Events are filtered and stored where they happen; everything else is done by one task, with a few
attempts under way at a time. What was not delivered when the node stops is delivered after its
next start, under the same webhook id.
"""

from ..compat import asyncio, const, wait_set
from ..events import ERROR, VALUE_CHANGED
from ..http import Client
from . import deliver, filters, retry, source
from .endpoint import Delivery, Endpoint, Row
from .kept import Kept
from .queue import Queue

_FOLDER = "/webhooks"
#: The queue is tended once in so many ms.
_TEND_MS = const(1000)
#: Events that one endpoint steps over in one turn.
_TURN = const(32)


class Webhooks(Kept):
    """All endpoints of a node. ``row`` as ``check.compact`` makes it, None for no endpoints.

    ``endpoints`` by name; ``deliveries``, the delivery log, oldest first; ``dead``, what failed
    for good (``letters.Letter``), oldest first. ``counters``: ``events`` queued, ``delivered``,
    ``retried``, ``failed``, and dropped events: ``paused``, ``full`` (the queue's capacity),
    ``dropped`` (an endpoint was more than the capacity behind), ``refused`` (by the log), ``gone``
    (their endpoint was disabled); and ``unsaved``: how often the flash took no dead letter or
    delivery log.
    """

    def __init__(self, node, row):
        self.node = node
        self.bus = node.bus
        self.clock = node.clock
        self.endpoints = {}
        names = "events delivered retried failed paused full dropped refused gone unsaved"
        self.counters = dict.fromkeys(names.split(), 0)
        self.client = Client({"one_tls": row["one_tls"]})
        self.folder = node.folder + _FOLDER
        self.disk = row["queue"]["store"]["disk"]
        self.queue = Queue(node, self.folder, row["queue"])
        self._event = asyncio.Event()
        self._tasks = []
        self._handles = []
        self._watches = []
        #: What ``context`` remembers, and of which configuration.
        self.points, self.digests = {}, None
        self._turn = self._tests = 0
        self._tended = self.clock.mono_ms() - _TEND_MS
        Kept.__init__(self)
        self._configure(row, self.queue.log.start)
        self.recall()
        self.clock.on_change.append(self.wake)

    # -- configuration

    def configure(self, row):
        """Have these endpoints from now on; those that remain go on where they are.

        The queue keeps its sizes until a restart.
        """
        self._configure(row, lambda _name: self.queue.log.next)

    def _configure(self, row, start):
        row = row or {"endpoints": (), "pause": False, "tls": None}
        self.paused = row["pause"]
        self.tls = row["tls"]
        if row["endpoints"]:
            self.capacity = row["queue"]["capacity"]
            self.concurrency = row["concurrency"]
            self.filters = row["filters"]
            self.limits = row["history"], row["dead"]
            self.client.one_tls = row["one_tls"]
        before, self.endpoints = self.endpoints, {}
        for own in row["endpoints"]:
            self._add(before.pop(own["name"], None), Row(own, row["shared"]), start)
        for name in before:
            self._detach(before[name])
        known = [one.digest for one in self.endpoints.values()]
        self._disable([digest for digest in self._disabled if digest in known])
        self._listen()
        self.wake()

    def _add(self, endpoint, row, start):
        if endpoint is None:
            endpoint = Endpoint(row, start(row["name"]))
        else:
            if endpoint.digest in self._disabled and not _same(endpoint.row, row):
                self._disable([one for one in self._disabled if one != endpoint.digest])
            endpoint.configure(row)
        self.endpoints[endpoint.name] = endpoint
        wanted = row["enabled"] and endpoint.digest not in self._disabled
        if wanted and not endpoint.attached:
            endpoint.attached = True
            if endpoint not in self.queue.log.cursors:
                self.queue.log.cursors.append(endpoint)
        elif not wanted:
            self._detach(endpoint)

    def _detach(self, endpoint):
        """An endpoint gets nothing any more, and what waits for it is forgotten."""
        log = self.queue.log
        if endpoint in log.cursors:
            log.cursors.remove(endpoint)
        log.forget(endpoint.name)
        self.counters["gone"] += endpoint.give_up_before(log.next)
        endpoint.attached = False
        endpoint.pending = []

    def _listen(self):
        for handle in self._handles:
            self.bus.unsubscribe(handle)
        for one in self._watches:
            one.stop()
        self._watches = []
        self._wanted = source.wanted([one.row for one in self._attached()])
        self._handles = [self.bus.subscribe(event, self._take) for event in self._wanted]
        self.watch(self.node.links)

    def watch(self, links):
        """Take the events of the MQTT client on these links, too."""
        self._watches += source.watch(self.node, links, self._wanted)

    def _attached(self):
        return [one for one in self.endpoints.values() if one.attached]

    # -- events

    def _take(self, event, key, data):
        data = source.data_of(event, key, data)
        if any(filters.routes(one.row, event, key, data) for one in self._attached()):
            self.put(event, key, data)

    def put(self, event, key, data, **more):
        """Queue an event; False where it is dropped, which is counted.

        The queue is full when even the endpoint that is ahead of all has ``capacity`` events to
        come: one that hangs behind drops its own, see ``_fill``. ``more`` as ``Queue.put``.
        """
        ahead = max([one.acked for one in self._attached()] + [0])
        if self.paused:
            reason = "paused"
        elif self.queue.log.next - ahead >= self.capacity:
            reason = "full"
        elif self.queue.put(event, key, data, **more):
            self.counters["events"] += 1
            self.wake()
            return True
        else:
            reason = "refused"
        self.counters[reason] += 1
        return False

    def wake(self):
        """Look again whether there is something to do."""
        self._event.set()

    # -- the task

    async def run(self, task):
        """The webhooks' task."""
        try:
            while True:
                task.beat()
                wait = self.step()
                if wait > 0:
                    await wait_set(self._event, wait)
                else:
                    await asyncio.sleep(0)
                self._event.clear()
        finally:
            for one in self._tasks:
                one.cancel()
            self.client.close()
            self.keep(True)
            if self.disk:
                self.queue.flush()
            self.queue.log.tend()

    def step(self):
        """Begin the attempts that are due; returns ms until something may be due again."""
        now = self.clock.mono_ms()
        wait = self._tend(now)
        attached = self._attached()
        # Each time another one is first.
        self._turn += 1
        for at in range(len(attached)):
            endpoint = attached[(at + self._turn) % len(attached)]
            more = self._fill(endpoint, now)
            if more:
                wait = 0
            if endpoint.current or endpoint.held(self.clock):
                continue
            delivery, due = endpoint.next(now, more)
            if delivery and self._may_begin(endpoint):
                endpoint.begin(delivery, now)
                self._tasks.append(asyncio.create_task(self._attempt(endpoint, delivery)))
            elif due:
                wait = min(wait, due)
        return wait

    def _may_begin(self, endpoint):
        free = self.concurrency - len(self._tasks)
        if free < 1 or (free < 2 <= self.concurrency and endpoint.silent):
            # One that gets no reply does not take the last place.
            return False
        # Waiting for the one TLS session would count against its own time.
        return not (
            self.client.one_tls
            and endpoint.secure
            and any(one.current and one.secure for one in self.endpoints.values())
        )

    def _tend(self, now):
        if now - self._tended >= _TEND_MS:
            self._tended = now
            self.keep()
            self.queue.log.tend()
        return self._tended + _TEND_MS - now

    def _fill(self, endpoint, now):
        """Take deliveries from the queue; True where there may be more."""
        log = self.queue.log
        if log.next - endpoint.acked > self.capacity:
            self.counters["dropped"] += endpoint.give_up_before(log.next - self.capacity)
        turns = _TURN
        while endpoint.wants_more and endpoint.index < log.next and turns:
            turns -= 1
            record = self.queue.read(endpoint.index)
            gap = (log.next if record is None else record.index) - endpoint.index
            endpoint.counters["dropped"] += gap
            self.counters["dropped"] += gap
            endpoint.index += gap
            if record:
                endpoint.index += 1
                self._enlist(endpoint, record, now)
        return not turns

    def _enlist(self, endpoint, record, now):
        if record.to not in (None, endpoint.name):
            return
        row = endpoint.row
        together = row["batch"] > 1 and record.event == VALUE_CHANGED
        if self.filters and not self._enabled(record.event, together, endpoint.name):
            return
        for route in filters.routes(row, record.event, record.key, record.data):
            if together:
                from .batch import add

                delivery = add(self.clock, endpoint, record, route)
            else:
                delivery = Delivery(endpoint, record, route, now)
                endpoint.pending.append(delivery)
            if delivery:
                self.note(delivery)

    def _enabled(self, event, together, name):
        from .filters_rainmaker import enabled, event_type

        return enabled(self.filters, event_type(event, together), name, self.node.name)

    # -- attempts

    async def _attempt(self, endpoint, delivery):
        try:
            self._judge(endpoint, delivery, await deliver.attempt(self, endpoint, delivery))
        except Exception as error:
            # Want of memory, a bug of a provider: it stops nobody else, and is not tried at once.
            self.bus.emit(ERROR, "webhook:" + endpoint.name, error)
            outcome = deliver.Outcome(retry.RETRY, error=repr(error)[:80])
            self._judge(endpoint, delivery, outcome)
        finally:
            endpoint.current = None
            self._tasks.remove(asyncio.current_task())
            self.wake()

    def _judge(self, endpoint, delivery, outcome):
        """An attempt has ended."""
        if outcome is None:
            endpoint.remove(delivery)
            if delivery in self.deliveries:
                self.deliveries.remove(delivery)
            return
        self.news = True
        now = self.clock.mono_ms()
        delivery.http_status, delivery.error = outcome.http_status, outcome.error
        endpoint.silent = outcome.status == retry.RETRY and outcome.http_status is None
        if outcome.after_ms:
            endpoint.ready_at = max(endpoint.ready_at, now + outcome.after_ms)
        if outcome.status == retry.OK:
            self.counters["delivered"] += delivery.count
            endpoint.finish(delivery, "delivered", retry.OK)
        elif outcome.status == retry.LOST:
            self.counters["dropped"] += delivery.count
            endpoint.finish(delivery, "dropped", retry.FAILED)
        elif outcome.status != retry.RETRY or not self._again(endpoint, delivery, now):
            self._fail(endpoint, delivery, outcome)

    def _again(self, endpoint, delivery, now):
        """Have it tried later; False where it was tried often enough."""
        delay = retry.delay_ms(endpoint.row, delivery.attempts, now - delivery.first)
        if delay is None:
            return False
        self.counters["retried"] += 1
        endpoint.counters["retried"] += 1
        delivery.status = retry.RETRY
        delivery.due = now + delay
        return True

    def _fail(self, endpoint, delivery, outcome):
        if self.limits[1]:
            from .letters import add

            add(self, delivery, outcome.error)
        self.counters["failed"] += delivery.count
        endpoint.finish(delivery, "failed", retry.FAILED)
        if outcome.status == retry.GONE:
            self.bus.emit(ERROR, "webhook:" + endpoint.name, "gone (410): disabled")
            self._disable(self._disabled + [endpoint.digest])
            self._detach(endpoint)
            self._listen()

    # -- what people do

    def replay(self, name=None, id=None):
        """Queue dead letters again, all or those of an endpoint or with an id; returns how many.

        Under their id, a batch as a batch; those of an endpoint that gets no events stay.
        """
        if not self.dead:
            return 0
        from .letters import replay

        return replay(self, name, id)

    async def test(self, name):
        """Send an alarm of the type ``test`` at once; returns the ``Delivery``. KeyError."""
        from .tryout import run

        endpoint = self.endpoints[name]
        self._tests += 1
        return await run(self, endpoint, self._tests)


def _same(one, other):
    return all(one[key] == other[key] for key in other)
