"""What storing costs the flash, and how fast a durable log is; on MicroPython and littlefs.

The flash is in RAM and counts what is done to it; speeds are those of this computer and of a
block device in Python. The log has the default settings of ``store``: ten points a second are
recorded for an outage that fills the flash twice, the log is opened again, and drained.
"""

import tempfile

import rig

import device_suite
from fieldpost.config import Validator
from fieldpost_tools.build import build_mpy

BLOCKS = 128
KIB, MIB = 1 << 10, 1 << 20


def measure(blocks=BLOCKS):
    """Bytes programmed and blocks erased for what is stored; ms to open, records/s in and out."""
    row = Validator().table("subscription", {"id": "default"}, "")
    with tempfile.TemporaryDirectory(prefix="fieldpost-log-") as folder:
        build_mpy(folder)
        build_mpy(folder, device_suite.ROOT / "tests" / "device" / "flash_kit.py")
        told = rig.micropython(folder, "segments", {"row": row, "blocks": blocks}, heap="8m")
    if told["errors"] or told["drained"] < told["kept_bytes"] // 20:
        raise RuntimeError(f"the log did not do its work: {told}")
    return {
        "flash_write_amplification": round(told["programmed"] / told["stored_bytes"], 2),
        "flash_erases_per_kib": round(told["erases"] * KIB / told["stored_bytes"], 3),
        "log_open_ms_per_mib": round(told["open_us"] / 1000 * MIB / told["kept_bytes"], 1),
        "log_append_per_s": _per_second(told["recorded"], told["record_us"]),
        "drain_records_per_s": _per_second(told["drained"], told["drain_us"]),
        "log": told,
    }


def _per_second(count, us):
    return round(count * 1_000_000 / us)
