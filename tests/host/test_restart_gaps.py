"""Restarts as collectors and history see them: numbers are there, or were said to be lost.

A log that is opened again counts on behind every cursor: what one reader had confirmed from RAM
is then neither on flash nor in RAM, and its indexes hold nothing. For those who number by
(stream, seq) that must be no hole that nobody explains.
"""

import random

import pytest
from core_kit import UNIX_MS
from log_kit import LogFlow, taken

from fieldpost_tools.flush import decode_flush
from fieldpost_tools.store import Store

NAMES = ("fast", "slow")


class World:
    """A node whose records are numbered through, with two subscribers and a database for each."""

    def __init__(self, folder, seed, **store):
        self.random = random.Random(seed)
        rules = {"maxEntries": 20, "frames": 6, "ackTimeout": 1000, "catchUp": 0}
        self.flow = LogFlow({"maxLatency": 3000, **store}, **rules)
        self.stores = {name: Store(folder / f"{name}-{seed}.db", create=True) for name in NAMES}
        self.serial = 0
        #: Values by index: the history as it should be read, where it is there.
        self.values = {}
        self.begin()

    def begin(self):
        self.subscribers = {name: self.flow.subscriber(name, format="packed") for name in NAMES}

    def record(self, count):
        for _ in range(count):
            self.values[self.flow.ring.next] = self.serial
            self.flow.append(self.serial)
            self.serial += 1

    def work(self, acks, lost=0.0):
        """A second: flushes arrive in order, up to where the connection breaks; ``acks`` says who
        confirms."""
        for subscriber in self.subscribers.values():
            subscriber.step()
        sent, self.flow.link.sent = self.flow.link.sent, []
        broken = False
        for message in sent:
            broken = broken or self.random.random() < lost
            if not broken:
                name = message.topic.rsplit("/", 1)[1]
                flush = decode_flush("gw", message.payload)
                self.stores[name].write([flush])
                if name in acks:
                    self.subscribers[name].ack(flush.id)
            message.done(not broken)
        self.flow.tend()

    def cut(self):
        """The power goes and comes back; returns how many indexes hold nothing."""
        log = self.flow.ring
        stored = log._stored if log.segments else 0
        self.flow.reboot(UNIX_MS if self.random.random() < 0.5 else None)
        self.values = {index: self.values[index] for index in self.values if index < stored}
        self.begin()
        self.look_back()
        return self.flow.ring.next - log._stored

    def look_back(self):
        """History: everything that is kept, nothing else, from the oldest on and from within."""
        log = self.flow.ring
        kept = [self.values[index] for index in sorted(self.values) if index >= log.oldest]
        assert taken(log.reader(log.oldest)) == kept
        assert taken(log.reader(0)) == kept
        for _ in range(5):
            index = self.random.randrange(log.oldest, log.next + 1)
            found = taken(log.reader(index))
            assert found == [self.values[at] for at in sorted(self.values) if at >= index]
        assert (log.dropped, log.flash["errors"]) == ({}, 0)

    def drain(self):
        for _ in range(200):
            self.work(NAMES)
        assert all(one.acked == self.flow.ring.next for one in self.subscribers.values())

    def missing(self):
        """Unexplained records by subscriber."""
        return {name: store.totals().missing for name, store in self.stores.items()}


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []

    def make(seed=1, **store):
        made.append(World(tmp_path, seed, **store))
        return made[-1]

    yield make
    for one in made:
        for store in one.stores.values():
            store.close()


def test_what_one_had_and_the_flash_had_not(world):
    node = world(durable=True)
    node.record(100)
    for _ in range(5):
        node.work(["fast"])
    node.subscribers["slow"].pause()
    node.record(20)
    node.work(["fast"])
    assert node.flow.ring._stored == 100
    assert node.cut() == 20
    node.record(10)
    node.drain()
    assert [node.stores[name].totals().records for name in NAMES] == [130, 110]
    # The node said so, with the first record of its new stream.
    assert [node.stores[name].totals().dropped for name in NAMES] == [0, 20]
    assert [node.stores[name].gaps() for name in NAMES] == [[], []]


@pytest.mark.parametrize("durable", [False, True])
def test_whatever_happens_no_hole_is_without_a_reason(world, durable):
    empty = 0
    for seed in range(25):
        node = world(seed, durable=durable)
        for _ in range(60):
            pick = node.random.random()
            if pick < 0.6:
                node.record(node.random.randrange(25))
                node.work([name for name in NAMES if node.random.random() < 0.5], lost=0.1)
            elif pick < 0.8:
                node.flow.link.connected = not node.flow.link.connected
                node.work(NAMES)
            elif pick < 0.9:
                node.look_back()
            else:
                empty += node.cut() > 0
                node.flow.link.connected = True
        node.flow.link.connected = True
        node.record(1)
        node.drain()
        assert node.missing() == {"fast": 0, "slow": 0}, seed
    assert empty > (5 if durable else 0)
