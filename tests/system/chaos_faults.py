"""What goes wrong and when: a schedule made from a seed, and TCP connections that fail.

``schedule`` decides everything that chance decides in a chaos run: which part is killed at which
moment, for how long it stays away, which connection fails how. The same seed gives the same
steps. ``Network`` carries the connections: one ``Proxy`` for each part, by which it reaches the
broker.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import defaultdict
from typing import NamedTuple

from fieldpost_tools.sim.broker import HOST, free_port

OPEN, BLACK_HOLE, SLOW, REFUSED = "open", "black hole", "slow", "refused"
RESET = "reset"

#: What ten kills and the faults between them are, in an order of chance.
DECK = (
    "board",
    "board",
    "board in a black hole",
    "board in a silence",
    "collector",
    "collector in a commit",
    "broker",
    "broker",
    BLACK_HOLE,
    SLOW,
    REFUSED,
    RESET,
)
#: Seconds, from and to: how long a killed part stays away, how long a fault lasts.
AWAY_S = {"board": (0.0, 2.0), "broker": (0.1, 2.0), "collector": (0.0, 2.0)}
FAULT_S = {BLACK_HOLE: (1.0, 8.0), SLOW: (1.0, 6.0), REFUSED: (0.5, 4.0)}
#: How long a database is locked before the collector that waits for it is killed, and how long
#: nobody acknowledges before a board is.
LOCKED_S, SILENT_S = (0.8, 1.5), (6.0, 9.0)
#: Between two steps: usually, and where the second follows at once.
PAUSE_S, AT_ONCE_S, AT_ONCE_PART = (0.6, 2.2), (0.0, 0.2), 0.25
#: The same part is hit again while it starts.
AGAIN_PART, AGAIN_S = 0.2, (0.0, 0.8)
#: A part is hit at any moment, else after it has done some work.
ANY_MOMENT_PART = 0.2


class Step(NamedTuple):
    """At ``at`` seconds do ``verb`` to ``part``; if ``ripe``, not before it works again."""

    at: float
    verb: str
    part: str
    ripe: bool = False


def schedule(seed, kills, parts):
    """The steps of a run with at least ``kills`` kills, in order; all is well at the end.

    ``parts`` are lists of names by kind: ``board``, ``broker``, ``collector`` and, of these,
    ``shared``, without whom nobody acknowledges to one of the subscribers. Verbs are ``kill`` and
    ``start``; of the connection of a part ``black hole``, ``slow``, ``refused``, ``reset`` and
    ``open``; of a collector's database ``lock`` and ``unlock``.
    """
    plan = _Plan(random.Random(seed), parts)
    while plan.kills < kills:
        deck = list(DECK)
        plan.chance.shuffle(deck)
        for card in deck:
            plan.add(card)
    return sorted(plan.steps, key=lambda step: step.at)


class _Plan:
    def __init__(self, chance, parts):
        self.chance = chance
        self.steps = []
        self.kills = 0
        self._parts = parts
        self._now = 0.0
        self._back = defaultdict(float)  # when a part, or its connection, is whole again
        self._last = {}

    def add(self, card):
        chance = self.chance
        pause = AT_ONCE_S if chance.random() < AT_ONCE_PART else PAUSE_S
        self._now += chance.uniform(*pause)
        if card in (BLACK_HOLE, SLOW, REFUSED, RESET):
            self._disturb(card, chance.choice(self._parts["board"] + self._parts["collector"]))
        elif card == "collector in a commit":
            self._kill_in_commit()
        elif card == "board in a silence":
            self._kill_in_silence()
        elif card == "board in a black hole":
            self._kill_in_black_hole()
        else:
            self._kill(card, self._choose(card))

    def _choose(self, kind):
        again = kind in self._last and self.chance.random() < AGAIN_PART
        part = self._last[kind] if again else self.chance.choice(self._parts[kind])
        if again:
            self._now = max(self._now, self._back[part] + self.chance.uniform(*AGAIN_S))
        return part

    def _kill(self, kind, part, away_s=None):
        chance = self.chance
        ripe = chance.random() > ANY_MOMENT_PART
        moment = self._now
        if moment < self._back[part] + AGAIN_S[1]:
            moment = max(moment, self._back[part] + chance.uniform(*AGAIN_S))
            ripe = False
        self._back[part] = moment + (away_s or chance.uniform(*AWAY_S[kind]))
        self._put(moment, "kill", part, ripe)
        self._put(self._back[part], "start", part)
        self._last[kind] = part
        self.kills += 1

    def _kill_in_commit(self):
        part = self.chance.choice(self._parts["collector"])
        # One lock at a time: a second one would wait for the first.
        self._now = max(self._now, self._back[part], self._back["lock"])
        self._put(self._now, "lock", part, True)
        self._now += self.chance.uniform(*LOCKED_S)
        self._kill("collector", part)
        self._back["lock"] = self._back[part]
        self._put(self._back["lock"], "unlock", part)

    def _kill_in_silence(self):
        silent_s = self.chance.uniform(*SILENT_S)
        for part in self._parts["shared"]:
            self._kill("collector", part, silent_s)
        self._now = min(self._back[part] for part in self._parts["shared"]) - AGAIN_S[1]
        self._kill("board", self._choose("board"))

    def _kill_in_black_hole(self):
        part = self._choose("board")
        began, ended = self._disturb(BLACK_HOLE, part)
        self._now = max(self._now, self.chance.uniform(began, ended))
        self._kill("board", part)

    def _disturb(self, fault, part):
        line = part, "line"
        begin = end = max(self._now, self._back[line])
        self._put(begin, fault, part)
        if fault in FAULT_S:
            end += self.chance.uniform(*FAULT_S[fault])
            self._back[line] = end
            self._put(end, OPEN, part)
        return begin, end

    def _put(self, *step):
        self.steps.append(Step(*step))


class Network:
    """A thread that carries connections. A context manager; at its end every one is gone."""

    START_TIMEOUT_S = 10

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network")
        self._thread.start()
        self._proxies = []
        return self

    def __exit__(self, *_):
        for proxy in self._proxies:
            proxy.set(REFUSED)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def proxy(self, target_port):
        """A new ``Proxy`` to a port of this computer, open."""
        proxy = Proxy(self, target_port)
        self._proxies.append(proxy)
        proxy.set(OPEN)
        return proxy

    def call(self, coroutine):
        """Run a coroutine in the thread; returns its result."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(self.START_TIMEOUT_S)


class Proxy:
    """Connections to ``port`` lead to ``target_port``, as well as ``mode`` lets them.

    ``open``: every byte at once. ``slow``: at most ``PIECE`` bytes each ``PAUSE_S`` a direction.
    ``black hole``: connections are accepted, bytes disappear, no end is told of the other's end;
    what was open in it is reset when it is over. ``refused``: no connection, none survives.
    """

    PIECE = 400
    PAUSE_S = 0.1

    def __init__(self, network, target_port):
        self.port = free_port()
        self.mode = REFUSED
        self._network = network
        self._target = target_port
        self._server = None
        self._tasks = set()

    def set(self, mode):
        """Change the mode, or ``reset`` every connection; returns when it is so."""
        self._network.call(self._set(mode))

    async def _set(self, mode):
        if mode in (REFUSED, RESET) or self.mode == BLACK_HOLE:
            await self._reset()
        if mode == RESET:
            return
        self.mode = mode
        if mode == REFUSED and self._server:
            self._server.close()
            # Those that were accepted at the last moment.
            await asyncio.sleep(0)
            await self._reset()
            self._server = None
        elif mode != REFUSED and not self._server:
            self._server = await asyncio.start_server(self._carry, HOST, self.port)

    async def _reset(self):
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        writers = [writer]
        end = _break
        try:
            if self.mode == BLACK_HOLE:
                await self._pump(reader, None)
            far, far_writer = await asyncio.open_connection(HOST, self._target)
            writers.append(far_writer)
            await self._both(self._pump(reader, far_writer), self._pump(far, writer))
            end = _close
        except (OSError, asyncio.CancelledError):
            return
        finally:
            for one in writers:
                end(one)
            self._tasks.discard(task)

    async def _both(self, *pumps):
        """Both directions, until one of them ends."""
        tasks = [asyncio.ensure_future(pump) for pump in pumps]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, reader, writer):
        while data := await reader.read(self.PIECE if self.mode == SLOW else 65536):
            if self.mode == BLACK_HOLE:
                continue
            if self.mode == SLOW:
                await asyncio.sleep(self.PAUSE_S)
            writer.write(data)
            await writer.drain()
        if self.mode == BLACK_HOLE:
            await asyncio.Event().wait()


def _close(writer):
    """End a connection when what was written is sent."""
    writer.close()


def _break(writer):
    """End a connection by RST; what was written may not arrive."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
