"""uplink and sntp: the time is there soon after the network, however late that comes."""

from core_kit import UNIX_MS
from fake_network import AccessPoint, Network, until
from patch_kit import Patch

from fieldpost import sntp, supervisor
from fieldpost.bus import Bus
from fieldpost.clock import Clock
from fieldpost.compat import asyncio
from fieldpost.errors import LinkError
from fieldpost.supervisor import Supervisor
from fieldpost_board import uplink

NEEDS = "socket"


class Node:
    """What keeps time and network."""

    name = "gw-1"

    def __init__(self, servers):
        wifi = [{"ssid": "office", "password": None}]
        network = {"hostname": None, "country": None, "wifi": wifi, "ethernet": None}
        clock = {"ntp": servers, "ntp_interval": 43200000}
        self.settings = {"network": network, "clock": clock}
        self.links = []
        self.bus = Bus()
        self.clock = Clock()
        self.supervisor = Supervisor(self.bus)


async def run(servers):
    """A node whose network comes after an hour; who was asked for the time, and when, and it."""
    with Network(air={"office": AccessPoint(on=False)}) as network:
        asked = []

        async def query(host):
            asked.append((host, network.time.now))
            if host == "a" or not network.wlan.isconnected():
                raise LinkError("timeout")
            return UNIX_MS

        node = Node(servers)
        with Patch(sntp, query=query), network.time.of(sntp), network.time.of(supervisor):
            if servers:
                node.supervisor.start(
                    "ntp", lambda task: sntp.keep(node.clock, servers, 43200000, task)
                )
            node.supervisor.start("uplink", lambda task: uplink.keep(node, task))
            await until(lambda: network.time.now > 3600000)
            assert not node.clock.trusted
            network.air["office"].on = True
            await until(network.wlan.isconnected)
            joined = network.time.now
            await until(lambda: network.time.now > joined + 2000)
            stop = asyncio.create_task(node.supervisor.stop_all())
            await until(stop.done)
        return node, [(host, at - joined) for host, at in asked]


async def test_a_network_that_comes_late():
    node, asked = await run(["a", "b"])
    assert node.clock.trusted
    assert node.clock.source == "ntp"
    assert [host for host, _ in asked[-2:]] == ["a", "b"]
    assert asked[-2][1] >= 0, "at once, not when it would have been asked again"
    assert asked[-3][1] < 0


async def test_a_node_that_asks_nobody():
    node, asked = await run([])
    assert not node.clock.trusted
    assert asked == []
