"""wifi: networks joined, not joined and why, in the states of ESP32, ESP8266 and RP2."""

import sys

from fake_network import (
    ATTEMPT_MS,
    ESP32,
    ESP8266,
    JOIN_MS,
    PORTS,
    RP2,
    SCAN_MS,
    AccessPoint,
    Network,
    until,
)
from patch_kit import Patch

from fieldpost.compat import asyncio
from fieldpost_board import wifi
from fieldpost_board.wifi import Wifi

SECRET = "correct horse"


def rows(*names, password=SECRET):
    """``wifi`` of a configuration."""
    return [{"ssid": name, "password": password} for name in names]


class Station(Wifi):
    """A ``Wifi`` that keeps what it reports."""

    def __init__(self, made):
        self.reports = []
        super().__init__(made, self.take)

    def take(self, name, text):
        assert name == "wifi"
        assert SECRET not in text
        self.reports.append(text)


def office(**keys):
    """An access point with the right password."""
    return AccessPoint(SECRET, **keys)


# -- one network


async def test_a_network_is_joined():
    for port in PORTS:
        with Network(port, {"office": office()}) as network:
            station = Station(rows("office"))
            assert not station.up()
            assert await station.join()
            assert station.up()
            assert station.reports == []
            assert JOIN_MS <= network.time.now < JOIN_MS + 500
            assert network.wlan.scans == 0, "a scan would only take time"
            expected = {"pm": 0} if port is RP2 else {"pm": 0, "reconnects": 2}
            assert network.wlan.settings == expected


async def test_a_port_without_power_saving():
    with Network(ESP8266, {"office": office()}) as network:
        network.WLAN = lambda _interface: network.wlan
        station = Station(rows("office"))
        assert await station.join()
        assert network.wlan.settings == {"reconnects": 2}


async def test_an_open_network():
    with Network(RP2, {"guest": AccessPoint()}):
        assert await Station(rows("guest", password=None)).join()


async def test_a_wrong_password_is_named_as_that():
    for port in PORTS:
        with Network(port, {"office": AccessPoint("another one")}) as network:
            station = Station(rows("office"))
            assert not await station.join()
            assert station.reports == ["office: wrong password"]
            assert network.wlan.ssid is None, "it is not tried on"
            assert network.time.now < wifi.JOIN_MS


async def test_a_network_that_is_not_there_and_comes():
    for port in PORTS:
        with Network(port, {"office": office(on=False)}) as network:
            station = Station(rows("office"))
            for _ in range(3):
                assert not await station.join()
            assert station.reports == ["office: not found"], "once"
            network.air["office"].on = True
            assert await station.join()
            network.air["office"].on = False
            assert not await station.join()
            assert station.reports == ["office: not found"] * 2, "again after it had worked"


async def test_what_changes_is_reported_anew():
    with Network(ESP32, {"office": office(on=False)}) as network:
        station = Station(rows("office"))
        await station.join()
        network.air["office"] = AccessPoint("another one")
        await station.join()
        await station.join()
        assert station.reports == ["office: not found", "office: wrong password"]


async def test_reasons_of_an_esp32():
    for reason, words in (
        (15, "wrong password"),
        (202, "wrong password"),
        (204, "wrong password, or a weak signal: handshake not answered"),
        (203, "refused by the access point"),
        (205, "connection failed"),
        (211, "not found with security of this strength"),
        (39, "failed, reason 39"),
        (207, "failed, reason 207"),
    ):
        with Network(ESP32, {"office": office(failure=reason)}) as network:
            station = Station(rows("office"))
            assert not await station.join()
            assert station.reports == ["office: " + words]
            # Its first attempt fails easily: there are three.
            assert 3 * ATTEMPT_MS <= network.time.now < 3 * ATTEMPT_MS + 1000


async def test_an_address_that_never_comes():
    for port, status in ((ESP32, 1001), (ESP8266, 1), (RP2, 2)):
        with Network(port, {"office": office(dhcp=False)}) as network:
            station = Station(rows("office"))
            assert not await station.join()
            assert station.reports == ["office: no address within 20 s, status %d" % status]
            assert wifi.JOIN_MS <= network.time.now < wifi.JOIN_MS + 1000
            network.air["office"].dhcp = True
            assert await station.join()


async def test_others_run_while_it_waits():
    with Network(ESP32, {"office": office(dhcp=False)}) as network:
        task = asyncio.create_task(Station(rows("office")).join())
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns >= 50
        assert max(network.time.slept) <= 200


async def test_a_driver_that_refuses():
    with Network(ESP32, {"office": office()}) as network:
        network.wlan.connect_error = OSError("Wifi Internal Error")
        station = Station(rows("office"))
        assert not await station.join()
        assert station.reports == ["office: Wifi Internal Error"]
        network.wlan.connect_error = None
        assert await station.join()


async def test_an_interface_that_does_not_start():
    with Network(ESP32) as network:
        network.wlan.start_error = OSError("WiFi Out of Memory")
        try:
            await Station(rows("office")).join()
            raise AssertionError("joined")
        except OSError as error:
            assert str(error) == "WiFi Out of Memory"


async def test_leaving_switches_it_off_and_joining_on_again():
    with Network(ESP32, {"office": office()}) as network:
        station = Station(rows("office"))
        await station.join()
        station.leave()
        assert not station.up()
        station.leave()
        assert station.reports == ["leaving: Wifi Not Started"]
        network.wlan.settings.clear()
        assert await station.join()
        assert network.wlan.settings == {"pm": 0, "reconnects": 2}, "lost with the driver's state"
        assert network.of("active") == [True, False, True]


# -- several networks


async def test_the_strongest_is_tried_first_and_the_unseen_last():
    air = {
        "far": office(rssi=-85, dhcp=False),
        "near": office(rssi=-40, failure=203),
        "hidden": office(rssi=-30, hidden=True),
    }
    with Network(ESP32, air) as network:
        station = Station(rows("gone", "far", "hidden", "near"))
        assert await station.join()
        assert network.of("connect") == ["near", "far", "gone", "hidden"]
        assert network.wlan.scans == 1
        assert len(station.reports) == 3


async def test_the_strongest_of_several_access_points_counts():
    with Network(ESP32, {"one": office(rssi=-50), "two": office()}) as network:
        found = [(b"two", b"", 1, rssi, 3, False) for rssi in (-90, -45, -70)]
        network.wlan.scan = lambda: found + [(b"one", b"", 1, -50, 3, False)]
        await Station(rows("one", "two")).join()
        assert network.of("connect") == ["two"]


async def test_the_one_that_worked_is_tried_first_without_a_scan():
    air = {"a": office(rssi=-80), "b": office(rssi=-40), "c": office(rssi=-60)}
    with Network(RP2, air) as network:
        air["b"].on = False
        station = Station(rows("a", "b", "c"))
        assert await station.join()
        air["b"].on = True
        assert await station.join()
        assert network.of("connect") == ["c", "c"]
        assert network.wlan.scans == 1
        air["c"].on = False
        assert await station.join()
        assert network.of("connect") == ["c", "c", "c", "b"]
        air["a"].on = air["b"].on = False
        assert not await station.join()
        assert network.of("connect")[4:] == ["b", "a", "c"], "none twice"
        assert not await station.join()
        assert network.of("connect")[7:] == ["a", "b", "c"], "it works no longer"


async def test_a_scan_that_fails_leaves_the_order_of_the_configuration():
    for port in PORTS:
        with Network(port, {"b": office()}) as network:
            network.wlan.scan_error = OSError("Wifi Internal State Error")
            station = Station(rows("a", "b"))
            assert await station.join()
            assert network.of("connect") == ["a", "b"]
            assert station.reports == ["scan: Wifi Internal State Error", "a: not found"]


class Threads:
    """``_thread``, in which work takes as long as a scan does."""

    def __init__(self, time):
        self.time = time

    def start_new_thread(self, function, arguments):
        asyncio.create_task(self.work(function, arguments))

    async def work(self, function, arguments):
        while self.time.now < SCAN_MS:
            await asyncio.sleep(0)
        function(*arguments)


async def test_a_scan_of_an_esp32_does_not_stop_the_others():
    for error in (None, OSError("Wifi Internal State Error")):
        with Network(ESP32, {"a": office(), "b": office(rssi=-30)}) as network:
            before = sys.modules.get("_thread")
            sys.modules["_thread"] = Threads(network.time)
            network.wlan.scan_error = error
            try:
                with Patch(wifi, sys=Esp32):
                    task = asyncio.create_task(Station(rows("a", "b")).join())
                    await until(lambda: network.wlan.scans)
                    assert len(network.time.slept) >= SCAN_MS // 200
                    assert max(network.time.slept) <= 200
                    assert await task
            finally:
                sys.modules["_thread"] = before
            assert network.of("connect") == ["a" if error else "b"]


class Lost:
    """``_thread`` whose work never ends."""

    def start_new_thread(self, function, arguments):
        return


async def test_a_scan_that_never_ends_is_given_up():
    with Network(ESP32, {"b": office()}) as network:
        before = sys.modules.get("_thread")
        sys.modules["_thread"] = Lost()
        try:
            with Patch(wifi, sys=Esp32):
                station = Station(rows("a", "b"))
                assert await station.join()
        finally:
            sys.modules["_thread"] = before
        assert network.of("connect") == ["a", "b"]
        assert station.reports == ["scan: scan does not end", "a: not found"]


class Esp32:
    platform = "esp32"
