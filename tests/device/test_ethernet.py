"""ethernet: interfaces made for each kind of PHY, cables and addresses that come and go."""

import sys

from fake_network import ESP32, Lan, Network

from fieldpost_board.ethernet import JOIN_MS, Ethernet, make

ROW = {
    "phy": "lan8720",
    "address": 1,
    "mdc": 23,
    "mdio": 18,
    "power": None,
    "clock": None,
    "clock_out": False,
    "spi": 1,
    "sck": None,
    "mosi": None,
    "miso": None,
    "cs": None,
    "int": None,
    "reset": None,
}


class Pin:
    IN, OUT = 1, 3

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return self.number == other.number

    def __hash__(self):
        return self.number


class SPI:
    def __init__(self, number, **options):
        self.options = options
        self.options["number"] = number


class Machine:
    Pin, SPI = Pin, SPI


class Wiznet:
    def __init__(self, spi, cs, reset):
        self.options = {"spi": spi, "cs": cs, "reset": reset}


def made(network, **keys):
    """The options that the interface of a row is made with."""
    before = sys.modules.get("machine")
    sys.modules["machine"] = Machine
    row = dict(ROW)
    row.update(keys)
    try:
        return make(row).options
    finally:
        if before:
            sys.modules["machine"] = before
        else:
            del sys.modules["machine"]


def test_a_phy_at_the_chips_own_controller():
    with Network(ESP32) as network:
        network.PHY_LAN8720, network.PHY_IP101 = 5, 7
        network.LAN = Lan
        assert made(network) == {"phy_type": 5, "phy_addr": 1, "mdc": Pin(23), "mdio": Pin(18)}
        options = made(network, phy="ip101", address=0, power=16, clock=17, clock_out=True)
        assert options == {
            "phy_type": 7,
            "phy_addr": 0,
            "mdc": Pin(23),
            "mdio": Pin(18),
            "power": Pin(16),
            "ref_clk": Pin(17),
            "ref_clk_mode": Pin.OUT,
        }
        assert made(network, clock=0)["ref_clk_mode"] == Pin.IN


def test_a_w5500_at_an_esp32():
    with Network(ESP32) as network:
        network.PHY_W5500, network.LAN = 20, Lan
        options = made(network, phy="w5500", sck=13, mosi=11, miso=12, cs=14, int=10, reset=9)
        spi = options.pop("spi")
        assert spi.options == {
            "number": 1,
            "baudrate": 20000000,
            "sck": Pin(13),
            "mosi": Pin(11),
            "miso": Pin(12),
        }
        assert options == {
            "phy_type": 20,
            "phy_addr": 1,
            "cs": Pin(14),
            "int": Pin(10),
            "reset": Pin(9),
        }


def test_a_w5500_at_other_boards():
    with Network() as network:
        network.WIZNET5K = Wiznet
        options = made(network, phy="w5500", spi=0, cs=17, reset=20)
        assert options.pop("spi").options == {"number": 0, "baudrate": 20000000}
        assert options == {"cs": Pin(17), "reset": Pin(20)}


def test_a_firmware_without_it():
    with Network() as network:
        network.LAN = Lan
        try:
            made(network)
            raise AssertionError("made")
        except AttributeError as error:
            assert "PHY_LAN8720" in str(error)


async def test_a_cable_and_an_address():
    with Network() as network:
        lan = Lan()
        lan.cable = False
        reports = []
        wired = Ethernet(lan, lambda *told: reports.append(told))
        assert not wired.up()
        for _ in range(2):
            assert not await wired.join()
        assert reports == [("ethernet", "no cable")]
        assert 2 * JOIN_MS <= network.time.now < 2 * JOIN_MS + 1000
        lan.cable, lan.dhcp = True, False
        assert not await wired.join()
        assert not wired.up(), "a link is not an address"
        assert reports[1:] == [("ethernet", "no address")]
        lan.dhcp = True
        assert await wired.join()
        assert wired.up()
        lan.dhcp = False
        assert not await wired.join()
        assert len(reports) == 3, "again after it had worked"
        wired.leave()
        assert not lan.on
