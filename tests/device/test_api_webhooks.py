"""API module webhooks: changes that last, what is shown of an endpoint, deliveries, replay."""

import json

from http_peer import OK, Peer, reply
from mqtt_peer import until
from test_node import config
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
        self.task = asyncio.create_task(self.node.run())
        await sleep_ms(20)
        return self

    async def __aexit__(self, *_):
        await self._stop()
        clean(FOLDER)

    async def restart(self):
        """Stop the node and boot it again."""
        await self._stop()
        self.node = Node(FILE, FOLDER + "/data")
        await self.__aenter__()

    async def _stop(self):
        self.task.cancel()
        try:
            await self.task
        except asyncio.CancelledError:
            pass

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
        assert api.node.webhooks.endpoints["ops"].row["secret"] == "s3cret"
        api.node.bus.emit("device_down", "v", "virtual")
        assert api.node.webhooks.counters["events"] == 1
        assert await api.call("delete", endpoint="ops") is True
        assert await api.call("list") == [] and read()["webhooks"]["endpoints"] == []


async def test_urls_that_are_credentials_are_shown_by_their_host():
    async with Peer(OK, reply(b"Content-Length: 0", status="400 x")) as peer, Api() as api:
        row = {"name": "chat", "url": peer.url + "T0/k3y", "provider": "slack"}
        rules = [{"event": "device_down", "urls": [peer.url + "in/{secret}"]}]
        await api.call("insert", endpoint=row)
        await api.call("insert", endpoint=dict(row, name="rule", secret="s3cret", rules=rules))
        shown = await api.call("get", endpoint="chat")
        assert shown["url"] == peer.url + "***"
        # What is shown may be sent back, with what is to change.
        changes = dict(await api.call("get", endpoint="rule"), min_severity="warning")
        assert changes["rules"][0]["urls"] == [peer.url + "***"]
        await api.call("update", endpoint="rule", changes=changes)
        assert (await api.call("get", endpoint="rule"))["min_severity"] == "warning"
        found = api.node.webhooks.endpoints["rule"].row["rules"][0]["urls"]
        assert found == [peer.url + "in/{secret}"]
        # But it is no new URL, and nothing that is refused is shown either.
        refusal = await api.refusal("insert", endpoint=dict(shown, name="other"))
        assert refusal.startswith("webhooks.endpoints[2].url: ")
        bad = dict(row, name="other", url="https://h/k3y y")
        assert "k3y" not in await api.refusal("insert", endpoint=bad)
        bad = dict(row, name="other", url="https://h/k3y/{secret}")
        refusal = await api.refusal("insert", endpoint=bad)
        assert "a secret beside it" in refusal and "k3y" not in refusal
        api.node.bus.emit("device_down", "v", "virtual")
        await until(lambda: api.node.webhooks.counters["failed"] == 1)
        told = [api.node.errors]
        for method in ("list", "deliveries", "config"):
            told.append(await api.call(method))
        assert "k3y" not in json.dumps(told) and "s3cret" not in json.dumps(told)
        paths = {head.split(b" ")[1] for head, _ in peer.requests}
        assert paths == {b"/T0/k3y", b"/in/s3cret"}


async def test_dead_letters_are_shown_and_replayed_after_a_restart():
    refused = reply(b"Content-Length: 0", status="400 x")
    async with Peer(refused, OK) as peer:
        options = {"routing_key": "R" * 32}
        row = {"name": "a", "url": peer.url, "provider": "pagerduty", "options": options}
        async with Api(webhooks={"endpoints": [row]}) as api:
            api.node.bus.emit("device_down", "v", "virtual")
            await until(lambda: api.node.webhooks.counters["failed"] == 1)
            await api.restart()
            (row,) = await api.call("deliveries")
            assert (row["status"], row["batch"], row["attempt"]) == ("failed", 1, 1)
            assert row["preview"].startswith("{") and "RRRR" not in row["preview"]
            (letter,) = (await api.call("config"))["dead"]
            assert (letter["id"], letter["error"]) == (row["id"], "status 400")
            assert await api.call("replay", endpoint="a") == 1
            await until(lambda: api.node.webhooks.counters["delivered"] == 1)
        assert b"R" * 32 in peer.requests[0][1]
        assert peer.requests[0][1] == peer.requests[1][1]


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
