"""RMQTT's rules on a node: events of its MQTT client, at a real broker, as lines of a file."""

import asyncio
import base64
import json
import re

from fieldpost.mqtt_events import EVENTS
from fieldpost.node import Node

TIMEOUT_S = 20


def config(broker, url):
    rules = [{"event": name} for name in EVENTS if not name.startswith("message_")]
    rules.append(
        {"event": "message_publish", "action": "state", "topics": ["fieldpost/+/+/state"]}
    )
    rules.append({"event": "message_delivered", "topics": ["nothing/#"]})
    endpoint = {"name": "audit", "url": url, "provider": "rmqtt", "rules": rules}
    return {
        "node": "gw-1",
        "mqtt": [{"host": broker.host, "port": broker.port}],
        # The state as base64 is longer than an event may be by default.
        "webhooks": {
            "endpoints": [endpoint],
            "queue": {"frame_bytes": 4096, "ring_bytes": 16384},
        },
    }


async def until(condition, task):
    for _ in range(TIMEOUT_S * 20):
        if task.done():
            task.result()
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("waited in vain")


def lines(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_link_that_a_change_adds_is_watched_from_its_first_packet_on(mosquitto, tmp_path):
    path = tmp_path / "audit.jsonl"
    made = config(mosquitto, f"file://{path}")
    device = {"id": "d", "driver": "virtual", "interval": 50, "points": [{"name": "a"}]}
    node = Node({**made, "mqtt": [], "devices": [device]}, str(tmp_path / "data"))
    task = asyncio.create_task(node.run())

    def seen(link):
        return [line["action"] for line in lines(path) if line.get("clientid") == link]

    try:
        await asyncio.sleep(0.1)
        # Devices are changed in the same go, which takes its time.
        links = [{**made["mqtt"][0], "name": name, "client_id": name} for name in ("one", "two")]
        await node.apply({**made, "mqtt": links, "devices": [{**device, "interval": 60}]})
        await until(lambda: all("client_connected" in seen(n) for n in ("one", "two")), task)
        # And one that goes while another comes.
        links = [links[1], {**links[0], "name": "three", "client_id": "three"}]
        await node.apply({**made, "mqtt": links, "devices": [device]})
        await until(lambda: "client_connected" in seen("three"), task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for name in ("one", "two", "three"):
        assert seen(name)[:4] == [
            "client_connect",
            "client_connack",
            "session_created",
            "client_connected",
        ]
    assert seen("two").count("client_connect") == 1


async def test_events_of_the_client_become_lines(mosquitto, tmp_path):
    path = tmp_path / "hooks" / "audit.jsonl"
    node = Node(config(mosquitto, f"file://{path}"), str(tmp_path / "data"))
    task = asyncio.create_task(node.run())

    def seen():
        return [line["action"] for line in lines(path)]

    try:
        await until(lambda: {"session_subscribed", "state"} <= set(seen()), task)
        mosquitto.stop()
        await until(lambda: "client_disconnected" in seen(), task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    found = {line["action"]: line for line in lines(path)}
    names = seen()
    assert names.index("client_connect") < names.index("client_connack")
    assert names.index("client_connack") < names.index("client_connected")
    assert found["client_connected"]["clientid"] == "fieldpost-gw-1"
    assert found["session_subscribed"]["topic"] == "fieldpost/nodes/gw-1/api/#"
    assert json.loads(base64.b64decode(found["state"]["payload"]))["state"] == "online"
    assert "message_delivered" not in names
    for line in found.values():
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", line["time"])
