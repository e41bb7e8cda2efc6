"""The durable queue: events as JSON records of a log, read by index."""

from ..compat import const
from ..smallfile import make_folder

#: Records of events have no point.
_NO_POINT = const(0)


class Record:
    """An event of the queue: ``index``, ``id`` (the webhook id), ``event``, ``key``, ``data``,
    ``ts_ms`` (None where the time is not known), ``to`` (an endpoint's name, or None: all).
    ``given``: its id, where it was given one; ``ms``: when it was queued, in ms that count from
    the same moment in the same ``run``: ``(stream, whether that is 1970)``."""

    run = None

    def __init__(self, index, id, ts_ms, value, ms=0):
        self.index = index
        self.given = value.get("id")
        self.id = self.given or id
        self.ts_ms = value.get("ts") or ts_ms
        self.ms = ms
        self.event, self.key, self.data = value["e"], value["k"], value["d"]
        self.to = value.get("to")


class Queue:
    """A log of events in ``folder``; ``row`` is a validated ``webhook_queue`` table.

    The webhook id of an event follows from the place of its record (node, stream, sequence
    number), which stays the same over restarts and is never used again.
    """

    def __init__(self, node, folder, row):
        shape = (
            row["ring_bytes"],
            node.clock,
            node.new_stream,
            node.boot,
            row["frame_bytes"],
        )
        if row["store"]["disk"]:
            from ..log import Log

            make_folder(folder)
            self.log = Log(folder, row["store"], *shape)
        else:
            from ..ring import Ring

            self.log = Ring(*shape)
        self._prefix = node.name.replace(".", "_")
        self._reader = self.log.reader(self.log.next)
        # What was read last: others read it as well, or it is read again to be sent.
        self._last = None

    def put(self, event, key, data, **more):
        """Append an event; False where it was refused, which the log counts.

        The ``payload`` of a message is cut to what a record holds, see ``payload.fit``.
        """
        if data.get("payload"):
            from .payload import fit

            data = fit(data, self.log.frame_bytes, len(event) + len(key))
        return self.log.append(_NO_POINT, dict(more, e=event, k=key, d=data))

    def read(self, index):
        """The ``Record`` at ``index``, or at the next one there is; None at the end.

        It belongs to all who read it: nobody changes it.
        """
        if self._last and self._last.index == index:
            return self._last
        reader = self._reader
        reader.seek(index)
        header = reader.open()
        reader.skipped = 0
        if header is None:
            return None
        id = "%s-%d-%d" % (self._prefix, header.stream, header.seq)
        index = reader.index
        delta, _, value, _ = reader.take()
        ms = header.base + delta
        record = Record(index, id, ms if header.dated else None, value, ms)
        record.run = header.stream, header.dated
        # Until the time is known it is read anew, for the time.
        self._last = record if header.dated else None
        return record

    def flush(self):
        """Write all of it to flash; returns whether that could be done."""
        log = self.log
        while log.stored < log.next and log.store(True):
            continue
        return log.stored >= log.next

    def get(self, index):
        """The ``Record`` at just this ``index``, or None."""
        record = self.read(index)
        return record if record and record.index == index else None
