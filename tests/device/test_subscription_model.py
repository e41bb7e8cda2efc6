"""subscription, the promise: whatever happens, each record is delivered, reported or still owed.

Random appends, time, lost messages, confirmations in any order, broken links, pauses and clock
steps, for two subscribers of one small log; after each, and with everything settled at the end,
what the collectors hold is compared with what was appended. Records carry their own index as the
value, so every one that arrives proves its identity.
"""

import random

from core_kit import UNIX_MS
from flow_kit import STREAM, Flow, flush_of

from fieldpost.compat import MICROPYTHON

SEEDS = 5 if MICROPYTHON else 60
MOVES = 250


def pick(limit):
    """A random number below ``limit``."""
    return random.getrandbits(16) % limit


class Collector:
    """One subscriber's other end: what it stored, what it was told, what is on the way."""

    def __init__(self, subscriber):
        self.subscriber = subscriber
        self.stored = set()
        self.reported = set()
        #: Flushes that it received and did not confirm yet.
        self.unconfirmed = []

    def receive(self, flush):
        """Store a flush; twice is fine."""
        first = flush.get("seq")
        if first is None:
            return
        assert flush["stream"] == STREAM
        for i, record in enumerate(flush["value"]):
            assert record[2] == first + i, flush
            self.stored.add(first + i)
        self.reported.update(range(first - flush["skipped"], first))
        self.unconfirmed.append(flush)

    def confirm(self, flush):
        """Send the acknowledgement, which may come late."""
        first = (flush["stream"], flush["seq"])
        self.subscriber.ack(flush["flush"], first=first if pick(4) else None)

    def at_rest(self):
        """Everything is confirmed and told."""
        reader = self.subscriber._reader
        return self.subscriber.acked == reader.ring.next and not reader.skipped

    def check(self, end):
        """Nothing is missing that is not owed."""
        reader = self.subscriber._reader
        owed = reader.index - reader.skipped
        for flush in self.subscriber.inflight:
            owed = min(owed, flush.index - flush.skipped)
        for index in range(end):
            assert index in self.stored or index in self.reported or index >= owed, index
        assert self.subscriber.acked <= end


class World:
    """A log, its subscribers, and what can happen to them."""

    def __init__(self, seed):
        random.seed(seed)
        policy = ("drop_oldest", "reject_new", "max_age")[pick(3)]
        self.flow = Flow(
            unix_ms=UNIX_MS if pick(2) else None,
            frames=2 + pick(4),
            frame_bytes=80 + pick(80),
            buffer_bytes=300,
            policy=policy,
            max_age_ms=5000,
            maxEntries=1 + pick(8),
            maxBytes=128 + pick(300),
            onEntries=1 + pick(4),
            minDelay=pick(300),
            maxDelay=pick(2000),
            parallel=1 + pick(5),
            ackTimeout=100 + pick(1000),
        )
        self.collectors = {}
        for name in ("a", "b"):
            form = ("json", "packed")[pick(2)]
            ack = ("id", "auto")[pick(4) == 0]
            subscriber = self.flow.subscriber(name, format=form, ack=ack, keepalive=pick(2) * 900)
            self.collectors[name] = Collector(subscriber)
        self.on_way = []

    def collector(self):
        return self.collectors["ab"[pick(2)]]

    def append(self):
        ring = self.flow.ring
        for _ in range(1 + pick(5)):
            text = "x" * pick(30) if pick(4) == 0 else None
            ring.append(1 + pick(3), ring.next, text)

    def wait(self):
        """Time passes; what a step said it may sleep through stays quiet."""
        waits = [c.subscriber.step() for c in self.collectors.values()]
        self.collect()
        quiet = min(waits) - 1
        if quiet > 0:
            self.flow.pass_ms(min(quiet, 1 + pick(3000)))
            for collector in self.collectors.values():
                collector.subscriber.step()
            assert not self.flow.link.sent
            self.flow.pass_ms(1)
        self.flow.ring.tend()

    def collect(self):
        """Take over what is on the link now."""
        self.on_way += self.flow.link.sent
        self.flow.link.sent = []

    def step(self):
        self.collector().subscriber.step()
        self.collect()

    def arrive(self):
        """The broker gets some messages, in order, and passes most of them on."""
        for _ in range(min(len(self.on_way), 1 + pick(4))):
            message = self.on_way.pop(0)
            collector = self.collectors[message.topic[-1]]
            lost_later = collector.subscriber.config["ack"] == "id" and pick(5) == 0
            if not lost_later:
                collector.receive(flush_of(message))
            if pick(6) == 0:
                self.on_way.append(message)  # PUBACK lost, sent again with DUP
            else:
                message.done(True)

    def confirm(self):
        collector = self.collector()
        waiting = collector.unconfirmed
        if waiting:
            collector.confirm(waiting.pop(pick(len(waiting))))

    def break_link(self):
        """What the broker did not get, or did not confirm, is lost."""
        for message in self.on_way:
            if pick(3) == 0:
                self.collectors[message.topic[-1]].receive(flush_of(message))
            message.done(False)
        self.on_way = []
        self.flow.link.connected = False

    def mend_link(self):
        if not self.flow.link.connected:
            self.flow.link.connected = True
            session = pick(2) == 0
            for collector in self.collectors.values():
                collector.subscriber.link_up(session)

    def choke(self):
        self.flow.link.room = pick(4)

    def clear_choke(self):
        self.flow.link.room = 1 << 20

    def pause(self):
        subscriber = self.collector().subscriber
        inactive = pick(4) == 0
        if not subscriber.paused or subscriber.inactive != inactive:
            subscriber.pause(inactive)

    def resume(self):
        self.collector().subscriber.resume()

    def force(self):
        self.collector().subscriber.force()

    def set_clock(self):
        self.flow.clock.set_unix_ms(UNIX_MS + pick(60000), "test")

    #: Name and weight of the moves.
    MOVES = (
        [append] * 6
        + [wait] * 4
        + [step] * 4
        + [arrive] * 5
        + [confirm] * 5
        + [break_link, mend_link, mend_link, choke, clear_choke, clear_choke]
        + [pause, resume, resume, force, set_clock]
    )

    def settle(self):
        """Everything works again, for long enough."""
        self.clear_choke()
        self.mend_link()
        for collector in self.collectors.values():
            collector.subscriber.resume()
        for _ in range(100):
            # What was given up is told with a new record.
            self.flow.ring.append(1, self.flow.ring.next)
            for _ in range(3):
                self.flow.pass_ms(400000)
                for collector in self.collectors.values():
                    collector.subscriber.force()
                    collector.subscriber.step()
                self.collect()
                while self.on_way:
                    message = self.on_way.pop(0)
                    self.collectors[message.topic[-1]].receive(flush_of(message))
                    message.done(True)
                for collector in self.collectors.values():
                    while collector.unconfirmed:
                        collector.confirm(collector.unconfirmed.pop(0))
            if all(collector.at_rest() for collector in self.collectors.values()):
                return
        raise AssertionError("it never came to rest")

    def check(self):
        for collector in self.collectors.values():
            collector.check(self.flow.ring.next)


def play(seed):
    world = World(seed)
    for _ in range(MOVES):
        World.MOVES[pick(len(World.MOVES))](world)
        world.check()
    world.settle()
    end = world.flow.ring.next
    for collector in world.collectors.values():
        everything = collector.stored | collector.reported
        assert everything == set(range(end)), seed
        subscriber = collector.subscriber
        assert subscriber.inflight == []
        assert subscriber.acked == end
    return world


def test_delivered_reported_or_owed():
    for seed in range(SEEDS):
        play(seed)


def test_without_faults_nothing_is_reported_lost():
    for seed in range(SEEDS // 5):
        world = World(seed)
        for _ in range(MOVES):
            (World.append if pick(3) == 0 else World.wait)(world)
            world.collect()
            while world.on_way:
                message = world.on_way.pop(0)
                collector = world.collectors[message.topic[-1]]
                collector.receive(flush_of(message))
                message.done(True)
                while collector.unconfirmed:
                    collector.confirm(collector.unconfirmed.pop(0))
        world.settle()
        dropped = world.flow.ring.dropped
        for collector in world.collectors.values():
            missing = set(range(world.flow.ring.next)) - collector.stored
            assert len(missing) <= sum(dropped.get(r, 0) for r in ("overflow", "expired"))
