"""For tests of code that reads ``ticks_ms`` and sleeps: time that passes only by sleeping."""

from fieldpost.compat import asyncio, ticks_add


class Patch:
    """Sets attributes of a module for the length of a ``with``."""

    def __init__(self, module, **names):
        self.module = module
        self.names = names

    def __enter__(self):
        self.before = {name: getattr(self.module, name) for name in self.names}
        for name in self.names:
            setattr(self.module, name, self.names[name])
        return self

    def __exit__(self, *_):
        for name in self.before:
            setattr(self.module, name, self.before[name])


class FakeTime:
    """``ticks_ms`` and ``sleep_ms`` of a module; sleeping takes no time and is written down.

    ``overshoot`` ms are added to each sleep, as a busy loop would.
    """

    def __init__(self, now=0, overshoot=0):
        self.now = now
        self.overshoot = overshoot
        self.slept = []

    def ticks_ms(self):
        return self.now

    def advance(self, ms):
        while ms:  # in steps that ticks_add takes
            step = min(ms, 1 << 28)
            self.now = ticks_add(self.now, step)
            ms -= step

    async def sleep_ms(self, ms):
        self.slept.append(ms)
        self.advance(ms + self.overshoot)
        await asyncio.sleep(0)

    def of(self, module):
        """A ``Patch`` of the module's own names for time."""
        return Patch(module, ticks_ms=self.ticks_ms, sleep_ms=self.sleep_ms)


async def turns(count):
    """Let other tasks run so many times."""
    for _ in range(count):
        await asyncio.sleep(0)
