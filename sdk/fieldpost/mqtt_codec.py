"""MQTT 3.1.1 packets for a client, without any input or output of its own.

``umqtt.simple`` writes and reads the packets, over a socket that is a piece of memory, so that no
call of it can block: where it waits for an answer it finds one that was put there before, and the
real answer is parsed when it arrives. Framing, limits, SUBSCRIBE and UNSUBSCRIBE are done here:
umqtt reads without limits and cannot write a filter of more than 122 bytes.

Specification: OASIS MQTT 3.1.1. QoS 2 is not spoken; nobody sends it to a client that asks for 1.
"""

from .compat import const
from .errors import LinkError

import umqtt.simple as umqtt  # isort: skip  (compat makes it importable on CPython)

CONNACK = const(0x20)
PUBACK = const(0x40)
SUBACK = const(0x90)
UNSUBACK = const(0xB0)
PINGRESP = const(0xD0)

#: Flags of PUBLISH.
RETAIN = const(1)
DUP = const(8)

# Output waits in pieces of this size, since a heap in use has no room for one large buffer. They
# are written one by one: the end of each is the progress that the link's deadline asks for.
_PIECE_BYTES = const(1024)

# Body length of every packet that a client may receive, except PUBLISH.
_LENGTHS = {CONNACK: 2, PUBACK: 2, SUBACK: 3, UNSUBACK: 2, PINGRESP: 0}


class _Memory:
    """What umqtt takes for its socket, and for the module that makes it."""

    def __init__(self):
        self.pieces = [bytearray()]
        self.size = 0

    def load(self, data, beyond=0):
        """Let ``data`` be read; ``beyond`` bytes came after it and were not kept."""
        self._data = data
        self._at = 0
        self.beyond = beyond

    def read(self, n):
        start = self._at
        end = self._at = start + n
        beyond = end - len(self._data)
        if beyond > 0 and beyond != self.beyond:
            raise LinkError("protocol")
        return self._data[start:end]

    def write(self, data, n=None):
        data = memoryview(data)[: len(data) if n is None else n]
        self.size += len(data)
        while True:
            piece = self.pieces[-1]
            room = _PIECE_BYTES - len(piece)
            piece.extend(data[:room])
            data = data[room:]
            if not data:
                break
            self.pieces.append(bytearray())

    def cut(self, count, length):
        """Give up what was written behind ``length`` bytes of piece number ``count``."""
        del self.pieces[count:]
        self.pieces[-1][length:] = b""
        self.size = sum(len(piece) for piece in self.pieces)

    def socket(self):
        return self

    def getaddrinfo(self, host, port):
        return ((host, port),)

    def setblocking(self, _):
        pass

    connect = settimeout = setblocking


def to_bytes(text):
    """UTF-8 of a str; anything else as it is. umqtt would count characters, not bytes."""
    return text.encode() if isinstance(text, str) else text


class Codec:
    """Packets of one connection: methods append to the output, ``feed`` takes the input.

    The output starts with the CONNECT that ``config`` describes: ``client_id``, ``user``,
    ``password``, ``keepalive_s``, ``clean_session`` and ``will`` (None or a dict of ``topic``,
    ``payload``, ``qos``, ``retain``), as in ``mqtt.Link``.

    ``on_packet(kind, number, code)`` is called for CONNACK (number: flags << 8 | return code),
    PUBACK, SUBACK, UNSUBACK (number: packet id; code: that of SUBACK) and PINGRESP;
    ``on_message(topic, payload, retain, dup)`` for PUBLISH, with payload None when the packet was
    longer than ``receive_max_bytes``: what is beyond is skipped as it streams past, because to
    disconnect would be to receive a retained message again and again. QoS 1 is acknowledged once
    ``on_message`` has returned.
    """

    def __init__(self, config, on_packet, on_message, receive_max_bytes=4096):
        self._on_packet = on_packet
        self._on_message = on_message
        self._max = receive_max_bytes
        self._memory = _Memory()
        self._puback = bytearray(b"\x40\x02\0\0")
        self._in = bytearray()  # the packet being received, from its first byte
        self._left = -1  # bytes of it still to come; -1 while its length is not known
        self._room = 0  # bytes of it still to keep; negative: that many were not kept
        client = self._client = umqtt.MQTTClient(
            to_bytes(config["client_id"]),
            "",
            user=to_bytes(config["user"]) or None,
            password=to_bytes(config["password"] or b""),
            keepalive=config["keepalive_s"],
        )
        client.set_callback(self._received)
        will = config["will"]
        if will:
            topic, payload = to_bytes(will["topic"]), to_bytes(will["payload"])
            client.set_last_will(topic, payload, will["retain"], will["qos"])
        self._memory.load(b"\x20\x02\0\0")
        module, umqtt.socket = umqtt.socket, self._memory
        try:
            client.connect(config["clean_session"])
        finally:
            umqtt.socket = module

    def pending(self):
        """Bytes of output not yet taken."""
        return self._memory.size

    def take(self):
        """Remove and return the next piece of the output, empty if there is none."""
        memory = self._memory
        data = memory.pieces.pop(0)
        memory.size -= len(data)
        if not memory.pieces:
            memory.pieces.append(bytearray())
        return data

    def publish(self, topic, payload, qos, flags, pid):
        """Append PUBLISH: bytes ``topic``, bytes-like ``payload``, RETAIN | DUP, packet id."""
        pieces = self._memory.pieces
        count, length = len(pieces), len(pieces[-1])
        self._client.pid = pid - 1
        puback = self._puback
        puback[2] = pid >> 8
        puback[3] = pid & 255
        self._memory.load(puback)
        try:
            self._client.publish(topic, payload, flags, qos)
        except Exception:
            # Out of memory in the middle: half a packet would spoil all that follow.
            self._memory.cut(count, length)
            raise

    def subscribe(self, topic, qos, pid):
        """Append SUBSCRIBE for one filter (bytes), or UNSUBSCRIBE when ``qos`` is negative."""
        body = pid.to_bytes(2, "big") + len(topic).to_bytes(2, "big") + topic
        packet = bytearray(b"\xa2")
        if qos >= 0:
            packet[0] = 0x82
            body += bytes((qos,))
        size = len(body)
        while size > 127:
            packet.append(size & 127 | 128)
            size >>= 7
        packet.append(size)
        self._memory.write(packet + body)

    def ping(self):
        """Append PINGREQ."""
        self._client.ping()

    def feed(self, data):
        """Take received bytes, in pieces of any size, and call back for each whole packet.

        Raises ``LinkError`` ("protocol") when they are not MQTT for a client; the connection is
        then to be closed.
        """
        view = memoryview(data)
        at = 0
        while at < len(view):
            if self._left < 0:
                self._header(view[at])
                at += 1
            else:
                part = view[at : at + self._left]
                at += len(part)
                self._left -= len(part)
                if self._room > 0:
                    self._in.extend(part[: self._room])
                self._room -= len(part)
            if self._left == 0:
                self._packet(self._in)
                self._left = -1
                self._in = bytearray()

    def _header(self, byte):
        packet = self._in
        packet.append(byte)
        length = len(packet)
        fixed = _LENGTHS.get(packet[0])
        if (fixed is None and packet[0] & 0xF4 != 0x30) or (length > 4 and byte > 127):
            raise LinkError("protocol")
        if length > 1 and byte < 128:
            size = 0
            for i in range(length - 1, 0, -1):
                size = size << 7 | packet[i] & 127
            if size != fixed and fixed is not None:
                raise LinkError("protocol")
            self._left = size
            self._room = self._max

    def _packet(self, packet):
        kind = packet[0]
        size = len(packet)
        if kind & 0xF0 != 0x30:
            number = packet[2] << 8 | packet[3] if size > 3 else 0
            self._on_packet(kind, number, packet[4] if size > 4 else 0)
            return
        beyond = -self._room if self._room < 0 else 0
        self._memory.load(memoryview(packet), beyond)
        try:
            self._client.wait_msg()
        except LinkError:
            if not beyond:
                raise
            # Not even the topic is within the limit, so neither is the packet id.
            self._on_message("", None, False, False)

    def _received(self, topic, payload):
        try:
            topic = str(topic, "utf-8")
        except UnicodeError:
            topic = ""
        if not topic:
            raise LinkError("protocol")
        flags = self._in[0]
        payload = None if self._memory.beyond else bytes(payload)
        self._on_message(topic, payload, bool(flags & RETAIN), bool(flags & DUP))
