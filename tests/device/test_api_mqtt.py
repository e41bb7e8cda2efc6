"""API module mqtt: brokers and patterns, live and in the configuration file."""

from gateways_kit import SECRET, Board, saved

NEEDS = "socket"
HEAP = "768k"
HERE = {"host": "127.0.0.1", "port": 1, "password": SECRET, "backoff_min_ms": 5000}
PATTERN = {"topic": "site/{device_id}/{point_id}", "nodes": "ahu-"}


async def test_brokers():
    board = await Board(mqtt=[HERE, dict(HERE, name="b", tls={"ca": "/ca.pem"})]).boot()
    main, other = await board.call("mqtt.getBrokers")
    assert (main["name"], main["host"], main["port"]) == ("main", "127.0.0.1", 1)
    assert (main["has_password"], main["client_id"]) == (True, "fieldpost-gw")
    assert (main["keepalive_s"], main["tls"]) == (30, None)
    assert "password" not in main and "will" not in main
    assert (other["name"], other["tls"]["ca"]) == ("b", "/ca.pem")
    await board.halt()


async def test_status():
    board = await Board(mqtt=[HERE]).boot()
    [one] = await board.call("mqtt.getStatus")
    assert (one["name"], one["connected"], one["inflight"]) == ("main", False, 0)
    assert one["reason"] == "refused"
    assert one["counters"]["failures"] == 1 and one["counters"]["connects"] == 0
    await board.halt()


async def test_a_node_without_brokers():
    board = await Board().boot()
    for method in ("getBrokers", "getStatus", "getPatterns"):
        assert await board.call("mqtt." + method) == []
    assert await board.call("mqtt.insertBroker", broker=HERE) == "main"
    assert await board.call("mqtt.insertPattern", kind="value", pattern=PATTERN) == 0
    assert [link.name for link in board.node.links] == ["main"]
    assert "mqtt:main" in board.node.supervisor.tasks
    board = await board.again()
    assert [one["name"] for one in await board.call("mqtt.getBrokers")] == ["main"]
    await board.halt()


async def test_insert_update_and_delete_brokers():
    board = await Board(mqtt=[HERE]).boot()
    kept = board.node.links[0]
    given = {"name": "b", "host": "127.0.0.1", "port": 2, "user": "u"}
    assert await board.call("mqtt.insertBroker", broker=given) == "b"
    assert [link.name for link in board.node.links] == ["main", "b"]
    changes = {"user": None, "keepalive_s": 60, "password": "p2", "has_password": False}
    assert await board.call("mqtt.updateBroker", broker="b", changes=changes) == "b"
    for _ in range(2):
        main, other = await board.call("mqtt.getBrokers")
        assert (other["user"], other["keepalive_s"]) == (None, 60)
        assert main["has_password"] and other["has_password"]
        assert board.node.links[1].config["password"] == "p2"
        board = await board.again()
    assert board.node.links[0] is not kept
    # What is shown can be given, and the password stays.
    [main, _] = await board.call("mqtt.getBrokers")
    assert await board.call("mqtt.updateBroker", broker="main", changes=main) == "main"
    assert saved()["mqtt"][0]["has_password"] is True
    assert board.node.links[0].config["password"] == SECRET
    await board.call("mqtt.updateBroker", broker="main", changes={"password": None})
    assert "has_password" not in saved()["mqtt"][0]
    assert (await board.call("mqtt.getBrokers"))[0]["has_password"] is False
    assert await board.call("mqtt.deleteBroker", broker="main") is True
    for _ in range(2):
        assert [link.name for link in board.node.links] == ["b"]
        board = await board.again()
    await board.halt()


async def test_patterns():
    board = await Board(publish={"value": [PATTERN], "status": [{"topic": "s"}]}).boot()
    value, status = await board.call("mqtt.getPatterns")
    expected = {"kind": "value", "index": 0, "qos": 0, "retain": False, "broker": None}
    assert value == dict(expected, **PATTERN)
    assert (status["kind"], status["topic"], status["nodes"]) == ("status", "s", "")
    assert await board.call("mqtt.getPatterns", kind="status") == [status]
    assert await board.call("mqtt.getPatterns", kind="alarm") == []
    given = dict(value, topic="x/{node_id}", qos=1)
    assert await board.call("mqtt.insertPattern", kind="value", pattern=given) == 1
    changes = {"qos": None, "retain": True}
    args = {"kind": "value", "index": 1, "changes": changes}
    assert await board.call("mqtt.updatePattern", **args) is True
    for _ in range(2):
        found = await board.call("mqtt.getPatterns", kind="value")
        assert [(one["index"], one["topic"]) for one in found] == [
            (0, PATTERN["topic"]),
            (1, "x/{node_id}"),
        ]
        assert (found[1]["qos"], found[1]["retain"], found[1]["nodes"]) == (0, True, "ahu-")
        board = await board.again()
    assert await board.call("mqtt.deletePattern", kind="value", index=0) is True
    assert await board.call("mqtt.deletePattern", kind="status", index=0) is True
    for _ in range(2):
        [one] = await board.call("mqtt.getPatterns")
        assert (one["index"], one["topic"]) == (0, "x/{node_id}")
        board = await board.again()
    await board.halt()


async def test_refused_changes():
    publish = {"value": [dict(PATTERN, broker="main")]}
    board = await Board(mqtt=[HERE], publish=publish).boot()
    for method, args, expected in (
        ("insertBroker", {}, "missing parameter: broker"),
        ("insertBroker", {"broker": "b"}, "invalid value"),
        ("insertBroker", {"broker": {"name": "b"}}, "mqtt[1].host: "),
        ("insertBroker", {"broker": HERE}, "mqtt[1].name: 'main' "),
        ("insertBroker", {"broker": dict(HERE, name="b", port=0)}, "mqtt[1].port: 0 "),
        ("insertBroker", {"broker": dict(HERE, name="b", pasword=SECRET)}, "mqtt[1].pasword: "),
        ("insertBroker", {"broker": dict(HERE, name="b", password=5)}, "mqtt[1].password: '***'"),
        ("updateBroker", {"broker": "main"}, "missing parameter: changes"),
        ("updateBroker", {"broker": "b", "changes": {}}, "invalid value"),
        ("updateBroker", {"broker": "main", "changes": []}, "invalid value"),
        ("updateBroker", {"broker": "main", "changes": {"name": "b"}}, "invalid value"),
        ("updateBroker", {"broker": "main", "changes": {"host": None}}, "mqtt[0].host: "),
        ("deleteBroker", {"broker": "b"}, "invalid value"),
        ("deleteBroker", {"broker": {}}, "invalid value"),
        ("deleteBroker", {"broker": "main"}, "publish.value[0].broker: 'main' "),
        ("getPatterns", {"kind": "values"}, "kind: 'values' "),
        ("insertPattern", {"kind": "value"}, "missing parameter: pattern"),
        ("insertPattern", {"kind": "value", "pattern": "x"}, "invalid value"),
        ("insertPattern", {"kind": "value", "pattern": {}}, "publish.value[1].topic: "),
        ("insertPattern", {"kind": "value", "pattern": {"topic": "{x}"}}, "publish.value[1].top"),
        ("updatePattern", {"kind": "value", "index": 1, "changes": {}}, "invalid value"),
        ("updatePattern", {"kind": "alarm", "index": 0, "changes": {}}, "invalid value"),
        ("updatePattern", {"kind": "value", "index": 0, "changes": 5}, "invalid value"),
        ("updatePattern", {"kind": "value", "index": 0, "changes": {"qos": 2}}, "publish.value["),
        ("deletePattern", {"kind": "value", "index": -1}, "index: -1 "),
        ("deletePattern", {"kind": "value", "index": 1}, "invalid value"),
        ("deletePattern", {"kind": "status", "index": 0}, "invalid value"),
    ):
        text = await board.refused("mqtt." + method, **args)
        assert text.startswith(expected), (method, args, text)
        assert SECRET not in text
    assert "revision" not in saved()
    await board.halt()
