"""What a record costs in the ring: bytes kept, and heap taken while appending.

``run()`` returns a dict; the same file serves the 64-bit and the 32-bit MicroPython.
"""

import gc

from fieldpost.clock import Clock
from fieldpost.compat import ticks_add, ticks_ms
from fieldpost.ring import Ring

RING_BYTES = 16384
APPENDS = 10000
INTERVAL_MS = 1000
#: Exact as float32, and not.
FLOAT32, FLOAT64 = 21.375, 21.4


def make_ring(ticks=None):
    """A ring of the default size whose clock knows the time."""
    clock = Clock(ticks=ticks)
    clock.set_unix_ms(1732233600123, "bench")
    return Ring(RING_BYTES, clock, lambda: 1, 1)


def bytes_per_record(point_id, value):
    """Bytes of a full ring, headers included, by the records it then holds, one each second."""
    now = 0
    ring = make_ring(lambda: now)
    while not ring.oldest:
        kept = ring.next
        now = ticks_add(now, INTERVAL_MS)
        ring.append(point_id, value)
    return RING_BYTES / kept


def taken(ring, count, value):
    """Heap bytes that ``count`` appends take; without a ring, the loop alone."""
    ticks = ticks_ms()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(count):
        ticks = ticks_add(ticks, INTERVAL_MS)
        if ring:
            ring.append(1, value, None, ticks)
    after = gc.mem_alloc()
    gc.enable()
    return after - before


def run():
    """Everything measured."""
    ring = make_ring()
    taken(ring, APPENDS, FLOAT32)  # full from here on: every frame is used again
    loop = taken(None, APPENDS, FLOAT32)
    return {
        "float32": bytes_per_record(1, FLOAT32),
        "float64": bytes_per_record(1, FLOAT64),
        "wide_id": bytes_per_record(0x4000, FLOAT32),
        "alloc_float32": taken(ring, APPENDS, FLOAT32) - loop,
        "alloc_float64": taken(ring, APPENDS, FLOAT64) - loop,
        "alloc_int": taken(ring, APPENDS, -70000) - loop,
    }


if __name__ == "__main__":
    import json

    print(json.dumps(run()))
