"""clock: ticks past their wrap, trusted and untrusted time, the port's epoch; compat's ticks."""

import time

from core_kit import UNIX_MS, Ticks, allocated, still_clock

from fieldpost import compat
from fieldpost.clock import PLAUSIBLE_UNIX_S, Clock

PERIOD = compat.ticks_add(0, -1) + 1  # 2**30 but on 64-bit MicroPython
DAY = 86400000
TO_2000_S = 946684800


def test_ticks_difference_is_signed_and_wraps():
    assert compat.ticks_diff(10, 4) == 6
    assert compat.ticks_diff(4, 10) == -6
    assert compat.ticks_diff(3, PERIOD - 2) == 5
    assert compat.ticks_diff(PERIOD - 2, 3) == -5
    assert compat.ticks_diff(PERIOD // 2 - 1, 0) == PERIOD // 2 - 1
    assert compat.ticks_diff(PERIOD // 2, 0) == -PERIOD // 2
    assert compat.ticks_add(PERIOD - 2, 5) == 3
    assert compat.ticks_add(3, -5) == PERIOD - 2


def test_real_ticks_advance():
    start = compat.ticks_ms()
    assert 0 <= start < PERIOD
    time.sleep(0.02)
    assert 15 <= compat.ticks_diff(compat.ticks_ms(), start) < 5000


def test_checksum_and_hex_of_the_standard():
    assert compat.crc32(b"123456789") == 0xCBF43926
    assert compat.crc32(b"6789", compat.crc32(b"12345")) == 0xCBF43926
    assert compat.hexlify(b"\x00\xabz") == "00ab7a"


async def test_deadline_raises_its_own_timeout():
    try:
        await compat.wait_for_ms(compat.asyncio.Event().wait(), 10)
    except compat.TimeoutError:
        return
    raise AssertionError("no deadline")


async def test_result_in_time_passes_a_deadline():
    async def answer():
        await compat.sleep_ms(1)
        return 42

    assert await compat.wait_for_ms(answer(), 5000) == 42


async def test_cancelling_what_has_a_deadline_is_no_timeout():
    ended = []

    async def work():
        try:
            await compat.wait_for_ms(compat.asyncio.Event().wait(), 5000)
        except compat.TimeoutError:
            ended.append("timeout")
        except compat.asyncio.CancelledError:
            ended.append("cancelled")

    task = compat.asyncio.create_task(work())
    await compat.sleep_ms(5)
    task.cancel()
    await task
    assert ended == ["cancelled"]


async def test_a_deadline_that_was_met_strikes_nobody_later():
    async def answer():
        return 1

    assert await compat.wait_for_ms(answer(), 10) == 1
    await compat.sleep_ms(30)


async def test_an_event_is_set_by_time_or_before():
    event = compat.asyncio.Event()
    start = compat.ticks_ms()
    await compat.wait_set(event, 20)
    assert 15 <= compat.ticks_diff(compat.ticks_ms(), start) < 5000
    assert event.is_set()
    await compat.wait_set(event, 60000)
    event.clear()
    await compat.sleep_ms(1)
    assert not event.is_set()
    compat.asyncio.create_task(_set(event))
    await compat.wait_set(event, 40)
    event.clear()
    await compat.sleep_ms(80)
    assert not event.is_set(), "the timer is gone with the wait"


async def _set(event):
    event.set()


def test_monotonic_ms_starts_at_zero_whatever_the_ticks_say():
    for start in (0, 17, PERIOD - 1):
        clock, ticks = still_clock(start)
        assert clock.mono_ms() == 0
        ticks.advance(5)
        assert clock.mono_ms() == 5


def test_monotonic_ms_goes_on_past_many_wraps():
    clock, ticks = still_clock(PERIOD - 1000)
    passed = 0
    for step in (999, 1, 1, 6 * DAY) + (5 * DAY,) * 12:
        ticks.advance(step)
        passed += step
        assert clock.mono_ms() == passed
    assert passed > 5 << 30


def test_monotonic_ms_never_goes_back():
    clock, ticks = still_clock(100)
    ticks.advance(50)
    assert clock.mono_ms() == 50
    ticks.now = 120
    assert clock.mono_ms() == 50
    ticks.now = 151
    assert clock.mono_ms() == 51


def test_monotonic_ms_of_other_ticks():
    clock, ticks = still_clock(PERIOD - 10)
    ticks.advance(30)
    assert clock.mono_at(PERIOD - 10) == 0
    assert clock.mono_at(PERIOD - 1) == 9
    assert clock.mono_at(20) == 30
    ticks.advance(5 * DAY)
    assert clock.mono_at(20) == 30


def test_monotonic_ms_costs_no_heap():
    clock, ticks = still_clock(7)
    ticks.advance(1000)
    assert allocated(clock.mono_ms, 100) == 0


def test_time_is_unknown_until_set():
    clock, _ = still_clock()
    assert not clock.trusted
    assert clock.unix_ms() is None
    assert clock.offset_ms is None
    assert clock.source is None


def test_schedules_go_by_the_best_time_known():
    clock, ticks = still_clock()
    ticks.advance(7)
    assert clock.wall_ms() == 7
    clock.set_unix_ms(UNIX_MS, "ntp")
    ticks.advance(7)
    assert clock.wall_ms() == UNIX_MS + 7


def test_set_time_is_exact_and_advances_with_the_ticks():
    clock, ticks = still_clock(PERIOD - 500)
    ticks.advance(2000)
    clock.set_unix_ms(UNIX_MS, "ntp")
    assert clock.trusted
    assert clock.source == "ntp"
    assert clock.unix_ms() == UNIX_MS
    assert clock.offset_ms == UNIX_MS - 2000
    ticks.advance(1)
    assert clock.unix_ms() == UNIX_MS + 1
    ticks.advance(5 * DAY)
    assert clock.unix_ms() == UNIX_MS + 1 + 5 * DAY
    assert type(clock.unix_ms()) is int


def test_stepping_moves_wall_time_only():
    clock, ticks = still_clock(0, UNIX_MS)
    ticks.advance(100)
    for step in (3600000, -7200000, 1, -1, 10 * 365 * DAY):
        clock.set_unix_ms(UNIX_MS + step, "host")
        assert clock.unix_ms() == UNIX_MS + step
        assert clock.mono_ms() == 100


def test_every_setting_is_announced_after_it_took_effect():
    clock, _ = still_clock()
    seen = []
    clock.on_change.append(lambda: seen.append(clock.unix_ms()))
    clock.on_change.append(lambda: seen.append(clock.source))
    clock.set_unix_ms(UNIX_MS, "ntp")
    clock.set_unix_ms(UNIX_MS - 5, "host")
    assert seen == [UNIX_MS, "ntp", UNIX_MS - 5, "host"]


def test_epoch_of_the_platform_is_found():
    assert compat.epoch_year() in (1970, 2000)
    assert Clock().epoch_offset_s == (TO_2000_S if time.gmtime(0)[0] == 2000 else 0)


def test_plausible_system_time_is_adopted_in_either_epoch():
    for year, offset_s in ((1970, 0), (2000, TO_2000_S)):
        seconds = PLAUSIBLE_UNIX_S + 86400
        clock = Clock(year, now_s=lambda: seconds - offset_s, ticks=Ticks(9))  # noqa: B023
        assert clock.adopt_system()
        assert clock.unix_ms() == seconds * 1000
        assert clock.source == "system"


def test_earliest_plausible_time_is_2024():
    assert PLAUSIBLE_UNIX_S == (2024 - 1970) * 365 * 86400 + 13 * 86400
    assert Clock(1970, now_s=lambda: PLAUSIBLE_UNIX_S, ticks=Ticks()).adopt_system()


def test_clock_that_was_never_set_is_not_adopted():
    for year, now_s in ((1970, 0), (2000, 0), (1970, PLAUSIBLE_UNIX_S - 1), (2000, 700000000)):
        clock = Clock(year, now_s=lambda: now_s, ticks=Ticks())  # noqa: B023
        clock.on_change.append(lambda: 1 // 0)
        assert not clock.adopt_system()
        assert clock.unix_ms() is None


def test_real_system_time():
    clock = Clock()
    if clock.adopt_system():
        assert abs(clock.unix_ms() // 1000 - int(time.time()) - clock.epoch_offset_s) <= 2
        if not compat.MICROPYTHON:
            assert abs(clock.unix_ms() - time.time_ns() // 1000000) <= 500
