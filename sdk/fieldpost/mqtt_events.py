"""Events of the node's own MQTT client on the bus, named and filled as those of RMQTT's web-hook.

``watch`` puts itself before the steps of one ``mqtt.Link``; a link that is not watched pays
nothing, and of a watched one only the steps that the wanted events come from. All events have as
key the link's name and as data a dict:

========================================= ======================================================
event                                     what happened
========================================= ======================================================
client_connect, client_connack            CONNECT is sent; CONNACK came
client_connected, client_disconnected     the broker took the client; the connection ended
session_created, session_terminated       the broker has a new session; it has the old one no more
client_subscribe, client_unsubscribe      it is asked of the broker
session_subscribed, session_unsubscribed  the broker confirmed it
message_publish                           a message goes out; once more, with ``dup``, when resent
message_delivered                         a message came in; who published it is not known
message_acked                             by the broker, of one that went out; by the node, of one
                                          that came in
message_dropped                           one that went out was given up, lost with the connection
                                          or not taken; one that came in was too long
========================================= ======================================================

``from_clientid`` tells the direction: it is the node's own of messages that went out. What is not
known is null, user names ``undefined``. Times are Unix ms, null until the clock is trusted; the
payload is padded base64, null where the link does not keep it.
"""

from binascii import b2a_base64

from .compat import const
from .events import ERROR
from .mqtt_codec import CONNACK, DUP, PUBACK, RETAIN, SUBACK, to_bytes

_CLIENT = "client_connect client_connack client_connected client_disconnected"
_SESSION = "session_created session_terminated"
_TOPICS = "client_subscribe client_unsubscribe session_subscribed session_unsubscribed"
_MESSAGES = "message_publish message_delivered message_acked message_dropped"
EVENTS = tuple(" ".join((_CLIENT, _SESSION, _TOPICS, _MESSAGES)).split())

_ABSENT = "undefined"
#: Return codes of CONNACK, MQTT 3.1.1, table 3.1.
_CODES = (
    "Connection Accepted",
    "Connection Refused, unacceptable protocol version",
    "Connection Refused, identifier rejected",
    "Connection Refused, Server unavailable",
    "Connection Refused, bad user name or password",
    "Connection Refused, not authorized",
)
#: Steps of a link, and the events that come from them.
_STEPS = (
    ("_write", "client_connect"),
    ("_up", "client_connack client_connected " + _SESSION),
    ("_down", "client_connect client_disconnected session_terminated"),
    ("_ask", "client_subscribe client_unsubscribe"),
    ("_on_packet", "session_subscribed session_unsubscribed"),
    ("_on_publish", "message_delivered message_acked message_dropped"),
    ("_send", "message_publish message_acked message_dropped"),
    ("_settle", "message_acked message_dropped"),
    ("publish", "message_dropped"),
)
# Places in the link's entries of its window and its subscriptions, see there.
_PID = const(0)
_FILTER = const(1)
_QOS = const(2)
_SENDS = const(2)
_TOPIC = const(4)
_PAYLOAD = const(5)
_FLAGS = const(6)


def watch(link, bus, clock, node, wanted, ipaddress=None):
    """Emit the ``wanted`` of ``EVENTS`` of a link on the bus; returns the ``Watch``.

    ``node``: the node's name. ``ipaddress()`` tells the board's own address, None if it has none;
    by default that of its Wi-Fi. A link that is connected is watched from now on.
    """
    return Watch(link, bus, clock, node, wanted, ipaddress or _wifi_address)


class Watch:
    """Stands before the steps of a link, until ``stop``."""

    def __init__(self, link, bus, clock, node, wanted, ipaddress):
        self._link = link
        self._bus = bus
        self._clock = clock
        self._node = node
        self._ipaddress = ipaddress
        self._wanted = wanted = [name for name in EVENTS if name in wanted]
        self._codec = link._codec
        self._session = link.connected and not link.config["clean_session"]
        self._steps = {}
        for name, events in _STEPS:
            if any(event in wanted for event in events.split()):
                self._steps[name] = getattr(link, name)
                setattr(link, name, getattr(self, name.lstrip("_")))
        self._renew()

    def stop(self):
        """Leave the link as it was."""
        for name in self._steps:
            setattr(self._link, name, self._steps[name])
        self._steps = {}
        self._renew()

    def _renew(self):
        # The codec of a connection keeps the callbacks that it was made with.
        codec = self._link._codec
        if codec:
            codec._on_packet = self._link._on_packet
            codec._on_message = self._link._on_publish

    # -- steps of the link

    def write(self, stream):
        """Before something is written; of each connection CONNECT is the first."""
        if self._link._codec is not self._codec:
            self._codec = self._link._codec
            self._emit("client_connect", self._connection)
        return self._steps["_write"](stream)

    def up(self, number):
        """CONNACK."""
        link, code = self._link, number & 255
        answer = _CODES[code] if code < len(_CODES) else "code %d" % code
        self._emit("client_connack", lambda: dict(self._connection(), conn_ack=answer))
        if not code:
            present = number > 255 and not link.config["clean_session"]
            if not present:
                if self._session:
                    self._ended("session not present")
                self._emit("session_created", lambda: self._who(created_at=self._now()))
            self._session = not link.config["clean_session"]
            self._emit("client_connected", lambda: self._connected(present))
        self._steps["_up"](number)

    def down(self, reason):
        """The end of a connection, or of an attempt."""
        was = self._link.connected
        self._codec = None
        self._steps["_down"](reason)
        if was:
            now = self._now()
            self._emit(
                "client_disconnected", lambda: self._who(disconnected_at=now, reason=reason)
            )
            if self._link.config["clean_session"]:
                self._ended(reason)

    def ask(self, entry):
        """SUBSCRIBE or UNSUBSCRIBE."""
        self._steps["_ask"](entry)
        self._topic("client_", entry)

    def on_packet(self, kind, number, code):
        """A packet that is no message."""
        entry = None
        if kind not in (CONNACK, PUBACK):
            entry = self._link._find(self._link._subscriptions, number)
        self._steps["_on_packet"](kind, number, code)
        if entry and (kind != SUBACK or code < 3):
            self._topic("session_", entry)

    def on_publish(self, topic, payload, retain, dup):
        """A message from the broker; ``payload`` None: too long."""
        qos, pid = self._numbers(payload)
        message = (topic, payload, qos, retain, dup, pid)
        self._steps["_on_publish"](topic, payload, retain, dup)
        if payload is None:
            self._emit("message_dropped", lambda: self._came(message, "too long"))
            return
        self._emit("message_delivered", lambda: self._came(message))
        if qos:
            self._emit("message_acked", lambda: self._came(message))

    def send(self, entry, topic, payload, dup):
        """PUBLISH."""
        self._steps["_send"](entry, topic, payload, dup)
        # Of what is not kept the link forgets the topic, by which its acknowledgement is known.
        entry[_TOPIC] = topic
        self._emit("message_publish", lambda: self._went(entry, topic, payload, dup))

    def settle(self, entry, outcome):
        """A message is done."""
        if outcome == "acked":
            self._emit("message_acked", lambda: self._gone(entry))
        else:
            reason = "given up" if self._link.connected else "connection lost"
            self._emit("message_dropped", lambda: self._gone(entry, reason))
        self._steps["_settle"](entry, outcome)

    def publish(self, topic, payload, qos=0, retain=False, keep=True, done=None):
        """A message is handed to the link."""
        taken = self._steps["publish"](topic, payload, qos, retain, keep, done)
        if not taken:
            reason = "queue full" if self._link.connected else "not connected"
            entry = (None, None, 0, 0, None, None, RETAIN if retain else 0)
            self._emit(
                "message_dropped",
                lambda: self._went(entry, to_bytes(topic), to_bytes(payload), 0, qos, reason),
            )
        return taken

    # -- what the events hold

    def _emit(self, event, make):
        if event not in self._wanted:
            return
        name = self._link.name
        try:
            self._bus.emit(event, name, make())
        except Exception as error:
            # Without memory for an event the connection shall stay.
            self._bus.emit(ERROR, name, error)

    def _now(self):
        return self._clock.unix_ms()

    def _user(self):
        return self._link.config["user"] or _ABSENT

    def _who(self, **more):
        body = {
            "node": self._node,
            "ipaddress": self._ipaddress(),
            "clientid": self._link.config["client_id"],
            "username": self._user(),
        }
        body.update(more)
        return body

    def _connection(self):
        config = self._link.config
        return self._who(
            keepalive=config["keepalive_s"], proto_ver=4, clean_session=config["clean_session"]
        )

    def _connected(self, present):
        return dict(self._connection(), connected_at=self._now(), session_present=present)

    def _ended(self, reason):
        self._emit("session_terminated", lambda: self._who(reason=reason))

    def _topic(self, prefix, entry):
        topic, qos = str(entry[_FILTER], "utf-8"), entry[_QOS]
        if qos < 0:
            name = "unsubscribe" if prefix == "client_" else "unsubscribed"
            self._emit(prefix + name, lambda: self._who(topic=topic))
        else:
            name = "subscribe" if prefix == "client_" else "subscribed"
            self._emit(prefix + name, lambda: self._who(topic=topic, opts={"qos": qos}))

    def _numbers(self, payload):
        """``(qos, packet id)`` of the message that is being received."""
        packet = self._link._codec._in
        qos = packet[0] >> 1 & 3
        if not qos or payload is None:
            return qos, None
        at = len(packet) - len(payload) - 2
        return qos, packet[at] << 8 | packet[at + 1]

    def _message(self, topic, payload, qos, retain, dup, pid):
        text = None if payload is None else b2a_base64(payload).decode().strip()
        return {
            "dup": bool(dup),
            "retain": bool(retain),
            "qos": qos,
            "topic": topic if isinstance(topic, str) else str(topic or b"", "utf-8"),
            "packet_id": pid,
            "payload": text,
            "ts": self._now(),
        }

    def _sender(self, who):
        return {"from_" + key: who[key] for key in who}

    def _came(self, message, reason=None):
        """Of a message from the broker."""
        body = self._message(*message)
        body.update(self._who(pts=None))
        unknown = {"node": None, "ipaddress": None, "clientid": None, "username": _ABSENT}
        body.update(self._sender(unknown))
        if reason:
            body["reason"] = reason
        return body

    def _went(self, entry, topic, payload, dup, qos=None, reason=None):
        """Of a message to the broker, by its entry in the link's window."""
        pid = entry[_PID] or None
        qos = (1 if pid else 0) if qos is None else qos
        body = self._message(topic, payload, qos, entry[_FLAGS] & RETAIN, dup & DUP, pid)
        body.update(self._sender(self._who()))
        if reason:
            body.update(self._who(pts=body["ts"], reason=reason))
        return body

    def _gone(self, entry, reason=None):
        """Of a message to the broker that is done."""
        dup = DUP if entry[_SENDS] > 1 else 0
        body = self._went(entry, entry[_TOPIC], entry[_PAYLOAD], dup, 1, reason)
        body.update(self._who(pts=None))
        return body


def _wifi_address():
    try:
        import network

        return network.WLAN(network.STA_IF).ifconfig()[0]
    except (ImportError, AttributeError, OSError):
        return None
