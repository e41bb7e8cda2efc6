"""A whole node against real mosquittos: what it publishes, what it survives, what it changes."""

import asyncio
import contextlib
import json

import pytest

import servers
from fieldpost.node import Node
from fieldpost_tools.collect import Collector
from fieldpost_tools.store import Store

DEADLINE_S = 20
STATUS = "fieldpost/{node}/status/{device_key}"


class Ear:
    """Hears every message of a broker, by the real mosquitto_sub."""

    def __init__(self, broker):
        self._port = broker.port
        self.heard = []

    async def __aenter__(self):
        command = [servers.program("mosquitto_sub", "mosquitto-clients"), "-p", str(self._port)]
        command += ["-q", "1", "-t", "#", "-F", '{"topic":"%t","retain":%r,"qos":%q,"hex":"%x"}']
        self._process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, limit=1 << 20
        )
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_):
        self._process.kill()
        await self._process.wait()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _listen(self):
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            payload = bytes.fromhex(message["hex"])
            self.heard.append((message["topic"], payload, bool(message["retain"])))

    def last(self, topic):
        """The newest payload on a topic, as JSON; None if there is none."""
        found = [payload for heard, payload, _ in self.heard if heard == topic]
        return json.loads(found[-1]) if found and found[-1] else None


async def until(condition):
    """Wait until ``condition()`` is true."""
    for _ in range(DEADLINE_S * 20):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")


def config(*ports, **keys):
    """A node with one virtual device and a broker for each port."""
    names = ["main", "second"]
    base = {
        "node": "gw",
        "state_interval": 1000,
        "mqtt": [
            {"name": name, "host": "127.0.0.1", "port": port, "backoff_min_ms": 50}
            for name, port in zip(names, ports, strict=False)
        ],
        "devices": [
            {
                "id": "ahu-1",
                "driver": "virtual",
                "interval": 50,
                "points": [
                    {"name": "n", "unit": "°C", "kind": "counter"},
                    {"name": "fixed", "kind": "constant", "value": 21.5, "log": "on_update"},
                ],
            }
        ],
        "subscribers": [{"subscriber": "collector", "format": "packed"}],
        "publish": {
            "value": [{"topic": "fieldpost/{node}/{device_id}/{point_id}/value"}],
            "status": [
                {"topic": "fieldpost/{node}/status/{device_key}", "qos": 1, "retain": True}
            ],
        },
    }
    base.update(keys)
    return base


def second_broker(tmp_path):
    """Another mosquitto, beside the fixture's."""
    folder = tmp_path / "second"
    folder.mkdir()
    return servers.Mosquitto(folder)


@contextlib.asynccontextmanager
async def running(node):
    """Run a node; stop it at the end."""
    task = asyncio.create_task(node.run())
    try:
        yield node
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_it_tells_its_state_points_values_and_devices(mosquitto, tmp_path):
    async with Ear(mosquitto) as ear, running(Node(config(mosquitto.port), str(tmp_path))):
        await until(lambda: ear.last("fieldpost/nodes/gw/points/ahu-1"))
        await until(lambda: ear.last("fieldpost/gw/ahu-1/n/value"))
        await until(lambda: ear.last("fieldpost/gw/status/ahu-1"))
        await until(lambda: ear.last("fieldpost/nodes/gw/state"))
        points = ear.last("fieldpost/nodes/gw/points/ahu-1")
        assert points["points"] == [[1, "n", "°C"], [2, "fixed", ""]]
        value = ear.last("fieldpost/gw/ahu-1/n/value")
        assert value["node_id"] == "ahu-1/n"
        assert value["value_type"] == "integer"
        assert ear.last("fieldpost/gw/status/ahu-1")["event"] == "discovered"
        assert ear.last("fieldpost/nodes/gw/state")["state"] == "online"
    assert not [payload for topic, payload, _ in ear.heard if b"password" in payload]


async def test_the_last_will_says_that_it_is_gone(mosquitto, tmp_path):
    node = Node(config(mosquitto.port), str(tmp_path))
    async with Ear(mosquitto) as ear:
        async with running(node):
            await until(lambda: ear.last("fieldpost/nodes/gw/state"))
        await until(lambda: ear.last("fieldpost/nodes/gw/state")["state"] == "offline")
        assert ear.last("fieldpost/nodes/gw/state")["boot"] == node.boot


async def test_every_record_arrives_once_over_a_broker_restart(mosquitto, tmp_path):
    node = Node(config(mosquitto.port), str(tmp_path / "node"))
    url = f"mqtt://127.0.0.1:{mosquitto.port}"
    with Store(tmp_path / "db", create=True) as store, Collector(url, store) as collector:
        async with running(node):
            stepping = asyncio.create_task(_step(collector))
            await until(lambda: store.totals().records > 20)
            await asyncio.to_thread(mosquitto.kill)
            await asyncio.sleep(1)
            await asyncio.to_thread(mosquitto.start)
            before = store.totals().records
            await until(lambda: store.totals().records > before + 40)
            ring = node.subscriptions["default"].ring
            end = ring.next
            subscriber = node.subscriptions["default"].subscribers["collector"]
            await until(lambda: subscriber.acked >= end)
            stepping.cancel()
        rows = list(store.read("SELECT seq FROM records WHERE seq < ? ORDER BY seq", (end,)))
        assert [row[0] for row in rows] == list(range(end))
        assert store.totals().missing == 0
        assert ring.dropped == {}


async def _step(collector):
    while True:
        await asyncio.to_thread(collector.step, 0.05)


async def test_two_brokers_get_their_own_patterns(tmp_path, mosquitto):
    with second_broker(tmp_path) as second:
        patterns = [
            {"topic": "both/{point_id}"},
            {"topic": "one/{point_id}", "broker": "second", "nodes": "ahu-1/fixed"},
        ]
        made = config(mosquitto.port, second.port, publish={"value": patterns})
        node = Node(made, str(tmp_path / "node"))
        async with Ear(mosquitto) as first_ear, Ear(second) as second_ear, running(node):
            await until(lambda: first_ear.last("both/n") and second_ear.last("both/n"))
            await until(lambda: second_ear.last("fieldpost/nodes/gw/state"))
        topics = {topic for topic, _, _ in first_ear.heard}
        assert not [topic for topic in topics if topic.startswith("one/")]
        assert "one/n" not in {topic for topic, _, _ in second_ear.heard}


async def test_patterns_change_without_a_reconnect(mosquitto, tmp_path):
    async with Ear(mosquitto) as ear, running(Node(config(mosquitto.port), str(tmp_path))) as node:
        await until(lambda: ear.last("fieldpost/gw/ahu-1/n/value"))
        patterns = {"value": [{"topic": "site/{device_id}/{point_id}"}]}
        assert await node.apply(config(mosquitto.port, publish=patterns)) == ["publish"]
        await until(lambda: ear.last("site/ahu-1/n"))
        assert node.links[0].counters["connects"] == 1
        assert node.links[0].counters["disconnects"] == 0


async def test_a_broker_that_moves_is_followed(mosquitto, tmp_path):
    with second_broker(tmp_path) as second:
        made = config(mosquitto.port)
        async with Ear(second) as ear, running(Node(made, str(tmp_path / "node"))) as node:
            await until(lambda: node.links[0].connected)
            assert await node.apply(config(second.port)) == ["mqtt:main reconnect"]
            await until(lambda: ear.last("fieldpost/nodes/gw/state"))
            await until(lambda: ear.last("fieldpost/nodes/gw/points/ahu-1"))


async def test_a_device_that_goes_and_comes_back_is_announced(mosquitto, tmp_path):
    async with Ear(mosquitto) as ear, running(Node(config(mosquitto.port), str(tmp_path))) as node:
        await until(lambda: ear.last("fieldpost/gw/status/ahu-1"))
        driver = node.devices["ahu-1"].driver
        read = driver.read

        async def hang(_points):
            await asyncio.sleep(60)

        node.devices["ahu-1"].timeout_ms = 100
        driver.read = hang
        await until(lambda: ear.last("fieldpost/gw/status/ahu-1")["event"] == "down")
        assert node.points[1].status == "timeout"
        driver.read = read
        await until(lambda: ear.last("fieldpost/gw/status/ahu-1")["event"] == "recovered")
        await until(lambda: ear.last("fieldpost/nodes/gw/state")["devices"] == {"ahu-1": "ok"})


async def test_garbage_on_its_topics_is_counted(mosquitto, tmp_path):
    async with running(Node(config(mosquitto.port), str(tmp_path))) as node:
        await until(lambda: node.links[0].connected)
        other = node.links[0]
        for payload in (b"", b"{", b"\xff\xfe", b'{"noreply":1,"subscriber":[]}', b"{}" * 900):
            other.publish("fieldpost/nodes/gw/api/loggers/ackSubscribe", payload, 1)
        await until(lambda: node.counters["bad_requests"] >= 5)
        assert node.counters["errors"] == 0
        assert node.links[0].connected


@pytest.mark.parametrize("lines", [{"port": 1}, {"host": "name.invalid"}])
async def test_sampling_does_not_wait_for_a_broker(lines, tmp_path):
    made = config(1)
    made["mqtt"][0].update(lines)
    async with running(Node(made, str(tmp_path))) as node:
        await asyncio.sleep(1)
        assert node.devices["ahu-1"].reads >= 10
        assert node.subscriptions["default"].ring.next >= 10
