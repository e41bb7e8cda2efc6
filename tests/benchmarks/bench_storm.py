"""A storm of webhooks: 10,000 alarms in a second.

``heap``    bus, clock, queue and dispatcher on a 32-bit MicroPython, from ROMFS, with servers that
            refuse, never answer, or fail for good: the most heap in use after a collection,
            without asyncio, which a board has frozen
``board``   the same on a virtual board of 128 KiB, which is the same heap where words have 64 bit,
            and there is no more of it
``jitter``  a whole node on a 64-bit MicroPython that delivers to a real server meanwhile, and
            samples a point every 100 ms: how far the intervals are from that; ``quiet`` is the
            same without a storm, which tells what the machine itself adds

Every event must be accounted for: queued, or counted as dropped; and each that was queued, for
every endpoint: delivered, failed, dropped or waiting. When the servers are back, what waits is
delivered.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import bench_webhook
import rig

import device_suite
from fieldpost.config import Validator
from fieldpost.webhook.check import check, compact
from fieldpost_tools import romfs
from fieldpost_tools.build import build_mpy, device_packages
from fieldpost_tools.sim.board import Board

RATE = 10_000
INTERVAL_MS = 100
BOARD_HEAP = "128k"
TIMEOUT_S = 120
#: Events between two collections, for which a board needs nobody.
SLICE = 5
#: Named after what the servers do. A board of this size keeps short histories.
SECTION = {
    "endpoints": [
        {"name": "refusing", "url": "http://refusing/"},
        {"name": "silent", "url": "http://silent/", "timeout_ms": 200},
        {"name": "failing", "url": "http://failing/"},
    ],
    "queue": {"store": {"disk": False}},
    "history": 8,
    "dead": 2,
}
BOARD_CODE = """
import gc
gc.threshold(gc.mem_free() // 4)  # as boot.py has it
import asyncio, json, storm
with open("/row.json") as _file:
    _row = json.load(_file)
asyncio.run(storm.run(_row, {events}))
"""


def measure(events=RATE, seconds=10):
    """Heap and jitter; ``webhook_storm`` has the accounts."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-storm-") as folder:
        folder = Path(folder)
        build_mpy(folder / "root" / "lib", *device_packages(), rig.DEVICE / "storm.py")
        image = folder / "rom.img"
        image.write_bytes(romfs.image(folder / "root"))
        heap = on_32_bit(image, events)
        board = on_board(folder / "flash", image, events)
        lib = folder / "root" / "lib"
        sampling = {
            name: while_sampling(lib, folder / name, rate, seconds)
            for name, rate in (("quiet", 0), ("storm", RATE))
        }
    live = heap["peak"]["live"] - heap["given"]["frozen"] + heap["given"]["interpreter"]
    return {
        "webhook_storm_heap_kib": round(live / 1024, 2),
        "webhook_storm_jitter_p99_ms": sampling["storm"]["p99_ms"],
        "webhook_storm": {"heap": heap, "board": board, "sampling": sampling},
    }


def row():
    """``SECTION`` as a plan has it."""
    made = Validator().table("webhooks", json.loads(json.dumps(SECTION)), "webhooks")
    check(made)
    return compact(made)


def on_32_bit(image, events):
    """The storm on the WebAssembly build; what ``storm.mjs`` prints."""
    command = device_suite.wasm_command()
    if not command:
        raise RuntimeError("32-bit MicroPython is missing: make bench installs it")
    node, package = command
    job = {"image": str(image), "row": row(), "events": events, "slice": SLICE}
    done = subprocess.run(
        [node, rig.HERE / "storm.mjs", package],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"storm.mjs failed:\n{done.stdout}{done.stderr}")
    return _exact(json.loads(done.stdout), events)


def on_board(flash, image, events):
    """The storm on a virtual board; what ``storm.run`` prints."""
    flash.mkdir()
    (flash / "row.json").write_text(json.dumps(row()), encoding="utf-8")
    with Board(flash, BOARD_HEAP, romfs=image) as board:
        printed = board.exec(BOARD_CODE.format(events=events), TIMEOUT_S)
    return _exact(json.loads(printed), events)


def while_sampling(lib, data, rate, seconds):
    """The 99th percentile of the jitter in ms at so many events/s, and what became of them."""
    points = [{"name": "a", "kind": "counter"}]
    device = {"id": "dev", "driver": "virtual", "interval": INTERVAL_MS, "points": points}
    with bench_webhook.server() as port:
        endpoint = {"name": "local", "url": f"http://{rig.HOST}:{port}/"}
        config = {"node": "storm", "devices": [device], "webhooks": {"endpoints": [endpoint]}}
        job = {"config": config, "folder": str(data), "alarm": bench_webhook.ALARM}
        job |= {"rate": rate, "seconds": seconds}
        told = rig.micropython(lib, "storm_node", job, bench_webhook.HEAP, seconds)
    late = sorted(abs(us / 1000 - INTERVAL_MS) for us in told.pop("intervals_us"))
    if told["errors"] or len(late) < 0.9 * seconds * 1000 / INTERVAL_MS:
        raise RuntimeError(f"the node did not sample as it should: {told}")
    _require_exact(told, told["emitted"])
    places = {"p99_ms": int(len(late) * 0.99), "median_ms": len(late) // 2, "max_ms": -1}
    return {name: round(late[place], 3) for name, place in places.items()} | told


def _exact(told, events):
    _require_exact(told["storm"], events)
    _require_exact(told["after"], events)
    if any(one["waiting"] or not one["delivered"] for one in told["after"]["endpoints"].values()):
        raise RuntimeError(f"not everything that waited was delivered: {told}")
    return told


def _require_exact(account, events):
    counters = account["counters"]
    taken = sum(counters[name] for name in ("events", "full", "paused", "refused"))
    fates = ("delivered", "failed", "dropped", "waiting")
    known = {sum(one[name] for name in fates) for one in account["endpoints"].values()}
    if taken != events or known != {counters["events"]} or account["emitted"] != events:
        raise RuntimeError(f"events without a fate: {account}")
