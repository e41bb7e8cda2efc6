"""Moves what a store gets to one connector, each record once, whatever fails in between.

A step reads a batch from the connector's position on, writes it, and then saves the new position
and the connector's mark in one transaction. What fails before that comes again. Connectors know
nothing of each other: each has a thread, a position, a backoff of its own.
"""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from fieldpost_tools import arrivals, events, query
from fieldpost_tools.errors import ToolError
from fieldpost_tools.export import letters, state
from fieldpost_tools.export.connector import Rejected, Unavailable
from fieldpost_tools.export.state import Done

_KINDS = {events.ALARM: "alarms", events.STATUS: "status"}


class Delivery:
    """Writes batches to one connector; what it rejects is found by halving, and collected.

    ``skipped`` and ``dead`` ([item, reason] pairs) are those of the batches since ``reset``.
    """

    #: More of them in one batch: it is not a row that is wrong.
    MAX_DEAD = 100

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget what the last batch had."""
        self.skipped = 0
        self.dead = []

    def deliver_timed(self, connector, samples):
        """Write samples, without those that lack a time the sink needs; how many these were."""
        timed = samples
        if connector.NEEDS_TIME:
            timed = [one for one in samples if one.ts_ms is not None]
        self.deliver(connector.write, timed)
        return len(samples) - len(timed)

    def deliver(self, write, items):
        """Give ``items`` to ``write``. Raises Unavailable."""
        if not items:
            return
        try:
            self.skipped += write(items)
        except Rejected as error:
            if len(items) == 1:
                self._bury(items[0], error)
                return
            middle = len(items) // 2
            self.deliver(write, items[:middle])
            self.deliver(write, items[middle:])

    def _bury(self, item, error):
        self.dead.append((item, str(error)))
        if len(self.dead) > self.MAX_DEAD:
            raise Unavailable(f"rejects one after the other: {error}") from error


class Exporter:
    """One connector's part of the work. ``export`` is a ``settings.Export``, ``store`` is open and
    this thread's own, ``states`` a ``state.States``."""

    def __init__(self, export, store, states):
        self.name = export.name
        self._export = export
        self._common = export.common
        self._connector = export.connector
        self._store = store
        self._states = states
        self._delivery = Delivery()
        # Reads the next batch while the sink is busy with this one.
        self._reader = None
        self._ahead = None
        self._open = False
        self._delay_s = 0.0
        self._begin()

    def _begin(self):
        position, event = arrivals.START, 0
        if self._common["from"] == "now":
            position, event = arrivals.last(self._store), events.last(self._store)
        self._states.add(self.name, position, event)

    def step(self):
        """Move one batch of records and one of events; how many there were.

        Raises ToolError; then the connector is closed and nothing has moved on.
        """
        try:
            return self._step(self._states.standing(self.name))
        except ToolError:
            self.close()
            raise

    def run(self, stopping):
        """Step until ``stopping``, an Event, is set: at once while there is more, else by the
        interval; after a failure with backoff."""
        while not stopping.is_set():
            stopping.wait(self.round())
        self.close()

    def round(self):
        """One step with its failure told; seconds until the next one is due."""
        try:
            moved = self.step()
        except ToolError as error:
            return self._failed(error)
        self._delay_s = 0.0
        self._states.set_state(self.name, state.SYNCING if moved else state.IDLE)
        return 0.0 if moved else self._common["interval_s"]

    def close(self):
        """Close the connector; the next step opens it again."""
        self._open = False
        self._connector.close()
        self._ahead = None
        if self._reader:
            self._reader.shutdown()
            self._reader = None

    def _step(self, standing):
        if not self._open:
            self._connector.open(standing.mark)
            if standing.mark is None:
                # Before the first write: from now on what is there is ours.
                mark = self._connector.mark()
                self._states.advance(self.name, *standing[1:3], Done(), mark)
            self._open = True
        rows, position, found = self._take(standing)
        if not rows and not found:
            return 0
        if len(rows) == self._common["batch"]:
            self._read_ahead(position, found[-1].position if found else standing.event)
        done = self._write(rows, found)
        event = found[-1].position if found else standing.event
        mark = self._connector.mark()
        if self._delivery.dead:
            letters.bury(self._common["dead_letters"], self._delivery.dead)
        self._states.advance(self.name, position, event, done, mark)
        return len(rows) + len(found)

    def _take(self, standing):
        """``(rows, Position, events)`` of the next batch, which may have been read ahead."""
        places, self._ahead = self._ahead, None
        if places and places[:2] == (standing.position, standing.event):
            return places[2].result()
        return self._read(standing.position, standing.event)

    def _read_ahead(self, position, event):
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1)
        self._ahead = position, event, self._reader.submit(self._read, position, event)

    def _read(self, position, event):
        limit = self._common["batch"]
        rows, position = query.after(self._store, position, limit)
        return rows, position, events.after(self._store, event, limit)

    def _write(self, rows, found):
        delivery = self._delivery
        delivery.reset()
        samples = self.samples(rows)
        wanted = [event for event in found if self._wants(event)]
        untimed = delivery.deliver_timed(self._connector, samples)
        delivery.deliver(self._connector.write_events, wanted)
        skipped = untimed + delivery.skipped
        return Done(len(samples) - untimed, len(wanted), skipped, len(delivery.dead))

    def samples(self, rows):
        """What the connector gets of ``query.Row`` objects."""
        return self._export.mapping.samples(rows) if self._common["values"] else []

    def _wants(self, event):
        return self._common[_KINDS[event.kind]] and self._export.mapping.selects(
            event.node, event.key
        )

    def _failed(self, error):
        self._states.set_state(self.name, state.ERROR, str(error))
        self._delay_s, wait_s = backoff(self._common, self._delay_s, error)
        return wait_s


def backoff(common, delay_s, error):
    """``(delay, wait)`` in seconds after a failure: the delay doubles, the wait has jitter.

    A sink's own wish counts, but not for ever.
    """
    longest = common["backoff_max_s"]
    delay_s = min(max(2 * delay_s, common["backoff_min_s"]), longest)
    asked = getattr(error, "retry_after_s", None)
    if asked is not None:
        return delay_s, min(asked, 10 * longest)
    return delay_s, delay_s * random.uniform(0.75, 1.25)


def run(exports, open_store, states, stopping):
    """Run every enabled ``Export``, each in a thread, until ``stopping`` is set.

    ``open_store()`` opens the store once more. A thread that fails with anything but a ToolError
    ends the run with that error.
    """
    failures = []

    def work(export):
        try:
            with open_store() as store:
                Exporter(export, store, states).run(stopping)
        except Exception as error:  # noqa: BLE001 – raised again below
            failures.append(error)
            stopping.set()

    threads = [
        threading.Thread(target=work, args=(one,), name=one.name)
        for one in exports
        if one.common["enabled"]
    ]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.1)
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
