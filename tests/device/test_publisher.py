"""publisher: which events become which messages, on which links, and what is counted."""

import json

from core_kit import UNIX_MS, still_clock
from flow_kit import Link

from fieldpost.bus import Bus
from fieldpost.config import Validator
from fieldpost.events import (
    ALARM_ACKNOWLEDGED,
    ALARM_CLEARED,
    ALARM_RAISED,
    DEVICE_DISCOVERED,
    DEVICE_DOWN,
    DEVICE_RECOVERED,
    LINK_UP,
)
from fieldpost.point import Point
from fieldpost.publisher import Publisher, value_type

VALUE = "fieldpost/{node}/{device_id}/{point_id}/value"
STATUS = "fieldpost/{node}/status/{device_key}"
ALARM = "fieldpost/{node}/alarms/{severity}/{node_id}"


def section(**kinds):
    """A validated ``publish`` section; patterns are topics or dicts."""
    for kind in kinds:
        kinds[kind] = [{"topic": p} if isinstance(p, str) else p for p in kinds[kind]]
    return Validator().table("publish", kinds, "publish")


class Bench:
    def __init__(self, links=None, unix_ms=UNIX_MS, **kinds):
        self.bus = Bus()
        self.clock = still_clock(0, unix_ms)[0]
        self.links = links or [Link()]
        self.publisher = Publisher("gw", self.bus, self.clock, self.links)
        self.publisher.configure(section(**kinds))

    def point(self, key="ahu-1/dat", value=21.5):
        device, _, name = key.partition("/")
        point = Point(1, device, name)
        point.bus = self.bus
        point.update(value)
        assert self.bus.failures == 0

    def alarm(self, severity="warning", key="ahu-1/dat"):
        alarm = {"alarm_id": 7, "node_id": key, "severity": severity, "state": "raised"}
        self.bus.emit(ALARM_RAISED, key, alarm)
        return alarm

    def sent(self, link=0):
        """``(topic, object)`` of each message since the last call."""
        messages, self.links[link].sent = self.links[link].sent, []
        return [(message.topic, json.loads(message.payload)) for message in messages]


def test_values():
    bench = Bench(value=[VALUE])
    bench.point()
    assert bench.sent() == [
        (
            "fieldpost/gw/ahu-1/dat/value",
            {
                "node_id": "ahu-1/dat",
                "value": 21.5,
                "value_type": "float",
                "timestamp_ms": UNIX_MS,
            },
        )
    ]
    assert (bench.publisher.published, bench.publisher.dropped) == (1, 0)


def test_values_of_every_type():
    for value, kind, sent in (
        (True, "bool", True),
        (0, "integer", 0),
        ((1 << 64) - 1, "integer", (1 << 64) - 1),
        (1.5, "float", 1.5),
        ('a "b"', "string", 'a "b"'),
        ([1, "x"], "json", [1, "x"]),
        ({"a": None}, "json", {"a": None}),
    ):
        bench = Bench(value=["v"])
        bench.point(value=value)
        [(_, body)] = bench.sent()
        assert (body["value"], body["value_type"]) == (sent, kind), value
        assert value_type(value) == kind
    assert value_type(None) == "json"


def test_the_time_is_null_while_it_is_not_known():
    bench = Bench(unix_ms=None, value=["v"], status=["s"])
    bench.point()
    bench.bus.emit(DEVICE_DOWN, "ahu-1", "modbus")
    assert [body["timestamp_ms"] for _, body in bench.sent()] == [None, None]


def test_status():
    bench = Bench(status=[STATUS])
    for kind, word in (
        (DEVICE_DOWN, "down"),
        (DEVICE_DISCOVERED, "discovered"),
        (DEVICE_RECOVERED, "recovered"),
    ):
        bench.bus.emit(kind, "ahu-1", "modbus")
        assert bench.sent() == [
            (
                "fieldpost/gw/status/ahu-1",
                {
                    "device_key": "ahu-1",
                    "event": word,
                    "protocol": "modbus",
                    "timestamp_ms": UNIX_MS,
                },
            )
        ]


def test_alarms():
    bench = Bench(alarm=[ALARM])
    alarm = bench.alarm("critical")
    assert bench.sent() == [("fieldpost/gw/alarms/critical/ahu-1-dat", alarm)]
    for kind in (ALARM_CLEARED, ALARM_ACKNOWLEDGED):
        bench.bus.emit(kind, "ahu-1/dat", alarm)
        assert len(bench.sent()) == 1


def test_only_configured_kinds_are_published():
    bench = Bench(status=[STATUS])
    bench.point()
    bench.alarm()
    bench.bus.emit(LINK_UP, "main")
    assert bench.sent() == []
    assert bench.publisher.dropped == 0


def test_every_variable():
    text = "{node}/{device_id}/{point_id}/{node_id}/{protocol}/{severity}/{device_key}"
    bench = Bench(value=[text], alarm=[text], status=[text])
    bench.point()
    bench.alarm()
    bench.bus.emit(DEVICE_DOWN, "ahu-1", "modbus")
    # Levels of what an event does not have are left out.
    assert [topic for topic, _ in bench.sent()] == [
        "gw/ahu-1/dat/ahu-1-dat",
        "gw/ahu-1/dat/ahu-1-dat/warning",
        "gw/ahu-1/modbus/ahu-1",
    ]


def test_a_pattern_without_a_topic_for_an_event_is_dropped():
    bench = Bench(value=["{severity}", "v"])
    bench.point()
    assert [topic for topic, _ in bench.sent()] == ["v"]
    assert (bench.publisher.published, bench.publisher.dropped) == (1, 1)


def test_several_patterns_with_their_qos_and_retain():
    bench = Bench(value=["a", {"topic": "b", "qos": 1, "retain": True}])
    bench.point()
    sent = [(m.topic, m.qos, m.retain, m.keep) for m in bench.links[0].sent]
    assert sent == [("a", 0, False, True), ("b", 1, True, True)]


def test_node_filters():
    bench = Bench(
        value=[{"topic": "v", "nodes": "ahu-1/, ahu-2/d"}],
        alarm=[{"topic": "a", "nodes": "ahu-2"}],
        status=[{"topic": "s/{device_key}", "nodes": "ahu-1/"}],
    )
    for key in ("ahu-1/dat", "ahu-1/x", "ahu-2/dat", "ahu-2/x", "ahu-11/dat"):
        bench.point(key)
    assert [body["node_id"] for _, body in bench.sent()] == ["ahu-1/dat", "ahu-1/x", "ahu-2/dat"]
    bench.alarm(key="ahu-1/dat")
    bench.alarm(key="ahu-2/dat")
    assert [body["node_id"] for _, body in bench.sent()] == ["ahu-2/dat"]
    for device in ("ahu-1", "ahu-11", "ahu-2"):
        bench.bus.emit(DEVICE_DOWN, device, "modbus")
    assert [topic for topic, _ in bench.sent()] == ["s/ahu-1"]


def test_brokers():
    links = [Link("main"), Link("cloud"), Link("flush-only", publish=False)]
    bench = Bench(links, value=["all", {"topic": "cloud", "broker": "cloud"}])
    bench.point()
    assert [topic for topic, _ in bench.sent(0)] == ["all"]
    assert [topic for topic, _ in bench.sent(1)] == ["all", "cloud"]
    assert bench.sent(2) == []
    assert bench.publisher.published == 3


def test_what_a_link_does_not_take_is_counted():
    links = [Link("main"), Link("cloud")]
    bench = Bench(links, value=["v"])
    links[0].connected = False
    bench.point(value=1)
    links[1].room = 0
    bench.point(value=2)
    links[0].connected = True
    bench.point(value=3)
    assert (bench.publisher.published, bench.publisher.dropped) == (2, 4)
    assert [body["value"] for _, body in bench.sent(0)] == [3]
    assert [body["value"] for _, body in bench.sent(1)] == [1]


def test_links_that_come_and_go():
    bench = Bench(value=["v"])
    bench.links.append(Link("new"))
    bench.point(value=1)
    del bench.links[0]
    bench.point(value=2)
    assert [body["value"] for _, body in bench.sent(0)] == [1, 2]


def test_another_configuration_replaces_the_one_before():
    bench = Bench(value=["old"], status=[STATUS])
    bench.publisher.configure(section(value=["new/{point_id}"], alarm=["alarm"]))
    bench.point()
    bench.alarm()
    bench.bus.emit(DEVICE_DOWN, "ahu-1", "modbus")
    assert [topic for topic, _ in bench.sent()] == ["new/dat", "alarm"]
    bench.publisher.configure(section())
    bench.point()
    bench.alarm()
    assert bench.sent() == []
    assert bench.bus._subscribers == {}, "silence costs nothing"


def test_one_failing_link_is_reported():
    class Broken(Link):
        def publish(self, *_, **__):
            raise OSError(5)

    bench = Bench([Broken("a")], value=["v"])
    errors = []
    bench.bus.subscribe("error", lambda _kind, key, error: errors.append((key, error.args)))
    bench.bus.emit("value_changed", "d/p", Point(1, "d", "p"))
    assert errors == [("bus", (5,))]
