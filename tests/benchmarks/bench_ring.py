"""What a record costs in the ring, on the 64-bit and the 32-bit MicroPython."""

import json
import tempfile

import rig

from fieldpost_tools.build import build_mpy

ON_WASM = """
import appends, json
result = json.dumps(appends.run())
"""


def measure():
    """Bytes of ring by record, and heap bytes that 10,000 appends take."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-ring-") as folder:
        build_mpy(folder)
        wide = rig.micropython(folder, "appends", None)
        build_mpy(folder, rig.DEVICE / "appends.py")
        (step,) = rig.wasm({"files": folder}, [ON_WASM])
    narrow = json.loads(step["result"])
    return {
        "ring_bytes_per_record": round(max(wide["float32"], narrow["float32"]), 2),
        "append_alloc_bytes": max(
            one[key] for one in (wide, narrow) for key in one if "alloc" in key
        ),
        "ring": {"64 bit": wide, "32 bit": narrow},
    }
