"""The MQTT link: one broker, kept connected, in bounded memory, with a deadline on every wait.

``Link`` owns the stream and everything that ``umqtt.simple`` lacks; packets are written and read
by ``mqtt_codec``. Its configuration is a validated ``broker`` (types and defaults: ``config.py``)
and ``will``, None or a dict of ``topic, payload, qos, retain``. The less obvious keys:

* ``timeout_ms``: to connect up to CONNACK, and without progress in writing or with QoS 1
* ``window``: how many QoS 1 messages may wait for their PUBACK
* ``queue_bytes`` wait to be written and ``keep_bytes`` are kept to be sent again, at most; one
  longer message passes while there is no other
* ``receive_max_bytes``: longer messages are acknowledged, counted and dropped
* ``backoff_min_ms``: pause after a failure, doubled after each further one up to
  ``backoff_max_ms`` (its second half is random), until a connection lasts
"""

import random

from .compat import asyncio, const, ticks_diff, ticks_ms, wait_set
from .errors import LinkError
from .events import ERROR, LINK_DOWN, LINK_UP
from .mqtt_codec import CONNACK, DUP, PINGRESP, PUBACK, RETAIN, Codec, to_bytes
from .net import open_stream

_READ_BYTES = const(256)
# Places in an entry of the window.
_PID = const(0)
_DONE = const(1)
_SENDS = const(2)  # transmissions so far
_SIZE = const(3)  # bytes kept; 0: not kept
_TOPIC = const(4)
_PAYLOAD = const(5)
_FLAGS = const(6)
# Places in an entry of the subscriptions; _PID there is 0 to be asked, -1 granted.
_FILTER = const(1)
_QOS = const(2)  # -1: to be unsubscribed

# What the stream and CONNECT are made of.
_CONNECTION = "host port client_id user password clean_session keepalive_s tls will"


class Link:
    """Connection to one broker; ``run`` keeps it up.

    Readable: ``name``; ``config``; ``connected``; ``session_present``, of the last connection;
    ``reason``, why the last one ended or could not be made ("refused: 5" is a CONNACK's code);
    ``inflight``; ``counters``: ``connects``, ``disconnects``, ``failures`` (attempts), ``sent``,
    ``received``, ``acked``, ``resent``, ``oversize``, ``refused`` (by ``publish``), ``dropped``
    (QoS 1: lost with the connection, or given up) and ``errors`` (reported on the bus: failing
    callbacks, refused subscriptions, messages given up).

    ``on_message(topic, payload, retain, dup)`` gets each message (str, bytes, bool, bool) and must
    not block. If it raises, that is reported, and the message still acknowledged.

    Kept QoS 1 messages are sent again after a reconnect, in their order and with the same packet
    ids: with DUP where the broker still has the session (MQTT 3.1.1, 4.4); where it has not, they
    are new messages to it.
    """

    #: A kept message that was not acknowledged so many times is given up: the broker refuses it.
    tries = 16

    def __init__(self, config, bus=None, on_message=None):
        self.config = config
        self.name = config["name"]
        self._bus = bus
        self.on_message = on_message
        self.connected = self.session_present = False
        self.reason = self._fault = self._codec = None
        self.counters = {
            "connects": 0,
            "disconnects": 0,
            "failures": 0,
            "sent": 0,
            "received": 0,
            "acked": 0,
            "resent": 0,
            "oversize": 0,
            "refused": 0,
            "dropped": 0,
            "errors": 0,
        }
        self._pid = 0
        self._window = []  # QoS 1 messages, in the order of sending
        self._kept = 0  # bytes
        self._subscriptions = []
        self._lost = asyncio.Event()
        self._output = asyncio.Event()
        self._change = asyncio.Event()

    @property
    def inflight(self):
        """Number of QoS 1 messages that are not acknowledged."""
        return len(self._window)

    def publish(self, topic, payload, qos=0, retain=False, keep=True, done=None):
        """Queue a message; never blocks. Returns False, and counts it as refused, when it cannot.

        ``topic``: str or bytes, 1..65535 bytes, no wildcards (``ValueError``); ``payload``: str
        or bytes-like. QoS 1 with ``keep`` is kept until acknowledged, also without a connection;
        else it is lost with it. ``done(ok)`` (QoS 1): True with the PUBACK, False when lost.
        """
        topic, payload = to_bytes(topic), to_bytes(payload)
        if not 0 < len(topic) < 65536 or b"#" in topic or b"+" in topic or b"\0" in topic:
            raise ValueError("topic")
        size = len(topic) + len(payload)
        keep = keep and qos
        if not (self.connected or keep) or not self._fits(size, qos, keep):
            self.counters["refused"] += 1
            return False
        pid = self._next_pid() if qos else 0
        entry = [pid, done, 0, 0, None, None, RETAIN if retain else 0]
        if self.connected:
            self._send(entry, topic, payload, 0)
        if keep:
            entry[_SIZE] = size
            entry[_TOPIC] = topic
            entry[_PAYLOAD] = bytes(payload)
            self._kept += size
        if qos:
            self._window.append(entry)
        return True

    def subscribe(self, topic, qos=1):
        """Subscribe to a filter (at most QoS 1), now and in every later session."""
        topic = to_bytes(topic)
        entry = [0, topic, qos]
        self._subscriptions = [s for s in self._subscriptions if s[_FILTER] != topic] + [entry]
        if self.connected:
            self._ask(entry)

    def unsubscribe(self, topic):
        """End a subscription."""
        self.subscribe(topic, -1)

    async def ready(self, size):
        """Wait until ``size`` bytes (topic + payload) fit or ``connected`` changes; returns it."""
        was = self.connected
        while self.connected == was and not (was and self._fits(size, 1, 1)):
            await self._changed()
        return self.connected

    def reconfigure(self, config):
        """Take a new configuration; returns whether this makes the link connect anew."""
        old, self.config = self.config, config
        if all(config[key] == old[key] for key in _CONNECTION.split()):
            return False
        for entry in self._subscriptions:
            entry[_PID] = 0
        self._fault = None
        self._fail("reconfigured")
        return True

    async def run(self):
        """Connect, serve, and after any failure connect again; for ever. Cancel it to close."""
        delay = 0
        while True:
            began = ticks_ms()
            reason = "stopped"
            self._fault = None
            self._lost.clear()
            try:
                await self._session(self.config)
            except LinkError as error:
                reason = error.args[0]
            except Exception as error:
                reason = "error"
                self._report(error)
            finally:
                stable = self.connected
                self._down(reason)
            config = self.config
            if stable and ticks_diff(ticks_ms(), began) > 2 * config["timeout_ms"]:
                delay = 0
            delay = min(max(2 * delay, config["backoff_min_ms"]), config["backoff_max_ms"])
            delay = await self._pause(delay)

    async def _pause(self, delay):
        if self._fault != "reconfigured":
            self._lost.clear()
        half = delay // 2
        await wait_set(self._lost, half + (half * random.getrandbits(10) >> 10))
        return 0 if self._fault == "reconfigured" else delay

    async def _session(self, config):
        timeout, limit = config["timeout_ms"], config["receive_max_bytes"]
        stream = await open_stream(config["host"], config["port"], timeout, config["tls"])
        tasks = []
        try:
            self._codec = Codec(config, self._on_packet, self._on_publish, limit)
            self._pinging = False
            self._writing = 0  # bytes handed to the stream and not yet taken by it
            # Ticks of the last read, the last write, the last PUBACK or start of waiting for one.
            self._read_at = self._write_at = self._ack_at = ticks_ms()
            self._output.set()
            for work in (self._read, self._write):
                tasks.append(asyncio.create_task(self._guard(work, stream)))
            while True:
                await self._watch()
        finally:
            for task in tasks:
                task.cancel()
            stream.close()

    async def _guard(self, work, stream):
        try:
            while True:
                await work(stream)
        except LinkError as error:
            self._fail(error.args[0])
        except Exception as error:
            self._report(error)
            self._fail("error")

    async def _read(self, stream):
        data = await stream.read(_READ_BYTES, None)
        self._read_at = ticks_ms()
        self._codec.feed(data)
        if self._codec.pending():
            self._output.set()
        # A peer that sends but does not read must not fill the memory with acknowledgements.
        while self._queued() > self.config["queue_bytes"]:
            await self._changed()

    async def _write(self, stream):
        await self._output.wait()
        self._output.clear()
        while self._codec.pending():
            data = self._codec.take()
            self._writing = len(data)
            self._write_at = ticks_ms()
            await stream.write(data, None)
            self._writing = 0
            self._change.set()

    async def _watch(self):
        timeout, keepalive = self.config["timeout_ms"], self.config["keepalive_s"] * 1000
        tick = min(timeout, keepalive) // 4
        await wait_set(self._lost, tick)
        if self._fault:
            raise LinkError(self._fault)
        self._lost.clear()
        now = ticks_ms()
        silent = ticks_diff(now, self._read_at)
        unsent = ticks_diff(now, self._write_at)
        unacked = ticks_diff(now, self._ack_at)
        asked = not self.connected or self._pinging or self._window
        for entry in self._subscriptions:
            asked = asked or entry[_PID] > 0
        if (
            silent * 2 > keepalive * 3
            or (self._writing and unsent > timeout)
            # Other packets put this deadline off, but not for ever.
            or (asked and (min(silent, unacked) > timeout or unacked > 4 * timeout))
        ):
            raise LinkError("timeout")
        if self.connected and not self._pinging and max(silent, unsent) + tick >= keepalive:
            self._pinging = True
            if not asked:
                self._ack_at = now
            self._codec.ping()
            self._output.set()

    def _on_packet(self, kind, number, code):
        if self.connected == (kind == CONNACK):
            raise LinkError("protocol")
        if kind == CONNACK:
            self._up(number)
        elif kind == PINGRESP:
            self._pinging = False
        else:
            entry = self._find(self._window if kind == PUBACK else self._subscriptions, number)
            if entry is None:
                return
            self._ack_at = ticks_ms()
            if kind == PUBACK:
                self._settle(entry, "acked")
                self._change.set()
            elif entry[_QOS] < 0:
                self._subscriptions.remove(entry)
            else:
                entry[_PID] = -1
                if code > 2:
                    self._report("subscription refused: " + str(entry[_FILTER], "utf-8"))

    def _on_publish(self, topic, payload, retain, dup):
        if not self.connected:
            raise LinkError("protocol")
        if payload is None:
            self.counters["oversize"] += 1
            return
        self.counters["received"] += 1
        if self.on_message:
            try:
                self.on_message(topic, payload, retain, dup)
            except Exception as error:
                self._report(error)

    def _up(self, number):
        if number & 255:
            raise LinkError("refused: %d" % (number & 255))
        self.connected = True
        self.session_present = number > 255 and not self.config["clean_session"]
        self.counters["connects"] += 1
        self._ack_at = ticks_ms()
        for entry in list(self._subscriptions):
            if not self.session_present:
                entry[_PID] = 0
            if entry[_QOS] < 0 and not self.session_present:
                self._subscriptions.remove(entry)
            elif entry[_PID] >= 0:
                self._ask(entry)
        for entry in list(self._window):
            if entry[_SENDS] < self.tries:
                dup = DUP if entry[_SENDS] and self.session_present else 0
                self._send(entry, entry[_TOPIC], entry[_PAYLOAD], dup)
            else:
                self._report("given up: " + str(entry[_TOPIC], "utf-8"))
                self._settle(entry, "dropped")
        self._emit(LINK_UP, None)
        self._change.set()

    def _down(self, reason):
        was, self.connected = self.connected, False
        self._codec = None
        for entry in list(self._window):
            if not entry[_SIZE]:
                self._settle(entry, "dropped")
        self.counters["disconnects" if was else "failures"] += 1
        if was or reason != self.reason:
            self.reason = reason
            self._emit(LINK_DOWN, reason)
        self._change.set()

    def _fail(self, reason):
        if self._fault is None:
            self._fault = reason
        self._lost.set()

    def _queued(self):
        return self._codec.pending() + self._writing if self._codec else 0

    def _fits(self, size, qos, keep):
        config, queued, kept = self.config, self._queued(), self._kept
        return (
            (not queued or queued + size <= config["queue_bytes"])
            and (not qos or len(self._window) < config["window"])
            and (not keep or not kept or kept + size <= config["keep_bytes"])
        )

    async def _changed(self):
        self._change.clear()
        await self._change.wait()

    def _next_pid(self):
        pid = self._pid % 65535 + 1
        while self._find(self._window, pid) or self._find(self._subscriptions, pid):
            pid = pid % 65535 + 1
        self._pid = pid
        return pid

    def _find(self, entries, pid):
        for entry in entries:
            if entry[_PID] == pid:
                return entry
        return None

    def _ask(self, entry):
        entry[_PID] = self._next_pid()
        self._ack_at = ticks_ms()
        self._codec.subscribe(entry[_FILTER], entry[_QOS], entry[_PID])
        self._output.set()

    def _send(self, entry, topic, payload, dup):
        pid = entry[_PID]
        self._codec.publish(topic, payload, 1 if pid else 0, entry[_FLAGS] | dup, pid)
        self._output.set()
        self.counters["resent" if entry[_SENDS] else "sent"] += 1
        entry[_SENDS] += 1
        if not self._window:
            self._ack_at = ticks_ms()

    def _settle(self, entry, outcome):
        self._window.remove(entry)
        self._kept -= entry[_SIZE]
        self.counters[outcome] += 1
        if entry[_DONE]:
            try:
                entry[_DONE](outcome == "acked")
            except Exception as error:
                self._report(error)

    def _emit(self, kind, data):
        if self._bus:
            self._bus.emit(kind, self.name, data)

    def _report(self, error):
        self.counters["errors"] += 1
        self._emit(ERROR, error)
