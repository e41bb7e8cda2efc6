"""The power is cut at every single operation of a flash chip under littlefs.

A node's life is run once, with a journal of every program and erase and of what the log claimed
at that moment. Then, for every operation, the flash is put together as it would be if the power
had gone just before it, or in the middle of it, and a node boots from that: whatever was claimed
has to hold.
"""

import gc
import os
import random

from core_kit import UNIX_MS, still_clock
from flash_kit import ERASE, PROGRAM, Flash, apply
from log_kit import Cursor, options

from fieldpost.counters import Counters
from fieldpost.log import Log

NEEDS = "littlefs"
HEAP = "4m"

BLOCKS = 20
ROOT = "/flash"
# A volume of so few blocks is full with half a dozen segments.
VOLUME = {"segment": 768, "reserve": 2 * Flash.BLOCK}
DURABLE = dict(VOLUME, durable=True, maxLatency=3000)
SPILLING = dict(VOLUME, onEntries=30)
NAMES = ("fast", "slow")
#: Seconds of each of the two boots; ``make soak`` has more.
ROUNDS = int(os.getenv("FIELDPOST_POWER_ROUNDS") or 24)


def pick(limit):
    """A random number below ``limit``."""
    return random.getrandbits(16) % limit


class Node:
    """As much of a node as a log needs. It boots when it is made."""

    def __init__(self, store):
        numbers = Counters(ROOT)
        self.boot = numbers.take("boot")
        self.clock, self.ticks = still_clock(1000)
        shape = (4 * 160, self.clock, lambda: numbers.take("stream"), self.boot, 160)
        self.log = Log(ROOT + "/logs/default", options(**store), *shape)
        self.cursors = [Cursor(self.log, name) for name in NAMES]
        assert not numbers.degraded

    def tend(self):
        """A second passes."""
        self.ticks.advance(1000)
        self.log.tend()


class Life:
    """What happens to a node until the power goes for good, and what was claimed meanwhile."""

    def __init__(self, store):
        self.store = store
        self.flash = Flash(BLOCKS)
        self.flash.format()
        self.image = bytearray(self.flash.data)
        self.journal = []
        self.claims = []
        #: By index: (value, boot, monotonic ms). A new list for each boot.
        self.records = []
        self.offsets = {}
        self.saved = [0] * len(NAMES)
        self.node = None
        self.boot = self.stream = 0
        self.most = 0

    def live(self, boots, rounds):
        """Run it."""
        self.flash.mount()
        self.flash.watch = self._watch
        try:
            for _ in range(boots):
                self._boot()
                for number in range(rounds):
                    self._round()
                    if number == rounds // 2 and self.boot & 1:
                        self._learn_the_time()
        finally:
            self.flash.watch = None
            self.flash.unmount()
        self.claims.append(self._claim())

    def _boot(self):
        stored = self.node.log.stored if self.node else 0
        self.node = None
        self.node = Node(self.store)
        log = self.node.log
        # What was not stored is gone; its indexes may be used again.
        self.records = self.records[: min(stored, log.next)]
        self.records += [None] * (log.next - len(self.records))
        self.boot, self.stream = self.node.boot, log.stream

    def _round(self):
        log = self.node.log
        for _ in range(pick(30)):
            value = (log.stream << 16) + log.next_seq
            self.records.append((value, self.boot, self.node.clock.mono_ms()))
            log.append(1, value)
            self.node.ticks.advance(pick(100))
        fast, slow = self.node.cursors
        fast.ack(max(fast.acked, log.oldest, log.next - pick(60)))
        if pick(10) == 0:
            slow.ack(max(slow.acked, log.oldest, log.next - pick(150)))
        self.node.tend()
        if self.node.clock.trusted:
            self.offsets[self.boot] = self.node.clock.offset_ms
        if log.segments:
            self.saved = [cursor.acked for cursor in self.node.cursors]
            self.most = max(self.most, len(log.segments))

    def _learn_the_time(self):
        self.node.clock.set_unix_ms(UNIX_MS + self.boot * 100000, "test")

    def _claim(self):
        log = self.node and self.node.log
        if log is None:
            # Booting: as before.
            return (
                self.claims[-1] if self.claims else (self.records, 0, 0, [0, 0], [0, 0], (), 0, 0)
            )
        acked = [cursor.acked for cursor in self.node.cursors]
        kept = self.records, log.stored, log.oldest, acked, self.saved
        return kept + (tuple(self.offsets), self.boot, self.stream)

    def _watch(self, kind, address, data):
        self.journal.append((kind, address, data and bytes(data)))
        self.claims.append(self._claim())


def check(image, claim, life):
    """Boot from a flash as the cut left it: what was claimed has to hold."""
    records, stored, oldest, acked, saved, dated, boot, stream = claim
    flash = Flash(BLOCKS, image)
    flash.mount()
    try:
        node = Node(life.store)
        log = node.log
        assert node.boot > boot and log.stream > stream, "a number is used twice"
        for number in range(len(NAMES)):
            start = log.start(NAMES[number])
            assert start >= min(saved[number], acked[number]), "confirmed long ago"
            found = delivered(log, start, records, life.offsets, dated)
            needed = range(max(acked[number], oldest, start), stored)
            for index in needed:
                # One that only the other reader got before a restart was never stored.
                lost = index not in found and records[index]
                assert not lost, (NAMES[number], index)
        assert log.dropped == {}, "nothing is damaged"
        assert log.flash["errors"] == 0
        go_on(node)
    finally:
        flash.unmount()


def delivered(log, start, records, offsets, dated):
    """The set of indexes that a reader gets; each with its value, number and time.

    Those of the boots in ``dated`` have to be dated.
    """
    found = set()
    reader = log.reader(start)
    header = reader.open()
    while header:
        index = reader.index
        ms = header.base
        for number in range(header.count):
            delta, _, value, _ = reader.take()
            ms += delta
            expected, boot, mono = records[index + number]
            assert value == expected == (header.stream << 16) + header.seq + number
            assert header.boot == boot
            if header.dated:
                mono += offsets[boot]
            assert ms == mono and (header.dated or boot not in dated)
            assert index + number not in found
            found.add(index + number)
        header = reader.open()
    return found


def go_on(node):
    """It records and stores as ever, and the next boot finds that."""
    node.log.options.update(DURABLE)
    first, stream = node.log.next, node.log.stream
    for number in range(40):
        node.log.append(1, number)
        if number % 13 == 0:
            node.tend()
    for _ in range(5):
        node.tend()
    assert node.log.stored == first + 40
    again = Node(DURABLE)
    assert (again.log.next, again.log.flash["errors"]) == (first + 40, 0)
    assert again.boot > node.boot and again.log.stream > stream
    reader = again.log.reader(first)
    values = []
    header = reader.open()
    while header:
        assert (header.stream, header.seq) == (stream, len(values))
        for _ in range(header.count):
            values.append(reader.take()[2])
        header = reader.open()
    assert values == list(range(40)) and not reader.skipped


def cut_everywhere(life):
    """Check every cut; returns how many there were: before, amid, between erase and program."""
    image = life.image
    before = amid = between = 0
    erased = False
    for number, claim in enumerate(life.claims):
        if number == len(life.journal):
            break
        kind, address, data = life.journal[number]
        check(bytearray(image), claim, life)
        before += 1
        between += erased and kind == PROGRAM
        erased = kind == ERASE
        torn = bytearray(image)
        apply(torn, kind, address, data, torn=True)
        check(torn, claim, life)
        amid += 1
        apply(image, kind, address, data)
        gc.collect()
    check(image, life.claims[-1], life)
    return before + 1, amid, between


def cut_a_life(store, seed):
    """Live, and check every cut of that life; returns the node as it was in the end."""
    random.seed(seed)
    life = Life(store)
    life.live(2, ROUNDS)
    log = life.node.log
    print("dropped", log.dropped, log.flash)
    assert life.offsets and log.flash["deleted"]
    before, amid, between = cut_everywhere(life)
    print(
        "power cut at %d points: %d before an operation, %d of them between erase and program,"
        " %d in the middle of one" % (before + amid, before, between, amid)
    )
    return log


def test_cut_at_every_operation_of_a_durable_log():
    log = cut_a_life(DURABLE, 11)
    assert log.dropped["flash_full"]


def test_cut_at_every_operation_of_a_log_that_spills():
    log = cut_a_life(SPILLING, 11)
    assert log.dropped["flash_full"]
