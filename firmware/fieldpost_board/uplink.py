"""Keeps the node on a network, through Ethernet or Wi-Fi: joins, watches, joins again.

An interface is an object with ``name``, ``await join()`` (True once it has an address), ``up()``
and ``leave()``. The first that can be joined is used, Ethernet before Wi-Fi.

What an interface says of itself is not enough: a link that died silently leaves it "connected".
The node's links to its brokers are the truth. Where none of them has been up for a while, the
interface is left and joined anew; that while grows, because it may be the broker that is down.
"""

import random

from fieldpost.compat import const, sleep_ms, ticks_diff, ticks_ms
from fieldpost.events import ERROR

#: Pause after a round in which nothing could be joined, doubled up to the longest; the second half
#: of it is random.
BACKOFF_MIN_MS, BACKOFF_MAX_MS = 1000, 60000
#: How long no link may be up before the interface is joined anew, at first and at the most.
SILENT_MIN_MS, SILENT_MAX_MS = 300000, 3600000

_POLL_MS = const(1000)
#: A connection that lasted so long is joined again at once.
_STABLE_MS = const(60000)


async def keep(node, task):
    """Task: have a network for ever, as ``node.settings["network"]`` says."""
    uplink = Uplink(node)
    if uplink.interfaces:
        await uplink.run(task)


class Uplink:
    """The interfaces of a node, made from its configuration."""

    def __init__(self, node):
        import network

        self.node = node
        self.silent_ms = SILENT_MIN_MS
        self.interfaces = []
        settings = node.settings["network"]
        # Both have to be known before an interface is active.
        network.hostname(settings["hostname"] or node.name[:32])
        if settings["country"]:
            network.country(settings["country"])
        if settings["ethernet"]:
            self._add_ethernet(settings["ethernet"])
        if settings["wifi"]:
            from .wifi import Wifi

            self.interfaces.append(Wifi(settings["wifi"], self.report))

    def _add_ethernet(self, row):
        from . import ethernet

        try:
            self.interfaces.append(ethernet.Ethernet(ethernet.make(row), self.report))
        except (AttributeError, OSError, TypeError, ValueError) as error:
            self.report("ethernet", "%s: %s" % (row["phy"], error))

    def report(self, name, text):
        """Tell the node of a problem."""
        self.node.bus.emit(ERROR, name, text)

    async def run(self, task):
        """Join, watch, join again, for ever."""
        delay = 0
        while True:
            task.beat()
            began = ticks_ms()
            interface = await self._join(task)
            if interface:
                self._start_ntp()
                await self._watch(interface, task)
                if not 0 <= ticks_diff(ticks_ms(), began) < _STABLE_MS:
                    delay = 0
                    continue
            delay = min(max(2 * delay, BACKOFF_MIN_MS), BACKOFF_MAX_MS)
            half = delay // 2
            await sleep_ms(half + (half * random.getrandbits(10) >> 10))

    async def _join(self, task):
        for interface in self.interfaces:
            task.beat()
            if await interface.join():
                return interface
        return None

    def _start_ntp(self):
        """Ask for the time now: the node began to when there was no network, and waits longer
        after each attempt."""
        node, clock = self.node, self.node.settings["clock"]
        if clock["ntp"]:
            from fieldpost.sntp import keep

            node.supervisor.start(
                "ntp", lambda task: keep(node.clock, clock["ntp"], clock["ntp_interval"], task)
            )

    async def _watch(self, interface, task):
        """Return once the interface is down, or left because it led to no broker."""
        links = self.node.links
        since = ticks_ms()
        while interface.up():
            if not links or any(link.connected for link in links):
                since = ticks_ms()
                self.silent_ms = SILENT_MIN_MS
            elif ticks_diff(ticks_ms(), since) >= self.silent_ms:
                seconds = self.silent_ms // 1000
                self.report(interface.name, "no broker for %d s: connecting anew" % seconds)
                self.silent_ms = min(2 * self.silent_ms, SILENT_MAX_MS)
                interface.leave()
                return
            task.beat()
            await sleep_ms(_POLL_MS)
        self.report(interface.name, "connection lost")
