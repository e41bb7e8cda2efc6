"""Alarms and faults by type: when each holds, when not, when that is not known."""

from alarm_kit import Bench, section
from core_kit import UNIX_MS, refused

from fieldpost.errors import ConfigError
from fieldpost.expression import Expression
from fieldpost.smallfile import remove

HEAP = "1m"


class Alone:
    """``with Alone(kind, **keys) as bench``: one alarm, or one fault, on ``d/a``."""

    def __init__(self, kind, fault=False, **keys):
        remove("alarm-state")
        row = dict({"type": kind}, **keys)
        if kind != "expression" and "point" not in row:
            row["point"] = "d/a"
        self.bench = Bench([], [row]) if fault else Bench([row])

    def __enter__(self):
        return self.bench.__enter__()

    def __exit__(self, *error):
        self.bench.__exit__(*error)


def steps(bench, *pairs):
    """Set ``d/a`` to each value and compare what is told."""
    for value, told in pairs:
        bench.set(value)
        assert bench.told() == ([told] if told else []), (value, told)


R = "raised"
C = "cleared"


def test_high_limit():
    with Alone("high_limit", limit=10, deadband=2) as bench:
        steps(bench, (10, None), (10.5, R), (9, None), (8.5, None), (8, C), (9.5, None), (11, R))
        steps(bench, ("text", None), (None, None), (True, C))


def test_low_limit():
    with Alone("low_limit", limit=10, deadband=2) as bench:
        steps(bench, (10, None), (9.5, R), (11, None), (11.5, None), (12, C), (10.5, None))
        steps(bench, (False, R), (12, C))


def test_deviation():
    with Alone("deviation", other="d/b", limit=5, deadband=1) as bench:
        bench.set(100)
        assert bench.told() == []
        bench.set(100, bench.b)
        steps(bench, (105, None), (105.5, R), (104.5, None), (104, C), (94, R))
        bench.set(94, bench.b)
        assert bench.told() == [C]
        bench.b.fail("timeout")
        steps(bench, (200, None))
        bench.set(95, bench.b)
        assert bench.told() == [R]


def test_points_of_one_reading_are_judged_together():
    with Alone("deviation", other="d/b", limit=5) as bench:
        bench.set(100)
        bench.set(100, bench.b)
        # A reading that moves both, one after the other.
        bench.a.update(200)
        bench.b.update(200)
        bench.engine.step()
        assert bench.told() == []


def test_command_mismatch():
    with Alone("command_mismatch", other="d/b", on_delay_ms=5000) as bench:
        bench.set(True)
        bench.set(False, bench.b)
        bench.wait(4999)
        assert bench.told() == []
        bench.wait(2)
        assert bench.told() == [R]
        bench.set(True, bench.b)
        assert bench.told() == [C]
    with Alone("command_mismatch", other="d/b", limit=2) as bench:
        bench.set(50, bench.b)
        steps(bench, (52, None), (53, R), (48, C), ("auto", R))
        bench.set("auto", bench.b)
        assert bench.told() == [C]
        steps(bench, (1, R), (True, None))
        bench.set(1, bench.b)
        assert bench.told() == [C]


def test_states():
    for type in ("state_fault", "multi_state", "state_change"):
        with Alone(type, states=[2, 5, "fault", True]) as bench:
            steps(bench, (0, None), (2, R), (5, None), (3, C), ("fault", R), ("ok", C))
            steps(bench, (True, R), (False, C), (1, R), ([2], C))
            bench.a.fail("timeout")
            assert bench.told() == []


def test_state_change():
    with Alone("state_change", off_delay_ms=1000) as bench:
        steps(bench, (1, None), (1, None), (2, R))
        bench.wait(500)
        steps(bench, (2, None), (3, None))
        bench.wait(999)
        assert bench.told() == [], "a further change lengthens it"
        bench.wait(2)
        assert bench.told() == [C]
        bench.a.fail("timeout")
        steps(bench, (3, None))
    with Alone("state_change") as bench:
        bench.set("a")
        bench.set("b")
        bench.engine.step()
        assert bench.told() == [R, C]
    with Alone("state_change", latching=True) as bench:
        bench.set("a")
        bench.set("b")
        bench.wait(100000)
        assert (bench.told(), bench.state()) == ([R], "latched")


def test_stale():
    with Alone("stale", window_ms=10000) as bench:
        bench.wait(9999)
        assert bench.told() == []
        bench.wait(1)
        assert bench.told() == [R], "never read"
        assert bench.events == []
        steps(bench, (5, C))
        for _ in range(10):
            bench.wait(9000)
            bench.set(5)
        assert bench.told() == []
        bench.wait(5000)
        bench.a.fail("timeout")
        bench.wait(4999)
        assert bench.told() == []
        bench.wait(1)
        assert bench.told() == [R], "failing is no value"
        bench.a.fail("other")
        assert bench.told() == []
        steps(bench, (5, C))


def test_rate_of_change():
    with Alone("rate_of_change", limit=10, window_ms=60000, deadband=4) as bench:
        bench.set(0)
        for minute in range(1, 5):
            bench.wait(60000)
            steps(bench, (minute * 10, None))
        bench.wait(10000)
        steps(bench, (51, R))
        bench.wait(50000)
        steps(bench, (51, None))
        bench.wait(60000)
        steps(bench, (58, None))
        bench.wait(60000)
        steps(bench, (64, C))
        bench.wait(30000)
        steps(bench, (58, None))
        # In two windows 22 less: 11 in each.
        bench.wait(90000)
        steps(bench, (42, R))
        bench.a.fail("timeout")
        bench.wait(600000)
        steps(bench, (500, None))
        bench.wait(60000)
        steps(bench, (500, C))


def test_rate_within_a_window_and_over_a_gap():
    with Alone("rate_of_change", limit=10, window_ms=60000) as bench:
        bench.set(0)
        bench.wait(1000)
        steps(bench, (10, None))
        bench.wait(1000)
        steps(bench, (10.5, R))
        bench.wait(58000)
        steps(bench, (10, C))
        bench.a.fail("timeout")
        bench.wait(1000)
        steps(bench, (500, None), (505, None))


def test_stuck():
    with Alone("stuck", fault=True, window_ms=60000, deadband=0.5) as bench:
        bench.set(20)
        for value in (20.25, 20.5, 19.5, 20):
            bench.wait(14999)
            steps(bench, (value, None))
        bench.wait(5)
        assert bench.told() == [R]
        steps(bench, (20.5, None), (20.75, C))
        bench.wait(59999)
        bench.a.fail("timeout")
        bench.wait(60000)
        assert bench.told() == []
        steps(bench, (20.75, None))
        bench.wait(59999)
        assert bench.told() == [], "from when it is read again"
        bench.wait(1)
        assert bench.told() == [R]
    with Alone("stuck", fault=True, window_ms=1000) as bench:
        bench.wait(5000)
        assert bench.told() == [], "never read is something else"
        bench.set("on")
        bench.wait(1000)
        assert bench.told() == [R]
        steps(bench, ("off", C))


def test_range():
    with Alone("range", fault=True, low=-40, high=120, deadband=1) as bench:
        steps(bench, (-40, None), (-41, R), (-39.5, None), (-39, C), (120, None), (121, R))
        steps(bench, (119, C), (-50, R), (150, None), (0, C))
    with Alone("range", fault=True, low=0) as bench:
        steps(bench, (1e6, None), (-1, R), (0, C))
    with Alone("range", fault=True, high=0) as bench:
        steps(bench, (-1e6, None), (1, R), (0, C))


def test_flapping():
    with Alone("flapping", fault=True, changes=4, window_ms=10000) as bench:
        bench.set(False)
        for value, told in ((True, None), (True, None), (False, None), (True, None), (False, R)):
            bench.wait(1000)
            steps(bench, (value, told))
        bench.wait(5999)
        assert bench.told() == []
        bench.wait(1)
        # The first of four was 10 s ago.
        assert bench.told() == [C]
        for value in (True, False, True):
            bench.wait(2600)
            steps(bench, (value, None))
        bench.wait(2600)
        steps(bench, (False, R))
        assert len(bench.engine.rules["f0"].condition._times) == 4
    with Alone("flapping", fault=True, changes=2, window_ms=1000, deadband=1) as bench:
        steps(bench, (0, None), (1, None), (0, None), (1.5, None), (0, R))


HEAT_AND_COOL = "{d/a} > 10 and {d/b} > 10"


def test_expression():
    with Alone("expression", fault=True, expression=HEAT_AND_COOL, on_delay_ms=60000) as bench:
        bench.set(50)
        bench.wait(100000)
        assert bench.told() == []
        bench.set(50, bench.b)
        bench.wait(59999)
        assert bench.told() == []
        bench.wait(2)
        assert bench.told() == [R]
        bench.b.fail("timeout")
        bench.set(50)
        assert bench.told() == [], "unknown"
        bench.set(5)
        assert bench.told() == [C], "false, whatever the other is"
        assert Expression(HEAT_AND_COOL).points == ("d/a", "d/b")
    with Alone("expression", fault=True, expression="{d/a} / {d/b}") as bench:
        bench.set(1)
        bench.set(0, bench.b)
        assert bench.told() == [], "a division by zero is unknown"
        bench.set(1, bench.b)
        assert bench.told() == [R]
        assert bench.engine.rules["f0"].equipment == "d"


def test_what_a_point_was_before_its_rule_came():
    with Alone("stuck", fault=True, window_ms=1000) as bench:
        bench.set(5, bench.b)
        bench.set(5)
        bench.c.fail("timeout")
        rows = [{"type": "stuck", "point": i, "window_ms": 60000} for i in (1, 2, 3)]
        bench.configure((), rows)
        bench.wait(60000)
        assert bench.told() == [R, R], "counted from when the rule came"


def test_a_delay_that_ends_before_the_condition():
    with Alone("stale", window_ms=10000) as bench:
        rule = bench.engine.rules["a0"]
        bench.engine.shelve("a0", UNIX_MS + 5000)
        bench.wait(5001)
        assert rule.shelved == 0
        bench.wait(5000)
        assert bench.told() == [R]


def bad(path, alarm=None, fault=None):
    """The error must be of this path."""
    rows = [alarm] if alarm else []
    faults = [fault] if fault else []
    text = refused(ConfigError, section, rows, faults)
    assert text.startswith(("alarms" if alarm else "faults") + "[0]." + path + ": "), text
    return text


def test_refused_when_loaded():
    good = {"type": "high_limit", "point": "d/a", "limit": 1}

    def alarm(**keys):
        return dict(good, **keys)

    assert section([good])["alarms"][0]["point"] == 1
    assert section([alarm(point=2)])["alarms"][0]["point"] == 2
    for name in ("d/x", "a", "x/a", 4, 0, True, ["d/a"], {"a": 1}, "all"):
        bad("point", alarm(point=name))
    bad("other", {"type": "deviation", "point": "d/a", "other": "d/x", "limit": 1})
    bad("type", alarm(type="higher"))
    bad("type", alarm(type="stuck"))
    bad("severity", alarm(severity="fatal"))
    bad("limit", alarm(limit=None))
    bad("limit", alarm(limit="10"))
    bad("limit", {"type": "stale", "point": "d/a", "window_ms": 1000, "limit": 0})
    bad("deadband", alarm(deadband=-1))
    bad("on_delay_ms", alarm(on_delay_ms=-1))
    bad("window_ms", alarm(window_ms=1000))
    bad("states", alarm(states=[1]))
    bad("other", alarm(other="d/b"))
    bad("other", {"type": "deviation", "point": "d/a", "limit": 1})
    bad("limit", {"type": "deviation", "point": "d/a", "other": "d/b", "limit": -1})
    bad("window_ms", {"type": "stale", "point": "d/a"})
    bad("limit", {"type": "rate_of_change", "point": "d/a", "window_ms": 1000})
    bad("states", {"type": "state_fault", "point": "d/a"})
    bad("states", {"type": "multi_state", "point": "d/a", "states": []})
    bad("states[1]", {"type": "multi_state", "point": "d/a", "states": [1, [2]]})
    bad("on_delay_ms", {"type": "state_change", "point": "d/a", "on_delay_ms": 5})
    bad("point", fault={"type": "stuck", "window_ms": 1000})
    bad("low", fault={"type": "range", "point": "d/a"})
    bad("low", fault={"type": "range", "point": "d/a", "low": 2, "high": 1})
    bad("changes", fault={"type": "flapping", "point": "d/a", "window_ms": 1000})
    bad("expression", fault={"type": "expression"})
    bad("point", fault={"type": "expression", "point": "d/a", "expression": "{d/a}"})
    text = bad("expression", fault={"type": "expression", "expression": "{d/a} >"})
    assert "a value is expected" in text
    bad("expression", fault={"type": "expression", "expression": "{d/x} > 1"})
    bad("expression", fault={"type": "expression", "expression": "1 > 0"})
    text = refused(ConfigError, section, [good, dict(good, id="a0")], [])
    assert text.startswith("alarms[1].id: 'a0'")
    text = refused(
        ConfigError, section, [good], [{"type": "range", "point": 1, "low": 0, "id": "a0"}]
    )
    assert text.startswith("faults[0].id: 'a0'")


def test_messages_refused_when_loaded():
    good = {"type": "high_limit", "point": "d/a", "limit": 1}
    pair = {"type": "deviation", "point": "d/a", "other": "d/b", "limit": 1}
    stale = {"type": "stale", "point": "d/a", "window_ms": 1000}
    assert section([dict(good, message="{id} {node_id} {value} {limit}: {severity}")])
    assert section([dict(pair, message="{other} {device_id} {point_id} {type} {unit}")])
    for row, message in (
        (good, "{valu}"),
        (good, "{value"),
        (good, "value}"),
        (good, "{value}}"),
        (good, "{}"),
        (good, "{other}"),
        (stale, "{limit}"),
    ):
        bad("message", dict(row, message=message))
    bad("message", dict(good, message=""))
    bad("message", dict(good, message="x" * 201))
