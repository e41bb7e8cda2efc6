"""The picture of a run at a moment, put together from what the collector committed."""

import json
import time
from collections import deque

HISTORY = 40
#: A state older than this (s) is out of date: the node sends one a second.
STALE_S = 2.0


class Series:
    """A point: its names and its newest values, as far as they are stored."""

    def __init__(self, device, name, unit):
        self.device, self.name, self.unit = device, name, unit
        self.value = None
        self.ts_ms = None
        self.history = deque(maxlen=HISTORY)

    def add(self, ts_ms, value):
        """A record; those that come late, out of order, only enter the history."""
        self.history.append(value)
        if self.ts_ms is None or ts_ms >= self.ts_ms:
            self.ts_ms, self.value = ts_ms, value


class Picture:
    """A run of ``seconds`` seconds: readable attributes, written by the session.

    ``phase`` in words; ``broker`` (is it up?); ``begun`` (monotonic seconds, None before the
    first record); ``state`` (the node's newest state object, None before the first one, kept
    while it is offline) and ``states`` (how many there were); ``online`` (what the broker says
    of the node); ``stored`` and ``redelivered`` records; ``points`` (``Series`` by id);
    ``backlog`` (the newest numbers of waiting records, one a second); ``receiver`` (of the node's
    webhooks; None where it sends none).
    """

    def __init__(self, seconds):
        self.seconds = seconds
        self.phase = "preparing"
        self.broker = False
        self.receiver = None
        self.begun = None
        self.state = None
        self.states = 0
        self.online = False
        self.stored = self.redelivered = 0
        self.points = {}
        self.backlog = deque(maxlen=HISTORY)
        self._rates = deque(maxlen=10)
        self._state_at = self._backlog_at = 0.0

    def committed(self, flushes, points, states, written):
        """Enter what a ``Store.write`` stored, ``written`` being its result."""
        for group in points:
            for key, name, unit in group.points:
                self.points.setdefault(key, Series(group.device, name, unit))
        for flush in flushes:
            for chunk in flush.chunks:
                self._add(chunk)
        self.stored += written.records
        self.redelivered += written.duplicates
        for state in states:
            self._enter(json.loads(state.text))

    def _add(self, chunk):
        for ms, key, value, _ in chunk.records:
            if chunk.dated and key in self.points:
                self.points[key].add(ms, value)

    def _enter(self, state):
        self.online = state["state"] == "online"
        if self.online:
            self.state = state
            self.states += 1
            self._state_at = time.monotonic()
            self._rates.append((state["uptime_ms"], self.log["acquired"]))

    @property
    def log(self):
        """The node's account of its log, or an empty one."""
        return self.state["logs"]["default"] if self.state else {"acquired": 0}

    @property
    def rate(self):
        """Records that the node acquires in a second, by its newest states."""
        if len(self._rates) < 2:
            return 0.0
        (begin_ms, begin), (end_ms, end) = self._rates[0], self._rates[-1]
        return (end - begin) * 1000 / max(end_ms - begin_ms, 1)

    @property
    def elapsed(self):
        """Seconds since the first record."""
        return time.monotonic() - self.begun if self.begun else 0.0

    @property
    def silent_s(self):
        """Seconds since the node's newest state."""
        return time.monotonic() - self._state_at

    @property
    def exact(self):
        """Is the node's account up to date? Otherwise ``acquired`` and ``waiting`` are guesses."""
        return self.state is None or (self.broker and self.silent_s < STALE_S)

    @property
    def acquired(self):
        """Records acquired: as the node said last, or by its rate while it cannot say."""
        known = self.log["acquired"]
        return known if self.exact else known + round(self.rate * self.silent_s)

    @property
    def waiting(self):
        """Records that wait on the node."""
        return max(0, self.acquired - self.stored)

    def tick(self):
        """Note the backlog, once a second."""
        now = time.monotonic()
        if now - self._backlog_at >= 1:
            self._backlog_at = now
            self.backlog.append(self.waiting)
