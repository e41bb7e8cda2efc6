"""API module gateways: gateways and addresses, their values, and changes that last."""

from gateways_kit import DEVICES, SECRET, SMALL, Board, Vault, exists, saved

from fieldpost import texts
from fieldpost.compat import asyncio, sleep_ms, ticks_diff, ticks_ms
from fieldpost.errors import DriverError

HEAP = "768k"
GATEWAY = "active cluster description driver id internal json name private_json state"
ADDRESS = (
    "alias description gateway_id id json log name status status_date value value_date"
    " value_string"
)
VALUE = "id status status_date value value_date value_string"
NOW = 1790000000000


def keys(item):
    return " ".join(sorted(item))


async def names(board, method, **args):
    """The names of what a list holds."""
    return [item["name"] for item in await board.call("gateways." + method, **args)]


# -- gateways


async def test_gateways_in_the_order_of_the_configuration():
    board = await Board().boot()
    found = await board.call("gateways.getGateways")
    assert [item["id"] for item in found] == [item["name"] for item in found]
    assert [item["id"] for item in found] == ["ahu-1", "off", "safe"]
    assert all(keys(item) == GATEWAY for item in found)
    one = await board.call("gateways.getGateway", gateway="ahu-1")
    assert one == found[0]
    assert one["description"] == "Roof"
    assert (one["driver"], one["state"], one["active"]) == ("virtual", "ok", True)
    assert (one["internal"], one["cluster"], one["private_json"]) == (False, None, {})
    assert one["json"] == {"interval": 40, "timeout_ms": 2000, "tags": {"floor": "5"}}
    off, safe = found[1:]
    assert (off["state"], off["active"], off["description"]) == ("stopped", False, None)
    assert safe["private_json"] == {"has_password": True}
    assert safe["json"] == {"interval": 1000, "timeout_ms": 2000, "room": "hall"}
    await board.halt()


async def test_filters_of_gateways():
    board = await Board().boot()
    for wanted, expected in (
        ({}, ["ahu-1", "off", "safe"]),
        (None, ["ahu-1", "off", "safe"]),
        ({"driver": "vault"}, ["safe"]),
        ({"driver": ["vault", "virtual"]}, ["ahu-1", "off", "safe"]),
        ({"driver": []}, []),
        ({"driver": "virtual", "active": True}, ["ahu-1"]),
        ({"active": 1}, []),
        ({"json.interval": 1000}, ["off", "safe"]),
        ({"json.tags.floor": ["4", "5"]}, ["ahu-1"]),
        ({"json.tags.floor": None}, ["off", "safe"]),
        ({"json.interval.deeper": 1}, []),
        ({"state": "stopped"}, ["off"]),
        ({"description": None}, ["off", "safe"]),
    ):
        assert await names(board, "getGateways", filter=wanted) == expected, wanted
    for wrong in ([], "ahu-1", 5, {"colour": 1}, {"": 1}):
        assert await board.refused("gateways.getGateways", filter=wrong) == "invalid value"
    for wrong in ("nobody", 1, {}, ["ahu-1"], ""):
        assert await board.refused("gateways.getGateway", gateway=wrong) == "invalid value"
    missing = await board.refused("gateways.getGateway")
    assert missing == "missing parameter: gateway"
    await board.halt()


# -- addresses


async def test_addresses_in_the_order_of_the_configuration():
    board = await Board().boot()
    board.node.clock.set_unix_ms(NOW, "test")
    found = await board.call("gateways.getAddresses")
    assert [item["id"] for item in found] == [1, 2, 3, 4, 5, 6]
    assert all(keys(item) == ADDRESS for item in found)
    dat = found[0]
    assert (dat["name"], dat["gateway_id"], dat["alias"]) == ("dat", "ahu-1", None)
    assert (dat["description"], dat["log"]) == ("Supply air", "always")
    assert (dat["value"], dat["value_string"], dat["status"]) == (21.5, None, "ok")
    assert NOW - 5000 < dat["value_date"] == dat["status_date"] <= NOW + 5000
    assert dat["json"]["unit"] == "°C"
    assert dat["json"]["kind"] == "constant" and dat["json"]["value"] == 21.5
    assert "tags" not in dat["json"] and "seed" in dat["json"]
    fan, off, door = found[1], found[3], found[4]
    assert (fan["log"], fan["json"]["tags"]) == ("on_update", {"room": "hall"})
    assert (off["value"], off["status"]) == (None, "init")
    assert off["value_date"] is off["status_date"] is None
    assert door["value_string"] == "shelf"
    expected = {"unit": "", "has_pin": True, "shelf": 7, "writable": True}
    assert door["json"] == expected
    assert found[5]["json"] == {"unit": "", "has_pin": False, "shelf": 0, "writable": False}
    await board.halt()


async def test_filters_of_addresses():
    board = await Board().boot()

    async def ids(method="getAddresses", **args):
        return [item["id"] for item in await board.call("gateways." + method, **args)]

    for wanted, expected in (
        ({"gateway.driver": ["modbus"]}, []),
        ({"gateway.driver": ["virtual"]}, [1, 2, 3, 4]),
        ({"gateway.driver": "vault"}, [5, 6]),
        ({"gateway.json.tags.floor": "5", "name": ["set", "dat"]}, [1, 3]),
        ({"name": "dat"}, [1, 4]),
        ({"name": "dat", "status": "ok"}, [1]),
        ({"id": [2, 6]}, [2, 6]),
        ({"json.writable": True}, [3, 5]),
        ({"value": True}, [2]),
        ({"json.tags.room": "hall"}, [2]),
        ({"gateway_id": "off"}, [4]),
    ):
        assert await ids(filter=wanted) == expected, wanted
    assert await ids("getAddressesByGateway", gateway="ahu-1") == [1, 2, 3]
    assert await ids("getAddressesByGateway", gateway="safe", filter={"name": "low"}) == [6]
    assert await ids("getAddressesByGateway", gateway="safe", filter={"gateway.id": "off"}) == []
    for wrong in (7, {"colour": 1}, {"gateway.colour": 1}):
        assert await board.refused("gateways.getAddresses", filter=wrong) == "invalid value"
    wrong = await board.refused("gateways.getAddressesByGateway", gateway="nobody")
    assert wrong == "invalid value"
    await board.halt()


async def test_every_form_of_an_address():
    board = await Board().boot()
    forms = (2, "fan", "ahu-1\u00acfan", "ahu-1/fan", {"gateway": "ahu-1", "name": "fan"})
    for method in ("getAddress", "getLastValue", "readValue"):
        method = "gateways." + method
        for form in forms:
            assert (await board.call(method, address=form))["id"] == 2
        found = await board.call(method, address=[6, 5, 1, 2, 2, "off/dat"])
        assert [item["id"] for item in found] == [6, 5, 1, 2, 2, 4]
        assert await board.call(method, address=[]) == []
        for wrong in (
            0,
            7,
            "dat",
            "x",
            "ahu-1/x",
            "x/dat",
            True,
            {},
            {"name": "fan"},
            [1, 99],
            "",
        ):
            assert await board.refused(method, address=wrong) == "invalid address", wrong
        assert await board.refused(method) == "missing parameter: address"
    one = await board.call("gateways.getAddress", address=1)
    assert keys(one) == ADDRESS
    listed = await board.call("gateways.getAddress", address=[3, 1])
    assert listed[1]["description"] == one["description"] == "Supply air"
    assert keys(await board.call("gateways.getLastValue", address=1)) == VALUE
    await board.halt()


async def test_many_addresses_have_their_own_texts():
    points = [{"name": "p%d" % i, "description": "Text %d" % i} for i in range(60)]
    devices = [
        {"id": "a", "driver": "virtual", "points": points},
        {"id": "b", "driver": "virtual", "description": "B", "points": points[:9]},
    ]
    board = await Board(devices=devices).boot()
    found = await board.call("gateways.getAddresses")
    assert [item["description"] for item in found[:60]] == ["Text %d" % i for i in range(60)]
    wanted = [69, 1, 30, 29, 60, 61]
    found = await board.call("gateways.getAddress", address=wanted)
    assert [item["id"] for item in found] == wanted
    assert [item["description"][5:] for item in found] == ["8", "0", "29", "28", "59", "0"]
    assert (await board.call("gateways.getGateway", gateway="b"))["description"] == "B"
    await board.halt()


async def test_a_list_ends_with_an_error_when_the_configuration_changes():
    board = await Board().boot()
    rows = texts.rows(board.node)
    assert next(rows)[0] == "ahu-1"
    assert await board.call("gateways.stopGateway", gateway="ahu-1")
    try:
        for _row in rows:
            continue
    except Exception as error:
        assert str(error) == "configuration changed"
    else:
        raise AssertionError("rows of two configurations")
    await board.halt()


async def test_without_its_texts_a_node_tells_the_rest():
    board = await Board().boot()
    board.node.plan_path = None
    found = await board.call("gateways.getAddresses")
    assert sorted(item["id"] for item in found) == [1, 2, 3, 4, 5, 6]
    assert {item["description"] for item in found} == {None}
    assert len(await board.call("gateways.getGateways")) == 3
    assert (await board.call("gateways.getAddress", address=[3, 1]))[0]["name"] == "set"
    await board.halt()


# -- values


async def test_dates_are_null_while_the_clock_is_not_trusted():
    board = Board(clock={"trust_system": False})
    await board.boot()
    one = await board.call("gateways.getLastValue", address=1)
    assert (one["value"], one["value_date"], one["status_date"]) == (21.5, None, None)
    await board.halt()


async def test_a_failing_point_keeps_the_date_of_its_value():
    board = await Board().boot()
    board.node.clock.set_unix_ms(NOW, "test")
    before = await board.call("gateways.readValue", address=5)
    assert before["value_date"] == before["status_date"]
    await sleep_ms(20)

    async def gone():
        raise DriverError("gone")

    Vault.act = gone
    point = board.node.points[5]
    point.fail("gone")
    after = await board.call("gateways.getLastValue", address=5)
    assert (after["status"], after["value"]) == ("gone", 7)
    assert abs(after["value_date"] - before["value_date"]) <= 1
    assert after["status_date"] >= before["status_date"] + 15
    await board.halt()


async def test_read_value_asks_the_driver_now():
    board = await Board().boot()
    polled = Vault.reads
    assert polled == 1
    assert (await board.call("gateways.getLastValue", address="door"))["value"] == 7
    assert Vault.reads == polled
    assert (await board.call("gateways.readValue", address="door"))["value"] == 7
    assert Vault.reads == polled + 1
    # The points of one device together.
    await board.call("gateways.readValue", address=["door", "low", "ahu-1/dat"])
    assert Vault.reads == polled + 2
    await board.halt()


async def test_read_value_of_what_cannot_be_read():
    board = await Board().boot()

    async def gone():
        raise DriverError("gone")

    Vault.act = gone
    assert await board.refused("gateways.readValue", address="door") == "gone"
    assert await board.refused("gateways.readValue", address="off/dat") == "stopped"
    found = await board.call("gateways.readValue", address=["door", "ahu-1/dat", "off/dat"])
    assert [item["status"] for item in found] == ["gone", "ok", "stopped"]
    assert found[0]["value"] == 7
    # That is for the schedule to say.
    assert board.node.devices["safe"].status == "ok"
    await board.halt()


async def test_read_and_write_keep_to_the_deadline_and_hold_up_nobody():
    devices = [DEVICES[0], dict(DEVICES[2], timeout_ms=80)]
    board = await Board(devices=devices).boot()

    async def hang():
        await asyncio.Event().wait()

    Vault.act = hang
    polled = board.node.devices["ahu-1"].reads
    for method, args in (("readValue", {}), ("writeValue", {"value": True})):
        begun = ticks_ms()
        assert await board.refused("gateways." + method, address="door", **args) == "timeout"
        assert 60 <= ticks_diff(ticks_ms(), begun) < 1500
    assert board.node.devices["ahu-1"].reads > polled
    await board.halt()


async def test_write_value():
    board = await Board().boot()
    for value in (10, 30, 20.5, -0.0 + 15):
        assert await board.call("gateways.writeValue", address="set", value=value) is True
        assert (await board.call("gateways.readValue", address="set"))["value"] == value
    assert await board.call("gateways.writeValue", address="door", value=False) is True
    for address, value in (
        ("set", 9.99),
        ("set", 31),
        ("set", -5),
        ("set", "20"),
        ("set", True),
        ("set", [20]),
        ("set", {"value": 20}),
        ("set", float("nan")),
        ("set", float("inf")),
        ("set", 1 << 70),
        # What only the driver can judge.
        ("door", 1),
        ("door", "open"),
        ("door", "x" * 2000),
        ("door", 1 << 64),
        ("door", -(1 << 64)),
    ):
        wrong = await board.refused("gateways.writeValue", address=address, value=value)
        assert wrong == "invalid value", value
    for address in ("ahu-1/dat", "fan", "low", "off/dat"):
        denied = await board.refused("gateways.writeValue", address=address, value=True)
        assert denied == "read only"
    for address in (99, "x", ["set"], None):
        wrong = await board.refused("gateways.writeValue", address=address, value=15)
        expected = "invalid address" if address else "missing parameter: address"
        assert wrong == expected
    missing = await board.refused("gateways.writeValue", address="set")
    assert missing == "missing parameter: value"
    assert (await board.call("gateways.readValue", address="set"))["value"] == 15
    await board.halt()


async def test_what_no_record_can_hold_is_not_written():
    points = [{"name": "free", "writable": True}]
    board = await Board(devices=[{"id": "v", "driver": "virtual", "points": points}]).boot()
    for value in (-(1 << 63), (1 << 64) - 1, "x" * 1024, True, 1.5):
        assert await board.call("gateways.writeValue", address="free", value=value) is True
    for value in (-(1 << 63) - 1, 1 << 64, "x" * 1025, [], {}, float("nan")):
        wrong = await board.refused("gateways.writeValue", address="free", value=value)
        assert wrong == "invalid value"
    await board.halt()


async def test_nothing_is_written_to_a_stopped_gateway():
    board = await Board().boot()
    await board.call("gateways.stopGateway", gateway="safe")
    wrong = await board.refused("gateways.writeValue", address="door", value=True)
    assert wrong == "stopped"
    await board.halt()


# -- changes


async def test_insert_gateway_and_address():
    board = await Board().boot()
    given = {"name": "new", "driver": "vault", "active": True, "description": "Cellar"}
    given.update(json={"interval": 40, "room": "b"}, private_json={"password": "letmein"})
    assert await board.call("gateways.insertGateway", gateway=given) == "new"
    address = {"gateway_id": "new", "name": "box", "log": "60000", "description": "Box"}
    address.update(json={"shelf": 9, "unit": "m", "tags": {"a": "b"}})
    assert await board.call("gateways.insertAddress", address=address) == 7
    for _ in range(2):
        await sleep_ms(60)
        one = await board.call("gateways.getGateway", gateway="new")
        assert (one["description"], one["state"]) == ("Cellar", "ok")
        assert one["private_json"] == {"has_password": True}
        assert one["json"] == {"interval": 40, "timeout_ms": 2000, "room": "b"}
        box = await board.call("gateways.getAddress", address="new/box")
        assert (box["id"], box["value"], box["log"]) == (7, 9, "60000")
        assert box["json"]["unit"] == "m" and box["json"]["tags"] == {"a": "b"}
        assert box["description"] == "Box"
        board = await board.again()
    assert board.node.devices["new"].driver.config["password"] == "letmein"
    await board.halt()


async def test_what_is_shown_can_be_given():
    board = await Board().boot()
    for gateway in ("ahu-1", "safe"):
        shown = await board.call("gateways.getGateway", gateway=gateway)
        await board.call("gateways.updateGateway", gateway=gateway, changes=shown)
        again = await board.call("gateways.getGateway", gateway=gateway)
        assert dict(again, state=0) == dict(shown, state=0)
    assert saved()["devices"][2]["has_password"] is True
    assert board.node.devices["safe"].driver.config["password"] == SECRET
    shown = await board.call("gateways.getAddress", address="set")
    await board.call("gateways.updateAddress", address="set", changes=shown)
    await sleep_ms(60)
    again = await board.call("gateways.getAddress", address="set")
    for key in ("value_date", "status_date"):
        del again[key], shown[key]
    assert again == shown
    await board.call("gateways.deleteAddress", address="set")
    assert await board.call("gateways.insertAddress", address=shown) == 3
    await board.halt()


async def test_update_gateway():
    board = await Board().boot()
    kept = board.node.devices["ahu-1"]
    changes = {"description": "Cellar", "json": {"tags": None}}
    assert await board.call("gateways.updateGateway", gateway="ahu-1", changes=changes) == "ahu-1"
    assert board.node.devices["ahu-1"] is kept, "words alone restart nothing"
    one = await board.call("gateways.getGateway", gateway="ahu-1")
    assert one["description"] == "Cellar" and "tags" not in one["json"]
    changes = {"json": {"interval": None, "timeout_ms": 500}}
    await board.call("gateways.updateGateway", gateway="ahu-1", changes=changes)
    assert (board.node.devices["ahu-1"].interval, kept.interval) == (1000, 40)
    assert saved()["devices"][0]["timeout_ms"] == 500
    assert "interval" not in saved()["devices"][0]
    assert [point["id"] for point in saved()["devices"][0]["points"]] == [1, 2, 3]
    await board.halt()


async def test_update_address():
    board = await Board().boot()
    kept = board.node.devices["ahu-1"]
    await board.call("gateways.updateAddress", address=1, changes={"description": None})
    assert board.node.devices["ahu-1"] is kept
    changes = {"name": "temp", "log": "on_cov 1", "json": {"value": 5, "unit": None}}
    assert await board.call("gateways.updateAddress", address="ahu-1/dat", changes=changes) == 1
    board = await board.again()
    one = await board.call("gateways.getAddress", address="temp")
    assert (one["id"], one["value"], one["log"], one["description"]) == (1, 5, "on_cov 1", None)
    assert one["json"]["unit"] == ""
    await board.halt()


async def test_delete():
    board = await Board().boot()
    assert await board.call("gateways.deleteAddress", address="low") is True
    assert await board.call("gateways.deleteGateway", gateway="off") is True
    for _ in range(2):
        assert sorted(board.node.points) == [1, 2, 3, 5]
        assert await names(board, "getGateways") == ["ahu-1", "safe"]
        board = await board.again()
    # 6 was the highest; it is not given again.
    given = {"gateway_id": "safe", "name": "low"}
    assert await board.call("gateways.insertAddress", address=given) == 7
    await board.halt()


async def test_start_and_stop_last():
    board = await Board().boot()
    assert await board.call("gateways.stopGateway", gateway="safe") is True
    assert await board.call("gateways.startGateway", gateway="off") is True
    revision = saved()["revision"]
    assert await board.call("gateways.startGateway", gateway="off") is True
    assert saved()["revision"] == revision, "nothing to change"
    for _ in range(2):
        await sleep_ms(60)
        found = await board.call("gateways.getGateways")
        told = [(item["active"], item["state"]) for item in found]
        assert told == [(True, "ok"), (True, "ok"), (False, "stopped")]
        assert (await board.call("gateways.getLastValue", address="door"))["value"] is None
        board = await board.again()
    for method in ("startGateway", "stopGateway"):
        assert await board.refused("gateways." + method, gateway="nobody") == "invalid value"
    await board.halt()


async def test_refused_changes():
    board = await Board(subscriptions=[dict(SMALL, addresses=["fan", "all"])]).boot()
    for method, args, expected in (
        ("insertGateway", {"gateway": "new"}, "invalid value"),
        ("insertGateway", {"gateway": {"driver": "vault"}}, "invalid value"),
        ("insertGateway", {"gateway": {"id": 5, "driver": "vault"}}, "invalid value"),
        ("insertGateway", {"gateway": {"id": "a", "name": "b"}}, "invalid value"),
        ("insertGateway", {"gateway": {"id": "a", "json": 5}}, "invalid value"),
        ("insertGateway", {"gateway": {"id": "a", "points": []}}, "invalid value"),
        ("insertGateway", {"gateway": {"id": "a"}}, "devices[3].driver: "),
        ("insertGateway", {"gateway": {"id": "a", "driver": "no"}}, "devices[3].driver: 'no' "),
        ("insertGateway", {"gateway": {"id": "a/b", "driver": "vault"}}, "devices[3].id: "),
        ("insertGateway", {"gateway": {"id": "off", "driver": "vault"}}, "devices[3].id: 'off' "),
        ("insertGateway", {"gateway": {"id": "a", "driver": "vault", "x": 1}}, "devices[3].x: "),
        ("updateGateway", {"gateway": "nobody", "changes": {}}, "invalid value"),
        ("updateGateway", {"gateway": "off", "changes": 5}, "invalid value"),
        ("updateGateway", {"gateway": "off", "changes": {"id": "on"}}, "invalid value"),
        ("updateGateway", {"gateway": "off", "changes": {"name": "on"}}, "invalid value"),
        ("updateGateway", {"gateway": "off", "changes": {"points": []}}, "invalid value"),
        ("updateGateway", {"gateway": "off", "changes": {"driver": None}}, "devices[1].driver"),
        ("updateGateway", {"gateway": "off"}, "missing parameter: changes"),
        ("deleteGateway", {"gateway": 5}, "invalid value"),
        ("deleteGateway", {"gateway": "ahu-1"}, "subscriptions[0].addresses"),
        ("insertAddress", {"address": 5}, "invalid value"),
        ("insertAddress", {"address": {"name": "n"}}, "invalid value"),
        ("insertAddress", {"address": {"gateway": "x", "name": "n"}}, "invalid value"),
        ("insertAddress", {"address": {"gateway": "off"}}, "devices[1].points[1].name: "),
        ("insertAddress", {"address": {"gateway": "off", "name": "dat"}}, "devices[1].points[1]"),
        ("insertAddress", {"address": {"gateway": "off", "name": "n", "id": 1}}, "devices[1].po"),
        ("insertAddress", {"address": {"gateway": "off", "name": "n", "id": "1"}}, "invalid val"),
        ("insertAddress", {"address": {"gateway": "off", "name": "n", "id": -1}}, "devices[1]."),
        ("updateAddress", {"address": 99, "changes": {}}, "invalid address"),
        ("updateAddress", {"address": 1, "changes": {"id": 9}}, "invalid value"),
        ("updateAddress", {"address": 1, "changes": {"gateway_id": "off"}}, "invalid value"),
        ("updateAddress", {"address": 1, "changes": {"name": None}}, "devices[0].points[0].name"),
        ("updateAddress", {"address": 1, "changes": {"log": "at noon"}}, "devices[0].points[0]."),
        ("updateAddress", {"address": "fan", "changes": {"name": "f"}}, "subscriptions[0].add"),
        ("deleteAddress", {"address": "nobody"}, "invalid address"),
        ("deleteAddress", {"address": [1]}, "invalid address"),
        ("deleteAddress", {"address": "fan"}, "subscriptions[0].addresses"),
    ):
        text = await board.refused("gateways." + method, **args)
        assert text.startswith(expected), (method, args, text)
    assert "revision" not in saved()
    assert not exists("gateways-test/config.json.next")
    await board.halt()
