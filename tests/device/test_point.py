"""point: values, status, and what an update sets off."""

import time

from core_kit import allocated, refused
from patch_kit import FakeTime, Patch

from fieldpost import point as point_module
from fieldpost.bus import Bus
from fieldpost.compat import ticks_diff, ticks_ms
from fieldpost.errors import DriverError
from fieldpost.events import POINT_FAILED, VALUE_CHANGED
from fieldpost.point import Point, Settings


def watched(**fields):
    """``(Point on a bus, list that fills with (key, point, value, status))``."""
    point = Point(7, "ahu-1", "dat", **fields)
    point.bus = Bus()
    seen = []

    def callback(kind, key, data):
        seen.append((key, data is point, data.value, data.status))

    point.bus.subscribe(VALUE_CHANGED, callback)
    return point, seen


def test_new_point_has_no_value():
    point = Point(7, "ahu-1", "dat", "°C", {"register": 3})
    assert (point.id, point.key, point.device, point.name) == (7, "ahu-1/dat", "ahu-1", "dat")
    assert (point.unit, point.config) == ("°C", {"register": 3})
    assert (point.value, point.text, point.status, point.ticks) == (None, None, "init", 0)


def test_points_do_not_share_a_configuration():
    Point(1, "a", "b").config["x"] = 1
    assert Point(2, "a", "c").config == {}


def test_own_settings_go_before_shared_ones():
    settings = Settings({"register": 1}, {"register": 0, "scale": 10})
    assert (settings["register"], settings["scale"]) == (1, 10)
    assert "offset" in refused(KeyError, settings.__getitem__, "offset")


def test_update_takes_value_text_and_time():
    point = Point(7, "ahu-1", "dat")
    before = ticks_ms()
    point.update(21.5, "21.5 °C")
    assert (point.value, point.text, point.status) == (21.5, "21.5 °C", "ok")
    assert 0 <= ticks_diff(point.ticks, before) < 1000
    point.update(22)
    assert (point.value, point.text) == (22, None)


def test_change_of_value_is_an_event():
    point, seen = watched()
    point.update(1)
    point.update(1)
    point.update(2)
    assert seen == [("ahu-1/dat", True, 1, "ok"), ("ahu-1/dat", True, 2, "ok")]


def test_return_from_a_failure_is_an_event():
    point, seen = watched()
    point.update(1)
    point.fail("timeout")
    point.update(1)
    assert [value for _, _, value, _ in seen] == [1, 1]


def test_first_value_is_an_event_even_if_it_is_none():
    point, seen = watched()
    point.update(None)
    assert len(seen) == 1


def test_failure_keeps_the_last_value_and_says_why():
    point, seen = watched()
    point.update(5, "five")
    before = ticks_ms()
    point.fail("timeout")
    assert (point.value, point.text, point.status) == (5, "five", "timeout")
    assert 0 <= ticks_diff(point.ticks, before) < 1000
    assert len(seen) == 1
    time.sleep(0.01)
    point.fail("timeout")
    assert ticks_diff(point.ticks, before) >= 8


def test_values_that_a_point_may_have():
    point = Point(7, "ahu-1", "dat")
    nested = {"a": [1, None, {"b": "c"}], "d": (True, 2.5)}
    for value in (None, True, False, 0, -(1 << 63), 1.5, "", "x" * 1024, [], {}, nested):
        point.update(value, "text")
        assert (point.value, point.text, point.status) == (value, "text", "ok")


def test_nonsense_is_refused_and_changes_nothing():
    deep = []
    for _ in range(9):
        deep = [deep]
    point, seen = watched()
    asked = []
    point.triggers = (lambda one, ticks: asked.append(one.value),)
    point.update(1)
    bad = [object(), b"bytes", "x" * 1025, [object()], {"a": object()}, {1: 2}, deep, point]
    bad += [["x" * 1000, "x" * 1000], [0] * 1025, [float("nan")], 1j, range(3)]
    for value in bad:
        assert refused(DriverError, point.update, value) == "no value: ahu-1/dat"
    for text in (5, b"x", "x" * 1025, ["x"]):
        assert refused(DriverError, point.update, 2, text) == "no value: ahu-1/dat"
    assert (point.value, point.text, point.status) == (1, None, "ok")
    assert asked == [1]
    assert len(seen) == 1


def test_numbers_that_are_none_fail():
    for value in (float("nan"), float("inf"), -float("inf")):
        point, seen = watched()
        point.update(5)
        point.update(value)
        assert (point.value, point.status) == (5, "not a number")
        assert len(seen) == 1


def test_reasons_are_text_and_short():
    point = Point(7, "ahu-1", "dat")
    point.fail(KeyError)
    assert "KeyError" in point.status
    point.fail("x" * 1000)
    assert len(point.status) == 80


def test_when_a_failing_point_was_last_good():
    time = FakeTime(5)
    day = 86400000
    with Patch(point_module, ticks_ms=time.ticks_ms):
        point = Point(7, "ahu-1", "dat")
        point.fail("timeout")
        assert point.good is None
        point.update(1)
        for _ in range(40):
            time.advance(day // 8)
            point.fail("timeout")
            assert point.good == 5
        for _ in range(80):
            # Past the time that ticks can tell, and past their wrap.
            time.advance(day // 8)
            point.fail("timeout")
            assert point.good is None
        point.update(1)
        at = time.now
        time.advance(7)
        point.fail("timeout")
        assert point.good == at


def test_every_update_asks_the_triggers_before_the_event():
    point, _ = watched()
    order = []
    point.bus.subscribe(VALUE_CHANGED, lambda kind, key, data: order.append("event"))
    point.triggers = (
        lambda one, ticks: order.append(("first", one.value, ticks == one.ticks)),
        lambda one, ticks: order.append(("second", one.value, one.status)),
    )
    point.update(3)
    point.update(3)
    point.fail("timeout")
    asked = [("first", 3, True), ("second", 3, "ok")]
    assert order == asked + ["event"] + asked


def test_failing_is_told_once_for_each_reason():
    point, _ = watched()
    told = []
    point.bus.subscribe(POINT_FAILED, lambda kind, key, data: told.append((key, data.status)))
    for reason in ("timeout", "timeout", "no answer", "no answer"):
        point.fail(reason)
    point.update(1)
    point.fail("timeout")
    point.update(float("nan"))
    reasons = ("timeout", "no answer", "timeout", "not a number")
    assert told == [(point.key, reason) for reason in reasons]


def test_point_without_a_bus():
    point = Point(7, "ahu-1", "dat")
    point.update(1)
    point.update(2)
    assert point.value == 2


def test_update_costs_no_heap():
    point, _ = watched()
    point.bus = Bus()
    point.triggers = (lambda one, ticks: None,)
    values = [1.5, 2.5]

    def update():
        point.update(values[point.value == 1.5])

    update()
    assert allocated(update, 100) == 0
