"""API module webhooks: changes that last, what is shown of an endpoint, deliveries, replay."""

import json

from http_peer import OK, Peer, reply
from mqtt_peer import until
from test_node import config, run_for
from webhook_kit import clean

from fieldpost.compat import asyncio, sleep_ms
from fieldpost.errors import ApiError, ConfigError
from fieldpost.node import Node
from fieldpost.smallfile import make_folder

NEEDS = "socket"
HEAP = "1m"
FOLDER = "api-webhooks"
FILE = FOLDER + "/config.json"


def write(made):
    clean(FOLDER)
    make_folder(FOLDER)
    with open(FILE, "w") as file:
        json.dump(made, file)


def read():
    with open(FILE) as file:
        return json.load(file)


class Api:
    """A node that runs, and calls of its module ``webhooks``."""

    def __init__(self, **keys):
        write(config(**keys))
        self.node = Node(FILE, FOLDER + "/data")

    async def __aenter__(self):
        self.task = asyncio.create_task(run_for(self.node, 60000))
        await sleep_ms(20)
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass
        clean(FOLDER)

    async def call(self, method, **args):
        return await self.node.dispatcher().call("python", "webhooks", method, args)

    async def refusal(self, method, **args):
        try:
            await self.call(method, **args)
        except (ApiError, ConfigError) as error:
            return str(error)
        raise AssertionError("accepted")


async def test_endpoints_come_change_and_go():
    async with Peer(OK) as peer, Api() as api:
        assert await api.call("list") == []
        assert (await api.call("config"))["dead"] == []
        row = {"name": "ops", "url": peer.url, "secret": "s3cret", "headers": {"X-Key": "k3y"}}
        assert await api.call("insert", endpoint=row) == "ops"
        shown = await api.call("get", endpoint="ops")
        assert (shown["state"], shown["has_secret"], shown["has_headers"]) == (
            "active",
            True,
            ["X-Key"],
        )
        assert "s3cret" not in json.dumps(shown) and "k3y" not in json.dumps(shown)
        whole = await api.node.dispatcher().call("python", "system", "getConfig", {})
        assert "s3cret" not in json.dumps(whole) and "k3y" not in json.dumps(whole)
        api.node.bus.emit("device_down", "v", "virtual")
        await until(lambda: api.node.webhooks.counters["delivered"] == 1)
        changes = {"device_down": False, "state": "gone", "has_secret": False}
        assert await api.call("update", endpoint="ops", changes=changes) == "ops"
        assert read()["webhooks"]["endpoints"][0]["secret"] == "s3cret"
        api.node.bus.emit("device_down", "v", "virtual")
        assert api.node.webhooks.counters["events"] == 1
        assert await api.call("delete", endpoint="ops") is True
        assert await api.call("list") == [] and read()["webhooks"]["endpoints"] == []


async def test_what_is_refused():
    async with Api() as api:
        for method in ("get", "delete", "test"):
            assert await api.refusal(method, endpoint="nobody") == "invalid value", method
        assert await api.refusal("insert", endpoint=5) == "invalid value"
        assert "url" in await api.refusal("insert", endpoint={"name": "a", "url": "x"})
        assert await api.refusal("config", changes={"endpoints": []}) == "invalid value"
        assert "webhooks" not in read() and api.node.webhooks is None


async def test_deliveries_test_pause_and_replay():
    gone = reply(b"Content-Length: 0", status="400 x")
    async with Peer(OK, gone, OK) as peer:
        made = {"endpoints": [{"name": "a", "url": peer.url}]}
        async with Api(webhooks=made) as api:
            tested = await api.call("test", endpoint="a")
            assert (tested["status"], tested["http_status"]) == ("success", 200)
            api.node.bus.emit("device_down", "v", "virtual")
            await until(lambda: api.node.webhooks.counters["failed"] == 1)
            (failed,) = await api.call("deliveries", status="failed")
            assert (failed["key"], failed["attempt"], failed["error"]) == ("v", 1, "status 400")
            assert len(await api.call("deliveries", endpoint="a")) == 2
            dead = (await api.call("config"))["dead"]
            assert [one["id"] for one in dead] == [failed["id"]]
            shown = await api.call("config", changes={"pause": True})
            assert shown["pause"] is True
            assert await api.call("replay") == 0, "a pause drops"
            assert (await api.call("config", changes={"pause": None}))["pause"] is False
            assert await api.call("replay", delivery=failed["id"]) == 1
            await until(lambda: api.node.webhooks.counters["delivered"] == 1)
            assert len(peer.requests) == 3
            assert api.node.state()["counters"]["webhook_delivered"] == 1
