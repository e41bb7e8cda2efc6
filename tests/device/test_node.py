"""A whole node without a broker: built, run, reconfigured; the flow from driver to log."""

import json

from fieldpost import node as node_module
from fieldpost.compat import asyncio, sleep_ms
from fieldpost.errors import ConfigError
from fieldpost.node import Node
from fieldpost.ring import Reader

NEEDS = "socket"
FOLDER = "node-test"


def config(**keys):
    """A small valid configuration, parts of it replaced by ``keys``."""
    base = {
        "node": "gw",
        "devices": [
            {
                "id": "v",
                "driver": "virtual",
                "interval": 10,
                "points": [
                    {"name": "n", "kind": "counter"},
                    {"name": "c", "kind": "constant", "value": 7, "log": "on_update"},
                ],
            }
        ],
        "subscriptions": [{"id": "default", "ring_bytes": 4096, "store": {"disk": False}}],
        "subscribers": [{"subscriber": "collector"}],
    }
    base.update(keys)
    return base


def device(id="v", interval=10, **point):
    """A device entry with one virtual point."""
    own = {"name": "n", "kind": "counter"}
    own.update(point)
    return {"id": id, "driver": "virtual", "interval": interval, "points": [own]}


def modbus(**point):
    """A Modbus device with one point, whose registers only the driver can judge."""
    own = dict({"name": "n", "table": "holding"}, **point)
    return {"id": "m", "driver": "modbus", "host": "127.0.0.1", "points": [own]}


async def run_for(node, ms):
    """Run a node for some time and stop it."""
    task = asyncio.create_task(node.run())
    await sleep_ms(ms)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return


def records(node, subscription="default"):
    """``[(point id, value)]`` of everything in a log."""
    ring = node.subscriptions[subscription].ring
    reader = Reader(ring, ring.oldest)
    found = []
    header = reader.open()
    while header:
        for _ in range(header.count):
            found.append(reader.take()[1:3])
        header = reader.open()
    return found


async def test_values_become_records_by_their_rules():
    node = Node(config(), FOLDER)
    await run_for(node, 300)
    values = [value for id, value in records(node) if id == 1]
    assert len(values) >= 5
    assert values == list(range(values[0], values[0] + len(values)))
    assert [value for id, value in records(node) if id == 2] == [7]


async def test_boots_and_streams_are_never_used_twice():
    first = Node(config(), FOLDER)
    second = Node(config(), FOLDER)
    assert second.boot > first.boot
    stream = second.subscriptions["default"].ring.stream
    assert stream > first.subscriptions["default"].ring.stream


async def test_state_says_what_the_node_does():
    node = Node(config(revision=12), FOLDER)
    await run_for(node, 100)
    state = json.loads(json.dumps(node.state()))
    assert state["node"] == "gw"
    assert state["revision"] == 12
    assert state["devices"] == {"v": "ok"}
    log = state["logs"]["default"]
    assert log["acquired"] == log["next"] == len(records(node))
    assert log["subscribers"]["collector"]["unacked"] == log["acquired"]


async def test_a_driver_with_a_bug_is_isolated_and_reported():
    node = Node(config(devices=[device("a"), device("b")]), FOLDER)
    broken = node.devices["a"].driver
    events = []
    node.bus.subscribe("*", lambda kind, key, _data: events.append((kind, key)))

    async def read(_points):
        raise KeyError("bug")

    broken.read = read
    await run_for(node, 200)
    assert ("device_down", "a") in events
    assert ("error", "a") in events
    assert node.devices["b"].status == "ok"
    assert "bug" in node.devices["a"].status
    assert node.counters["errors"] >= 1


async def test_a_point_is_written_through_its_driver():
    node = Node(config(devices=[device(kind="constant", value=1, writable=True)]), FOLDER)
    task = asyncio.create_task(node.run())
    await sleep_ms(50)
    await node.write(1, 5)
    await sleep_ms(50)
    assert node.points[1].value == 5
    task.cancel()
    try:
        await node.write(99, 5)
    except KeyError:
        return
    raise AssertionError("an unknown point was written")


async def test_acknowledgements_are_taken_and_nonsense_is_counted():
    node = Node(config(), FOLDER)
    topic = "fieldpost/nodes/gw/api/loggers/ackSubscribe"
    for payload in (
        b"",
        b"{",
        b"\xff",
        b'{"noreply":true}',
        b'{"noreply":true,"subscriber":"x"}',
        b'{"noreply":true,"subscriber":7}',
        b'{"noreply":true,"subscription":[],"subscriber":"collector"}',
    ):
        node.on_message(topic, payload, False, False)
    node.on_message(topic, b"{}", True, False)
    assert node.counters["bad_requests"] == 8
    body = {"noreply": True, "subscriber": "collector", "flush": 1, "stream": 1, "seq": 0}
    node.on_message(topic, json.dumps(body).encode(), False, False)
    assert node.counters["stale_acks"] == 1
    assert node.api is None


async def test_a_confirmation_that_wants_a_reply_goes_to_the_api():
    node = Node(config(), FOLDER)
    body = {"subscriber": "collector", "flush": 1, "stream": 1, "seq": 0}
    node.on_message("fieldpost/nodes/gw/api/loggers/ackSubscribe", json.dumps(body), False, False)
    assert node.api is node.dispatcher()
    node.api.stop()


async def test_the_last_errors_are_kept():
    node = Node(config(), FOLDER)
    for number in range(20):
        node.bus.emit("error", "part", ValueError(number))
    node.bus.emit("error", "part", "x" * 500)
    assert node.counters["errors"] == 21
    assert len(node.errors) == 16
    assert [error[1] for error in node.errors] == ["part"] * 16
    assert node.errors[0][2].startswith("ValueError(5")
    assert node.errors[-1][2] == "x" * 120
    assert node.last_error == "part: " + "x" * 120


async def test_apply_touches_only_what_differs():
    node = Node(config(devices=[device("a"), device("b")]), FOLDER)
    task = asyncio.create_task(node.run())
    await sleep_ms(50)
    kept, replaced = node.devices["a"], node.devices["b"]
    ring = node.subscriptions["default"].ring
    changed = await node.apply(config(devices=[device("a"), device("b", 20), device("c")]))
    assert changed == ["device:b", "device:c"]
    assert node.devices["a"] is kept
    assert node.devices["b"] is not replaced
    assert node.subscriptions["default"].ring is ring
    before = len(records(node))
    await sleep_ms(100)
    ids = {id for id, _value in records(node)[before:]}
    assert ids == {1, 2, 3}
    assert await node.apply(config(devices=[device("a")])) == ["device:b", "device:c"]
    assert sorted(node.devices) == ["a"]
    task.cancel()


async def test_apply_changes_rules_at_once():
    node = Node(config(), FOLDER)
    task = asyncio.create_task(node.run())
    await sleep_ms(50)
    row = {"id": "default", "ring_bytes": 4096, "store": {"disk": False}}
    row["flush"] = {"maxEntries": 7}
    row["addresses"] = "c"
    assert await node.apply(config(subscriptions=[row])) == ["subscription:default"]
    subscriber = node.subscriptions["default"].subscribers["collector"]
    assert subscriber.subscription.rules["maxEntries"] == 7
    before = len(records(node))
    await sleep_ms(60)
    assert {id for id, _value in records(node)[before:]} <= {2}
    task.cancel()


async def test_apply_of_a_bad_configuration_changes_nothing():
    node = Node(config(), FOLDER)
    digests, devices = node.digests, dict(node.devices)
    for bad in (
        config(node="other"),
        config(devices=[device(interval=1)]),
        config(devices=[device(), device()]),
        config(subscriptions=[{"id": "default", "ring_bytes": 8192}]),
        config(publish={"value": [{"topic": "a/{nonsense}"}]}),
        config(devices=[modbus(register=65535, type="int32")]),
    ):
        try:
            await node.apply(bad)
        except ConfigError:
            assert node.digests == digests
            assert node.devices == devices
        else:
            raise AssertionError("accepted: %r" % bad)


def test_configuration_comes_from_a_file_too():
    with open("node.json", "w") as file:
        json.dump(config(), file)
    assert Node("node.json", FOLDER).name == "gw"


def test_what_builds_a_node_does_not_stay_in_memory():
    Node(config(), FOLDER)
    loaded = node_module.__dict__ if hasattr(node_module, "__dict__") else {}
    assert "build" not in loaded
