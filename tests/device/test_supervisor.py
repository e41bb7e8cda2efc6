"""supervisor: restart with backoff, stopping, heartbeats and the watchdog."""

from patch_kit import FakeTime, turns

from fieldpost import supervisor
from fieldpost.bus import Bus
from fieldpost.compat import asyncio, wait_for_ms
from fieldpost.events import ERROR
from fieldpost.supervisor import Supervisor


def make():
    """``(supervisor, its errors as (key, exception))``."""
    bus = Bus()
    errors = []
    bus.subscribe(ERROR, lambda _kind, key, error: errors.append((key, error)))
    return Supervisor(bus), errors


async def test_a_task_that_returns_is_done():
    sup, errors = make()
    seen = []

    async def work(task):
        seen.append(task)

    task = sup.start("work", work)
    assert sup.tasks == {"work": task}
    await turns(5)
    assert seen == [task]
    assert sup.tasks == {}
    assert errors == []


async def failing(time, runs, ran_ms=0):
    """``(pauses, task, errors)`` of a task that fails so many times, ``ran_ms`` after it began."""
    sup, errors = make()

    async def work(task):
        if len(errors) < runs:
            time.advance(ran_ms)
            raise ValueError(len(errors))

    with time.of(supervisor):
        task = sup.start("work", work)
        await turns(5 * runs + 5)
    assert sup.tasks == {}
    return time.slept, task, errors


async def test_a_task_that_fails_starts_again_after_longer_and_longer_pauses():
    pauses, task, errors = await failing(FakeTime(), 10)
    assert pauses == [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000]
    assert task.restarts == 10
    assert [(key, error.args[0]) for key, error in errors] == [("work", i) for i in range(10)]
    assert task.error is errors[-1][1]


async def test_a_task_that_ran_well_starts_again_soon():
    pauses, _, _ = await failing(FakeTime(), 4, 60000)
    assert pauses == [500, 1000, 2000, 4000]
    pauses, _, _ = await failing(FakeTime(), 4, 60001)
    assert pauses == [500] * 4
    # Ticks have turned negative.
    pauses, _, _ = await failing(FakeTime(), 4, (1 << 29) + 5)
    assert pauses == [500] * 4


async def test_stop_waits_until_a_task_has_cleaned_up():
    sup, errors = make()
    steps = []

    async def work(task):
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0)
            steps.append("clean")

    sup.start("work", work)
    await turns(2)
    await sup.stop("work")
    assert steps == ["clean"]
    assert sup.tasks == {}
    assert errors == []
    await sup.stop("work")


async def test_stop_also_ends_a_pause_and_what_never_ran():
    sup, errors = make()

    async def work(task):
        raise ValueError

    sup.start("paused", work)
    await turns(3)
    assert len(errors) == 1
    sup.start("new", work)
    await sup.stop("new")
    await wait_for_ms(sup.stop_all(), 2000)
    await turns(3)
    assert sup.tasks == {}
    assert len(errors) == 1


async def test_what_cleaning_up_raises_does_not_start_it_again():
    sup, errors = make()
    starts = []

    async def work(task):
        starts.append(1)
        try:
            await asyncio.sleep(100)
        finally:
            raise OSError(5)

    with FakeTime().of(supervisor):
        sup.start("work", work)
        await turns(2)
        await wait_for_ms(sup.stop("work"), 2000)
        await turns(5)
    assert starts == [1]
    assert [error.args for _, error in errors] == [(5,)]


async def test_one_task_that_cannot_be_stopped_at_once_is_cancelled_again():
    sup, _ = make()
    cancelled = []

    async def work(task):
        while len(cancelled) < 2:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancelled.append(1)

    with FakeTime().of(supervisor):
        sup.start("work", work)
        await turns(2)
        await wait_for_ms(sup.stop("work"), 5000)
    assert len(cancelled) == 2


async def test_a_name_has_one_task():
    sup, _ = make()
    running = []

    async def work(task):
        running.append(task)
        try:
            await asyncio.sleep(100)
        finally:
            running.remove(task)

    first = sup.start("work", work)
    await turns(2)
    second = sup.start("work", work)
    await turns(4)
    assert running == [second] and first is not second
    assert sup.tasks == {"work": second}
    await sup.stop_all()
    assert running == []


async def test_a_replaced_task_that_returns_leaves_its_successor_alone():
    sup, _ = make()

    async def work(task):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return

    sup.start("work", work)
    await turns(2)
    second = sup.start("work", work)
    await turns(4)
    assert sup.tasks == {"work": second}
    await sup.stop_all()


async def test_stop_all():
    sup, _ = make()

    async def work(task):
        await asyncio.sleep(100)

    for name in "abc":
        sup.start(name, work)
    await turns(2)
    await sup.stop_all()
    assert sup.tasks == {}


# -- the supervisor's own loop


async def loop(sup, tend, seconds):
    """Let the supervisor's loop go around so many times."""
    task = asyncio.create_task(sup.run(tend))
    await turns(seconds)
    task.cancel()
    await turns(2)


async def test_tending_once_a_second():
    sup, _ = make()
    tended = []
    time = FakeTime()
    with time.of(supervisor):
        await loop(sup, lambda: tended.append(time.now), 6)
    assert tended[:5] == [0, 1000, 2000, 3000, 4000]


async def test_the_watchdog_is_fed_while_every_heartbeat_is_fresh():
    sup, _ = make()
    time = FakeTime()
    fed = []
    sup.feed = lambda: fed.append(time.now)

    async def silent(task):
        await asyncio.sleep(100)

    async def beating(task):
        while True:
            task.beat()
            await asyncio.sleep(0)

    with time.of(supervisor):
        sup.start("no heartbeat expected", silent)
        sup.start("beating", beating, 1500)
        await loop(sup, lambda: None, 8)
        assert len(fed) >= 7
        sup.start("silent", silent, 3000)
        fed.clear()
        started = time.now
        await loop(sup, lambda: None, 12)
        # Fresh below 3000 ms.
        assert [at - started for at in fed] == [0, 1000, 2000]
        await sup.stop("silent")
        fed.clear()
        await loop(sup, lambda: None, 3)
        assert fed
        await sup.stop_all()


async def test_a_pause_before_a_restart_is_no_silence():
    sup, _ = make()
    time = FakeTime()

    async def work(task):
        time.advance(5000)
        raise ValueError

    with time.of(supervisor):
        task = sup.start("work", work, 4000)
        await turns(2)
        assert task.restarts
        assert task.fresh()
        await sup.stop("work")


async def test_an_error_while_tending_is_reported_and_starves_the_watchdog():
    sup, errors = make()
    fed, tended = [], []
    sup.feed = lambda: fed.append(1)

    def tend():
        tended.append(1)
        if len(tended) < 4:
            raise MemoryError

    with FakeTime().of(supervisor):
        await loop(sup, tend, 8)
    assert [key for key, _ in errors] == ["supervisor"] * 3
    assert len(tended) >= 6
    assert len(fed) == len(tended) - 3
