"""The collector: takes flushes from any number of nodes, stores them, then acknowledges them.

One thread, one round after the other: take every message that waits, write all of them in one
transaction, publish the acknowledgements. However many flushes arrived during a commit share the
next one, so the rate adapts to the disk by itself. A flush is acknowledged only when it is
committed; one that is malformed, conflicts with what is stored, or meets a failing database is
not, and the node sends it again. Whatever a crash interrupts, the unique key on (node, stream,
seq) makes the repetition harmless.
"""

import hashlib
import json
import logging
import os
import socket
import time
from dataclasses import dataclass

from fieldpost_tools import broker, events, flush
from fieldpost_tools.errors import FlushError, InputError, StoreError

PREFIX = "fieldpost/nodes"
_log = logging.getLogger(__name__)


@dataclass
class Counters:
    """What a collector did since it started; all but ``problem`` only grow.

    ``records`` were new, ``duplicates`` were stored already. ``malformed`` messages could not be
    decoded, ``conflicts`` are flushes whose numbers belong to other records, ``store_errors``
    failed transactions, ``notices`` words of nodes about a subscription (``end of life``),
    ``events`` alarms and device status that were new; ``dropped_events`` did not fit into memory
    while the database failed.
    ``problem`` is the last thing that went wrong, in words.
    """

    messages: int = 0
    flushes: int = 0
    records: int = 0
    duplicates: int = 0
    acks: int = 0
    keepalives: int = 0
    notices: int = 0
    events: int = 0
    dropped_events: int = 0
    malformed: int = 0
    conflicts: int = 0
    store_errors: int = 0
    problem: str = ""


class Collector:
    """Collects the flushes of ``nodes`` (names, or "+" for all) for ``subscriber``.

    ``share`` names a shared-subscription group: several collectors divide the flushes among them,
    each acknowledging what it committed; such a collector keeps no session, since a share that
    waits in the session of an absent one would be late. Otherwise the session stays with the
    broker under ``client_id`` (default: stable for this computer, store and choice of nodes).

    Attributes: ``counters``, ``link`` (``.connected``, ``.state``, ``.outages``). All methods but
    ``stop`` belong to one thread. Raises InputError for what cannot be, and, from ``step`` and
    ``run``, BrokerError if the broker refuses the first connection.
    """

    MAX_MESSAGES = 1000
    MAX_BATCH_BYTES = 4 * 1024 * 1024
    MAX_PAYLOAD_BYTES = 1024 * 1024
    #: Alarms and status kept while the database fails; more are dropped and
    #: counted.
    MAX_EVENTS = 10000
    #: Pause after a failed transaction: a full disk does not empty in microseconds.
    STORE_RETRY_S = 0.5

    def __init__(
        self,
        mqtt_url,
        store,
        nodes=("+",),
        subscriber="collector",
        share=None,
        client_id=None,
        ca=None,
        password=None,
    ):
        nodes = list(dict.fromkeys(nodes)) or ["+"]
        for name in nodes:
            _require_level("node", name, wildcard=True)
        _require_level("subscriber", subscriber)
        if share is not None:
            _require_level("share", share)
        self.counters = Counters()
        self._store = store
        self._subscriber = subscriber
        self._names = {}
        self._states = {}
        self._events = []
        self._stopping = False
        self.link = broker.Link(
            broker.parse_url(mqtt_url, password),
            client_id or _client_id(store.place, nodes, subscriber, share),
            _filters(nodes, subscriber, share),
            clean=share is not None,
            ca=ca,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def step(self, wait_s=0.2):
        """One round: waits up to ``wait_s`` for messages; returns how many were dealt with."""
        messages = self.link.receive(wait_s, self.MAX_MESSAGES, self.MAX_BATCH_BYTES)
        self.counters.messages += len(messages)
        flushes = self._sorted(messages)
        if flushes or self._names or self._states or self._events:
            self._commit(flushes)
        # Also where the commit failed: then the node is the one that sends again.
        self.link.done()
        return len(messages)

    def run(self):
        """Collect until ``stop`` is called."""
        while not self._stopping:
            self.step()

    def stop(self):
        """Make ``run`` return after its current round; from any thread or signal handler."""
        self._stopping = True

    def close(self):
        """Hand the last acknowledgements to the broker and disconnect; the store stays open."""
        self.link.close()

    def _sorted(self, messages):
        """Decode; all but the flushes, which are returned, is kept until it is stored."""
        flushes = []
        for topic, payload in messages:
            try:
                self._sort(topic, payload, flushes)
            except FlushError as error:
                self.counters.malformed += 1
                self._problem(f"malformed message on {topic!r}: {error}")
        return flushes

    def _sort(self, topic, payload, flushes):
        levels = topic.split("/")
        if len(levels) < 4:
            raise FlushError("not a topic that was asked for")
        node, kind = levels[2], levels[3]
        if len(payload) > self.MAX_PAYLOAD_BYTES:
            raise FlushError(f"{len(payload)} bytes, allowed are {self.MAX_PAYLOAD_BYTES}")
        if levels[1] != "nodes":
            self._sort_event(*levels[1:3], payload)
        elif kind == "flush":
            self._sort_flush(flush.decode_flush(node, payload), flushes)
        # An empty retained message removes a device or a node; their records keep the names.
        elif payload and kind == "points":
            self._names[topic] = flush.decode_points(node, payload)
        elif payload:
            self._states[topic] = flush.decode_state(node, payload)

    def _sort_flush(self, message, flushes):
        if message.chunks:
            flushes.append(message)
        elif message.notice:
            self.counters.notices += 1
            self._problem(f"{message.node}: {message.subscription}: {message.notice}")
        else:
            self.counters.keepalives += 1

    def _sort_event(self, node, level, payload):
        if not payload:
            return
        event = events.decode(node, level, payload)
        if len(self._events) < self.MAX_EVENTS:
            self._events.append(event)
        else:
            self.counters.dropped_events += 1

    def _commit(self, flushes):
        kept = self._names.values(), self._states.values(), self._events
        try:
            written = self._store.write(flushes, *kept)
        except StoreError as error:
            self.counters.store_errors += 1
            self._problem(str(error))
            time.sleep(self.STORE_RETRY_S)
            return
        self._names.clear()
        self._states.clear()
        self._events.clear()
        self.counters.events += written.events
        self.counters.flushes += len(flushes)
        self.counters.records += written.records
        self.counters.duplicates += written.duplicates
        refused = {id(message) for message in written.conflicts}
        for message in flushes:
            if id(message) in refused:
                self._refuse(message)
            else:
                self._acknowledge(message)

    def _refuse(self, message):
        self.counters.conflicts += 1
        stream = message.chunks[0].stream
        self._problem(
            f"{message.node}: stream {stream} holds other records already; the node lost its"
            " stream counter: give it another name, or collect into another store"
        )

    def _acknowledge(self, message):
        first = message.chunks[0]
        ack = {
            "noreply": True,
            "subscription": message.subscription,
            "subscriber": self._subscriber,
            "flush": message.id,
            "stream": first.stream,
            "seq": first.seq,
        }
        topic = f"{PREFIX}/{message.node}/api/loggers/ackSubscribe"
        self.counters.acks += self.link.publish(topic, json.dumps(ack))

    def _problem(self, text):
        self.counters.problem = text
        _log.debug(text)


def _require_level(name, value, wildcard=False):
    allowed = "one topic level: not empty, without / + # or control characters"
    if wildcard and value == "+":
        return
    if not value or not value.isprintable() or any(c in value for c in "/+#"):
        raise InputError(name, value, allowed + (', or "+" for all' if wildcard else ""))


def _filters(nodes, subscriber, share):
    group = f"$share/{share}/" if share is not None else ""
    for node in nodes:
        yield f"{group}{PREFIX}/{node}/flush/{subscriber}"
        # A device with many points announces them in parts, each on a level of its own.
        yield f"{PREFIX}/{node}/points/#"
        yield f"{PREFIX}/{node}/state"
        yield from (f"fieldpost/{node}/{level}/#" for level in events.LEVELS)


def _client_id(place, nodes, subscriber, share):
    # 22 characters: every 3.1.1 broker accepts up to 23.
    own = [socket.gethostname(), place, subscriber, *sorted(nodes)]
    if share is not None:
        own += [share, str(os.getpid()), os.urandom(4).hex()]
    return "fieldpost-" + hashlib.sha256("\0".join(own).encode()).hexdigest()[:12]
