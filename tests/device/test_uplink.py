"""uplink: a network kept, lost loudly, lost silently, missing for long; Ethernet before Wi-Fi."""

from fake_network import ESP32, RP2, AccessPoint, Lan, Network, Task, until
from patch_kit import Patch

from fieldpost.bus import Bus
from fieldpost.compat import asyncio, ticks_diff
from fieldpost.events import ERROR
from fieldpost_board import ethernet, uplink

WIFI = {
    "hostname": None,
    "country": None,
    "wifi": [{"ssid": "office", "password": "12345678"}],
    "ethernet": None,
}
WIRED = {"phy": "lan8720"}


class Link:
    connected = False


class Node:
    """What an uplink sees of a node."""

    name = "gw-1"

    def __init__(self, links=1, **network):
        settings = dict(WIFI)
        settings.update(network)
        self.settings = {"network": settings, "clock": {"ntp": []}}
        self.links = [Link() for _ in range(links)]
        self.errors = []
        self.bus = Bus()
        self.bus.subscribe(ERROR, lambda _kind, key, text: self.errors.append((key, text)))


class Running:
    """A node's uplink, running on a fake network."""

    def __init__(self, node, network):
        self.node = node
        self.network = network
        self.task = Task()
        self.began = network.time.now

    async def __aenter__(self):
        self.running = asyncio.create_task(uplink.keep(self.node, self.task))
        return self

    async def __aexit__(self, *_):
        self.running.cancel()
        try:
            await self.running
        except asyncio.CancelledError:
            return

    async def wait(self, condition):
        """Until a condition holds; the ms that this took."""
        began = self.network.time.now
        await until(condition)
        return ticks_diff(self.network.time.now, began)

    async def run(self, ms):
        """For so long."""
        end = self.network.time.now + ms
        await until(lambda: self.network.time.now >= end)


def office(**keys):
    return AccessPoint("12345678", **keys)


async def test_names_are_set_before_the_interface_is_active():
    for keys, hostname, country in (
        ({"hostname": "pump-house", "country": "DE"}, ["pump-house"], ["DE"]),
        ({}, ["gw-1"], []),
    ):
        with Network(ESP32, {"office": office()}) as network:
            async with Running(Node(**keys), network) as run:
                await run.wait(network.wlan.isconnected)
            assert network.of("hostname") == hostname
            assert network.of("country") == country
            kinds = [entry[0] for entry in network.log]
            assert kinds.index("active") > kinds.index("hostname")


async def test_a_configuration_without_interfaces_ends_the_task():
    with Network():
        await uplink.keep(Node(wifi=[]), Task())


async def test_a_network_that_comes_is_joined_within_the_longest_pause():
    with Network(ESP32, {"office": office(on=False)}) as network:
        node = Node()
        async with Running(node, network) as run:
            await run.run(30 * 60000)
            assert node.errors == [("wifi", "office: not found")]
            pauses = network.time.pauses
            assert max(pauses) <= uplink.BACKOFF_MAX_MS
            assert len(set(pauses[-8:])) > 1, "jitter"
            assert min(pauses[-8:]) >= uplink.BACKOFF_MAX_MS // 2
            assert pauses[0] < pauses[4]
            # Tries of 7.5 s and pauses of 30 to 60 s.
            assert 25 <= len(network.of("connect")) <= 60
            assert run.task.beats >= 25
            network.air["office"].on = True
            assert await run.wait(network.wlan.isconnected) < uplink.BACKOFF_MAX_MS + 10000


async def test_a_connection_that_is_lost_is_joined_again_at_once():
    with Network(RP2, {"office": office()}) as network:
        node = Node()
        node.links[0].connected = True
        async with Running(node, network) as run:
            await run.run(120000)
            network.air["office"].on = False
            await run.wait(lambda: node.errors)
            network.air["office"].on = True
            assert await run.wait(network.wlan.isconnected) < 5000
            assert node.errors == [("wifi", "connection lost")]
            assert network.of("connect") == ["office"] * 2


async def test_a_connection_that_never_lasts_is_not_joined_in_a_circle():
    with Network(ESP32, {"office": office()}) as network:
        node = Node()
        async with Running(node, network) as run:
            up = network.wlan.isconnected
            asked = []
            # Connected when it is asked for the first time after joining, and never then.
            network.wlan.isconnected = lambda: up() and len(asked) % 2 == 0
            tries = network.wlan.connect

            def connect(ssid, password):
                asked.clear()
                tries(ssid, password)

            network.wlan.connect = connect
            real = network.wlan.ifconfig
            network.wlan.ifconfig = lambda: (asked.append(1), real())[1]
            await run.run(30 * 60000)
            assert 25 <= len(network.of("connect")) <= 60
            assert len(node.errors) >= 25


async def test_a_connection_that_leads_nowhere_is_joined_anew():
    with Network(ESP32, {"office": office()}) as network:
        node = Node()
        async with Running(node, network) as run:
            await run.wait(network.wlan.isconnected)
            node.links[0].connected = True
            await run.run(900000)
            assert node.errors == []
            node.links[0].connected = False
            took = await run.wait(lambda: node.errors)
            assert uplink.SILENT_MIN_MS - 1000 <= took < uplink.SILENT_MIN_MS + 5000
            assert node.errors == [("wifi", "no broker for 300 s: connecting anew")]
            assert await run.wait(network.wlan.isconnected) < 5000
            assert network.of("active") == [True, False, True]


async def test_a_broker_that_is_down_for_long_disturbs_less_and_less():
    with Network(ESP32, {"office": office()}) as network:
        node = Node(links=2)
        async with Running(node, network) as run:
            await run.run(2 * 3600000)
            # After 5, 15, 35 and 75 minutes.
            assert len(network.of("connect")) == 5
            node.links[1].connected = True
            await run.run(60000)
            node.links[1].connected = False
            del node.errors[:]
            took = await run.wait(lambda: node.errors)
            assert took < uplink.SILENT_MIN_MS + 5000, "patience begins anew"


async def test_a_node_without_brokers_trusts_the_interface():
    with Network(ESP32, {"office": office()}) as network:
        node = Node(links=0)
        async with Running(node, network) as run:
            await run.run(3600000)
            assert network.of("connect") == ["office"]


async def test_a_wifi_that_does_not_start_is_the_supervisors_to_restart():
    with Network() as network:
        network.wlan.start_error = OSError("WiFi Out of Memory")
        try:
            await uplink.keep(Node(), Task())
            raise AssertionError("it ran")
        except OSError as error:
            assert str(error) == "WiFi Out of Memory"


# -- Ethernet


async def test_a_cable_comes_before_wifi_and_wifi_is_there_without():
    for port in (ESP32, RP2):
        with Network(port, {"office": office()}) as network:
            lan = Lan()
            node = Node(ethernet=WIRED)
            with Patch(ethernet, make=lambda _row, lan=lan: lan):
                async with Running(node, network) as run:
                    await run.run(120000)
                    assert lan.isconnected()
                    assert network.of("connect") == []
                    lan.cable = False
                    assert await run.wait(network.wlan.isconnected) < 15000
                    assert node.errors == [
                        ("ethernet", "connection lost"),
                        ("ethernet", "no cable"),
                    ]


async def test_a_firmware_without_the_phy_says_so_and_uses_wifi():
    with Network(ESP32, {"office": office()}) as network:

        def make(_row):
            raise AttributeError("'module' object has no attribute 'PHY_LAN8720'")

        node = Node(ethernet=WIRED)
        with Patch(ethernet, make=make):
            async with Running(node, network) as run:
                await run.wait(network.wlan.isconnected)
        [(key, text)] = node.errors
        assert key == "ethernet"
        assert "PHY_LAN8720" in text
