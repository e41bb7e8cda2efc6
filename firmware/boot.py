"""Runs first after every reset, before main.py and before a host tool's raw REPL."""

import gc
import sys

# Collect when a quarter of the free heap has been used up, not only when all of it has: a full
# heap is a fragmented one, and TLS takes its memory in large pieces.
gc.threshold(gc.mem_free() // 4)
try:
    import slots

    # Not counted as a start: a host tool's soft reset runs this file, too, but not main.py.
    slots.select(False)
    del slots
except Exception as error:
    # A REPL, and a node where the first slot holds one, are better than neither.
    print("slots:", error)
    sys.path.insert(0, "/a")
