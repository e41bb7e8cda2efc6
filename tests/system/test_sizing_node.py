"""``fieldpost plan`` against a real MicroPython: its littlefs, and its bytes on the way to
mosquitto."""

import asyncio
import contextlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import device_suite
from fieldpost_tools import sizing
from fieldpost_tools.collect import Collector
from fieldpost_tools.sim.broker import HOST
from fieldpost_tools.store import Store

ROOT = device_suite.ROOT
PROBE = Path(__file__).with_name("sizing_probe.py")
TOLERANCE = 0.1
TIMEOUT_S = 120
START_S, SECONDS = 20, 20
NODE = """
import asyncio, json, sys
from fieldpost.node import Node
asyncio.run(Node(json.load(sys.stdin), "data").run())
"""


def near(planned, real, what):
    """Print both; they must not differ by more than ``TOLERANCE``."""
    sys.stdout.write(
        f"{what}: planned {planned:.1f}, real {real:.1f}, {planned / real - 1:+.1%}\n"
    )
    assert planned == pytest.approx(real, rel=TOLERANCE), what


def config(count=5, port=1883, **store):
    """A node with so many sines, read every second."""
    sine = {"kind": "sine", "amplitude": 30, "period": 61_000, "decimals": 1}
    points = [{"name": f"p{i}", "phase": 700 * i, **sine} for i in range(count)]
    return {
        "node": "gw-1",
        "state_interval": 3_600_000,
        "mqtt": [{"host": HOST, "port": port}],
        "devices": [{"id": "ahu", "driver": "virtual", "points": points}],
        "subscriptions": [{"id": "default", "store": store}],
        "subscribers": [{"subscriber": "collector", "format": "packed"}],
    }


def plan(config, blocks, outage_hours):
    board = sizing.load_board("VIRTUAL", blocks * sizing.BLOCK_BYTES)
    return sizing.plan(config, board, sizing.Assumptions(outage_hours=outage_hours))


def probe(micropython, config, blocks, outage_s):
    """What ``sizing_probe.py`` measures with the values of ``config``'s sines."""
    points = len(config["devices"][0]["points"])
    values = [
        [[i + 1, round(30 * math.sin((s + 0.7 * i) * 2 * math.pi / 61), 1)] for i in range(points)]
        for s in range(61)
    ]
    bare = {key: config[key] for key in ("node", "subscriptions")}
    job = {"blocks": blocks, "config": bare, "outage_s": outage_s, "values": values}
    path = [ROOT / "sdk", ROOT / "tests" / "device", ".frozen"]
    done = subprocess.run(
        [micropython, "-X", "heapsize=16m", PROBE],
        env={**os.environ, "MICROPYPATH": ":".join(map(str, path))},
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("store", [{}, {"maxLatency": 300_000}, {"durable": True}])
def test_erases_and_blocks_of_an_outage(micropython, store):
    made = config(**store)
    planned = plan(made, 512, 1.5)
    real = probe(micropython, made, 512, 5400)
    assert real["lost_at_s"] is None
    near(planned.logs[0].records_per_hour * 1.5, real["records"], "records")
    near(planned.logs[0].writes_per_day, real["flash"]["segments"], "segments written")
    near(planned.erases_per_day, real["erases"], "blocks erased")
    in_use = planned.logs[0].need_flash_bytes / sizing.BLOCK_BYTES * (1 + sizing.NAME_BLOCKS)
    near(in_use, real["used_blocks"], "blocks in use")


@pytest.mark.parametrize("blocks", [64, 128])
def test_how_long_the_flash_holds(micropython, blocks):
    made = config(maxLatency=60_000)
    planned = plan(made, blocks, 1).logs[0].flash_hours * 3600
    real = probe(micropython, made, blocks, int(planned * 1.3))["lost_at_s"]
    near(planned, real, "seconds until a record is lost")


class Meter:
    """A TCP proxy that counts: ``up`` to the server, ``down`` from it."""

    def __init__(self, port):
        self.up = self.down = 0
        self._port = port

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(HOST, self._port)
        await asyncio.gather(
            self._pass("up", reader, far_writer), self._pass("down", far_reader, writer)
        )

    async def _pass(self, name, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                setattr(self, name, getattr(self, name) + len(data))
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def node_process(micropython, umqtt_path, config, folder):
    """A node of that configuration on MicroPython."""
    path = [ROOT / "sdk", umqtt_path, ".frozen"]
    process = await asyncio.create_subprocess_exec(
        *(micropython, "-X", "heapsize=1m", "-c", NODE),
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, "MICROPYPATH": ":".join(map(str, path))},
        cwd=folder,
    )
    try:
        process.stdin.write(json.dumps(config).encode())
        process.stdin.close()
        yield
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


async def until(condition):
    """Wait until it is so."""
    for _ in range(START_S * 10):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the node does not deliver")


async def test_bytes_between_a_node_and_mosquitto(micropython, umqtt_path, mosquitto, tmp_path):
    with (
        Store(tmp_path / "db", create=True) as store,
        Collector(f"mqtt://{HOST}:{mosquitto.port}", store) as collector,
    ):
        async with Meter(mosquitto.port) as meter:
            made = config(port=meter.port)
            collecting = asyncio.create_task(asyncio.to_thread(collector.run))
            async with node_process(micropython, umqtt_path, made, tmp_path):
                await until(lambda: store.totals().records > 10)
                before = meter.up, meter.down, store.totals().records
                await asyncio.sleep(SECONDS)
                real = meter.up - before[0], meter.down - before[1]
                records = store.totals().records - before[2]
            collector.stop()
            await collecting
    planned = plan(made, 512, 1)
    a_day = planned.logs[0].records_per_hour * 24
    near(a_day * SECONDS / 86400, records, "records")
    share = records / a_day
    near(sum(one.up for one in planned.traffic) * share, real[0], "bytes from the node")
    near(sum(one.down for one in planned.traffic) * share, real[1], "bytes to the node")
