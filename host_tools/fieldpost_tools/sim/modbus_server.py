"""The air-handling unit of ``ahu`` as a Modbus TCP device, served by pymodbus on 127.0.0.1.

::

    with AhuServer() as server:
        device = ahu_device(server.host, server.port)     # for a node's configuration
        server.air.setpoint = 22.0                         # the plant itself

The plant advances when somebody asks: by the time since the last request, ``speedup`` times.

``POINTS`` is the register map. Integers hold value / scale, rounded; numbers of several registers
have the high word first, as pymodbus' own conversion makes them. What is not in the map is
answered with exception 2, a value that the plant does not take with exception 3.
"""

import asyncio
import contextlib
import queue
import threading
import time

from fieldpost_tools.errors import ToolError
from fieldpost_tools.sim.ahu import AirHandler
from fieldpost_tools.sim.broker import HOST, free_port

UNIT = 1
#: A plant that nobody asked for long makes up for this much, so that the answer comes in time.
MAX_ADVANCE_MS = 6 * 3_600_000
#: In the order of the function codes that read them, from 1.
TABLES = ("coil", "discrete", "holding", "input")
WRITES_COILS = (5, 15)
#: Zone setpoints that the plant takes, °C.
SETPOINT_C = (15.0, 28.0)

#: name, unit, acquisition rule, table, register, type, scale, attribute of ``AirHandler``.
POINTS = (
    ("oat", "°C", "30000 or on_cov 0.5", "input", 0, "int16", 0.1, "outside_air"),
    ("rat", "°C", "always", "input", 1, "int16", 0.1, "return_air"),
    ("mat", "°C", "on_cov 0.2 1000 60000", "input", 2, "int16", 0.1, "mixed_air"),
    ("dat", "°C", "always", "input", 3, "int16", 0.1, "supply_air"),
    ("dat-sp", "°C", "on_cov 0.1 0 60000", "input", 4, "int16", 0.1, "supply_setpoint"),
    ("damper", "%", "on_cov 1", "input", 5, "uint16", 0.1, "damper"),
    ("heating-valve", "%", "on_cov 1", "input", 6, "uint16", 0.1, "heating_valve"),
    ("cooling-valve", "%", "on_cov 1", "input", 7, "uint16", 0.1, "cooling_valve"),
    ("fan-speed", "%", "2000", "input", 8, "uint16", 0.1, "fan_speed"),
    ("filter-dp", "Pa", "5000", "input", 9, "uint16", 1, "filter_pressure"),
    ("power", "kW", "always", "input", 10, "float32", 1, "power"),
    ("energy", "kWh", "10000", "input", 12, "float64", 1, "energy"),
    ("energy-count", "kWh", "on_update", "input", 16, "uint32", 1, "energy"),
    ("zone-sp", "°C", "on_update or 60000", "holding", 0, "int16", 0.1, "setpoint"),
    ("override", "", "on_update", "coil", 0, "bool", 1, "override"),
    ("filter-alarm", "", "on_update", "coil", 8, "bool", 1, "filter_alarm"),
    ("freeze-alarm", "", "on_update", "coil", 9, "bool", 1, "freeze_alarm"),
    ("high-temp-alarm", "", "on_update", "coil", 10, "bool", 1, "high_alarm"),
    ("fan-status", "", "on_update", "discrete", 0, "bool", 1, "fan_status"),
    ("occupied", "", "on_update", "discrete", 1, "bool", 1, "occupied"),
)
WRITABLE = ("zone-sp", "override")
#: Writing true to this coil puts a clean filter in; it reads false.
FILTER_CHANGED_COIL = 1


class ModbusServerError(ToolError):
    """The Modbus device does not start: its port is taken, or pymodbus is not installed."""


def ahu_device(host, port):
    """The device of a node's configuration that reads (and can write) the unit."""
    points = []
    for name, unit, rule, table, register, kind, scale, _ in POINTS:
        point = {"name": name, "unit": unit, "log": rule, "table": table, "register": register}
        if kind != "bool":
            point["type"] = kind
        if scale != 1:
            point["scale"] = scale
        if kind == "float32":
            point["decimals"] = 3
        if name in WRITABLE:
            point["writable"] = True
        if name == "zone-sp":
            point["min"], point["max"] = SETPOINT_C
        points.append(point)
    return {
        "id": "ahu-1",
        "driver": "modbus",
        "interval": 1000,
        "timeout_ms": 2000,
        "host": host,
        "port": port,
        "unit": UNIT,
        "max_gap": 8,
        "points": points,
    }


class ModbusServer:
    """A Modbus TCP server on ``port`` (0: a free one, kept over restarts) of 127.0.0.1.

    It runs in a thread with a loop of its own and ends with the program. A subclass gives
    ``device()``. Works as a context manager.
    """

    TIMEOUT_S = 10
    host = HOST

    def __init__(self, port=0):
        self.port = port or free_port()
        self._thread = None
        self._loop = None
        self._ended = None

    def device(self):
        """The ``pymodbus.simulator.SimDevice`` to serve, or a list; called in the thread."""
        raise NotImplementedError

    def start(self):
        """Start it; returns when it accepts connections. Harmless while it runs."""
        if self._thread is None:
            started = queue.SimpleQueue()
            self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
            self._thread.start()
            problem = started.get()
            if problem:
                self.stop()
                raise ModbusServerError(f"modbus server on port {self.port}: {problem}")
        return self

    def stop(self):
        """Close every connection and end the thread. Harmless when repeated."""
        if self._thread is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(self.TIMEOUT_S)
            self._thread = None

    def restart(self):
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.stop()

    def _run(self, started):
        try:
            asyncio.run(self._serve(started))
        except Exception as error:  # noqa: BLE001 – it belongs to the thread that started this one
            started.put(error)

    async def _serve(self, started):
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        from pymodbus.server import ModbusTcpServer

        server = ModbusTcpServer(self.device(), address=(self.host, self.port))
        await server.serve_forever(background=True)
        started.put(None)
        await self._ended.wait()
        await server.shutdown()


class AhuServer(ModbusServer):
    """Serves ``air``, an ``AirHandler`` of that ``seed``; see ``POINTS`` for its registers.

    ``speedup`` is how many of the plant's seconds pass in one; 0 holds it still.
    """

    def __init__(self, port=0, seed=1, speedup=600):
        super().__init__(port)
        self.air = AirHandler(seed)
        self.speedup = speedup
        self._asked_ns = 0

    def device(self):
        """See ``ModbusServer``; each start begins where the plant stood."""
        from pymodbus.simulator import DataType, SimData, SimDevice

        self._asked_ns = time.monotonic_ns()
        bits = [[SimData(0, values=[False] * 16, datatype=DataType.BITS)] for _ in range(2)]
        holding = [SimData(0, datatype=DataType.REGISTERS)]
        inputs = [SimData(0, count=18, datatype=DataType.REGISTERS)]
        return SimDevice(UNIT, (*bits, holding, inputs), action=self._on_request)

    async def _on_request(self, function, start, address, count, registers, written):  # noqa: ARG002
        """Called by pymodbus before it reads ``registers`` or writes to them."""
        now = time.monotonic_ns()
        passed_ms = (now - self._asked_ns) // 1_000_000
        self._asked_ns += passed_ms * 1_000_000
        self.air.advance(min(passed_ms * self.speedup, MAX_ADVANCE_MS))
        if written is not None:
            return self._write(function, address, written)
        if function <= len(TABLES):  # not while a write reads its own echo
            self._refresh(TABLES[function - 1], registers)
        return None

    def _refresh(self, wanted, registers):
        for _, _, _, table, register, kind, scale, attribute in POINTS:
            if table != wanted:
                continue
            value = getattr(self.air, attribute)
            if kind == "bool":
                registers[0] = registers[0] & ~(1 << register) | value << register
            else:
                words = to_registers(value, kind, scale)
                registers[register : register + len(words)] = words
        if wanted == "coil":
            registers[0] &= ~(1 << FILTER_CHANGED_COIL)

    def _write(self, function, address, written):
        from pymodbus.constants import ExcCodes

        if function in WRITES_COILS:
            targets = range(address, address + len(written))
            if not set(targets) <= {0, FILTER_CHANGED_COIL}:
                return ExcCodes.ILLEGAL_ADDRESS
            for target, value in zip(targets, written, strict=True):
                if target == 0:
                    self.air.override = bool(value)
                elif value:
                    self.air.change_filter()
            return None
        low, high = SETPOINT_C
        if not low <= written[0] / 10 <= high:
            return ExcCodes.ILLEGAL_VALUE
        self.air.setpoint = written[0] / 10
        return None


def to_registers(value, kind, scale):
    """The registers of a number, by pymodbus' own conversion."""
    from pymodbus.client.mixin import ModbusClientMixin

    if "int" in kind:
        value = round(value / scale)
    return ModbusClientMixin.convert_to_registers(value, ModbusClientMixin.DATATYPE[kind.upper()])
