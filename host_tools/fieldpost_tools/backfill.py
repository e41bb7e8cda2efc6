"""Sends a range of stored records to a connector again, beside its live cursor.

A backfill is known by its connector and what it selects. Its place is saved with every batch, so
it goes on after any kill; the connector's own position is not touched. To a sink with keys it may
be sent again and again. Files are not written into twice: a backfill into a file sink writes
files of its own, ``{name}-backfill-{job}-000001…``, and once done it is done.
"""

import hashlib
import json
import time

from fieldpost_tools import query
from fieldpost_tools.errors import ToolError
from fieldpost_tools.export import letters, state
from fieldpost_tools.export.pipeline import Delivery, backoff


class Backfill:
    """One backfill of ``selection`` to ``export``. ``job`` is its ``state.Job``.

    With ``restart`` it begins anew, as one that is done and has a sink with keys does anyway.
    Raises InputError for a node or point that the store does not know.
    """

    def __init__(self, export, store, states, selection, restart=False):
        self._export = export
        self._states = states
        self._connector = export.connector
        name = job_name(selection)
        if not self._connector.KEYED:
            # Files of its own.
            self._connector.name = f"{export.name}-backfill-{name}"
        self._range = query.Range(store, selection)
        self._delivery = Delivery()
        found = states.job(export.name, name)
        keyed = self._connector.KEYED
        if found is None or restart or (found.state == state.DONE and keyed):
            if not keyed and restart:
                self._connector.clear()
            found = state.Job(export.name, name, total=self._range.total())
        self.job = found
        if found.state != state.DONE:
            self._save(state=state.RUNNING, error=None)

    def run(self, stopping, progress):
        """Write until all is written or ``stopping``, an Event, is set; the ``Job`` then.

        Failures of the sink are retried with the connector's backoff; ``progress`` hears of
        every batch and failure. Raises ToolError for what is not the sink's fault.
        """
        delay_s = 0.0
        opened = False
        while self.job.state in (state.RUNNING, state.ERROR) and not stopping.is_set():
            try:
                if not opened:
                    self._connector.open(self.job.mark)
                    if self.job.mark is None:
                        # Before the first write: from now on what is there is ours.
                        self._save(mark=self._connector.mark())
                    opened = True
                self._step()
                delay_s = 0.0
            except ToolError as error:
                self._connector.close()
                opened = False
                delay_s, wait_s = backoff(self._export.common, delay_s, error)
                self._save(state=state.ERROR, error=str(error))
                progress(self.job)
                stopping.wait(wait_s)
            else:
                progress(self.job)
        self._connector.close()
        if self.job.state != state.DONE:
            self._save(state=state.STOPPED)
        return self.job

    def _step(self):
        common, job, delivery = self._export.common, self.job, self._delivery
        rows = self._range.after(job.place, common["batch"])
        if not rows:
            self._save(state=state.DONE, error=None)
            return
        delivery.reset()
        samples = self._export.mapping.samples(rows)
        untimed = delivery.deliver_timed(self._connector, samples)
        if delivery.dead:
            letters.bury(common["dead_letters"], delivery.dead)
        last = rows[-1]
        self._save(
            place=[last.node, last.stream, last.seq],
            rows=job.rows + len(rows),
            skipped=job.skipped + untimed + delivery.skipped,
            dead=job.dead + len(delivery.dead),
            mark=self._connector.mark(),
            state=state.RUNNING,
            error=None,
        )

    def _save(self, **changes):
        self.job = self.job._replace(**changes)
        self._states.save_job(self.job)


def job_name(selection):
    """Short name of what is selected, the same for the same selection."""
    nodes, points, since, until = selection
    text = json.dumps([sorted(nodes), sorted(points), since, until])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Pace:
    """Rate and time left of a running backfill, over the last seconds."""

    WINDOW_S = 10.0

    def __init__(self, rows=0):
        self._seen = [(time.monotonic(), rows)]

    def update(self, rows):
        """Take the number of rows written so far."""
        now = time.monotonic()
        self._seen.append((now, rows))
        while len(self._seen) > 2 and now - self._seen[1][0] > self.WINDOW_S:
            self._seen.pop(0)

    @property
    def rows_per_s(self):
        """Rows a second."""
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        return (after - before) / max(ended - began, 1e-6) if ended > began else 0.0
