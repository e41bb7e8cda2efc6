"""Runs first after every reset, before main.py and before a host tool's raw REPL."""

import gc

# Collect when a quarter of the free heap has been used up, not only when all of it has: a full
# heap is a fragmented one, and TLS takes its memory in large pieces.
gc.threshold(gc.mem_free() // 4)
