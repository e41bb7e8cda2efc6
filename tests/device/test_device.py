"""device: the schedule, deadlines, going down and coming back, writes, starting, stopping."""

from patch_kit import FakeTime, turns

from fieldpost import device
from fieldpost.bus import Bus
from fieldpost.compat import TimeoutError, asyncio, ticks_diff, ticks_ms, wait_for_ms
from fieldpost.device import Device
from fieldpost.errors import DriverError
from fieldpost.events import ANY
from fieldpost.point import Point


class Task:
    """Counts heartbeats."""

    beats = 0

    def beat(self):
        self.beats += 1


class Scripted:
    """A driver that does what a list says: ``None`` reads, an exception is raised, a function is
    called; an asyncio.Event is waited for. The last entry goes on for ever."""

    def __init__(self, *script):
        self.script = list(script)
        self.calls = []

    async def play(self, name):
        self.calls.append(name)
        act = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(act, Exception):
            raise act
        if isinstance(act, asyncio.Event):
            await act.wait()
        elif act:
            act()

    async def start(self):
        self.calls.append("start")

    async def read(self, points):
        await self.play("read")
        for point in points:
            point.update(len(self.calls))

    async def write(self, point, value):
        await self.play("write")
        point.update(value)

    async def stop(self):
        self.calls.append("stop")


class Bench:
    """A device with two points and the events it makes."""

    def __init__(self, driver, interval=1000, timeout_ms=1000):
        config = {"id": "d", "driver": "scripted", "interval": interval, "timeout_ms": timeout_ms}
        config["enabled"] = True
        self.bus = Bus()
        self.events = []
        self.bus.subscribe(ANY, lambda kind, key, data: self.events.append((kind, key, data)))
        self.points = [Point(1, "d", "a"), Point(2, "d", "b")]
        self.device = Device(config, driver, self.points, self.bus)
        self.task = Task()

    def kinds(self):
        return [kind for kind, _, _ in self.events]

    async def run(self, cycles, time=None):
        """Poll so many times and a little; returns the time."""
        time = time or FakeTime()
        with time.of(device):
            running = asyncio.create_task(self.device.run(self.task))
            for _ in range(10000):
                if self.task.beats >= cycles:
                    break
                await asyncio.sleep(0)
            await turns(1)
            running.cancel()
            await turns(5)
        assert running.done()
        return time


# -- schedule


async def test_the_schedule_does_not_drift():
    times = []
    time = FakeTime(now=123, overshoot=7)

    def slow():
        times.append(time.now)
        time.advance(90)

    bench = Bench(Scripted(slow), interval=250)
    await bench.run(50, time)
    assert times[0] == 123
    assert [at - 123 for at in times[1:]] == [250 * i + 7 for i in range(1, len(times))]
    assert len(times) >= 50
    assert bench.device.overruns == 0
    assert bench.device.reads >= 50


async def test_a_cycle_that_takes_too_long_is_an_overrun():
    times = []
    time = FakeTime()

    def read():
        times.append(time.now)
        time.advance(700 if len(times) == 2 else 10)

    bench = Bench(Scripted(read), interval=250)
    await bench.run(5, time)
    assert times[:5] == [0, 250, 950, 1200, 1450]
    assert bench.device.overruns == 1
    assert 0 in time.slept, "others got their turn"


async def test_the_schedule_goes_past_the_tick_wrap():
    times = []
    start = (1 << 30) - 600
    time = FakeTime(now=start)
    bench = Bench(Scripted(lambda: times.append(time.now)), interval=250)
    await bench.run(6, time)
    slept = [ms for ms in time.slept if ms]
    assert slept[:5] == [250] * 5
    assert bench.device.overruns == 0


async def test_backoff_while_it_is_down():
    bench = Bench(Scripted(DriverError("gone")), interval=1000)
    time = await bench.run(9)
    assert time.slept[:9] == [2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000, 60000]
    # A device that is asked rarely is not asked more often.
    bench = Bench(Scripted(DriverError("gone")), interval=3600000)
    time = await bench.run(3)
    assert time.slept[:3] == [3600000] * 3


async def test_the_backoff_ends_with_the_first_answer():
    bench = Bench(Scripted(DriverError("gone"), DriverError("gone"), None), interval=100)
    time = await bench.run(5)
    assert time.slept[:5] == [200, 400, 100, 100, 100]


async def test_heartbeats():
    bench = Bench(Scripted(None, DriverError("gone"), ValueError(), None), interval=100)
    await bench.run(8)
    assert bench.task.beats >= 8


# -- up and down


async def test_discovered_down_and_recovered_once_each():
    gone = DriverError("no answer")
    bench = Bench(Scripted(None, None, gone, gone, gone, None, None, gone, None), interval=100)
    await bench.run(9)
    told = [event for event in bench.events if event[0].startswith("device_")]
    assert told == [
        ("device_discovered", "d", "scripted"),
        ("device_down", "d", "scripted"),
        ("device_recovered", "d", "scripted"),
        ("device_down", "d", "scripted"),
        ("device_recovered", "d", "scripted"),
    ]
    assert (bench.device.status, bench.device.failures) == ("ok", 4)


async def test_points_of_a_device_that_is_down_fail_and_keep_their_value():
    bench = Bench(Scripted(None, DriverError("no answer")), interval=100)
    await bench.run(1)
    before = [point.value for point in bench.points]
    await bench.run(3)
    assert bench.device.status == "no answer"
    assert [point.status for point in bench.points] == ["no answer"] * 2
    assert [point.value for point in bench.points] == before


async def test_a_device_that_never_answered_is_down_too():
    bench = Bench(Scripted(DriverError("refused")), interval=100)
    await bench.run(3)
    assert bench.kinds() == ["device_down"]


async def test_a_read_has_a_deadline():
    never = asyncio.Event()
    bench = Bench(Scripted(None, never, None), interval=10, timeout_ms=30)
    running = asyncio.create_task(bench.device.run(bench.task))
    for _ in range(100):
        await asyncio.sleep(0.01)
        if bench.kinds().count("device_recovered"):
            break
    running.cancel()
    told = [kind for kind in bench.kinds() if kind.startswith("device_")]
    assert told[:3] == ["device_discovered", "device_down", "device_recovered"]
    assert bench.device.failures == 1


async def test_a_bug_in_a_driver_stays_there():
    bug = KeyError("x")
    bench = Bench(Scripted(bug, None), interval=100)
    await bench.run(3)
    assert bench.events[0] == ("error", "d", bug)
    assert bench.kinds()[1] == "device_down"
    assert bench.device.status == "ok"
    bench = Bench(Scripted(bug), interval=100)
    await bench.run(2)
    assert bench.points[0].status.startswith("driver error: KeyError(")


def nonsense(make):
    """A driver whose first point gets what ``make()`` returns, once in a while."""
    driver = Scripted(None)

    async def read(points):
        driver.calls.append("read")
        points[0].update(make() if driver.calls.count("read") == 2 else 1)
        points[1].update(2)

    driver.read = read
    return driver


class TalkativeError(Exception):
    """Says too much."""

    def __repr__(self):
        return "x" * 5000


class MuteError(Exception):
    """Says nothing at all."""

    def __repr__(self):
        raise KeyError(self)


async def test_nonsense_takes_the_device_down_and_only_once():
    deep = []
    for _ in range(20):
        deep = [deep]
    for make in (object, lambda: "x" * 5000, lambda: [0] * 5000, lambda: deep, lambda: {1: 2}):
        bench = Bench(nonsense(make), interval=100)
        await bench.run(5)
        told = [kind for kind in bench.kinds() if kind.startswith("device_")]
        assert told == ["device_discovered", "device_down", "device_recovered"]
        assert [point.value for point in bench.points] == [1, 2]
        assert bench.device.failures == 1


async def test_a_number_that_is_none_fails_its_point_only():
    bench = Bench(nonsense(lambda: float("nan")), interval=100)
    seen = []
    bench.points[1].triggers = (lambda _one, _ticks: seen.append(bench.points[0].status),)
    await bench.run(3)
    assert seen[:3] == ["ok", "not a number", "ok"]
    assert bench.device.failures == 0
    assert bench.points[0].value == 1


async def test_a_driver_that_updates_nothing_is_not_down():
    driver = Scripted(None)

    async def read(_points):
        driver.calls.append("read")

    driver.read = read
    bench = Bench(driver, interval=100)
    await bench.run(5)
    assert bench.device.status == "ok"
    assert [point.status for point in bench.points] == ["init"] * 2


async def test_read_that_is_no_coroutine_function():
    for act in (lambda points: None, lambda points: points[9], None):
        driver = Scripted(None)
        driver.read = act
        bench = Bench(driver, interval=100)
        await bench.run(3)
        assert bench.kinds().count("device_down") == 1
        assert bench.device.status.startswith("driver error: ")


async def test_reasons_are_short():
    for act, most in (
        (TalkativeError(), 120),
        (DriverError("y" * 5000), 80),
        (MuteError(), 23),
        (DriverError(), 11),
    ):
        bench = Bench(Scripted(act), interval=100)
        await bench.run(2)
        assert most - 30 < len(bench.device.status) <= most
        assert len(bench.points[0].status) <= 80


# -- starting and stopping


class Stubborn(Scripted):
    """Starts at the third attempt."""

    async def start(self):
        self.calls.append("start")
        if self.calls.count("start") < 3:
            raise DriverError("no pin")


async def test_a_driver_is_started_once_and_again_while_that_fails():
    driver = Scripted(DriverError("gone"), None)
    bench = Bench(driver, interval=100)
    await bench.run(4)
    assert driver.calls[:4] == ["start", "read", "read", "read"]
    assert driver.calls[-1] == "stop"
    assert driver.calls.count("start") == driver.calls.count("stop") == 1
    driver = Stubborn(None)
    bench = Bench(driver, interval=100)
    await bench.run(4)
    assert driver.calls[:5] == ["start", "start", "start", "read", "read"]
    assert bench.kinds()[0] == "device_down"


async def test_a_device_can_run_again():
    driver = Scripted(None)
    bench = Bench(driver, interval=100)
    await bench.run(1)
    await bench.run(2)
    assert driver.calls.count("start") == driver.calls.count("stop") == 2


class Hanging(Scripted):
    """Cannot be started, nor stopped."""

    async def start(self):
        await asyncio.Event().wait()

    async def stop(self):
        await asyncio.Event().wait()


async def test_start_and_stop_have_a_deadline():
    bench = Bench(Hanging(None), interval=10, timeout_ms=30)
    running = asyncio.create_task(bench.device.run(bench.task))
    await asyncio.sleep(0.2)
    assert bench.device.status == "timeout"
    running.cancel()
    try:
        await running
    except TimeoutError:
        return
    raise AssertionError("stop was not given up")


async def test_a_device_that_is_not_enabled_says_so():
    config = {"id": "d", "driver": "x", "interval": 10, "timeout_ms": 10, "enabled": False}
    assert Device(config, Scripted(None), [], Bus()).status == "stopped"


# -- reads beside the schedule


async def asked(bench, points=None):
    """What reading now does: "read", or the text of its DriverError."""
    try:
        await bench.device.refresh(points or bench.points)
    except DriverError as error:
        return str(error)
    return "read"


async def test_a_read_now_asks_the_driver_and_leaves_the_schedule_alone():
    bench = Bench(Scripted(None), interval=100, timeout_ms=1000)
    assert await asked(bench) == "not started"
    times = []
    bench.device.driver.script[0] = lambda: times.append(ticks_ms())
    running = asyncio.create_task(bench.device.run(bench.task))
    while not bench.task.beats:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0.033)
        assert await asked(bench, bench.points[:1]) == "read"
    while bench.task.beats < 4:
        await asyncio.sleep(0.005)
    running.cancel()
    await turns(5)
    scheduled = [ticks_diff(at, times[0]) for at in times]
    for i in range(4):
        assert any(100 * i - 5 <= at <= 100 * i + 40 for at in scheduled), scheduled
    assert bench.device.reads == bench.task.beats
    assert await asked(bench) == "not started"


async def test_a_read_now_waits_for_the_one_that_is_going_on():
    gate = asyncio.Event()
    bench = Bench(Scripted(gate, None), interval=10000, timeout_ms=1000)
    running = asyncio.create_task(bench.device.run(bench.task))
    await turns(3)
    reading = asyncio.create_task(asked(bench))
    await turns(5)
    assert bench.device.driver.calls.count("read") == 1
    gate.set()
    assert await reading == "read"
    assert bench.device.driver.calls.count("read") == 2
    running.cancel()
    await turns(5)


async def test_the_schedule_waits_for_a_read_now_and_is_not_down_by_it():
    slow = asyncio.Event()
    bench = Bench(Scripted(None, slow, None), interval=30, timeout_ms=100)
    running = asyncio.create_task(bench.device.run(bench.task))
    while not bench.task.beats:
        await asyncio.sleep(0)
    assert await asked(bench) == "timeout"
    while bench.task.beats < 3:
        await asyncio.sleep(0.005)
    running.cancel()
    await turns(5)
    assert "device_down" not in bench.kinds()
    assert bench.device.failures == 0


async def test_many_reads_now_are_one():
    for act, told in ((None, "read"), (DriverError("gone"), "gone")):
        gate = asyncio.Event()
        bench = Bench(Scripted(None, gate, act), interval=10000, timeout_ms=5000)
        running = asyncio.create_task(bench.device.run(bench.task))
        while not bench.task.beats:
            await asyncio.sleep(0)
        # One that is going on, which began too early for the others, and one for all of those.
        first = asyncio.create_task(asked(bench))
        await asyncio.sleep(0.02)
        others = [asyncio.create_task(asked(bench)) for _ in range(8)]
        await asyncio.sleep(0.02)
        gate.set()
        assert await first == "read"
        for other in others:
            assert await other == told
        assert bench.device.driver.calls.count("read") == 3
        running.cancel()
        await turns(5)


async def test_times_that_ticks_cannot_tell_are_forgotten():
    time = FakeTime(now=5)
    day = 86400000
    driver = Scripted(None)

    async def read(points):
        driver.calls.append("read")
        if driver.calls.count("read") == 1:
            points[0].update(1)
            points[0].ticks = time.now
        points[1].update(2)
        points[1].ticks = time.now

    driver.read = read
    bench = Bench(driver, interval=day // 4)
    with time.of(device):
        bench.device._aged = time.now
    seen = []
    bench.task.beat = lambda: seen.append([point.ticks for point in bench.points])
    with time.of(device):
        running = asyncio.create_task(bench.device.run(bench.task))
        while len(seen) < 80:
            await asyncio.sleep(0)
        running.cancel()
        await turns(5)
    assert seen[4 * 2][0] == 5
    assert all(ticks is None for ticks, _ in seen[4 * 5 :])
    assert all(ticks is not None for _, ticks in seen)


async def test_a_read_now_of_a_device_that_is_down():
    bench = Bench(Scripted(DriverError("gone"), None), interval=10000)
    running = asyncio.create_task(bench.device.run(bench.task))
    while not bench.task.beats:
        await asyncio.sleep(0)
    assert bench.device.status == "gone"
    assert await asked(bench) == "read"
    assert bench.points[0].status == "ok"
    running.cancel()
    await turns(5)


# -- writes


async def outcome(bench, value=5):
    """What a write does: the value, or the text of its DriverError."""
    try:
        await wait_for_ms(bench.device.write(bench.points[0], value), 2000)
    except DriverError as error:
        return str(error)
    return bench.points[0].value


async def test_writes():
    never = asyncio.Event()
    bug = TypeError("x")
    for act, result in (
        (None, 5),
        (DriverError("read only"), "read only"),
        (never, "timeout"),
        (bug, "driver error: %r" % bug),
    ):
        bench = Bench(Scripted(None, act), interval=10000, timeout_ms=50)
        assert await outcome(bench) == "not started"
        running = asyncio.create_task(bench.device.run(bench.task))
        while not bench.task.beats:
            await asyncio.sleep(0.005)
        assert await outcome(bench) == result
        assert bench.kinds().count("error") == (act is bug)
        assert bench.device.status == "ok"
        running.cancel()
        await turns(5)
