"""One device of a node: polls its driver on a fixed schedule and tells when it goes down."""

from .compat import TimeoutError, const, sleep_ms, ticks_add, ticks_diff, ticks_ms, wait_for_ms
from .errors import DriverError
from .events import DEVICE_DISCOVERED, DEVICE_DOWN, DEVICE_RECOVERED, ERROR

_BACKOFF_MAX_MS = const(60000)


class Device:
    """A driver with its points.

    ``status`` is ``init``, ``ok`` or the reason why it is down. ``reads``, ``failures`` and
    ``overruns`` (cycles that began late because the one before took longer than the interval)
    count.
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
        self.status = "init"
        self.reads = self.failures = self.overruns = 0
        self._started = False
        self._misses = 0

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
        if not self._started:
            raise DriverError("not started")
        try:
            await wait_for_ms(self.driver.write(point, value), self.timeout_ms)
        except DriverError:
            raise
        except TimeoutError:
            raise DriverError("timeout") from None
        except Exception as error:
            raise self._bug(error) from None

    def _pause_ms(self):
        if not self._misses:
            return self.interval
        return max(self.interval, min(self.interval << min(self._misses, 6), _BACKOFF_MAX_MS))

    async def _cycle(self):
        try:
            await wait_for_ms(self._read(), self.timeout_ms)
        except TimeoutError:
            self._down("timeout")
        except DriverError as error:
            self._down(str(error))
        except Exception as error:
            # A driver with a bug is isolated like a device that does not answer.
            self._down(str(self._bug(error)))
        else:
            self._up()

    def _bug(self, error):
        self.bus.emit(ERROR, self.id, error)
        return DriverError("driver error: %r" % error)

    async def _read(self):
        if not self._started:
            await self.driver.start()
            self._started = True
        await self.driver.read(self.points)

    def _up(self):
        self.reads += 1
        self._misses = 0
        if self.status != "ok":
            known = self.status != "init"
            self.status = "ok"
            event = DEVICE_RECOVERED if known else DEVICE_DISCOVERED
            self.bus.emit(event, self.id, self.protocol)

    def _down(self, reason):
        self.failures += 1
        self._misses += 1
        was_up = self._misses == 1
        self.status = reason
        for point in self.points:
            point.fail(reason)
        if was_up:
            self.bus.emit(DEVICE_DOWN, self.id, self.protocol)
