"""For tests of the durable log: a log in a folder of its own, readers, a flash that fails."""

import os

from core_kit import UNIX_MS, still_clock
from flow_kit import BOOT, STREAM, Flow, values

from fieldpost import log, replay, segment, smallfile, spill
from fieldpost.compat import names
from fieldpost.config import Validator
from fieldpost.log import Log

FOLDER = "data/log"
MODULES = (log, replay, segment, smallfile, spill)


def wipe(folder="data"):
    """Remove a folder with all that is in it."""
    try:
        found = list(names(folder))
    except OSError:
        return
    for name in found:
        path = folder + "/" + name
        try:
            os.remove(path)
        except OSError:
            wipe(path)
    os.rmdir(folder)


def options(**store):
    """A validated ``store`` table."""
    return Validator().table("store", dict({"reserve": 0}, **store), "")


class Cursor:
    """What subscribers are to a log."""

    def __init__(self, log, name="collector"):
        self.name = name
        self.log = log
        self.acked = log.start(name)
        self.ack_timeouts = 0
        self.paused = None
        log.cursors.append(self)

    @property
    def owed(self):
        """Nothing is ever reported late here."""
        return self.acked

    def paused_ms(self):
        """For how long it has been paused, or None."""
        return self.paused

    def ack(self, index):
        """Confirm what is before ``index``."""
        self.acked = index
        self.log.released(self)


class Store:
    """A log that can be opened again and again, as a node does at each boot."""

    def __init__(self, frames=4, frame_bytes=256, unix_ms=None, policy="drop_oldest", **store):
        self.shape = frames * frame_bytes, frame_bytes, policy
        self.options = options(**dict({"segment": 1024}, **store))
        self.max_age = 0
        self.boot = 6
        self.stream = 69
        self.drops = []
        self.log = self.clock = self.ticks = None
        wipe()
        self.open(unix_ms)

    def open(self, unix_ms=None, cursor=True):
        """Boot: the log is opened, its one reader is there. What was in RAM is gone."""
        self.boot += 1
        self.clock, self.ticks = still_clock(1000, unix_ms)
        size, frame_bytes, policy = self.shape
        self.log = Log(
            FOLDER,
            self.options,
            size,
            self.clock,
            self.new_stream,
            self.boot,
            frame_bytes,
            policy,
            self.max_age,
            self.on_drop,
        )
        self.cursor = Cursor(self.log) if cursor else None
        return self.log

    def new_stream(self):
        """The first one is 70."""
        self.stream += 1
        return self.stream

    def on_drop(self, reason, count):
        """The log announces what is lost."""
        assert count > 0
        if self.drops and reason == "rejected" == self.drops[-1][0]:
            count += self.drops.pop()[1]
        self.drops.append((reason, count))

    def append(self, *values):
        """Record values of point 1; how many were taken."""
        return sum(self.log.append(1, value) for value in values)

    def fill(self, count):
        """Record so many values: each is its own index."""
        for _ in range(count):
            self.log.append(1, self.log.next + 100000)

    def tend(self, seconds=1):
        """Let time pass, with the care once a second."""
        for _ in range(seconds):
            self.ticks.advance(1000)
            self.log.tend()

    def segments(self):
        """Names of the segment files."""
        return sorted(names(FOLDER + segment.FOLDER))


def filled(count, **options):
    """A store in which so many records were stored while nobody confirmed any."""
    store = Store(durable=True, **options)
    for _ in range(count // 20):
        store.fill(20)
        store.tend()
    store.fill(count % 20)
    store.tend(11)
    assert store.log.stored == count
    return store


class LogFlow(Flow):
    """A ``Flow`` whose log is durable, and there again after ``reboot``."""

    def __init__(self, store=None, unix_ms=UNIX_MS, **rules):
        self.options = options(**dict({"segment": 1024}, **(store or {})))
        self.boot = BOOT - 1
        self.stream = STREAM - 1
        wipe()
        Flow.__init__(self, unix_ms, **rules)

    def make_ring(self, size, *shape):
        """A log in the folder of all tests."""
        self.boot += 1
        return Log(FOLDER, self.options, size, self.clock, self.new_stream, self.boot, *shape)

    def new_stream(self):
        """The first one is ``STREAM``."""
        self.stream += 1
        return self.stream

    def reboot(self, unix_ms=None):
        """What was in RAM is gone; the clock may be, too."""
        self.start(unix_ms)

    def tend(self, seconds=1):
        """Let time pass, with the care once a second."""
        for _ in range(seconds):
            self.pass_ms(1000)
            self.ring.tend()

    def mode(self):
        """What the subscription's state says."""
        return self.log.state()["mode"]


def total(drops, reason=None):
    """How many were announced as lost, for this reason or for any."""
    return sum(count for why, count in drops if reason in (None, why))


def accounted(store, reader, found):
    """Nothing is lost that is not counted, nothing counted that is not lost."""
    assert len(set(found)) == len(found)
    lost = store.log.next - len(found)
    assert reader.skipped == lost
    assert total(store.drops) == lost == sum(store.log.dropped.values())


def indexes(values):
    """The indexes of records made by ``fill``."""
    return [value - 100000 for value in values]


def taken(reader, limit=1 << 20):
    """The values ahead of a reader."""
    found = []
    while len(found) < limit:
        header = reader.open()
        if header is None:
            break
        for _ in range(min(header.count, limit - len(found))):
            found.append(reader.take()[2])
    return found


def fill(flow, count, per_second=20):
    """Record so many values at a steady rate; each is its own index."""
    for number in range(count):
        flow.append(flow.ring.next)
        if number % per_second == per_second - 1:
            flow.tend()


def run(flow, subscriber, ms, confirm=True):
    """Let the subscriber work for so long; what arrived, in order, confirmed or not."""
    got = []
    end = flow.clock.mono_ms() + ms
    second = 0
    while flow.clock.mono_ms() < end:
        wait = max(1, min(subscriber.step(), 1000, end - flow.clock.mono_ms()))
        for flush in flow.link.flushes():
            got += values(flush)
            if confirm and "seq" in flush:
                assert subscriber.ack(flush["flush"])
        flow.pass_ms(wait)
        if flow.clock.mono_ms() // 1000 > second:
            second = flow.clock.mono_ms() // 1000
            flow.ring.tend()
    return got


def reboot(flow):
    """A boot with the time known; its subscriber a while later."""
    flow.reboot(UNIX_MS)
    subscriber = flow.subscriber()
    flow.pass_ms(1000)
    return subscriber


class Fault:
    """Makes the file system fail: every call counts down ``left``, then raises ``code``.

    ``only`` limits it to calls of that name. Files come to their end of room in the middle of
    a write.
    """

    CALLS = ("rename", "remove", "mkdir", "statvfs", "stat")

    def __init__(self, code, left=0, only=None):
        self.code = code
        self.left = left
        self.only = only

    def check(self, name):
        """Raise if it is time to."""
        if self.only in (None, name):
            if self.left <= 0:
                raise OSError(self.code)
            self.left -= 1

    def open(self, *arguments):
        """``open``, or not."""
        self.check("open")
        return _File(self, open(*arguments))

    def names(self, folder):
        """``compat.names``, or not."""
        self.check("names")
        return names(folder)

    def __enter__(self):
        for module in MODULES:
            module.open = self.open
            if hasattr(module, "names"):
                module.names = self.names
            if hasattr(module, "os"):
                module.os = self
        return self

    def __exit__(self, *_):
        for module in MODULES:
            del module.open
            if hasattr(module, "names"):
                module.names = names
            if hasattr(module, "os"):
                module.os = os

    def __getattr__(self, name):
        function = getattr(os, name)

        def call(*arguments):
            self.check(name)
            return function(*arguments)

        return call


class _File:
    """A file whose calls may fail."""

    def __init__(self, fault, file):
        self.fault = fault
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        """All, or a part and an error."""
        try:
            self.fault.check("write")
        except OSError:
            self.file.write(data[: len(data) // 2])
            raise
        return self.file.write(data)

    def __getattr__(self, name):
        function = getattr(self.file, name)

        def call(*arguments):
            self.fault.check(name)
            return function(*arguments)

        return call
