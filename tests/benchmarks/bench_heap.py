"""Heap that a node takes on a 32-bit MicroPython, loaded from .mpy files and from ROMFS.

Counted is what importing and constructing a ``Node`` adds to an interpreter that has imported
what the official ESP32 firmware has frozen. The ring of records and the buffer that messages are
encoded into are left out, because the configuration chooses their sizes; ``heap`` has the whole
number. The configuration is a file; the figures are those of every boot but the first one with
it, which validates it and leaves a plan behind (``first_boot``).
"""

import json
import tempfile
from pathlib import Path

import rig

import device_suite
from fieldpost_tools import romfs
from fieldpost_tools.build import build_mpy

#: Loaded only while a configuration is checked and applied; their memory is given back.
PASSING = (
    "build",
    "canonical",
    "changes",
    "config",
    "plan",
    "push",
    "reconfigure",
    "revisions",
    "rows",
    "schema",
    "secrets",
    "texts",
    "trial",
)

# What the official ESP32 firmware has in its flash, so that only the SDK is counted; some of it is
# Python here and C there. This build has no sockets. asyncio loads its parts on first use.
FIRMWARE = """
import array, asyncio, binascii, errno, gc, hashlib, json, math, os, random, re, select, struct
import sys, time
class Absent:
    pass
for name in ("socket", "usocket", "ssl"):
    sys.modules[name] = Absent
asyncio.Event, asyncio.Lock, asyncio.wait_for_ms, asyncio.gather
import umqtt.simple
"""

CONSTRUCT = """
from fieldpost.node import Node
node = Node("/state/config.json", "/state")
rings = sum(len(one.ring.buf) for one in node.subscriptions.values())
result = rings + len(node.outlet.buf)
del rings
"""

MINIMAL = {
    "node": "gw-1",
    "mqtt": [{"host": "10.0.0.5"}],
    "devices": [
        {"id": "dev", "driver": "virtual", "points": [{"name": "a"}, {"name": "b"}]},
    ],
    "subscriptions": [{"id": "default", "store": {"disk": False}}],
    "subscribers": [{"subscriber": "collector", "format": "packed"}],
}

ALL = {
    "node": "gw-1",
    "clock": {"ntp": ["10.0.0.1"]},
    "mqtt": [{"host": "10.0.0.5", "user": "gw-1", "password": "secret", "tls": {"ca": "/ca.pem"}}],
    "devices": [
        *MINIMAL["devices"],
        {"id": "here", "driver": "host", "points": [{"name": "load", "source": "load1"}]},
        {
            "id": "ahu",
            "driver": "modbus",
            "host": "10.0.0.6",
            "points": [
                {"name": "dat", "table": "holding", "register": 0, "log": "on_cov 0.5 1000"},
                {"name": "fan", "table": "coil", "register": 0, "log": "*/5 * * * *"},
            ],
        },
    ],
    "subscriptions": [
        {"id": "default", "store": {"disk": True}, "flush": {"onInterval": "60000"}}
    ],
    "subscribers": [
        {"subscriber": "collector", "format": "packed"},
        {"subscriber": "second", "ack": "md5"},
    ],
    "publish": {
        "value": [{"topic": "fieldpost/{node}/{device_id}/{point_id}/value"}],
        "alarm": [{"topic": "fieldpost/{node}/alarms/{severity}/{node_id}", "qos": 1}],
        "status": [{"topic": "fieldpost/{node}/status/{device_key}", "qos": 1, "retain": True}],
    },
}


def measure():
    """The four figures in KiB, the raw bytes, and what each module adds when it is imported."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-heap-") as folder:
        build_mpy(Path(folder, "root", "lib"))
        image = Path(folder, "rom.img")
        image.write_bytes(romfs.image(Path(folder, "root")))
        sources = {"mpy": {"files": f"{folder}/root/lib"}, "romfs": {"image": str(image)}}
        figures = {}
        raw = {"rom_image_bytes": image.stat().st_size}
        for kind, source in sources.items():
            for name, config in (("minimal", MINIMAL), ("all", ALL)):
                cost = raw[f"{name}_{kind}"] = node_cost(source, config, everything=name == "all")
                figures[f"heap_{name}_{kind}_kib"] = cost["kib"]
            raw[f"modules_{kind}"] = import_costs(source)
    return figures | {"heap": raw}


def node_cost(source, config, everything):
    """What a node takes; with ``everything`` also each module that it may load while it runs."""
    steps = [FIRMWARE, CONSTRUCT]
    if everything:
        names = [name for name in modules() if name.split(".")[-1] not in PASSING]
        steps.append("\n".join(f"import {name}" for name in names))
    with tempfile.TemporaryDirectory(prefix="fieldpost-state-") as state:
        Path(state, "config.json").write_text(json.dumps(config), encoding="utf-8")
        first, later = (_cost(rig.wasm(source | {"state": state}, steps)) for _ in range(2))
    return later | {"first_boot": first}


def _cost(results):
    whole = results[-1]["used"] - results[0]["used"]
    buffers = results[-1]["result"]
    return {"kib": round((whole - buffers) / 1024, 2), "bytes": whole, "buffers": buffers}


def import_costs(source):
    """Bytes that importing each module adds, in an order that loads what it needs before it."""
    names = modules()
    used = [
        one["used"] for one in rig.wasm(source, [FIRMWARE, *(f"import {name}" for name in names)])
    ]
    return {
        name: after - before for name, before, after in zip(names, used, used[1:], strict=False)
    }


def modules():
    """Dotted names of the package's modules, the ones that others need first."""
    first = ("compat", "errors", "events", "bus", "clock", "record", "ring", "net", "mqtt_codec")
    paths = (path.relative_to(device_suite.SDK) for path in device_suite.SDK.rglob("*.py"))
    found = {".".join(path.with_suffix("").parts) for path in paths}
    names = sorted(name.removesuffix(".__init__") for name in found)
    ahead = [f"fieldpost.{name}" for name in first]
    return ["fieldpost", *ahead, *(one for one in names if one not in {"fieldpost", *ahead})]
