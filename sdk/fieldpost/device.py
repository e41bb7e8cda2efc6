"""One device of a node: polls its driver on a fixed schedule and tells when it goes down."""

from .compat import (
    TimeoutError,
    asyncio,
    const,
    sleep_ms,
    ticks_add,
    ticks_diff,
    ticks_ms,
    wait_for_ms,
)
from .errors import DriverError
from .events import DEVICE_DISCOVERED, DEVICE_DOWN, DEVICE_RECOVERED, ERROR

_BACKOFF_MAX_MS = const(60000)
_REASON_CHARS = const(80)
#: How often points are looked at for times that are too old; ticks tell those of six days.
_AGE_MS = const(86400000)
_OLD_MS = const(259200000)


class Device:
    """A driver with its points.

    ``status`` is ``init``, ``ok``, ``stopped`` where it is not enabled, or the reason why it is
    down. ``reads``, ``failures`` and ``overruns`` (cycles that began late because the one before
    took longer than the interval) count.
    """

    def __init__(self, config, driver, points, bus):
        self.id = config["id"]
        self.protocol = config["driver"]
        self.interval = config["interval"]
        self.timeout_ms = config["timeout_ms"]
        self.enabled = config["enabled"]
        self.driver = driver
        self.points = points
        self.bus = bus
        self.status = "init" if self.enabled else "stopped"
        self.reads = self.failures = self.overruns = 0
        self._started = False
        self._misses = 0
        #: One read at a time: when the last one began, why it failed.
        self._reading = asyncio.Lock()
        self._began = self._aged = ticks_ms()
        self._reason = None

    async def run(self, task):
        """The device's task: read every ``interval`` ms, on a schedule that does not drift."""
        due = ticks_ms()
        try:
            while True:
                await self._cycle()
                task.beat()
                due = ticks_add(due, self._pause_ms())
                wait = ticks_diff(due, ticks_ms())
                if wait < 0:
                    self.overruns += 1
                    due = ticks_ms()
                await sleep_ms(max(wait, 0))
        finally:
            self._started = False
            await wait_for_ms(self.driver.stop(), self.timeout_ms)

    async def write(self, point, value):
        """Set a point through the driver, under the device's deadline. Raises DriverError."""
        self._need_start()
        await self._ask(self.driver.write, point, value)

    async def refresh(self, points):
        """Read some of its points now, beside the schedule, under the device's deadline.

        Waits for a read that is going on. What others have asked for meanwhile is not asked again.
        Whether the device is down is the schedule's to tell. Raises DriverError.
        """
        asked = ticks_ms()
        async with self._reading:
            self._need_start()
            if ticks_diff(self._began, asked) > 0:
                if self._reason:
                    raise DriverError(self._reason)
                if all(point.ticks and ticks_diff(point.ticks, asked) >= 0 for point in points):
                    return
            await self._take(self.driver.read, points)

    def _need_start(self):
        if not self._started:
            raise DriverError("not started" if self.status in ("init", "ok") else self.status)

    async def _take(self, work, *arguments):
        self._began = ticks_ms()
        self._reason = "cancelled"
        try:
            await self._ask(work, *arguments)
            self._reason = None
        except DriverError as error:
            self._reason = error.args[0]
            raise

    async def _ask(self, work, *arguments):
        """Let the driver work; whatever is wrong becomes a DriverError."""
        try:
            await wait_for_ms(work(*arguments), self.timeout_ms)
        except DriverError as error:
            raise DriverError(_short(str, error)) from None
        except TimeoutError:
            raise DriverError("timeout") from None
        except Exception as error:
            # A driver with a bug is isolated like a device that does not answer.
            raise self._bug(error) from None

    def _pause_ms(self):
        if not self._misses:
            return self.interval
        return max(self.interval, min(self.interval << min(self._misses, 6), _BACKOFF_MAX_MS))

    async def _cycle(self):
        async with self._reading:
            try:
                await self._take(self._read)
            except DriverError as error:
                self._down(error.args[0])
            else:
                self._up()

    def _bug(self, error):
        self.bus.emit(ERROR, self.id, error)
        return DriverError("driver error: " + _short(repr, error))

    async def _read(self):
        if not self._started:
            await self.driver.start()
            self._started = True
        await self.driver.read(self.points)

    def _up(self):
        self.reads += 1
        self._misses = 0
        self._age()
        if self.status != "ok":
            known = self.status != "init"
            self.status = "ok"
            event = DEVICE_RECOVERED if known else DEVICE_DISCOVERED
            self.bus.emit(event, self.id, self.protocol)

    def _age(self):
        """Forget the times of values that are as they were for days."""
        now = ticks_ms()
        if ticks_diff(now, self._aged) >= _AGE_MS:
            self._aged = now
            for point in self.points:
                if point.ticks is not None and ticks_diff(now, point.ticks) > _OLD_MS:
                    point.ticks = None

    def _down(self, reason):
        self.failures += 1
        self._misses += 1
        was_up = self._misses == 1
        self.status = reason
        for point in self.points:
            point.fail(reason)
        if was_up:
            self.bus.emit(DEVICE_DOWN, self.id, self.protocol)


def _short(words, error):
    """The text of an error that ``words``, str or repr, makes; of bounded length."""
    try:
        return words(error)[:_REASON_CHARS] or type(error).__name__
    except Exception:
        # Even that is the driver's code.
        return type(error).__name__
