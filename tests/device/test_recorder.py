"""recorder: what time and reads put into a log, with the real rules, points and clock."""

from core_kit import Ticks, still_clock
from flow_kit import Flow
from patch_kit import Patch, turns
from recorder_kit import HOUR, MINUTE, SHARP, Bench, Log, Task

from fieldpost import point as point_module
from fieldpost.acquisition import compile
from fieldpost.compat import asyncio, sleep_ms, ticks_diff
from fieldpost.point import Point
from fieldpost.recorder import Recorder

# -- reads


def test_always_records_every_read_with_its_own_time():
    bench = Bench("always")
    for _ in range(3):
        bench.read(7)
        bench.ticks.advance(40)
    assert bench.log.records == [(0, 7), (40, 7), (80, 7)]


def test_on_update_records_changes():
    bench = Bench("on_update")
    for value in (1, 1, 2, 2, 1):
        bench.read(value)
        bench.ticks.advance(10)
    assert bench.log.records == [(0, 1), (20, 2), (40, 1)]


def test_the_points_own_rule():
    bench = Bench("adr.log", "on_update")
    bench.read(1)
    bench.read(1)
    assert len(bench.log.records) == 1
    bench = Bench("adr.log", "")
    bench.read(1)
    assert bench.log.records == []


def test_reads_need_no_task():
    bench = Bench("always")
    assert bench.recorder.step() == HOUR
    bench.read(1)
    assert bench.run(10 * HOUR) == [(0, 1)]
    assert bench.steps < 15


# -- wall clock


def test_aligned_interval():
    bench = Bench("60000")
    bench.read(5)
    assert bench.log.records == [], "reads are not what it records"
    bench.run(0)
    bench.ticks.advance(100)
    assert bench.run(5 * MINUTE) == [(i * MINUTE, 5) for i in range(1, 6)]


def test_an_aligned_record_carries_its_moment_though_the_loop_is_late():
    bench = Bench("60000", late_ms=350)
    bench.read(5)
    bench.ticks.advance(12345)
    assert [ms for ms, _ in bench.run(5 * MINUTE + 1000)] == [i * MINUTE for i in range(1, 6)]


def test_the_moment_is_exact_though_the_work_takes_time():
    bench = Bench("10000")

    class Slow(Ticks):
        """Every look at the clock is a little later."""

        def __call__(self):
            self.advance(3)
            return self.now

    bench.clock.ticks = bench.ticks = Slow(bench.ticks.now)
    bench.read(7)
    offset = bench.log.start + bench.clock.offset_ms
    moments = [ms + offset for ms, _ in bench.run(60000)]
    assert len(moments) >= 5 and not [ms for ms in moments if ms % 10000], moments


def test_a_moment_that_was_slept_through_is_recorded_once():
    bench = Bench("1000")
    bench.read(5)
    bench.recorder.step()
    bench.ticks.advance(10500)
    # The value of the other nine moments is not known.
    assert bench.recorder.step() == 500
    assert bench.log.taken() == [(1000, 5)]
    assert bench.run(2000) == [(11000, 5), (12000, 5)]


def test_cron():
    bench = Bench("*/15 * * * *")
    bench.read(5)
    assert [ms for ms, _ in bench.run(HOUR)] == [i * 15 * MINUTE for i in range(1, 5)]


def test_days_without_a_moment_are_slept_through():
    bench = Bench("0 0 1 1 *")
    bench.read(5)
    assert bench.run(240 * HOUR) == []
    assert bench.steps <= 242


def test_only_good_points_are_recorded():
    bench = Bench("60000 or on_cov 1 0 90000")
    assert bench.run(3 * MINUTE) == [], "never read"
    bench.read(5)
    assert bench.log.taken() == [(180000, 5)]
    bench.point.fail("timeout")
    assert bench.run(5 * MINUTE) == []
    # At once when it is back, since max is over long ago.
    bench.read(5)
    assert bench.log.taken() == [(480000, 5)]


def test_an_interval_and_reads_together():
    bench = Bench("60000 or on_update")
    bench.read(1)
    assert bench.run(0) == [(0, 1)]
    bench.ticks.advance(30000)
    bench.read(1)
    bench.read(2)
    assert bench.run(31000) == [(30000, 2), (60000, 2)]
    # What the interval recorded is what changes are measured from.
    bench.read(2)
    assert bench.log.taken() == []


def test_always_and_an_interval():
    for rule in ("60000 or always", "always or on_cov 1 0 60000"):
        bench = Bench(rule)
        bench.read(1)
        bench.read(1)
        assert bench.run(MINUTE + 1) == [(0, 1), (0, 1), (MINUTE, 1)]


def test_one_rule_for_many_points():
    bench = Bench("60000")
    points = [bench.point] + [Point(i, "d", "p%d" % i) for i in range(2, 6)]
    for point in points[1:]:
        bench.recorder.watch(point, bench.log, bench.rule)
    assert len(bench.recorder._timed) == 1, "its moments are computed once for all"
    for point in points:
        point.update(point.id)
    assert bench.run(MINUTE) == [(MINUTE, i) for i in range(1, 6)]
    assert bench.steps == 2


# -- the clock is set


def test_intervals_before_the_time_is_known_and_after():
    bench = Bench("60000", unix_ms=None)
    bench.ticks.advance(5000)
    bench.read(1)
    assert bench.run(2 * MINUTE) == [(60000, 1), (120000, 1)]
    assert bench.now() == 125000
    bench.clock.set_unix_ms(SHARP + 20000, "ntp")
    # Not what would have been due by the time since boot.
    assert bench.run(2 * MINUTE) == [(165000, 1), (225000, 1)]


def test_the_time_since_boot_is_not_taken_for_a_date():
    bench = Bench("0 12 * * *", unix_ms=None)
    bench.read(1)
    bench.run(MINUTE)
    bench.clock.set_unix_ms(SHARP, "ntp")
    hours = bench.rule.next_due(SHARP) - SHARP
    assert bench.run(24 * HOUR) == [(MINUTE + hours, 1)]


def test_a_large_step_either_way_is_followed():
    for step in (-10 * HOUR - 7000, 10 * HOUR + 7000):
        bench = Bench("60000")
        bench.read(1)
        bench.run(90000)
        bench.clock.set_unix_ms(bench.clock.unix_ms() + step, "host")
        # Unix time is now ..:23 or ..:37.
        first = 90000 + (MINUTE - bench.clock.unix_ms() % MINUTE)
        assert bench.run(2 * MINUTE)[0] == (first, 1)


def test_a_small_correction_neither_repeats_nor_leaves_out_a_moment():
    bench = Bench("60000")
    bench.read(1)
    assert bench.run(60500) == [(60000, 1)]
    # Back before the moment that was recorded.
    bench.clock.set_unix_ms(bench.clock.unix_ms() - 900, "ntp")
    assert bench.run(MINUTE) == []
    assert bench.clock.unix_ms() % MINUTE == 59600
    # Past the one that was to come: it is recorded at once, as of then.
    bench.clock.set_unix_ms(bench.clock.unix_ms() + 900, "ntp")
    [(at, _)] = bench.run(0)
    assert bench.now() - at == 500
    assert len(bench.run(MINUTE)) == 1


# -- coming and going


def test_forgotten_points_record_no_more():
    bench = Bench("60000 or on_update or on_cov 1 0 90000")
    other = Point(2, "d", "q")
    bench.recorder.watch(other, bench.log, bench.rule)
    bench.read(1)
    other.update(2)
    bench.log.taken()
    bench.recorder.forget([bench.point])
    bench.read(5)
    assert [value for _, value in bench.run(MINUTE)] == [2]
    bench.recorder.forget([other])
    other.update(3)
    assert bench.run(5 * MINUTE) == []
    # And a rule that comes back starts anew.
    bench.recorder.watch(bench.point, bench.log, bench.rule)
    bench.read(6)
    assert len(bench.run(MINUTE)) == 2


def test_a_point_in_two_subscriptions():
    bench = Bench("always")
    slow = Log(bench.clock)
    bench.recorder.watch(bench.point, slow, compile("on_update"))
    for value in (1, 1, 2):
        bench.read(value)
    assert len(bench.log.records) == 3
    assert slow.records == [(0, 1), (0, 2)]


def test_records_land_in_the_log():
    flow = Flow(unix_ms=SHARP + 59000)
    recorder = Recorder(flow.clock)
    point = Point(1, "d", "p")
    recorder.watch(point, flow.log, compile("60000"))
    with Patch(point_module, ticks_ms=flow.ticks):
        point.update(4.5, "four and a half")
    assert recorder.step() == 1000
    flow.pass_ms(1020)
    assert recorder.step() == 59980
    reader = flow.ring.reader(0)
    header = reader.open()
    delta, number, value, text = reader.take()
    assert header.base + delta == SHARP + 60000
    assert (number, value, text) == (1, 4.5, "four and a half")


# -- the task


async def test_the_task_wakes_for_a_read_that_makes_something_due_sooner():
    clock = still_clock(0, SHARP)[0]
    clock.ticks = Ticks()
    recorder = Recorder(clock)
    point = Point(1, "d", "p")
    log = Log(clock)
    recorder.watch(point, log, compile("on_cov 1 30"))
    task = asyncio.create_task(recorder.run(Task()))
    await sleep_ms(20)
    with Patch(point_module, ticks_ms=clock.ticks):
        point.update(1)
        point.update(5)
    assert log.taken() == [(0, 1)]
    await sleep_ms(10)
    clock.ticks.advance(30)
    for _ in range(100):
        await sleep_ms(5)
        if log.records:
            break
    assert log.taken() == [(30, 5)]
    task.cancel()
    await turns(3)


async def test_the_task_wakes_when_the_clock_is_set():
    clock, ticks = still_clock(0, None)
    recorder = Recorder(clock)
    point = Point(1, "d", "p")
    log = Log(clock)
    recorder.watch(point, log, compile("3600000"))
    point.update(1)
    task = asyncio.create_task(recorder.run(Task()))
    await sleep_ms(20)
    clock.set_unix_ms(SHARP - 40, "ntp")
    await sleep_ms(20)
    ticks.advance(50)
    for _ in range(100):
        await sleep_ms(5)
        if log.records:
            break
    assert log.taken() == [(40, 1)]
    task.cancel()
    await turns(3)


def test_ticks_wrap():
    bench = Bench("1000 or on_cov 1 0 700")
    bench.ticks.now = (1 << 30) - 5000 if ticks_diff(0, (1 << 30) - 1) == 1 else 0
    bench.clock, ticks = still_clock(bench.ticks.now, SHARP)
    bench.recorder = Recorder(bench.clock)
    bench.log = Log(bench.clock)
    bench.ticks = ticks
    bench.recorder.watch(bench.point, bench.log, bench.rule)
    bench.read(1)
    times = [ms for ms, _ in bench.run(10000)]
    assert times == [ms for i in range(10) for ms in (i * 1000, i * 1000 + 700)] + [10000]
