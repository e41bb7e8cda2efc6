"""Keeps a node's tasks alive: restart with backoff, counts, heartbeats, watchdog."""

from .compat import asyncio, const, sleep_ms, ticks_diff, ticks_ms
from .events import ERROR

_TICK_MS = const(1000)
_BACKOFF_MIN_MS = const(500)
_BACKOFF_MAX_MS = const(60000)
_STOP_POLL_MS = const(5)
_STOP_POLLS = const(100)
#: A task that ran this long before it failed starts over with the shortest backoff.
_STABLE_MS = const(60000)


class Task:
    """What the supervisor knows of one task: ``restarts``, last error, heartbeat."""

    def __init__(self, name, stale_ms):
        self.name = name
        self.stale_ms = stale_ms
        self.restarts = 0
        self.error = None
        self.beaten = ticks_ms()
        self.handle = None

    def beat(self):
        """The task is alive; to be called at least once in ``stale_ms``."""
        self.beaten = ticks_ms()

    def fresh(self):
        """False when the heartbeat is older than ``stale_ms`` (0: no heartbeat is expected)."""
        return not self.stale_ms or ticks_diff(ticks_ms(), self.beaten) < self.stale_ms


class Supervisor:
    """Runs coroutine functions forever; one that fails is reported and started again."""

    def __init__(self, bus):
        self.bus = bus
        self.tasks = {}
        #: Called once a second while every heartbeat is fresh: feed the watchdog here.
        self.feed = None

    def start(self, name, function, stale_ms=0):
        """Run ``await function(task)`` as ``name``; a return ends it, an exception restarts it.

        A task that has the name already is cancelled.
        """
        if name in self.tasks:
            self.tasks[name].handle.cancel()
        task = Task(name, stale_ms)
        self.tasks[name] = task
        task.handle = asyncio.create_task(self._keep(task, function))
        return task

    async def stop(self, name):
        """Cancel a task and wait until it has cleaned up."""
        task = self.tasks.pop(name, None)
        polls = 0
        while task and not task.handle.done():
            # Again after a while: a deadline that ends in the same moment swallows a cancellation.
            if polls % _STOP_POLLS == 0:
                task.handle.cancel()
            polls += 1
            await sleep_ms(_STOP_POLL_MS)

    async def stop_all(self):
        """Cancel every task."""
        for name in list(self.tasks):
            await self.stop(name)

    async def run(self, tend):
        """The supervisor's own loop: calls ``tend()`` and ``feed()`` once a second.

        What ``tend`` raises is reported, and the watchdog not fed in that second.
        """
        while True:
            try:
                tend()
                if self.feed and all(task.fresh() for task in self.tasks.values()):
                    self.feed()
            except Exception as error:
                self.bus.emit(ERROR, "supervisor", error)
            await sleep_ms(_TICK_MS)

    async def _keep(self, task, function):
        backoff = _BACKOFF_MIN_MS
        # Not again once it is stopped or replaced, whatever its cleaning up raised.
        while self.tasks.get(task.name) is task:
            started = ticks_ms()
            try:
                await function(task)
                break
            except Exception as error:
                task.error = error
                task.restarts += 1
                self.bus.emit(ERROR, task.name, error)
            if not 0 <= ticks_diff(ticks_ms(), started) <= _STABLE_MS:
                backoff = _BACKOFF_MIN_MS
            task.beat()
            await sleep_ms(backoff)
            backoff = min(backoff * 2, _BACKOFF_MAX_MS)
        if self.tasks.get(task.name) is task:
            del self.tasks[task.name]
