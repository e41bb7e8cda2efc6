"""The firmware's module ``network``, with access points that tests switch on and off.

States and their order are those that the documentation of each port tells, and for an ESP32 its
Wi-Fi driver's: with ``reconnects`` set, the reason of the last failure is the state; without, it
is "connecting" for ever. ``with Network(...) as network:`` puts it in place of the real module,
and lets the modules of ``fieldpost_board`` see a time that passes by sleeping only.
"""

import sys

from patch_kit import FakeTime

from fieldpost.compat import asyncio
from fieldpost_board import ethernet, uplink, wifi

ESP32 = {
    "STAT_IDLE": 1000,
    "STAT_CONNECTING": 1001,
    "STAT_GOT_IP": 1010,
    "STAT_NO_AP_FOUND": 201,
    "STAT_WRONG_PASSWORD": 202,
    "STAT_BEACON_TIMEOUT": 200,
    "STAT_ASSOC_FAIL": 203,
    "STAT_HANDSHAKE_TIMEOUT": 204,
}
ESP8266 = {
    "STAT_IDLE": 0,
    "STAT_CONNECTING": 1,
    "STAT_WRONG_PASSWORD": 2,
    "STAT_NO_AP_FOUND": 3,
    "STAT_CONNECT_FAIL": 4,
    "STAT_GOT_IP": 5,
}
RP2 = {
    "STAT_IDLE": 0,
    "STAT_CONNECTING": 1,
    "STAT_GOT_IP": 3,
    "STAT_CONNECT_FAIL": -1,
    "STAT_NO_AP_FOUND": -2,
    "STAT_WRONG_PASSWORD": -3,
}
PORTS = (ESP32, ESP8266, RP2)
#: Joined, without an address: a state of RP2 that has no name.
RP2_NO_ADDRESS = 2

ATTEMPT_MS = 2500
JOIN_MS = 1500
BEACON_MS = 6000
SCAN_MS = 2000


class Time(FakeTime):
    """Time for several tasks: it goes on to the next of those who sleep when all do.

    Keeps the last sleeps only, and the ``pauses`` among them, which are no polling.
    """

    def __init__(self):
        super().__init__()
        self.pauses = []
        self.ends = []

    async def sleep_ms(self, ms):
        self.slept = self.slept[-100:] + [ms]
        if ms not in (200, 1000):
            self.pauses.append(ms)
        end = self.now + ms
        self.ends.append(end)
        try:
            await asyncio.sleep(0)
            while self.now < end:
                if min(self.ends) == end:
                    self.now = end
                await asyncio.sleep(0)
        finally:
            self.ends.remove(end)


class AccessPoint:
    """What is in the air; tests change it at any time."""

    def __init__(self, password=None, rssi=-60, on=True, dhcp=True, hidden=False, failure=None):
        self.password = password
        self.rssi = rssi
        self.on = on
        self.dhcp = dhcp
        self.hidden = hidden
        self.failure = failure  # an ESP32's reason code


class Network:
    """The module. ``port``: one of ``PORTS``; ``air``: access points by ssid."""

    STA_IF = 0

    def __init__(self, port=ESP32, air=None):
        for name in port:
            setattr(self, name, port[name])
        self.port = port
        self.air = air or {}
        self.time = Time()
        self.log = []
        self.wlan = Wlan(self)
        self.lan = None
        self.WLAN = Maker(self.wlan)

    def __enter__(self):
        self.before = sys.modules.get("network")
        sys.modules["network"] = self
        self.patches = [self.time.of(module) for module in (ethernet, uplink, wifi)]
        for patch in self.patches:
            patch.__enter__()
        return self

    def __exit__(self, *_):
        for patch in self.patches:
            patch.__exit__()
        if self.before:
            sys.modules["network"] = self.before
        else:
            del sys.modules["network"]

    def hostname(self, name):
        self.log.append(("hostname", name))

    def country(self, code):
        self.log.append(("country", code))

    def of(self, kind):
        """What was called by this name."""
        return [entry[1] for entry in self.log if entry[0] == kind]


class Maker:
    """``network.WLAN``: gives the one object of an interface, and has its constants."""

    PM_NONE = 0

    def __init__(self, wlan):
        self.wlan = wlan

    def __call__(self, interface):
        assert interface == Network.STA_IF
        return self.wlan


class Wlan:
    """The station interface."""

    def __init__(self, network):
        self.network = network
        self.on = False
        self.settings = {}
        self.ssid = self.password = None
        self.began = None  # of the connecting
        self.joined = False
        self.lost = None  # when the access point was first missed
        self.scans = 0
        self.scan_error = self.connect_error = self.start_error = None

    def active(self, on=None):
        if on is None:
            return self.on
        if on and self.start_error:
            raise self.start_error
        if on != self.on:
            self.network.log.append(("active", on))
        self.on = on
        if not on:
            self.ssid = None
        return None

    def config(self, **settings):
        known = {"pm"} if self.network.port is RP2 else {"pm", "reconnects"}
        if not set(settings) <= known:
            raise ValueError("unknown config param")
        self.settings.update(settings)

    def connect(self, ssid, password=None):
        if not self.on:
            raise OSError("Wifi Not Started")
        if self.connect_error:
            raise self.connect_error
        self.network.log.append(("connect", ssid))
        self.ssid = ssid
        self.password = password
        self.began = self.network.time.now
        self.joined = False
        self.lost = None

    def disconnect(self):
        if not self.on:
            raise OSError("Wifi Not Started")
        self.ssid = None

    def scan(self):
        self.scans += 1
        if self.scan_error:
            raise self.scan_error
        if self.ssid and self.network.port is ESP32:
            raise OSError("Wifi Internal State Error")
        self.network.time.advance(SCAN_MS)
        return [
            (b"" if point.hidden else ssid.encode(), b"123456", 1, point.rssi, 3, point.hidden)
            for ssid, point in self.network.air.items()
            if point.on
        ]

    def isconnected(self):
        return self.status() == self.network.STAT_GOT_IP

    def ifconfig(self):
        address = "10.0.0.7" if self.isconnected() else "0.0.0.0"
        return (address, "255.255.255.0", "10.0.0.1", "10.0.0.1")

    def status(self):
        """The state by what is in the air now, and how long this has been tried."""
        network = self.network
        if self.ssid is None:
            return network.STAT_IDLE
        point = network.air.get(self.ssid)
        failure = self._failure(point if point and point.on else None)
        since = network.time.now - self.began
        if failure is None:
            self.lost = None
            if since < JOIN_MS:
                return network.STAT_CONNECTING
            if point.dhcp:
                self.joined = True
                return network.STAT_GOT_IP
            return RP2_NO_ADDRESS if network.port is RP2 else network.STAT_CONNECTING
        if self.joined:
            if self.lost is None:
                self.lost = network.time.now
            if network.time.now - self.lost < BEACON_MS:
                return network.STAT_GOT_IP  # not missed yet
        if network.port is ESP32:
            attempts = self.settings.get("reconnects", -1) + 1
            if not attempts or since < ATTEMPT_MS * attempts:
                return network.STAT_CONNECTING
        elif since < ATTEMPT_MS:
            return network.STAT_CONNECTING
        return failure

    def _failure(self, point):
        network = self.network
        if point is None:
            return network.STAT_NO_AP_FOUND
        if point.failure is not None:
            return point.failure
        if point.password != self.password:
            return 15 if network.port is ESP32 else network.STAT_WRONG_PASSWORD
        return None


class Lan:
    """A wired interface; ``cable`` and ``dhcp`` are the world outside."""

    def __init__(self, **options):
        self.options = options
        self.on = False
        self.cable = self.dhcp = True

    def active(self, on):
        self.on = on

    def isconnected(self):
        return self.on and self.cable

    def ifconfig(self):
        address = "10.0.0.8" if self.isconnected() and self.dhcp else "0.0.0.0"
        return (address, "255.255.255.0", "10.0.0.1", "10.0.0.1")


class Task:
    """A supervisor's, which counts its beats."""

    beats = 0

    def beat(self):
        self.beats += 1


async def until(condition, turns=60000):
    """Let other tasks run until a condition holds."""
    while not condition():
        assert turns, "never"
        turns -= 1
        await asyncio.sleep(0)
