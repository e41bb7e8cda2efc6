"""log, the promise: what was stored is delivered or reported, through power cuts, damage and all.

Random appends, time, lost messages, confirmations, broken links, pauses, clock steps, full
volumes, failing calls, damaged files and power cuts, for two subscribers of one small log. Each
record's value is a serial number. Everything that arrives has to be the record that was appended
with that number; in the end each subscriber has, or was told that it does not get, every record
that was on flash whenever the power went, and all of the last boot.
"""

import random

from core_kit import UNIX_MS
from flow_kit import flush_of
from log_kit import FOLDER, Fault, LogFlow

from fieldpost import segment
from fieldpost.compat import MICROPYTHON

HEAP = "4m"
SEEDS = 4 if MICROPYTHON else 40
MOVES = 300


def pick(limit):
    """A random number below ``limit``."""
    return random.getrandbits(16) % limit


class Collector:
    """One subscriber's other end: what it stored by stream and seq, what it was told."""

    def __init__(self, name):
        self.name = name
        self.subscriber = None
        self.stored = {}
        self.told = set()
        self.waiting = []


class World:
    """A node with its flash, and what can happen to it."""

    def __init__(self, seed, damage):
        random.seed(seed)
        store = {
            "durable": pick(3) == 0,
            "maxLatency": 1000 + pick(8000),
            "onEntries": pick(2) * 50,
            "onAckTimeouts": 1 + pick(3),
            "onPause": pick(20000),
            "segment": 512 + pick(1024),
            "maxBytes": pick(2) * 4096 * (4 + pick(20)),
        }
        self.damage = damage
        self.flow = LogFlow(
            store,
            unix_ms=UNIX_MS if pick(2) else None,
            frames=2 + pick(6),
            frame_bytes=128 + pick(200),
            buffer_bytes=300,
            policy=("drop_oldest", "reject_new")[pick(3) == 0],
            maxEntries=1 + pick(20),
            maxBytes=128 + pick(600),
            parallel=1 + pick(8),
            ackTimeout=500 + pick(2000),
            catchUp=pick(3) * 10,
        )
        self.form = ("json", "packed")[pick(2)]
        self.serial = 0
        #: Of each index, in this boot: (stream, seq); what was appended as that.
        self.keys = []
        self.values = {}
        self.collectors = [Collector("a"), Collector("b")]
        self.on_way = []
        self.boot()

    def boot(self):
        """The subscribers of this boot."""
        self.on_way = []
        for collector in self.collectors:
            collector.waiting = []
            collector.subscriber = self.flow.subscriber(collector.name, format=self.form)

    def collector(self):
        return self.collectors[pick(2)]

    # -- moves

    def append(self):
        log = self.flow.ring
        for _ in range(1 + pick(12)):
            key = (log.stream, log.next_seq)
            self.serial += 1
            text = "x" * pick(30) if pick(6) == 0 else None
            if log.append(1 + pick(3), self.serial, text):
                self.keys.append(key)
                self.values[key] = self.serial

    def wait(self):
        for collector in self.collectors:
            collector.subscriber.step()
        self.collect()
        self.flow.pass_ms(pick(2000))
        self.flow.ring.tend()

    def collect(self):
        self.on_way += self.flow.link.sent
        self.flow.link.sent = []

    def arrive(self):
        for _ in range(min(len(self.on_way), 1 + pick(6))):
            message = self.on_way.pop(0)
            if pick(5):
                self.receive(message)
            message.done(True)

    def receive(self, message):
        collector = self.collectors[message.topic[-1] == "b"]
        flush = flush_of(message)
        if "seq" not in flush:
            return
        stream, seq = flush["stream"], flush["seq"]
        for number, record in enumerate(flush["value"]):
            key = (stream, seq + number)
            assert self.values[key] == record[2], key
            collector.stored[key] = record[2]
        index = self.keys.index((stream, seq))
        collector.told.update(self.keys[max(0, index - flush["skipped"]) : index])
        collector.waiting.append(flush)

    def confirm(self):
        collector = self.collector()
        if collector.waiting:
            flush = collector.waiting.pop(pick(len(collector.waiting)))
            collector.subscriber.ack(flush["flush"], first=(flush["stream"], flush["seq"]))

    def break_link(self):
        for message in self.on_way:
            message.done(False)
        self.on_way = []
        self.flow.link.connected = False

    def mend_link(self):
        if not self.flow.link.connected:
            self.flow.link.connected = True
            for collector in self.collectors:
                collector.subscriber.link_up(pick(2) == 0)

    def choke(self):
        self.flow.link.room = pick(4)

    def clear_choke(self):
        self.flow.link.room = 1 << 20

    def pause(self):
        subscriber = self.collector().subscriber
        if not subscriber.paused:
            subscriber.pause()

    def resume(self):
        self.collector().subscriber.resume()

    def set_clock(self):
        self.flow.clock.set_unix_ms(UNIX_MS + pick(1 << 16) * 1000, "test")

    def fail(self):
        """The flash refuses some calls, then works again."""
        with Fault((5, 28)[pick(2)], pick(6)):
            self.append()
            self.flow.pass_ms(1000)
            self.flow.ring.tend()

    def cut(self):
        """The power goes, and comes back."""
        log = self.flow.ring
        stored = log.stored
        if self.damage:
            self.spoil()
        self.flow.reboot(UNIX_MS if pick(2) else None)
        log = self.flow.ring
        self.keys = self.keys[: min(stored, log.next)]
        # Numbers that nobody has got and nobody will.
        self.keys += [None] * (log.next - len(self.keys))
        for collector in self.collectors:
            if self.damage and collector.name not in log._saved:
                # With its cursor went what it was still to be told.
                collector.told.update(self.keys[: log.oldest])
        self.boot()

    def spoil(self):
        """A bit flips, or a file is cut short."""
        log = self.flow.ring
        names = [segment.path(FOLDER, index) for index in log.segments]
        names += [FOLDER + "/" + collector.name + ".cur" for collector in self.collectors]
        try:
            with open(names[pick(len(names))], "r+b") as file:
                data = file.read()
                at = pick(len(data))
                file.seek(at)
                file.write(bytes((data[at] ^ 1 << pick(8),)))
        except (OSError, ZeroDivisionError):
            return

    MOVES = (
        [append] * 8
        + [wait] * 5
        + [arrive] * 4
        + [confirm] * 4
        + [break_link, mend_link, mend_link, mend_link, choke, clear_choke, clear_choke]
        + [pause, resume, resume, set_clock, fail, cut]
    )

    # -- the end

    def settle(self):
        """Everything works again, for long enough."""
        self.clear_choke()
        self.mend_link()
        for collector in self.collectors:
            collector.subscriber.resume()
        for number in range(3000):
            self.flow.pass_ms(500)
            self.flow.ring.tend()
            if number % 50 == 0:
                # What was given up is told with a new record.
                self.append()
            for collector in self.collectors:
                collector.subscriber.step()
            self.collect()
            while self.on_way:
                message = self.on_way.pop(0)
                self.receive(message)
                message.done(True)
            for collector in self.collectors:
                while collector.waiting:
                    flush = collector.waiting.pop(0)
                    collector.subscriber.ack(flush["flush"])
            if self.at_rest():
                return
        raise AssertionError("it never came to rest")

    def at_rest(self):
        return all(
            collector.subscriber.acked == collector.subscriber.owed == self.flow.ring.next
            for collector in self.collectors
        )


def play(seed, damage=False):
    world = World(seed, damage)
    for _ in range(MOVES):
        World.MOVES[pick(len(World.MOVES))](world)
    world.settle()
    log = world.flow.ring
    dropped = sum(log.dropped.values())
    for collector in world.collectors:
        assert log.next == len(world.keys)
        for index, key in enumerate(world.keys):
            got = key is None or key in collector.stored or key in collector.told
            assert got, (seed, collector.name, index, key)
        told = collector.told - set(collector.stored)
        assert dropped or damage or not told or log.boot > 3, (seed, len(told))
    assert not log.segments or log.mode != "RAM"
    return world


def test_delivered_or_reported():
    for seed in range(SEEDS):
        play(seed)


def test_delivered_or_reported_whatever_the_flash_gives_back():
    for seed in range(100, 100 + SEEDS):
        play(seed, damage=True)


def test_without_cuts_nothing_is_lost():
    moves = World.MOVES
    World.MOVES = [move for move in moves if move not in (World.cut, World.fail)]
    try:
        for seed in range(SEEDS):
            world = World(seed, False)
            world.flow.options["maxBytes"] = 0
            for _ in range(MOVES):
                World.MOVES[pick(len(World.MOVES))](world)
            world.settle()
            assert world.flow.ring.dropped == {}, seed
            for collector in world.collectors:
                assert collector.stored == world.values
                assert not collector.told
    finally:
        World.MOVES = moves
