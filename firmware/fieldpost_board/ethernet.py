"""A wired interface: an RMII PHY at an ESP32's own controller, or a W5500 on SPI."""

from fieldpost.compat import const, sleep_ms, ticks_diff, ticks_ms

#: How long a cable and an address may take.
JOIN_MS = 10000

_POLL_MS = const(200)
_SPI_BAUD = const(20000000)


def make(row):
    """The interface of ``network`` for an ``ethernet`` row of the configuration.

    Raises AttributeError where the firmware has no such PHY; TypeError, ValueError or OSError
    for pins that it does not take.
    """
    import network
    from machine import Pin

    def pin(name):
        return None if row[name] is None else Pin(row[name])

    if row["phy"] != "w5500":
        options = {"mdc": pin("mdc"), "mdio": pin("mdio")}
        if row["power"] is not None:
            options["power"] = pin("power")
        if row["clock"] is not None:
            options["ref_clk"] = pin("clock")
            options["ref_clk_mode"] = Pin.OUT if row["clock_out"] else Pin.IN
    else:
        spi = _spi(row, pin)
        if hasattr(network, "WIZNET5K"):
            return network.WIZNET5K(spi, pin("cs"), pin("reset"))
        options = {"spi": spi, "cs": pin("cs"), "int": pin("int")}
        if row["reset"] is not None:
            options["reset"] = pin("reset")
    phy = getattr(network, "PHY_" + row["phy"].upper())
    return network.LAN(phy_type=phy, phy_addr=row["address"], **options)


def _spi(row, pin):
    from machine import SPI

    pins = {name: pin(name) for name in ("sck", "mosi", "miso") if row[name] is not None}
    return SPI(row["spi"], baudrate=_SPI_BAUD, **pins)


class Ethernet:
    """The wired interface ``lan`` of ``make``; ``report(name, text)`` is told what goes wrong."""

    name = "ethernet"

    def __init__(self, lan, report):
        self._lan = lan
        self._report = report
        self._said = None

    def up(self):
        """Has it a link and an address?"""
        return self._lan.isconnected() and self._lan.ifconfig()[0] != "0.0.0.0"

    def leave(self):
        """Switch it off."""
        self._lan.active(False)

    async def join(self):
        """True with an address within ``JOIN_MS``. Raises OSError where it cannot start."""
        self._lan.active(True)
        began = ticks_ms()
        while not self.up():
            if ticks_diff(ticks_ms(), began) >= JOIN_MS:
                problem = "no address" if self._lan.isconnected() else "no cable"
                if problem != self._said:
                    self._report(self.name, problem)
                self._said = problem
                return False
            await sleep_ms(_POLL_MS)
        self._said = None
        print("ethernet: %s" % self._lan.ifconfig()[0])
        return True
