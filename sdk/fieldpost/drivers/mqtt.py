"""Points out of the messages of an MQTT broker: of sensors, meters and other local systems.

Keys of a device:

=======================  =========================================================================
``host``, ``port``       of the broker (port 1883, or 8883 with ``tls``)
``user``, ``password``   where the broker asks for them (none)
``tls``                  as of the node's own brokers: ``ca``, ``server_name``, ``verify``,
                         ``cert``, ``key`` (none)
``client_id``            1..64 characters, used by nobody else (random)
``keepalive_s``          1..65535 (30); a dead connection is noticed after 1.5 times that
``qos``                  of the subscriptions, 0 or 1 (1)
``max_bytes``            longest topic and payload together, 64..65536 (1024); longer messages are
                         dropped and counted as ``oversize``
``interval``             how often staleness and the connection are looked at, ms (1000)
``timeout_ms``           how long that may wait for a connection (2000)
=======================  =========================================================================

Keys of a point:

=============  ===================================================================================
``topic``      filter, 1..256 characters: ``+`` stands for one level, a last ``#`` for all others
``path``       where in a JSON payload the value is: ``$.a.b[0]``, ``$["a b"]``, ``$`` for all of
               it (none: the payload is the value, as text)
``type``       ``number``: JSON number, or a text that is one; ``bool``: true and false, 1 and 0,
               also the texts ``on`` and ``off``; ``text``: a text, or anything else as JSON text;
               ``json``: any value, also objects and arrays (``number``)
``scale``,     of numbers: value = number · scale + offset (1, 0); integers stay exact if both are
``offset``     integers
``decimals``   to round numbers to, 0..9, 0 making integers (none)
``stale_ms``   the point fails as ``stale`` when so long no message came for it, 1000..86400000, to
               the next ``interval`` (none: it keeps its value as long as the connection lasts)
``retained``   whether a message counts that the broker has kept for new subscribers, whose age
               nobody knows (true)
=============  ===================================================================================

A point takes its value when the message arrives, each of them: acquisition rules see all. What
cannot be used makes it fail with a reason, until the next message: ``bad JSON``, ``no $.a.b``,
``null``, ``not a number``, ``not true or false``, ``not text``. ``counters`` of a driver has these
and ``updates``. Without a connection, or with a subscription that the broker refuses, the device
is down; after that each point waits for a message of its own. Sessions are clean: what is
published while the node is away would get a wrong time.

Points are read only. Filters of one device should not overlap: brokers may send such a message
once for each of them.
"""

import json
import os

from ..compat import TimeoutError, asyncio, hexlify, ticks_diff, ticks_ms, wait_for_ms
from ..errors import ConfigError, DriverError
from ..events import ERROR, LINK_UP
from .base import Driver

_NUMERIC = "0123456789+-.eE"
_TRUE = ("true", "on", "1")
_FALSE = ("false", "off", "0")


class Mqtt(Driver):
    """A connection of its own to one broker, whose messages update the points."""

    DEVICE = """
        host: str 1..253
        port: int 1..65535 = ?
        user: str 1..256 = ?
        password: secret 0..256 = ?
        tls: obj tls = ?
        client_id: str 1..64 = ?
        keepalive_s: int 1..65535 = 30
        qos: int 0..1 = 1
        max_bytes: int 64..65536 = 1024
    """
    POINT = """
        topic: str 1..256
        path: str 1..128 = ?
        type: enum number bool text json = number
        scale: num = 1
        offset: num = 0
        decimals: int 0..9 = ?
        stale_ms: int 1000..86400000 = ?
        retained: bool = true
    """

    def __init__(self, config, points):
        """``ConfigError`` for a filter or path that is none."""
        super().__init__(config, points)
        #: {filter: [(point, steps of its path or None), ...]}
        self._topics = {}
        for point in points:
            topic, path = point.config["topic"], point.config["path"]
            if not valid_filter(topic):
                raise ConfigError(point.key + ".topic", topic, "an MQTT topic filter")
            try:
                steps = parse_path(path) if path else None
                if steps is None and point.config["type"] == "json":
                    steps = []
            except ValueError:
                raise ConfigError(point.key + ".path", path, "a path like $.a.b[0]") from None
            self._topics.setdefault(topic, []).append((point, steps))
        self.counters = {"updates": 0}
        #: Ticks of the last message for each point that can be stale.
        self._seen = {}
        self._task = None

    async def start(self):
        """Begin to connect, and to take messages."""
        from ..mqtt import Link

        config = dict(self.config)
        config.update(
            name=config["id"],
            port=config["port"] or (8883 if config["tls"] else 1883),
            client_id=config["client_id"] or "fieldpost-" + hexlify(os.urandom(6)),
            receive_max_bytes=config["max_bytes"],
            clean_session=True,
            will=None,
            window=1,
            queue_bytes=1024,
            keep_bytes=1024,
            timeout_ms=10000,
            backoff_min_ms=1000,
            backoff_max_ms=30000,
        )
        self._refused = None
        self.link = Link(config, self, self._on_message)
        for topic in self._topics:
            self.link.subscribe(topic, config["qos"])
        now = ticks_ms()
        self._seen = {point.id: now for point in self.points if point.config["stale_ms"]}
        self._task = asyncio.create_task(self.link.run())

    async def read(self, points):
        """Let points fail that are stale; ``DriverError`` without a connection."""
        link = self.link
        if not link.connected:
            try:
                await wait_for_ms(link.ready(0), self.config["timeout_ms"] * 3 // 4)
            except TimeoutError:
                raise DriverError("not connected: %s" % (link.reason or "timeout")) from None
        if self._refused:
            raise DriverError(self._refused)
        self.counters["oversize"] = link.counters["oversize"]
        now = ticks_ms()
        for point in points:
            stale_ms = point.config["stale_ms"]
            if stale_ms and ticks_diff(now, self._seen[point.id]) >= stale_ms:
                point.fail("stale")

    async def stop(self):
        """Close the connection."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass

    def emit(self, kind, _name, data):
        """Hear from the link, as its bus: it is not one of the node's."""
        if kind == LINK_UP:
            self._refused = None
        elif kind == ERROR and isinstance(data, str):
            self._refused = data
        elif kind == ERROR and self.points and self.points[0].bus:
            self.points[0].bus.emit(ERROR, self.config["id"], data)

    def _on_message(self, topic, payload, retain, _dup):
        document = None
        for pattern in self._topics:
            if pattern != topic and not covers(pattern, topic):
                continue
            for point, steps in self._topics[pattern]:
                if retain and not point.config["retained"]:
                    continue
                if steps is not None and document is None:
                    document = _parsed(payload)
                self._take(point, steps, payload, document)

    def _take(self, point, steps, payload, document):
        path = point.config["path"]
        if point.id in self._seen:
            self._seen[point.id] = ticks_ms()
        try:
            value = _text(payload) if steps is None else follow(document, steps, path)
            value = convert(value, point.config)
        except ValueError as error:
            what = error.args[0]
            point.fail(what)
        else:
            what = "updates"
            point.update(value)
        self.counters[what] = self.counters.get(what, 0) + 1


def valid_filter(text):
    """Whether ``text`` is a topic filter."""
    levels = text.split("/")
    for level in levels:
        if len(level) > 1 and ("+" in level or "#" in level):
            return False
    return "#" not in levels[:-1] and "\0" not in text


def covers(pattern, topic):
    """Whether a filter covers a topic.

    ``topics`` can tell too; it is 3 KB that a node which publishes nothing has no other use for.
    """
    if topic[0] == "$" and pattern[0] in "+#":
        return False
    levels = topic.split("/")
    at = 0
    for want in pattern.split("/"):
        if want == "#":
            return True
        if at == len(levels) or want not in ("+", levels[at]):
            return False
        at += 1
    return at == len(levels)


def parse_path(text):
    """The steps of a JSON path: keys (str) and indexes (int). ``ValueError`` if it is none."""
    if text[0] != "$":
        raise ValueError
    steps = []
    at = 1
    while at < len(text):
        quote = text[at + 1 : at + 2]
        if text[at] == "[" and quote in ("'", '"'):
            end = text.index(quote + "]", at + 2)
            steps.append(text[at + 2 : end])
            at = end + 2
        elif text[at] == "[":
            end = text.index("]", at)
            if not text[at + 1 : end].isdigit():
                raise ValueError
            steps.append(int(text[at + 1 : end]))
            at = end + 1
        else:
            end = at + 1
            while end < len(text) and text[end] not in ".[":
                end += 1
            if text[at] != "." or end == at + 1:
                raise ValueError
            steps.append(text[at + 1 : end])
            at = end
    return steps


def _parsed(payload):
    """A JSON payload as a list of one; an empty list if it is none."""
    try:
        return [json.loads(payload)]
    except (ValueError, RuntimeError, MemoryError):  # of nesting without end
        return []


def follow(document, steps, path):
    """What the steps of ``path`` lead to in a parsed document; ``ValueError`` says why not."""
    if not document:
        raise ValueError("bad JSON")
    value = document[0]
    for step in steps:
        kind = list if isinstance(step, int) else dict
        if not isinstance(value, kind):
            raise ValueError("no " + path)
        if step >= len(value) if kind is list else step not in value:
            raise ValueError("no " + path)
        value = value[step]
    return value


def convert(value, config):
    """A JSON value as what a point's ``type`` asks for; ``ValueError`` says why not."""
    kind = config["type"]
    if value is None:
        raise ValueError("null")
    if kind == "json":
        if not _finite(value):
            raise ValueError("not a number")
        return value
    if kind == "text":
        return value if isinstance(value, str) else json.dumps(value)
    if kind == "number":
        return _number(value, config)
    text = (value if isinstance(value, str) else json.dumps(value)).strip().lower()
    if text not in _TRUE and text not in _FALSE:
        raise ValueError("not true or false")
    return text in _TRUE


def _text(payload):
    try:
        return str(payload, "utf-8")
    except UnicodeError:
        raise ValueError("not text") from None


def _finite(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return all(_finite(one) for one in value)
    return not isinstance(value, float) or value - value == 0


def _number(value, config):
    """A number of 64 bit, scaled."""
    try:
        if isinstance(value, str):
            value = _spelled(value.strip())
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
            raise ValueError
        if config["scale"] != 1 or config["offset"]:
            value = value * config["scale"] + config["offset"]
        if value - value != 0:  # so are NaN and the infinities
            raise ValueError
    except ValueError:
        raise ValueError("not a number") from None
    decimals = config["decimals"]
    if decimals is None:
        return value
    return round(value, decimals) if decimals else round(value)


def _spelled(text):
    """The number that a text is; other than ``float`` no NaN, and no underscores."""
    if not all(char in _NUMERIC for char in text):
        raise ValueError
    try:
        return int(text)
    except ValueError:
        return float(text)


driver = Mqtt
