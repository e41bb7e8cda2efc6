"""What each hardware driver takes of a board's heap: its code, and then a device of one point."""

import gc
import sys

from core_kit import micropython

from fieldpost.point import Point

#: Name, keys of the device, keys of the point.
DEVICES = (
    ("gpio", {}, {"pin": 4, "mode": "in", "invert": False}),
    ("counter", {"pin": 4}, {"kind": "total"}),
    ("adc", {"id": "d", "period": 20, "timeout_ms": 2000}, {}),
    ("dht", {"id": "d", "interval": 2000}, {"kind": "humidity"}),
    ("ds18x20", {"id": "d", "timeout_ms": 2000}, {"rom": None}),
    (
        "i2c",
        {"id": "d", "address": 72},
        {"kind": "register", "type": "int16", "bits": None, "shift": 0},
    ),
)
#: Bytes that no driver may take on a 32-bit board, the interpreter's table of names included: that
#: one grows by some 2 KB at a time, at the expense of whoever comes then.
LIMIT = 8192


def used():
    gc.collect()
    return gc.mem_alloc()


def made(name, device, point):
    """A driver with one point, of the bare keys that making it asks for."""
    module = __import__("fieldpost.drivers." + name, None, None, ("driver",))
    return module.driver(device, [Point(1, "d", "p", config=point)])


def test_code_and_device_fit():
    if micropython is None:
        return
    wide = sys.maxsize > 1 << 32
    import fieldpost.drivers.board  # noqa: F401 - what all of them share is not counted

    for name, device, point in DEVICES:
        sys.modules.pop("fieldpost.drivers." + name, None)
        start = used()
        one = made(name, device, point)
        code = used() - start
        start = used()
        other = made(name, device, point)
        device_bytes = used() - start
        print("%-8s %5d bytes of code, %4d a device" % (name, code - device_bytes, device_bytes))
        assert code < LIMIT * (2 if wide else 1), name
        del one, other
