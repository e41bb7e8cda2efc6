"""The Modbus driver against a real server, pymodbus, on CPython and on MicroPython from .mpy."""

import json
import os
import subprocess
import sys

import pytest
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.constants import ExcCodes
from pymodbus.simulator import DataType, SimData, SimDevice

import device_suite
from fieldpost_tools.sim.modbus_server import ModbusServer

TYPES = ModbusClientMixin.DATATYPE
SAMPLES = (
    ("int16", -12345),
    ("uint16", 54321),
    ("int32", -1234567890),
    ("uint32", 4123456789),
    ("int64", -(1 << 63) + 1),
    ("uint64", (1 << 64) - 2),
    ("float32", -1.5),
    ("float64", 1.1),
)
SIZES = {"16": 1, "32": 2, "64": 4}
BUSY_REGISTER = 900


def registers(value, kind, words):
    return ModbusClientMixin.convert_to_registers(value, TYPES[kind.upper()], words)


class Server(ModbusServer):
    """Unit 7. Holding: samples with the high word first from 0, with the low word first from 100,
    0 from 200 to 239, and one that is always busy; inputs 0..199 count up; 16 coils and inputs."""

    def __init__(self):
        super().__init__()
        self.requests = []

    def device(self):
        blocks = []
        for base, words in ((0, "big"), (100, "little")):
            data = [word for kind, value in SAMPLES for word in registers(value, kind, words)]
            blocks.append(SimData(base, values=data, datatype=DataType.REGISTERS))
        blocks.append(SimData(200, count=40, datatype=DataType.REGISTERS))
        blocks.append(SimData(BUSY_REGISTER, datatype=DataType.REGISTERS))
        inputs = [SimData(0, values=list(range(200)), datatype=DataType.REGISTERS)]
        pattern = [bit % 3 == 0 for bit in range(16)]
        bits = [[SimData(0, values=list(pattern), datatype=DataType.BITS)] for _ in range(2)]
        return SimDevice(7, (*bits, blocks, inputs), action=self._act)

    async def _act(self, function, _start, address, count, _registers, written):
        self.requests.append((function, address, count))
        return ExcCodes.DEVICE_BUSY if address == BUSY_REGISTER else None


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture(params=["cpython", "micropython"])
def probe(request, server, tmp_path):
    """Runs steps of ``modbus_probe`` against the server; the results."""
    environment = dict(os.environ)
    if request.param == "cpython":
        path = [device_suite.SDK, device_suite.TESTS, *sys.path]
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
        command = [sys.executable]
    else:
        environment["MICROPYPATH"] = f"{request.getfixturevalue('compiled')}:.frozen"
        command = [request.getfixturevalue("micropython"), "-X", "heapsize=192k"]

    def run(points, *steps, **device):
        device = {"host": server.host, "port": server.port, "unit": 7, "points": points, **device}
        job = tmp_path / "job.json"
        job.write_text(json.dumps({"device": device, "steps": steps}), encoding="utf-8")
        done = subprocess.run(
            [*command, "-m", "modbus_probe", str(job)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def sample_points(base, **config):
    register = base
    for kind, _ in SAMPLES:
        yield {
            "name": f"{kind}-{base}",
            "table": "holding",
            "register": register,
            "type": kind,
            **config,
        }
        register += SIZES[kind[-2:]]


def test_every_type_in_both_word_orders(probe, server):
    points = [*sample_points(0), *sample_points(100, word_order="little")]
    (found,) = probe(points, ["read"])
    for base in (0, 100):
        for kind, value in SAMPLES:
            got = found[f"{kind}-{base}"]
            assert got == (pytest.approx(value) if "float" in kind else value), kind
    assert server.requests == [(3, 0, 20), (3, 100, 20)]


def test_all_tables_and_long_runs(probe, server):
    points = [
        {"name": f"{table}{bit}", "table": table, "register": bit}
        for table in ("coil", "discrete")
        for bit in range(16)
    ]
    points += [{"name": f"i{i}", "table": "input", "register": i} for i in range(0, 200, 9)]
    (found,) = probe(points, ["read"], max_gap=10)
    for bit in range(16):
        assert found[f"coil{bit}"] is found[f"discrete{bit}"] is (bit % 3 == 0)
    assert [found[f"i{i}"] for i in range(0, 200, 9)] == list(range(0, 200, 9))
    counts = [count for function, _, count in server.requests if function == 4]
    assert counts == [118, 73]


def test_missing_and_busy_registers_cost_only_their_points(probe):
    points = [
        {"name": f"r{i}", "table": "holding", "register": i}
        for i in (200, 201, 238, 239, 240, 241)
    ]
    points.append({"name": "busy", "table": "holding", "register": BUSY_REGISTER})
    first, second = probe(points, ["read"], ["read"])
    bad = "illegal data address"
    wanted = {"r200": 0, "r201": 0, "r238": 0, "r239": 0, "r240": bad, "r241": bad}
    assert first == second == {**wanted, "busy": "server device busy"}


@pytest.mark.parametrize("multiple", [False, True])
def test_written_values_come_back(probe, server, multiple):
    values = {"int16": -7, "uint64": (1 << 64) - 3, "float32": 2.5, "bool": True, "coil": False}
    points = [
        {"name": kind, "table": "holding", "register": 200 + 8 * i, "type": kind, "writable": True}
        for i, kind in enumerate(("int16", "uint64", "float32", "bool"))
    ]
    points[1]["word_order"] = "little"
    points[3]["bit"] = 11
    points.append({"name": "coil", "table": "coil", "register": 3, "writable": True})
    writes = [["write", name, value] for name, value in values.items()]
    *refused, found = probe(points, *writes, ["read"], write_multiple=multiple)
    assert refused == [None] * 5
    assert found == values
    used = {function for function, _, _ in server.requests} - {1, 3}
    assert used == ({15, 16} if multiple else {5, 6, 16})


def test_refusals_of_the_device_are_told(probe):
    points = [
        {"name": "missing", "table": "holding", "register": 500, "writable": True},
        {"name": "fixed", "table": "holding", "register": 200},
        {"name": "small", "table": "holding", "register": 200, "type": "int16", "writable": True},
    ]
    steps = [["write", "missing", 1], ["write", "fixed", 1], ["write", "small", 40000]]
    assert probe(points, *steps) == ["illegal data address", "read only", "invalid value"]


def test_a_unit_that_is_not_there(probe):
    points = [{"name": "r", "table": "holding", "register": 200}]
    # pymodbus says "device failure" for a unit it does not know.
    assert probe(points, ["read"], unit=9) == [{"r": "server device failure"}]


def test_a_stopped_server(probe, server):
    server.stop()
    points = [{"name": "r", "table": "holding", "register": 200}]
    assert probe(points, ["read"], ["write", "r", 1]) == ["refused", "read only"]
