"""Webhooks: how fast they are delivered, and how much heap they take.

``deliveries``  a whole node on a real 64-bit MicroPython delivers alarms to a server on this
                computer, one endpoint, default settings (a durable queue, TLS verified); against
                the firmware's ``requests``, which posts the same bodies to the same server one by
                one, each on a connection of its own and by TLS without verifying. Rounds follow
                one another; the figure is the median ratio
``heap``        what one endpoint, signed, adds to the minimal node of ``bench_heap``, on a 32-bit
                MicroPython, with all that a delivery loads, without the queue's buffer: with a
                queue on flash (the default), and in RAM (``webhooks``)
"""

import json
import statistics
import subprocess
import sys
import tempfile
import types
from contextlib import contextmanager
from pathlib import Path

import bench_heap
import rig

import certificates
from fieldpost import plan
from fieldpost.webhook.providers import generic
from fieldpost_tools import romfs
from fieldpost_tools.build import build_mpy

HEAP = "512k"
WARM_UP_S = 0.5
#: A small queue's bytes: it is not counted.
QUEUE_BYTES = 2048
LOADED = "import fieldpost.webhook.providers.generic"
ALARM = {
    "alarm_id": 64,
    "node_id": "dev/a",
    "device_id": "dev",
    "point_id": "a",
    "type": "high_limit",
    "severity": "warning",
    "state": "raised",
    "value": 21.375,
    "message": "high_limit at dev/a: 21.375 °C",
    "timestamp_ms": 1732233600123,
}
POINT = {
    "node_id": "dev/a",
    "name": "a",
    "unit": "",
    "device_id": "dev",
    "protocol": "virtual",
    "description": None,
    "tags": {},
}
DEVICES = [{"id": "dev", "driver": "virtual", "points": [{"name": "a"}]}]


def measure(seconds=4, rounds=3):
    """All figures; ``webhooks`` has what is behind them."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-webhook-") as folder:
        folder = Path(folder)
        build_mpy(folder / "root" / "lib")
        heap = heap_costs(folder)
        rates = deliveries(folder, seconds, rounds)
    return {
        "webhook_deliveries_ratio": _ratio(rates["plain"]),
        "webhook_deliveries_tls_ratio": _ratio(rates["tls"]),
        "webhook_heap_kib": heap["romfs"],
        "webhook_heap_mpy_kib": heap["mpy"],
        "webhooks": {"deliveries_per_s": rates, "heap_kib": heap},
    }


def deliveries(folder, seconds, rounds):
    """The rates of each round, plain and by TLS."""
    keys = certificates.Certificates(folder)
    keys.authority("ca")
    keys.sign("server", "ca", f"subjectAltName=IP:{rig.HOST}")
    rates = {}
    for kind, names in (("plain", ()), ("tls", ("server.pem", "server.key"))):
        with server(*map(keys.path, names)) as port:
            rates[kind] = [_round(folder, kind, port, seconds) for _ in range(rounds)]
    return rates


def heap_costs(folder):
    """KiB that webhooks add, by where the code is and where the queue is."""
    image = folder / "rom.img"
    image.write_bytes(romfs.image(folder / "root"))
    sources = {"romfs": {"image": str(image)}, "mpy": {"files": str(folder / "root" / "lib")}}
    costs = {}
    for kind, source in sources.items():
        node = _used(source, bench_heap.MINIMAL)
        for name, disk in (("", True), ("_ram_queue", False)):
            config = bench_heap.MINIMAL | {"webhooks": _section(disk)}
            more = _used(source, config, LOADED) - node - QUEUE_BYTES
            costs[kind + name] = round(more / 1024, 2)
    return costs


def _section(disk):
    endpoint = {"name": "a", "url": "http://10.0.0.1/", "signature": "hmac", "secret": "secret"}
    queue = {"ring_bytes": QUEUE_BYTES, "store": {"disk": disk}}
    return {"endpoints": [endpoint], "queue": queue}


def _used(source, config, *more):
    steps = [bench_heap.FIRMWARE, bench_heap.CONSTRUCT, *more]
    with tempfile.TemporaryDirectory(prefix="fieldpost-state-") as state:
        path = Path(state, "config.json")
        path.write_text(json.dumps(config), encoding="utf-8")
        # As the first boot would: a plan stays, and what it was made with is not loaded again.
        plan.load(str(path), state)
        return rig.wasm(source | {"state": state}, steps)[-1]["used"]


@contextmanager
def server(*certificate):
    """The port of a fresh ``hook_server``."""
    command = [sys.executable, rig.HERE / "hook_server.py", rig.HOST, *certificate]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield int(process.stdout.readline())
        process.stdin.close()


def body():
    """The body of such an alarm, as the node renders it."""
    event = {
        "event": "alarm_raised",
        "ts_ms": ALARM["timestamp_ms"],
        "data": ALARM,
        "point": POINT,
    }
    node = types.SimpleNamespace(name="bench")
    return generic.render(event, {"url": ""}, node)[2].decode()


def _round(folder, kind, port, seconds):
    url = f"{'https' if kind == 'tls' else 'http'}://{rig.HOST}:{port}/webhooks"
    return {
        "requests": _rate(folder, "posts", seconds, url=url, body=body()),
        "node": _rate(folder, "hooks", seconds, **_node(folder, kind, url)),
    }


def _node(folder, kind, url):
    webhooks = {"endpoints": [{"name": "local", "url": url}]}
    if kind == "tls":
        webhooks["tls"] = {"ca": str(folder / "ca.pem")}
    config = {"node": "bench", "devices": DEVICES, "webhooks": webhooks}
    return {"config": config, "folder": tempfile.mkdtemp(dir=folder), "alarm": ALARM}


def _rate(work, script, seconds, **job):
    job |= {"seconds": seconds, "warm_up": WARM_UP_S}
    told = rig.micropython(work / "root" / "lib", script, job, HEAP, seconds + WARM_UP_S)
    if any(told.get("other", {}).values()) or told.get("errors"):
        raise RuntimeError(f"{script} did not run undisturbed: {told}")
    return round(told["count"] * 1000 / told["ms"], 1)


def _ratio(rounds):
    return round(statistics.median(one["node"] / one["requests"] for one in rounds), 2)
