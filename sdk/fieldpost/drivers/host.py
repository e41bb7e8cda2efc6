"""The computer that runs the node, for boards that are computers.

``source`` of a point:

=========================================================  ========================================
``load1``, ``load5``, ``load15``                           processes that run or wait, averaged
                                                           over so many minutes
``memory_total``, ``memory_free``, ``memory_available``    bytes
``uptime``                                                 seconds since the computer started
``temperature``                                            °C from the sensor file ``path``
``disk_total``, ``disk_free``                              bytes of the file system at ``path``,
                                                           also littlefs and FAT
``heap_free``                                              bytes of the MicroPython heap, any board
=========================================================  ========================================

``path`` is by default ``/`` for disks and the first thermal zone for a temperature; it may be any
file that holds thousandths of °C, as ``/sys/class/hwmon/hwmon0/temp1_input`` does.

A source that this computer does not have makes its point fail with ``not available``. Formats:
proc(5), and Documentation/ABI/testing/sysfs-class-thermal and -hwmon of the Linux kernel.
"""

import gc
import os

from .base import Driver

_LOADS = ("load1", "load5", "load15")
_MEMORY = {
    "memory_total": "MemTotal:",
    "memory_free": "MemFree:",
    "memory_available": "MemAvailable:",
}
_ABSENT = (OSError, ValueError, IndexError, AttributeError)


def _head(path):
    with open(path) as file:
        return file.read(128)


def measure(source, path=None):
    """The value of one source now; raises one of ``_ABSENT`` where the computer has none."""
    if source in _LOADS:
        return float(_head("/proc/loadavg").split()[_LOADS.index(source)])
    if source in _MEMORY:
        words = _head("/proc/meminfo").split()
        return int(words[words.index(_MEMORY[source]) + 1]) * 1024
    if source == "uptime":
        return int(_head("/proc/uptime").split(".")[0])
    if source == "temperature":
        return round(int(_head(path or "/sys/class/thermal/thermal_zone0/temp")) / 1000, 1)
    if source == "heap_free":
        return gc.mem_free()
    disk = os.statvfs(path or "/")
    return disk[1] * disk[2 if source == "disk_total" else 4]


class Host(Driver):
    """Reads /proc, /sys and the interpreter; every read is bounded and needs no waiting."""

    POINT = """
        source: enum load1 load5 load15 memory_total memory_free memory_available uptime \
temperature disk_total disk_free heap_free
        path: str 1..128 = ?
    """

    async def read(self, points):
        """Update the points whose source exists, fail the others."""
        for point in points:
            try:
                value = measure(point.config["source"], point.config["path"])
            except _ABSENT:
                point.fail("not available")
            else:
                point.update(value)


driver = Host
