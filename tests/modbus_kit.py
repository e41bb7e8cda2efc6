"""Modbus system tests: a server's data, and the driver under test on both interpreters."""

import json
import os
import subprocess
import sys

from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.constants import ExcCodes
from pymodbus.simulator import DataType, SimData, SimDevice

import device_suite

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


def sim_device(unit, requests):
    """Holding: samples with the high word first from 0, with the low word first from 100, 0 from
    200 to 239, and one that is always busy; inputs 0..199 count up from the unit's number; 16
    coils and inputs. ``requests`` collects ``(function, address, count)``."""

    async def act(function, _start, address, count, _registers, written):
        requests.append((function, address, count))
        return ExcCodes.DEVICE_BUSY if address == BUSY_REGISTER else None

    blocks = []
    for base, words in ((0, "big"), (100, "little")):
        data = [word for kind, value in SAMPLES for word in registers(value, kind, words)]
        blocks.append(SimData(base, values=data, datatype=DataType.REGISTERS))
    blocks.append(SimData(200, count=40, datatype=DataType.REGISTERS))
    blocks.append(SimData(BUSY_REGISTER, datatype=DataType.REGISTERS))
    inputs = [SimData(0, values=list(range(unit, unit + 200)), datatype=DataType.REGISTERS)]
    pattern = [bit % 3 == 0 for bit in range(16)]
    bits = [[SimData(0, values=list(pattern), datatype=DataType.BITS)] for _ in range(2)]
    return SimDevice(unit, (*bits, blocks, inputs), action=act)


def sample_points(base, **config):
    """Points of all the samples."""
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


def prober(request, tmp_path):
    """``run(driver, devices, *steps)``: what ``modbus_probe`` prints, on the interpreter that
    ``request.param`` names."""
    environment = dict(os.environ)
    if request.param == "cpython":
        path = [device_suite.SDK, device_suite.TESTS, *sys.path]
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
        command = [sys.executable]
    else:
        environment["MICROPYPATH"] = f"{request.getfixturevalue('compiled')}:.frozen"
        command = [request.getfixturevalue("micropython"), "-X", "heapsize=192k"]

    def run(driver, devices, *steps):
        job = tmp_path / "job.json"
        job.write_text(
            json.dumps({"driver": driver, "devices": devices, "steps": steps}), encoding="utf-8"
        )
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
