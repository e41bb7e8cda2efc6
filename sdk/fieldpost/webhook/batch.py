"""Several values in one request, with one webhook id and one fate; loaded where they go so.

What a batch holds follows from the queue alone: the values from its first one on, at most
``batch`` of them, queued within ``batch_ms``. So the one that was under way when the power failed
is made again as it was. Its id names its first and its last value: should another one come of it
(the configuration changed, the last values were not on flash yet), it has another id, and no
receiver takes it for one that it has.

A provider that can has, beside ``render``::

    def part(event, endpoint, node):
        return body                         # bytes of one value, in JSON

    def batch(parts, event, endpoint, node):
        return url, headers, body           # of these parts; the event is the first, with the id
"""

from . import context
from .endpoint import Delivery, LostError


class Batch(Delivery):
    """Values that go together: ``indexes`` of their records, the first of which is ``record``."""

    def __init__(self, endpoint, record, route, due):
        Delivery.__init__(self, endpoint, record, route, due)
        # In order among themselves; nothing else waits for them.
        self.key = ""
        self.indexes = [record.index]
        self.open = True
        self._given, self._run, self._ms = record.given, record.run, record.ms

    def takes(self, record, row):
        """Add a value if it belongs to this batch; returns whether it did."""
        if (
            record.given != self._given
            or record.run != self._run
            or not 0 <= record.ms - self._ms < row["batch_ms"]
        ):
            return False
        self.indexes.append(record.index)
        self.count += 1
        return True

    def close(self, now):
        """It is complete."""
        self.open = False
        self.due = now

    async def render(self, hooks, endpoint, provider):
        """See ``Delivery``. The first attempt leaves what is beyond ``batch_bytes`` to another
        batch, all later ones send the same."""
        row, known = endpoint.row, {}
        parts, found, size = [], [], 0
        first = None
        for at, index in enumerate(self.indexes):
            record = hooks.queue.get(index)
            if record is None:
                continue
            event = await context.event(hooks, row, record, self.action, known)
            if event:
                part = provider.part(event, row, hooks.node)
                size += len(part)
                if parts and self.attempts == 1 and size > row["batch_bytes"]:
                    self._split(hooks, endpoint, at, record)
                    break
                parts.append(part)
                first = first or event
            found.append(index)
            self._name(record.id, len(found))
        if not found:
            raise LostError
        hooks.counters["dropped"] += len(self.indexes) - len(found)
        self.indexes, self.count = found, len(parts)
        return first and provider.batch(parts, dict(first, id=self.id), row, hooks.node)

    def records(self, queue):
        """See ``Delivery``."""
        found = [queue.get(index) for index in self.indexes]
        return [record for record in found if record]

    def _name(self, id, number):
        """Take the id of a record, the so manieth, into that of the first attempt."""
        if self.attempts != 1 or self._given:
            return
        if number == 1:
            self._first_id = self.id = id
        else:
            self.id = self._first_id + "-" + id.rpartition("-")[2]

    def _split(self, hooks, endpoint, at, record):
        rest = Batch(endpoint, record, (self.action, self.url), 0)
        rest.close(self.due)
        self.indexes, rest.indexes = self.indexes[:at], self.indexes[at:]
        self.count, rest.count = at, len(rest.indexes)
        if self in endpoint.pending:
            endpoint.pending.insert(endpoint.pending.index(self) + 1, rest)
            hooks.note(rest)


def add(clock, endpoint, record, route):
    """Put a value into the batch of its route; returns the ``Batch`` if it is a new one."""
    row, now = endpoint.row, clock.mono_ms()
    for one in endpoint.pending:
        if one.open and (one.action, one.url) == route:
            fits = one.takes(record, row)
            if not fits or one.count >= row["batch"]:
                one.close(now)
            if fits:
                return None
    batch = Batch(endpoint, record, route, now + row["batch_ms"] - _age(clock, record))
    endpoint.pending.append(batch)
    return batch


def _age(clock, record):
    """For how many ms it has been in the queue; 0 where that is not known."""
    now = clock.unix_ms() if record.run[1] else clock.mono_ms()
    return 0 if now is None else max(now - record.ms, 0)
