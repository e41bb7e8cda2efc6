"""Runs the tests of one module on MicroPython: ``micropython -m runner test_ring``.

Plain ``test_*`` functions, sync and async; a fresh event loop for each where the port has
``asyncio.run`` (the WebAssembly port has one loop for ever). Prints a line per test and one at the
end, each ``#result `` followed by a JSON object; everything else on stdout is the tests' own. The
host side is ``tests/device_suite.py``.
"""

import asyncio
import gc
import io
import json
import sys
import time


async def own_loop(coroutine):
    """Drive a test to its end on a loop that no other test has seen."""
    try:
        asyncio.run(coroutine)
    finally:
        asyncio.new_event_loop()


async def shared_loop(coroutine):
    """Drive a test on the loop that is already running."""
    await coroutine


def report(**fields):
    """Print one result."""
    print("#result " + json.dumps(fields))


async def run(name, drive):
    """Run every test of module ``name``, in the order of their names; the number that failed."""
    module = __import__(name)
    tests = sorted(key for key in dir(module) if key.startswith("test_"))
    failed = 0
    for test in tests:
        gc.collect()
        started = time.ticks_ms()
        error = None
        try:
            pending = getattr(module, test)()
            if pending is not None:
                await drive(pending)
                pending = None  # with all it held
        except Exception as raised:
            text = io.StringIO()
            sys.print_exception(raised, text)
            error = text.getvalue()
            failed += 1
        report(test=test, error=error, ms=time.ticks_diff(time.ticks_ms(), started))
    gc.collect()
    report(tests=len(tests), failed=failed, heap_used=gc.mem_alloc(), heap_free=gc.mem_free())
    return failed


def main(name):
    """Run a module where asyncio has ``run``; ends the process with 0 or 1."""
    suite = run(name, own_loop)
    try:
        suite.send(None)  # never suspends: own_loop drives each test itself
    except StopIteration as done:
        sys.exit(1 if done.value else 0)


if __name__ == "__main__":
    main(sys.argv[1])
