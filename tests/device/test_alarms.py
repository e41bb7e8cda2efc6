"""Alarms: the life of one, what is told of it, people, configuration that changes."""

import json

from alarm_kit import Bench, high
from core_kit import UNIX_MS, allocated, refused

from fieldpost.compat import asyncio, sleep_ms
from fieldpost.events import ALARM_RAISED, ERROR
from fieldpost.smallfile import remove

HEAP = "1m"


def bench(*arguments, **keys):
    """A first life: without the state of another test."""
    remove("alarm-state")
    return Bench(*arguments, **keys)


def test_raised_and_cleared():
    with bench([high()]) as one:
        one.set(10)
        assert one.told() == []
        one.set(11)
        assert (one.told(), one.state()) == (["raised"], "raised")
        one.set(12)
        one.set(11)
        assert one.told() == []
        one.set(10)
        assert (one.told(), one.state()) == (["cleared"], "normal")
        assert one.engine.counters["raised"] == one.engine.counters["cleared"] == 1


def test_the_event():
    with bench([high(severity="critical", message="{point_id} {value} {unit} > {limit}")]) as one:
        one.set(11.5)
        one.ticks.advance(250)
        one.set(9)
        (raised, first), (cleared, second) = one.events
        expected = {
            "alarm_id": 64,
            "node_id": "d/a",
            "device_id": "d",
            "point_id": "a",
            "type": "high_limit",
            "severity": "critical",
            "state": "raised",
            "value": 11.5,
            "message": "a 11.5 K > 10",
            "timestamp_ms": UNIX_MS,
        }
        assert (raised, cleared) == ("alarm_raised", "alarm_cleared")
        assert first == expected
        changes = {"state": "cleared", "value": 9, "timestamp_ms": UNIX_MS + 250}
        assert second == dict(expected, message="a 9 K > 10", **changes)


def test_default_message_and_unknown_time():
    with bench([high()], unix_ms=None) as one:
        one.set(11)
        assert one.events[0][1]["message"] == "high_limit at d/a: 11 K"
        assert one.events[0][1]["timestamp_ms"] is None


def test_the_event_of_a_fault():
    with bench(faults=[{"type": "range", "point": 1, "high": 50, "equipment": "ahu"}]) as one:
        keys = []
        one.bus.subscribe("fdd_fault_raised", lambda kind, key, data: keys.append(key))
        one.set(51)
        assert one.events == [
            (
                "fdd_fault_raised",
                {
                    "fault_id": 64,
                    "equipment": "ahu",
                    "type": "range",
                    "severity": "warning",
                    "state": "raised",
                    "value": 51,
                    "message": "range at d/a: 51 K",
                    "timestamp_ms": UNIX_MS,
                },
            )
        ]
        assert keys == ["ahu"]
        refused(KeyError, one.engine.acknowledge, "f0")


def test_values_that_json_has_not():
    row = {"type": "state_change", "point": "d/a"}
    with bench([row]) as one:
        for value, shown in (("on", "on"), ([1], None), ({"x": 1}, None), (None, None)):
            one.a.value = "other"
            one.set("before")
            one.events = []
            one.set(value)
            assert one.events[0][1]["value"] == shown
            json.dumps(one.events[0][1])
        one.set("x" * 500)
        assert len(one.events[-1][1]["message"]) < 100


def test_on_delay():
    with bench([high(on_delay_ms=1000)]) as one:
        one.set(11)
        assert one.state() == "pending"
        one.wait(999)
        assert one.told() == []
        one.wait(1)
        assert one.told() == ["raised"]
        one.set(9)
        one.set(11)
        one.wait(900)
        one.set(9)
        one.set(11)
        one.wait(999)
        assert one.told() == ["cleared"], "the delay begins anew"


def test_off_delay():
    with bench([high(off_delay_ms=1000)]) as one:
        one.set(11)
        one.set(9)
        assert (one.told(), one.state()) == (["raised"], "clearing")
        one.wait(900)
        one.set(11)
        one.set(9)
        one.wait(999)
        assert (one.told(), one.state()) == ([], "clearing")
        one.wait(2)
        assert one.told() == ["cleared"]


def test_what_is_unknown_ends_nothing_but_delays():
    with bench([high(on_delay_ms=1000, off_delay_ms=1000)]) as one:
        one.set(11)
        one.wait(900)
        one.a.fail("timeout")
        assert one.state() == "normal"
        one.wait(5000)
        one.set(11)
        one.wait(1001)
        assert one.told() == ["raised"]
        one.set(9)
        one.wait(900)
        one.a.fail("timeout")
        assert one.state() == "raised"
        one.wait(5000)
        assert one.told() == []
        one.set(9)
        one.wait(1001)
        assert one.told() == ["cleared"]


def test_latching():
    with bench([high(latching=True)]) as one:
        one.set(11)
        one.set(9)
        assert (one.told(), one.state()) == (["raised"], "latched")
        one.set(11)
        assert (one.told(), one.state()) == ([], "raised")
        one.set(9)
        assert one.engine.acknowledge("a0")
        assert (one.told(), one.state()) == (["acknowledged", "cleared"], "normal")
        one.set(11)
        number = one.events[0][1]["alarm_id"]
        assert one.engine.acknowledge(number)
        assert one.state() == "raised"
        one.set(9)
        assert one.told() == ["raised", "acknowledged", "cleared"]


def test_acknowledge():
    with bench([high(), high()]) as one:
        assert not one.engine.acknowledge("a0"), "nothing is raised"
        one.set(11)
        assert one.told() == ["raised", "raised"]
        assert one.engine.acknowledge("a1")
        kind, data = one.events[0]
        assert (kind, data["state"]) == ("alarm_acknowledged", "acknowledged")
        assert data["alarm_id"] == one.engine.rules["a1"].number
        assert not one.engine.acknowledge("a1"), "once is enough"
        assert [row["acknowledged"] for row in one.engine.states() if row["id"] == "a1"] == [True]
        refused(KeyError, one.engine.acknowledge, "other")
        refused(KeyError, one.engine.acknowledge, 12345)
        one.told()
        one.set(9)
        one.set(11)
        assert one.engine.acknowledge("a1"), "raised again, it is another one"
        assert one.told() == ["cleared", "cleared", "raised", "raised", "acknowledged"]


def test_shelving():
    with bench([high(off_delay_ms=10)]) as one:
        one.engine.shelve("a0", UNIX_MS + 60000)
        one.set(11)
        one.wait(59999)
        assert (one.told(), one.state()) == ([], "pending")
        one.wait(2)
        assert one.told() == ["raised"], "its time is over, and it still holds"
        assert one.engine.rules["a0"].shelved == 0
        one.engine.shelve("a0", UNIX_MS + 200000)
        one.set(9)
        one.wait(20)
        assert one.told() == ["cleared"], "what was raised ends as ever"
        one.set(11)
        assert one.told() == []
        one.engine.shelve("a0", 0)
        one.engine.step()
        assert one.told() == ["raised"]


def test_states_of_all():
    with bench([high(severity="critical")], [{"type": "range", "point": 2, "high": 1}]) as one:
        one.set(11)
        one.engine.acknowledge("a0")
        one.engine.shelve("f0", UNIX_MS + 1000)
        alarm, fault = sorted(one.engine.states(), key=lambda row: row["id"])
        assert alarm == {
            "id": "a0",
            "type": "high_limit",
            "severity": "critical",
            "fault": False,
            "state": "raised",
            "alarm_id": 64,
            "acknowledged": True,
            "shelved_until": None,
            "node_id": "d/a",
        }
        changes = {"id": "f0", "type": "range", "severity": "warning", "fault": True}
        changes.update(state="normal", alarm_id=None, acknowledged=False, node_id="d")
        assert fault == dict(alarm, shelved_until=UNIX_MS + 1000, **changes)
        one.set(9)
        assert [row["acknowledged"] for row in one.engine.states()] == [False, False]


def test_shelving_and_the_clock():
    with bench([high()], unix_ms=None) as one:
        refused(ValueError, one.engine.shelve, "a0", UNIX_MS)
        refused(KeyError, one.engine.shelve, "other", UNIX_MS)
        one.clock.set_unix_ms(UNIX_MS, "test")
        refused(ValueError, one.engine.shelve, "a0", UNIX_MS)
        one.engine.shelve("a0", UNIX_MS + 3600000)
        one.set(11)
        one.wait(1000)
        assert one.told() == []
        one.clock.set_unix_ms(UNIX_MS + 7200000, "test")
        one.engine.step()
        assert one.told() == ["raised"], "the clock was set past its end"


def test_several_alarms_of_a_point():
    rows = [high(), high(limit=20, severity="critical"), high(type="low_limit", limit=0)]
    with bench(rows) as one:
        assert len(one.a.triggers) == 1
        assert one.b.triggers == ()
        for value, told in ((15, 1), (25, 1), (5, 2), (-1, 1), (30, 3)):
            one.set(value)
            assert len(one.told()) == told, value


def test_ids_are_never_the_same():
    numbers = [5]
    seen = set()
    with bench([high()], numbers=numbers) as one:
        for _ in range(200):
            one.set(11)
            one.set(9)
        seen.update(data["alarm_id"] for kind, data in one.events if kind == ALARM_RAISED)
        assert len(seen) == 200
        assert numbers[0] <= 5 + 200 // 64 + 2, "few numbers are taken"
    with bench([high()], numbers=numbers) as one:
        one.set(11)
        assert one.events[0][1]["alarm_id"] not in seen


def test_configuration_that_changes():
    rows = [high(), high(limit=20), high(limit=30, latching=True)]
    with bench(rows) as one:
        one.set(25)
        before = dict(one.engine.rules)
        assert one.told() == ["raised", "raised"]
        assert one.configure(rows) == []
        assert one.engine.rules == before
        # Other limits: what was raised is cleared, and judged anew.
        assert one.configure([rows[0], high(limit=24), rows[2]]) == ["a1"]
        assert one.engine.rules["a0"] is before["a0"]
        assert one.told() == ["cleared"]
        one.engine.step()
        assert one.told() == ["raised"]
        assert one.configure([rows[0]]) == ["a1", "a2"]
        assert one.told() == ["cleared"]
        one.set(35)
        assert one.told() == []
        assert one.configure([high(enabled=False)]) == ["a0"]
        assert one.told() == ["cleared"]
        assert one.a.triggers == ()
        assert one.engine.step() > 0


def test_points_that_are_made_anew():
    with bench([high(on_delay_ms=1000)]) as one:
        one.set(11)
        one.wait(2000)
        assert one.told() == ["raised"]
        old = one.a
        other = lambda point, ticks: None  # noqa: E731 – a trigger of a subscription
        old.triggers = (other,)
        one.a = one.points[1] = type(old)(1, "d", "a", "K")
        one.a.bus = one.bus
        assert one.configure([high(on_delay_ms=1000)]) == []
        old.update(0)
        one.engine.step()
        assert one.told() == []
        one.set(9)
        assert one.told() == ["cleared"]
        one.a.triggers = (other,) + one.a.triggers
        one.configure([])
        assert one.a.triggers == (other,)


def test_a_rule_that_fails_is_reported_and_stops_nothing():
    remove("alarm-state")
    one = Bench([high(), high(limit=20)])
    one.engine.rules["a0"].condition.high = "x"
    one.set(25)
    assert one.told() == ["raised"]
    assert len(one.errors) == 1
    assert isinstance(one.errors[0], TypeError)
    one.bus.subscribe(ALARM_RAISED, lambda kind, key, data: 1 / 0)
    one.engine.rules["a0"].condition.high = 10
    one.set(26)
    assert one.told() == ["raised"]
    assert one.bus.failures == 1


def test_points_without_alarms_cost_nothing():
    with bench([high()]) as one:
        assert one.b.triggers == one.c.triggers == ()
        one.set(11, one.b)
        one.set(12)
        values = [13.5, 14.5]
        one.ticks.advance(1000)

        def update():
            one.b.update(values[one.b.value == 13.5])
            one.a.update(values[one.a.value == 13.5])

        update()
        # Nor does one that stays as it is.
        assert allocated(update, 50) == 0


async def test_the_task_sleeps_until_the_next_moment():
    remove("alarm-state")
    one = Bench([high(on_delay_ms=300)])
    steps = []
    step = one.engine.step

    def counted():
        steps.append(1)
        return step()

    from fieldpost.clock import Clock

    one.engine.clock = Clock()
    one.engine.clock.set_unix_ms(UNIX_MS, "test")
    one.engine.step = counted

    class Task:
        def beat(self):
            pass

    task = asyncio.create_task(one.engine.run(Task()))
    await sleep_ms(100)
    assert len(steps) <= 2
    one.a.update(11)
    await sleep_ms(150)
    assert one.told() == []
    await sleep_ms(400)
    assert one.told() == ["raised"]
    await sleep_ms(200)
    assert len(steps) < 10, steps
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass


def test_errors_are_events_of_the_bus():
    remove("alarm-state")
    one = Bench([high()])
    told = []
    one.bus.subscribe(ERROR, lambda kind, key, data: told.append(key))
    one.engine.rules["a0"].condition.high = "x"
    one.set(5)
    assert told == ["alarm:a0"]
