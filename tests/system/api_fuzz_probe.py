"""Sends odd requests to a whole node, on MicroPython: ``micropython api_fuzz_probe.py``.

JSON on stdin: ``config`` (of the node), ``folder``, ``count``, ``seed``, ``skip`` (methods that
are not called). Prints what came of it, and the heap in use after every 10,000 requests.
"""

import asyncio
import gc
import json
import sys

from api_fuzz import Fuzzer, fuzz

from fieldpost.api import dispatch
from fieldpost.compat import ticks_diff, ticks_ms
from fieldpost.events import ERROR
from fieldpost.node import Node


def methods(skip):
    """``(module, method, names of its parameters)`` of the whole API."""
    found = []
    for name in dispatch.MODULES:
        try:
            module = __import__("fieldpost.api." + name, None, None, ("METHODS",))
        except ImportError:
            continue
        for method in sorted(module.METHODS):
            if name + "." + method not in skip:
                lines = module.METHODS[method][1].strip().split("\n")
                found.append((name, method, [line.strip().split(":")[0] for line in lines]))
    return found


async def main(config, folder, count, seed, skip):
    gc.threshold(gc.mem_free() // 4)  # as boot.py of the firmware does
    node = Node(config, folder)
    node.bus.subscribe(ERROR, lambda _kind, _key, error: sys.print_exception(error, sys.stderr))
    task = asyncio.create_task(node.run())
    await asyncio.sleep(1)
    known = methods(skip)
    heaps = []
    begin = ticks_ms()
    replies, errors, slowest = await fuzz(
        node.dispatcher(),
        Fuzzer(known, seed),
        count,
        ("mqtt", "serial"),
        lambda _number: heaps.append(gc.mem_alloc()),
    )
    ms = ticks_diff(ticks_ms(), begin)
    reads = sum(device.reads for device in node.devices.values())
    await asyncio.sleep(1)
    result = {
        "requests": count,
        "methods": len(known),
        "replies": replies,
        "errors": errors,
        "ms": ms,
        "slowest_ms": slowest,
        "heaps": heaps,
        "counters": node.api.counters,
        "faults": [error[1:] for error in node.errors if error[1] == "api"],
        "fault_count": node.counters["errors"],
        "running": node.api._running + len(node.api._jobs) + len(node.api._tasks),
        "sampling": sum(device.reads for device in node.devices.values()) > reads,
    }
    task.cancel()
    sys.stdout.write(json.dumps(result) + "\n")


asyncio.run(main(**json.load(sys.stdin)))
