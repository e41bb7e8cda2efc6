"""The Modbus driver against a real server, pymodbus, on CPython and on MicroPython from .mpy."""

import pytest

from fieldpost_tools.sim.modbus_server import ModbusServer
from modbus_kit import BUSY_REGISTER, SAMPLES, prober, sample_points, sim_device


class Server(ModbusServer):
    """Units 7 and 8, see ``modbus_kit.sim_device``."""

    def __init__(self):
        super().__init__()
        self.requests = []

    def device(self):
        return [sim_device(unit, self.requests) for unit in (7, 8)]


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture(params=["cpython", "micropython"])
def probe(request, server, tmp_path):
    """Runs steps of ``modbus_probe`` against a unit of the server; the results."""
    run = prober(request, tmp_path)

    def one(points, *steps, **device):
        device = {"host": server.host, "port": server.port, "unit": 7, "points": points, **device}
        return [result for (result,) in run("modbus", [device], *steps)]

    one.run = run
    return one


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
    assert [found[f"i{i}"] for i in range(0, 200, 9)] == list(range(7, 207, 9))
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


def test_units_behind_one_gateway(probe, server):
    points = [{"name": "i", "table": "input", "register": 0}]
    devices = [
        {"host": server.host, "port": server.port, "unit": unit, "points": points}
        for unit in (7, 8, 7)
    ]
    found = probe.run("modbus", devices, ["read"], ["cycles", 20])
    assert found[0] == [{"i": 7}, {"i": 8}, {"i": 7}]
    assert [failed for failed, _ in found[1]] == [0, 0, 0]
