"""Recorder: applies acquisition rules to points and puts what they ask for into the logs.

Reads are decided at once, in ``Watch.__call__``. What time decides (aligned intervals, cron, the
time parts of ``on_cov``) is decided in one task that sleeps until the next moment.
"""

from .compat import asyncio, const, ticks_add, ticks_diff, wait_set

#: The task looks at least this often, which also carries the triggers past the tick wrap.
_LONGEST_MS = const(3600000)
#: What NTP corrects from one answer to the next: no moment is repeated or left out for it.
_SMALL_STEP_MS = const(2000)


class Watch:
    """One point in one subscription."""

    def __init__(self, recorder, point, subscription, rule):
        self.point = point
        self.subscription = subscription
        self.trigger = rule.trigger()
        self._recorder = recorder if rule.paced else None

    def __call__(self, point, ticks):
        """The point was read: record it if the rule says so."""
        if self.trigger.update(point.value, ticks):
            self.subscription.record(point, ticks)
        if self._recorder:
            self._recorder.wake_in(self.trigger.wait_ms(point.value, ticks), ticks)

    def now(self, ticks):
        """A wall-clock term asks for a record with the time ``ticks``."""
        point = self.point
        if point.status == "ok":
            self.trigger.record(point.value, ticks)
            self.subscription.record(point, ticks)

    def tend(self, ticks):
        """Record if time alone asks for it; returns ms until it may."""
        point = self.point
        trigger = self.trigger
        if point.status == "ok" and trigger.due(point.value, ticks):
            self.subscription.record(point, ticks)
        # Asked also while the point is down: it carries the trigger past the tick wrap.
        wait = trigger.wait_ms(point.value, ticks)
        return wait if point.status == "ok" else _LONGEST_MS


class Recorder:
    """All watches of a node."""

    def __init__(self, clock):
        self.clock = clock
        self._paced = []
        #: [rule, its watches, due as clock ms] of every rule with wall-clock terms.
        self._timed = []
        self._wake = clock.ticks()
        self._offset = clock.offset_ms
        self._event = asyncio.Event()
        clock.on_change.append(self._reschedule)

    def watch(self, point, subscription, rule):
        """Let ``rule`` decide which values of ``point`` go into ``subscription``'s log."""
        if rule.always and not (rule.paced or rule.timed):
            point.triggers += (subscription.record,)
            return
        watch = Watch(self, point, subscription, rule)
        if rule.terms:
            point.triggers += (watch,)
        if rule.paced:
            self._paced.append(watch)
        if rule.timed:
            for entry in self._timed:
                if entry[0] is rule:
                    entry[1].append(watch)
                    break
            else:
                self._timed.append([rule, [watch], 0])
        self._event.set()

    def forget(self, points):
        """Remove every watch of these points."""
        for point in points:
            point.triggers = ()
        self._paced = [watch for watch in self._paced if watch.point not in points]
        for entry in self._timed:
            entry[1] = [watch for watch in entry[1] if watch.point not in points]
        self._timed = [entry for entry in self._timed if entry[1]]

    def wake_in(self, ms, ticks):
        """Have the time parts looked at in ``ms`` from ``ticks``, if that is sooner."""
        wake = ticks_add(ticks, min(ms, _LONGEST_MS))
        if ticks_diff(self._wake, wake) > 0:
            self._wake = wake
            self._event.set()

    async def run(self, task):
        """The recorder's task."""
        while True:
            task.beat()
            wait = self.step()
            if wait > 0:
                await wait_set(self._event, wait)
            else:
                await asyncio.sleep(0)
            self._event.clear()

    def step(self):
        """Record what time asks for; returns ms until the next moment."""
        ticks = self.clock.ticks()
        wait = _LONGEST_MS
        for watch in self._paced:
            wait = min(wait, watch.tend(ticks))
        # The same moment on the wall: reading the ticks again would be later.
        now = self.clock.mono_at(ticks) + (self.clock.offset_ms or 0)
        for entry in self._timed:
            wait = min(wait, self._run_timed(entry, ticks, now))
        self._wake = ticks_add(ticks, wait)
        return wait

    def _run_timed(self, entry, ticks, now):
        rule, watches, due = entry
        if due and due <= now:
            at = ticks_add(ticks, -min(now - due, _LONGEST_MS))
            for watch in watches:
                watch.now(at)
        if due <= now:
            entry[2] = due = rule.next_due(now)
        return min(due - now, _LONGEST_MS)

    def _reschedule(self):
        before, self._offset = self._offset, self.clock.offset_ms
        if before is None or abs(self._offset - before) > _SMALL_STEP_MS:
            for entry in self._timed:
                entry[2] = 0
        self._event.set()
