"""acquisition: the grammar, event and time parts, ticks that wrap, no allocation."""

import gc

from fieldpost import acquisition
from fieldpost.compat import ticks_add

MINUTE = 60000
DAY = 86400000
NAN = float("nan")
INF = float("inf")


def trigger(text, own=None):
    return acquisition.compile(text, own).trigger()


def recorded(text, values, step=1000):
    """The values of one read every ``step`` ms that are recorded."""
    state = trigger(text)
    return [value for i, value in enumerate(values) if state.update(value, i * step)]


def refused(text, own=None):
    try:
        acquisition.compile(text, own)
    except ValueError as error:
        return str(error)
    raise AssertionError("%r was accepted" % (text,))


def test_always():
    state = trigger("always")
    assert [state.update(value, 0) for value in (5, 5, "a", "a", None, NAN, NAN)] == [True] * 7
    assert not state.due(5, 10)
    assert state.wait_ms(5, 10) == DAY


def test_on_update():
    values = [1, 1, 2, 2.0, 1, "a", "a", None, None, True, False]
    assert recorded("on_update", values) == [1, 2, 1, "a", None, True, False]
    assert recorded("on_update", [[1], [1], [2], {"a": 1}, {"a": 1}]) == [[1], [2], {"a": 1}]


def test_nothing_is_recorded_before_the_first_value():
    for text in ("on_update", "on_cov 1 0 1000 500", "on_cov 0 5"):
        state = trigger(text)
        assert not state.update(None, 0), text
        assert not state.due(None, DAY), text
        assert state.update(7, DAY), text


def test_on_cov_compares_with_the_last_record():
    assert recorded("on_cov 1", [0, 0.5, 0.75, 1, 1.5, 2.5, 1.75, 1.5]) == [0, 1, 2.5, 1.5]
    assert recorded("on_cov 0.25", [0, 0.125, 0.25, 0.375, 0.5]) == [0, 0.25, 0.5]
    assert recorded("on_cov 10", [0, 9, -9, 10, 1, 0]) == [0, 10, 0]
    assert recorded("on_cov 0", [3, 3, 3.5]) == [3, 3, 3.5]


def test_on_cov_is_exact_for_large_integers():
    base = (1 << 53) + 1
    assert recorded("on_cov 2", [base, base + 1, base + 2, base + 3]) == [base, base + 2]


def test_on_cov_of_nan_and_infinity():
    state = trigger("on_cov 5")
    assert [state.update(value, 0) for value in (1, NAN, NAN, 1.5)] == [True, True, False, True]
    assert [state.update(value, 0) for value in (INF, INF, -INF, -INF)] == [True, False] * 2
    assert [state.update(value, 0) for value in (NAN, 2, 3, -INF)] == [True, True, False, True]


def test_on_cov_of_other_types():
    values = ["a", "a", "b", 1, 2, False, True, True, None, 3, 7, 8, None]
    assert recorded("on_cov 5", values) == ["a", "b", 1, False, True, None, 3, 8, None]
    assert recorded("on_cov 0", ["a", "a"]) == ["a", "a"]


def test_on_cov_of_an_integer_past_every_float():
    huge = 10**400
    state = trigger("on_cov 0.5")
    assert [state.update(value, 0) for value in (huge, huge, 1, huge)] == [True, False, True, True]


def test_min_holds_a_change_back_until_it_is_over():
    state = trigger("on_cov 1 5000")
    assert state.update(0, 1000)  # the first value at once
    assert state.wait_ms(0, 1000) == DAY
    assert not state.update(3, 2000)
    assert state.wait_ms(3, 2000) == 4000
    assert not state.due(3, 5999)
    assert state.wait_ms(3, 5999) == 1
    assert state.due(3, 6000)
    assert not state.due(3, 6001)
    assert state.update(9, 11000)  # read when min is over


def test_min_forgets_a_change_that_went_back():
    state = trigger("on_cov 1 5000")
    state.update(0, 0)
    assert not state.update(3, 2000)
    assert not state.update(0.5, 3000)
    assert state.wait_ms(0.5, 3000) == DAY
    assert not state.due(0.5, 9000)
    assert state.update(3, 9500)


def test_min_of_every_read():
    state = trigger("on_cov 0 5000")
    assert [i for i in range(12) if state.update(1, i * 1000)] == [0, 5, 10]
    assert not state.due(1, 30000)  # nothing was read
    assert state.due(2, 30000)


def test_max_repeats_the_value():
    state = trigger("on_cov 1 0 60000")
    assert state.update(5, 0)
    assert state.wait_ms(5, 0) == 60000
    assert not state.update(5, 59999)
    assert state.due(5, 60000)
    assert state.wait_ms(5, 60500) == 59500
    assert state.update(7, 70000)  # a record by change starts it anew
    assert state.wait_ms(7, 70000) == 60000
    assert state.wait_ms(7, 140000) == 0
    assert state.update(7, 140000)


def test_maxdiff_records_a_small_difference_late():
    state = trigger("on_cov 10 0 0 60000")
    assert state.update(0, 0)
    assert state.wait_ms(0, 1000) == DAY
    assert not state.due(0, 90000)
    assert not state.update(1, 30000)
    assert state.wait_ms(1, 30000) == 30000
    assert state.due(1, 60000)
    assert state.wait_ms(1, 60000) == DAY
    assert not state.update(2, 61000)
    assert not state.update(1, 62000)  # back again
    assert not state.update(1, 130000)
    assert state.update(12, 130001)


def test_all_parts_of_on_cov():
    state = trigger("on_cov 10 1000 60000 5000")
    assert state.update(0, 0)
    assert state.wait_ms(0, 0) == 60000
    assert state.wait_ms(1, 0) == 5000
    assert state.wait_ms(10, 0) == 1000


def test_a_month_without_a_record():
    days = 30
    state = trigger("on_cov 1 0 %d" % (days * DAY))
    ticks = (1 << 30) - 5000
    assert state.update(1, ticks)
    for day in range(days):
        assert state.wait_ms(1, ticks) == DAY, day
        assert not state.due(1, ticks)
        ticks = ticks_add(ticks, DAY)
    assert state.wait_ms(1, ticks) == 0
    assert state.due(1, ticks)
    assert state.wait_ms(1, ticks) == DAY


def test_min_over_the_wrap_of_ticks_and_long_silence():
    state = trigger("on_cov 1 60000")
    ticks = (1 << 30) - 1000
    assert state.update(1, ticks)
    ticks = ticks_add(ticks, 59999)
    assert not state.update(5, ticks)
    assert state.update(5, ticks_add(ticks, 1))
    for _ in range(9):  # past half the period, visited as wait_ms asks
        assert state.wait_ms(5, ticks) <= DAY
        ticks = ticks_add(ticks, DAY)
    assert state.update(9, ticks)


def test_aligned_milliseconds():
    rule = acquisition.compile("900000")
    assert rule.timed
    assert not rule.paced
    assert rule.next_due(1711756800000) == 1711757700000
    assert rule.next_due(1711757699999) == 1711757700000
    assert rule.next_due(0) == 900000
    assert acquisition.compile(900000).next_due(1) == 900000
    state = rule.trigger()
    assert not state.update(1, 0)
    assert not state.due(1, 0)
    assert state.wait_ms(1, 0) == DAY


def test_the_earliest_of_several_times():
    rule = acquisition.compile("*/15 * * * * or 3600000 or 0 0 * * sun or 420000")
    assert rule.next_due(0) == 7 * MINUTE
    assert rule.next_due(14 * MINUTE) == 15 * MINUTE
    assert rule.next_due(59 * MINUTE) == 60 * MINUTE


def test_offset_of_local_time():
    rule = acquisition.compile("0 6 * * *")
    assert rule.next_due(0, 60) == 5 * 3600000
    assert rule.next_due(0, -90) == 7 * 3600000 + 30 * MINUTE
    assert acquisition.compile(str(DAY)).next_due(0, 60) == DAY - 3600000


def test_terms_joined_by_or():
    state = trigger("on_cov 10 or on_cov 1 60000 or 900000")
    assert state.update(0, 0)
    assert not state.update(2, 1000)
    assert state.wait_ms(2, 1000) == 59000
    assert state.update(12, 2000)
    assert not state.update(13, 3000)
    state.record(13, 50000)  # by the clock: everything counts from here
    assert not state.update(13.5, 70000)
    assert state.wait_ms(14, 70000) == 40000
    assert state.update(14, 110000)
    assert acquisition.compile("always or on_update or 5000").trigger().update(1, 0)


def test_always_with_a_repetition():
    state = trigger("always or on_cov 5 0 60000")
    assert state.update(1, 0)
    assert state.update(1, 0)
    assert state.due(1, 60000)


def test_the_rule_of_the_point():
    assert recorded("adr.log", [1, 1]) == []
    state = trigger("adr.log", "on_update or 5000")
    assert [state.update(value, 0) for value in (1, 1, 2)] == [True, False, True]
    rule = acquisition.compile("adr.log or 7000", "5000")
    assert rule.next_due(5000) == 7000
    assert rule.next_due(7000) == 10000
    for own in ("adr.log", "always or adr.log"):
        message = refused("adr.log", own)
        assert "'adr.log'" in message
        assert ", adr.log" not in message
    assert "'sometimes'" in refused("adr.log", "sometimes")


def test_a_rule_is_shared_and_triggers_are_not():
    rule = acquisition.compile("on_cov 1")
    one, other = rule.trigger(), rule.trigger()
    assert one.update(1, 0)
    assert not one.update(1, 0)
    assert other.update(1, 0)
    assert acquisition.compile("always").trigger() is not None


def test_which_triggers_have_time_parts():
    for text in ("always", "on_update", "on_cov 1", "on_cov 1 0 0 0", "5000", "0 0 * * *"):
        assert not acquisition.compile(text).paced, text
    for text in ("on_cov 1 5", "on_cov 1 0 5", "on_cov 1 0 0 5", "on_cov 1 5 or always"):
        assert acquisition.compile(text).paced, text


def test_errors_name_the_term_and_what_is_allowed():
    for text in ("", "or", "always or", "or always", "always always", "ALWAYS", "sometimes"):
        assert "want ms, 5-field cron, always, on_update" in refused(text), text
    assert "'sometimes'" in refused("always or sometimes or 5000")
    for text in ("0", "-5", "1.5", "1e3", "5000 5000", True, None, [], "on_update 5"):
        assert "want ms" in refused(text), text
    assert "cron minute 'this'" in refused("this is not a rule")


def test_errors_of_on_cov():
    for rest in (
        "",
        "x",
        "-1",
        "nan",
        "inf",
        "1e40",
        "1 -1",
        "1 x",
        "1 1.5",
        "1 0 -1",
        "1 0 0 -1",
        "1 0 0 0 0",
        "1 2000 1000",
        "1 2000 0 1000",
    ):
        text = ("on_cov " + rest).strip()
        message = refused(text)
        assert "'%s': want on_cov D [min]" % text in message, message
    acquisition.compile("on_cov 1 2000 2000 2000")


def allocated(call, values):
    """Bytes that calls with each of ``values``, over and over, leave on MicroPython's heap."""
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(100):
        for value in values:
            call(value, 1000)
    after = gc.mem_alloc()
    gc.enable()
    return after - before


def nothing(_value, _ticks):
    return False


def test_evaluation_allocates_nothing():
    if not hasattr(gc, "mem_alloc"):
        return
    quiet = (20.5, 20.75, 20.25, 21, 20)
    loop = allocated(nothing, quiet)
    for text in (
        "always",
        "on_cov 5",
        "on_cov 5 5000 60000 30000",
        "on_cov 0.1 5000",
        "on_cov 5 or on_cov 0.1 5000 or 900000",
    ):
        state = trigger(text)
        state.update(20.5, 0)
        assert allocated(state.update, quiet) == loop, text
        assert allocated(state.due, quiet) == loop, text
        assert allocated(state.wait_ms, quiet) == loop, text
    state = trigger("on_update")
    state.update(20.5, 0)
    assert allocated(state.update, (20.5, 20.5)) == allocated(nothing, (20.5, 20.5))


def two_limits(value, _ticks):
    return value - 0.5 < value + 0.5


def test_a_record_allocates_two_limits():
    if not hasattr(gc, "mem_alloc"):
        return
    values = (1.5, 2.5)
    loop = allocated(nothing, values)
    assert allocated(trigger("always").update, values) == loop
    assert allocated(trigger("on_update").update, values) == loop
    assert allocated(trigger("on_cov 0.5").update, values) == allocated(two_limits, values)
