"""The Modbus RTU driver against a real server, pymodbus, over a pair of pseudo terminals."""

import asyncio
import contextlib
import os
import pty
import random
import select
import termios
import threading
import tty

import pytest
from driver_kit import make, refused

from fieldpost.drivers.modbus_rtu import ModbusRtu
from fieldpost.errors import DriverError
from fieldpost.node import Node
from fieldpost_tools.sim.modbus_server import ModbusServer
from modbus_kit import BUSY_REGISTER, SAMPLES, prober, sample_points, sim_device

#: 9600 is known to every interpreter; the line of a pseudo terminal is faster anyway.
BAUDRATE = 9600
UNITS = (1, 2, 17)


class Cable:
    """Two serial devices, ``near`` and ``far`` (paths), joined by a thread.

    ``spoil(data)``, if set, changes what goes to the near end; ``echo`` repeats there what it
    sends.
    """

    def __init__(self):
        self.spoil = None
        self.echo = False
        self._pairs = [pty.openpty() for _ in range(2)]
        for _, slave in self._pairs:
            tty.setraw(slave)
        self.near, self.far = (os.ttyname(slave) for _, slave in self._pairs)
        self._running = True
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        near, far = (master for master, _ in self._pairs)
        while self._running:
            for source in select.select([near, far], [], [], 0.05)[0]:
                data = os.read(source, 4096)
                if source == near:
                    if self.echo:
                        os.write(near, data)
                    os.write(far, data)
                else:
                    os.write(near, self.spoil(data) if self.spoil else data)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._running = False
        self._thread.join()
        for pair in self._pairs:
            for number in pair:
                with contextlib.suppress(OSError):
                    os.close(number)


class Server(ModbusServer):
    """The units, see ``modbus_kit.sim_device``; for others pymodbus answers "device failure"."""

    def __init__(self, path):
        super().__init__(port=1)  # of which it makes no use
        self.path = path
        self.requests = []

    def device(self):
        return [sim_device(unit, self.requests) for unit in UNITS]

    async def _serve(self, started):
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        from pymodbus.server import ModbusSerialServer

        server = ModbusSerialServer(self.device(), port=self.path, baudrate=BAUDRATE)
        await server.serve_forever(background=True)
        started.put(None)
        await self._ended.wait()
        await server.shutdown()


@pytest.fixture
def cable():
    with Cable() as made:
        yield made


@pytest.fixture
def server(cable):
    with Server(cable.far) as running:
        yield running


@pytest.fixture(params=["cpython", "micropython"])
def probe(request, cable, server, tmp_path):
    """Runs steps of ``modbus_probe`` on the units ``{unit: points}``; the results."""
    run = prober(request, tmp_path)

    def units(points, *steps, **device):
        shared = {"port": cable.near, "baudrate": BAUDRATE, **device}
        devices = [{**shared, "unit": unit, "points": points[unit]} for unit in points]
        return run("modbus_rtu", devices, *steps)

    return units


INPUT = [{"name": "i", "table": "input", "register": 0}]


def test_every_type_and_table(probe, server):
    points = [*sample_points(0), *sample_points(100, word_order="little")]
    points += [{"name": f"c{bit}", "table": "coil", "register": bit} for bit in range(16)]
    points += [{"name": f"i{i}", "table": "input", "register": i} for i in range(0, 200, 9)]
    (((found),),) = probe({17: points}, ["read"], max_gap=10)
    for base in (0, 100):
        for kind, value in SAMPLES:
            got = found[f"{kind}-{base}"]
            assert got == (pytest.approx(value) if "float" in kind else value), kind
    assert [found[f"c{bit}"] for bit in range(16)] == [bit % 3 == 0 for bit in range(16)]
    assert [found[f"i{i}"] for i in range(0, 200, 9)] == list(range(17, 217, 9))
    assert len(server.requests) == 5


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("multiple", [False, True])
def test_written_values_come_back(probe, cable, multiple, echo):
    cable.echo = echo
    values = {"int16": -7, "uint64": (1 << 64) - 3, "float32": 2.5, "bool": True, "coil": False}
    points = [
        {"name": kind, "table": "holding", "register": 200 + 8 * i, "type": kind, "writable": True}
        for i, kind in enumerate(("int16", "uint64", "float32", "bool"))
    ]
    points.append({"name": "coil", "table": "coil", "register": 3, "writable": True})
    writes = [["write", name, value] for name, value in values.items()]
    *refused, found = probe({1: points}, *writes, ["read"], write_multiple=multiple)
    assert refused == [[None]] * 5
    assert found == [values]


def test_refusals(probe):
    points = [
        {"name": "missing", "table": "holding", "register": 500, "writable": True},
        {"name": "fixed", "table": "holding", "register": 200},
        {"name": "small", "table": "holding", "register": 200, "type": "int16", "writable": True},
        {"name": "busy", "table": "holding", "register": BUSY_REGISTER},
    ]
    writes = [["write", "missing", 1], ["write", "fixed", 1], ["write", "small", 40000]]
    *refused, found = probe({2: points}, *writes, ["read"])
    assert refused == [["illegal data address"], ["read only"], ["invalid value"]]
    bad, busy = "illegal data address", "server device busy"
    assert found == [{"missing": bad, "fixed": 0, "small": 0, "busy": busy}]


def test_units_share_the_line_also_with_a_silent_one(probe, cable, server):
    cable.spoil = lambda data: b"" if data[0] == 9 else data
    points = dict.fromkeys((1, 2, 9, 17), INPUT)
    first, cycles, last = probe(points, ["read"], ["cycles", 8], ["read"], answer_ms=300)
    assert first == last == [{"i": 1}, {"i": 2}, "timeout", {"i": 17}]
    assert [failed for failed, _ in cycles] == [0, 0, 8, 0]
    # The silent unit holds up each request of the others once at most.
    assert max(longest for _, longest in cycles) < 1500
    assert len(server.requests) == 3 * 10  # none was asked twice


def test_a_noisy_line(probe, cable):
    """One answer in three is damaged: attempts fail, values do not."""
    noise = random.Random(3)

    def spoil(data):
        if noise.random() < 0.33:
            data = bytearray(data)
            data[noise.randrange(len(data))] ^= 1 << noise.randrange(8)
        return bytes(data)

    cable.spoil = spoil
    steps = [["read"]] * 30
    found = [one for (one,) in probe({17: INPUT}, *steps, answer_ms=100, retries=2)]
    assert found.count({"i": 17}) > 20
    reasons = {"timeout", "bad crc", "wrong unit", "wrong length"}
    assert all(one == {"i": 17} or one in reasons for one in found)


async def test_a_node_keeps_reading_beside_silent_units(cable, server, tmp_path):
    """With the usual timeout: neither goes down for the others, nor waits for them for long."""
    cable.spoil = lambda data: data if data[0] in UNITS else b""
    line = {"driver": "modbus_rtu", "port": cable.near, "interval": 200, "answer_ms": 200}
    devices = [
        {"id": f"unit{unit}", **line, "unit": unit, "points": INPUT} for unit in (1, 2, 17, 40, 41)
    ]
    node = Node({"node": "gw", "devices": devices}, str(tmp_path))
    running = asyncio.create_task(node.run())
    good = [node.devices[f"unit{unit}"] for unit in UNITS]
    for _ in range(600):
        await asyncio.sleep(0.05)
        if min(device.reads for device in good) >= 20:
            break
    assert min(device.reads for device in good) >= 20
    assert [device.failures for device in good] == [0, 0, 0]
    assert [node.devices[f"unit{unit}"].status for unit in (40, 41)] == ["timeout"] * 2
    assert [device.points[0].value for device in good] == list(UNITS)
    assert not node.counters["errors"]
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_ports_that_are_none(cable, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    point = {"table": "coil", "register": 0}
    for device, text in (
        ({"port": str(plain)}, "ioctl"),
        ({"port": str(tmp_path / "absent")}, "No such file"),
        ({"port": cable.near, "baudrate": 12345}, "baudrate 12345 is not available"),
    ):
        driver = make(ModbusRtu, [point], **device)
        assert text in await refused(driver.start(), DriverError)
        await driver.stop()


async def test_settings_of_the_port(cable):
    point = {"table": "coil", "register": 0}
    for parity, stop, wanted in (
        ("none", 1, 0),
        ("none", 2, termios.CSTOPB),
        ("even", 1, termios.PARENB),
        ("odd", 1, termios.PARENB | termios.PARODD),
    ):
        settings = {"port": cable.near, "baudrate": 19200, "parity": parity, "stop": stop}
        driver = make(ModbusRtu, [point], **settings)
        await driver.start()
        _, _, control, _, speed, _, _ = termios.tcgetattr(driver.bus._uart._file)
        # Linux keeps 8 bits and no parity for a pseudo terminal, whatever it is told.
        mask = termios.CSTOPB | termios.PARODD
        assert control & mask == wanted & mask
        assert speed == termios.B19200
        await driver.stop()


async def test_an_adapter_that_is_pulled():
    point = {"table": "coil", "register": 0}
    cable = Cable()
    with cable:
        driver = make(ModbusRtu, [point], port=cable.near, answer_ms=50, retries=0)
        await driver.start()
        assert await refused(driver.read(driver.points), DriverError) == "timeout"
    assert "gone" in await refused(driver.read(driver.points), DriverError)
    assert cable.near in await refused(driver.read(driver.points), DriverError)
    await driver.stop()


def test_a_server_that_comes_back(probe, server):
    server.stop()
    assert probe({1: INPUT}, ["read"]) == [["timeout"]]
    server.start()
    assert probe({1: INPUT}, ["read"]) == [[{"i": 1}]]
