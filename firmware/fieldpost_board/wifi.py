"""A station of the Wi-Fi networks in a node's configuration.

The network that worked last is tried first, then those that a scan sees, by their signal, then
the others, which may be hidden, in their order. Written against the documented states of ESP32,
ESP8266 and RP2: their numbers differ and overlap, so they are told apart by the constants that a
port's ``network`` has. The others of an ESP32 are reason codes of its Wi-Fi driver.
"""

import sys

from fieldpost.compat import const, sleep_ms, ticks_diff, ticks_ms

#: How long joining a network may take, address included.
JOIN_MS = 20000

_POLL_MS = const(200)
#: Attempts that an ESP32 makes before it says what is wrong. Its first one after power-on fails
#: easily; by default it makes them for ever and only says "connecting".
_RECONNECTS = const(2)
#: Above these, states are an ESP32's reason codes.
_STATES = const(5)
_WORDS = (
    ("STAT_WRONG_PASSWORD", "wrong password"),
    ("STAT_NO_AP_FOUND", "not found"),
    ("STAT_CONNECT_FAIL", "connection failed"),
    (15, "wrong password"),  # its sign with WPA2: the handshake is not answered
    (200, "lost: no beacon"),
    (203, "refused by the access point"),
    (204, "wrong password, or a weak signal: handshake not answered"),
    (205, "connection failed"),
    (210, "not found with security of this kind"),
    (211, "not found with security of this strength"),
    (212, "not found: signal too weak"),
)


class Wifi:
    """The station interface.

    ``rows``: ``wifi`` of the configuration; ``report(name, text)`` is told what goes wrong, each
    thing once until it changes. Passwords are in no text.
    """

    name = "wifi"

    def __init__(self, rows, report):
        import network

        self._rows = rows
        self._report = report
        self._network = network
        self._wlan = network.WLAN(network.STA_IF)
        self._last = None  # the row that worked last
        self._said = {}  # by ssid

    def up(self):
        """Is it connected, as far as it knows?"""
        return self._wlan.isconnected()

    def leave(self):
        """Switch the interface off: what its driver has mistaken is forgotten."""
        try:
            self._wlan.disconnect()
        except OSError as error:
            self._say("leaving", str(error))
        self._wlan.active(False)

    async def join(self):
        """Try every network once; True with an address. Raises OSError where Wi-Fi cannot start.

        Takes up to ``JOIN_MS`` for each network, and lets other tasks run.
        """
        self._activate()
        last, self._last = self._last, None
        if last and await self._try(last):
            return True
        for row in await self._by_signal():
            if row is not last and await self._try(row):
                return True
        return False

    def _activate(self):
        self._wlan.active(True)
        modes = getattr(self._network, "WLAN", None)
        # Power saving makes an answer wait for a beacon, and loses some.
        for key, value in (("pm", getattr(modes, "PM_NONE", None)), ("reconnects", _RECONNECTS)):
            try:
                if value is not None:
                    self._wlan.config(**{key: value})
            except (OSError, TypeError, ValueError):
                continue  # this port does not have it

    async def _by_signal(self):
        rows = self._rows
        if len(rows) == 1:
            return rows  # a scan would not change the order
        try:
            seen = await self._scan()
        except OSError as error:
            self._say("scan", str(error))
            return rows
        signal = {}
        for ssid, _, _, rssi, _, _ in seen:
            signal[ssid] = max(rssi, signal.get(ssid, -128))
        # Not sorted(): it is not stable on MicroPython.
        order = [(-signal.get(row["ssid"].encode(), -128), at) for at, row in enumerate(rows)]
        return [rows[at] for _, at in sorted(order)]

    async def _scan(self):
        """What ``scan`` returns. It takes seconds: on an ESP32 they pass in a thread."""
        if sys.platform != "esp32":
            return self._wlan.scan()
        from _thread import start_new_thread

        done = []
        start_new_thread(self._scan_into, (done,))
        began = ticks_ms()
        while not done:
            if ticks_diff(ticks_ms(), began) >= JOIN_MS:
                raise OSError("scan does not end")
            await sleep_ms(_POLL_MS)
        if isinstance(done[0], OSError):
            raise done[0]
        return done[0]

    def _scan_into(self, done):
        try:
            done.append(self._wlan.scan())
        except OSError as error:
            done.append(error)

    async def _try(self, row):
        ssid = row["ssid"]
        problem = await self._connect(ssid, row["password"])
        if problem:
            self._say(ssid, problem)
            return False
        self._last = row
        self._said.clear()
        print("wifi: %s, %s" % (ssid, self._wlan.ifconfig()[0]))
        return True

    async def _connect(self, ssid, password):
        """None once there is an address, else what is wrong."""
        try:
            self._wlan.connect(ssid, password)
        except (OSError, ValueError) as error:
            return str(error)
        began = ticks_ms()
        problem = None
        while not problem:
            await sleep_ms(_POLL_MS)
            if self._wlan.isconnected():
                return None
            status = self._wlan.status()
            problem = self._problem(status)
            if not problem and ticks_diff(ticks_ms(), began) >= JOIN_MS:
                problem = "no address within %d s, status %s" % (JOIN_MS // 1000, status)
        self._wlan.disconnect()
        await sleep_ms(_POLL_MS)  # it takes effect a little later, and is not to hit the next
        return problem

    def _problem(self, status):
        """Words for a state in which an attempt has failed; None for any other."""
        for state, words in _WORDS:
            known = isinstance(state, str)
            if status == (getattr(self._network, state, None) if known else state):
                return words
        states = self._network
        waiting = (states.STAT_IDLE, states.STAT_CONNECTING, states.STAT_GOT_IP)
        if status > _STATES and status not in waiting:
            return "failed, reason %d" % status
        return None

    def _say(self, what, problem):
        if self._said.get(what) != problem:
            self._said[what] = problem
            self._report(self.name, "%s: %s" % (what, problem))
