"""What the tests of the core share: a clock whose ticks stand still, a heap that is watched."""

import gc

try:
    import micropython
except ImportError:
    micropython = None

from fieldpost.clock import Clock
from fieldpost.compat import ticks_add

UNIX_MS = 1732233600123  # 2024-11-22


class Ticks:
    """A tick counter that moves when told to, and wraps as the real one."""

    def __init__(self, now=0):
        self.now = now

    def __call__(self):
        return self.now

    def advance(self, ms):
        """Let ``ms`` milliseconds pass, in steps that a wrapping counter can tell apart."""
        while ms:
            step = min(ms, 1 << 28)
            self.now = ticks_add(self.now, step)
            ms -= step


def still_clock(now=0, unix_ms=None):
    """``(Clock, its Ticks)``; trusted if a Unix time is given."""
    ticks = Ticks(now)
    clock = Clock(epoch_year=1970, ticks=ticks)
    if unix_ms is not None:
        clock.set_unix_ms(unix_ms, "test")
    return clock, ticks


def refused(error, call, *arguments):
    """The text of the error that a call has to raise."""
    try:
        call(*arguments)
    except error as raised:
        return str(raised)
    raise AssertionError("%r was accepted" % (arguments,))


def allocated(call, times):
    """Bytes of heap that calling ``call()`` takes; always 0 where the heap cannot be watched.

    The same number of calls follows with the heap locked: whatever allocates raises MemoryError
    there, even if it would free at once.
    """
    if micropython is None:
        call()
        return 0
    gc.collect()
    gc.disable()
    try:
        before = gc.mem_alloc()
        for _ in range(times):
            call()
        taken = gc.mem_alloc() - before
        micropython.heap_lock()
        try:
            for _ in range(times):
                call()
        finally:
            micropython.heap_unlock()
    finally:
        gc.enable()
    return taken
