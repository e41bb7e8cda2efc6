"""A connection to an MQTT 3.1.1 broker that lives in its caller's thread.

``Link.receive`` reads whatever waits and returns it, so that the caller decides when the next
message is taken: while a database writes, the TCP connection holds the broker back and no queue
grows here. A lost connection comes back with backoff (0.5 s doubling to 30 s, with jitter).
"""

import random
import select
import socket
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, MQTTErrorCode, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from fieldpost_tools.errors import BrokerError, InputError

_ALLOWED_URL = "mqtt://[user[:password]@]host[:port], or mqtts:// for TLS"
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_OK = MQTTErrorCode.MQTT_ERR_SUCCESS
# Refusals that may pass by themselves; the others need a person.
_PASSING = ("Server unavailable", "Server busy", "Unspecified error")


@dataclass(frozen=True)
class Address:
    """Where a broker is and who we are to it; ``str()`` and ``repr()`` show no password."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self):
        return f"{self.host}:{self.port}"


def parse_url(url, password=None):
    """``Address`` of an ``mqtt://`` or ``mqtts://`` URL; ``password`` is used if it has none.

    Raises InputError, which never shows what stands before the ``@``.
    """
    shown = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise InputError("mqtt", shown, _ALLOWED_URL) from None
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise InputError("mqtt", shown, _ALLOWED_URL)
    user = unquote(parts.username) if parts.username else None
    given = unquote(parts.password) if parts.password else password
    return Address(parts.hostname, port, parts.scheme == "mqtts", user, given)


class Link:
    """Subscribes to ``filters`` (QoS 1), receives and publishes; connects by itself.

    ``clean`` asks for a session that ends with the connection; otherwise the broker keeps it, and
    what arrives meanwhile, under ``client_id``. With TLS the broker's certificate is verified
    against ``ca`` (a PEM file) or the system's authorities.

    Attributes: ``connected``, ``state`` (words for a person), ``outages`` (established
    connections lost).
    """

    KEEPALIVE_S = 60
    CONNECT_TIMEOUT_S = 5.0
    BACKOFF_S = (0.5, 30.0)
    #: Messages that wait for the broker, e.g. while it is away; more are refused.
    MAX_OUTGOING = 1000

    def __init__(self, address, client_id, filters, clean=False, ca=None):
        self.address = address
        self.connected = False
        self.state = "connecting"
        self.outages = 0
        self._filters = list(filters)
        self._inbox = []
        self._inbox_bytes = 0
        self._handed = []
        self._unacknowledged = 0
        self._ever = False
        self._refusal = None
        self._fatal = False
        self._backoff_s, self._retry_at = self.BACKOFF_S[0], 0.0
        self._client = self._make_client(client_id, clean, ca)

    def receive(self, wait_s, max_messages, max_bytes):
        """Messages as ``(topic, payload)``: waits up to ``wait_s`` for one, takes what is there.

        Stops reading at either limit. An empty list means that nothing came, or that there is no
        connection now. ``done`` must follow, or the broker stops sending and, on the next
        connection, sends them again. Raises BrokerError if the broker refuses us on the first
        connection.
        """
        if self._client.socket() is None and not self._connect(wait_s):
            return []
        status = self._client.loop(wait_s)
        while status == _OK and self._readable():
            if len(self._inbox) >= max_messages or self._inbox_bytes >= max_bytes:
                break
            status = self._client.loop(0)
        if self._fatal:
            raise BrokerError(f"broker {self.address}: {self._refusal}")
        if status != _OK or self._client.socket() is None:
            self._lost(self._refusal or "connection lost")
        inbox, self._inbox, self._inbox_bytes = self._inbox, [], 0
        self._handed += [message.mid for message in inbox if message.qos]
        return [(_topic(message), message.payload) for message in inbox]

    def done(self):
        """Tell the broker that what ``receive`` returned last is dealt with."""
        handed, self._handed = self._handed, []
        for mid in handed:
            self._client.ack(mid, 1)

    def publish(self, topic, payload):
        """Send with QoS 1, at once or when the connection is back; False if too many wait."""
        status = self._client.publish(topic, payload, qos=1).rc
        if status == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            return False
        self._unacknowledged += 1
        return True

    @property
    def unacknowledged(self):
        """Messages published that the broker has not acknowledged."""
        return self._unacknowledged

    def close(self, timeout_s=2.0):
        """Wait up to ``timeout_s`` until the broker has what was published, then disconnect."""
        deadline = time.monotonic() + timeout_s
        while self.connected and self._unacknowledged and time.monotonic() < deadline:
            if self._client.loop(0.1) != _OK:
                break
        self._client.disconnect()
        self.connected = False
        self.state = "closed"

    def _make_client(self, client_id, clean, ca):
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=clean,
            protocol=MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = self.CONNECT_TIMEOUT_S
        client.max_queued_messages_set(self.MAX_OUTGOING)
        client.max_inflight_messages_set(self.MAX_OUTGOING)
        if self.address.user is not None:
            client.username_pw_set(self.address.user, self.address.password)
        if self.address.tls:
            client.tls_set_context(tls_context(ca))
        elif ca:
            raise InputError("ca", str(ca), "no CA with mqtt://; use mqtts://")
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_socket_open = no_delay
        return client

    def _connect(self, wait_s):
        remaining = self._retry_at - time.monotonic()
        if remaining > 0:
            time.sleep(min(wait_s, remaining))
            return False
        self._refusal = None
        try:
            self._client.connect(self.address.host, self.address.port, self.KEEPALIVE_S)
        except ssl.SSLCertVerificationError as error:
            if not self._ever:
                text = f"certificate is not trusted: {error.verify_message}"
                raise BrokerError(f"broker {self.address}: {text}") from None
            self._lost(error.verify_message)
        except (OSError, UnicodeError) as error:
            self._lost(failure_words(error))
        else:
            return True
        return False

    def _lost(self, reason):
        self.outages += self.connected
        self.connected = False
        delay = self._backoff_s * random.uniform(0.75, 1.25)
        self._backoff_s = min(2 * self._backoff_s, self.BACKOFF_S[1])
        self._retry_at = time.monotonic() + delay
        self.state = f"{reason}, next attempt in {delay:.1f} s"

    def _readable(self):
        sock = self._client.socket()
        if sock is None:
            return False
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        return bool(select.select((sock,), (), (), 0)[0])

    def _on_connect(self, client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            self._refusal = f"refused: {str(reason).lower()}"
            self._fatal = not self._ever and str(reason) not in _PASSING
            return
        # Packet ids are of one connection: the broker sends again what it has no answer to.
        self._handed = []
        self.connected = self._ever = True
        self.state = "connected"
        self._backoff_s = self.BACKOFF_S[0]
        if self._filters:
            client.subscribe([(name, 1) for name in self._filters])

    def _on_subscribe(self, _client, _userdata, _mid, reasons, _properties):
        refused = [n for n, r in zip(self._filters, reasons, strict=False) if r.is_failure]
        if refused:
            raise BrokerError(f"broker {self.address}: refuses the subscription to {refused[0]}")

    def _on_message(self, _client, _userdata, message):
        self._inbox.append(message)
        self._inbox_bytes += len(message.payload)

    def _on_publish(self, _client, _userdata, _mid, _reason, _properties):
        self._unacknowledged -= 1


def _topic(message):
    try:
        return message.topic
    except UnicodeDecodeError:
        return ""


class _TlsSocket(ssl.SSLSocket):
    """Closed when its handshake fails, which paho leaves to the garbage collector."""

    def do_handshake(self, block=False):
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def tls_context(ca):
    """A context that verifies by ``ca`` (a PEM file), or by the system's authorities if None."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError):
        raise InputError("ca", str(ca), "a readable PEM file of certificates") from None
    context.sslsocket_class = _TlsSocket
    return context


def no_delay(_client, _userdata, sock):
    """For paho's ``on_socket_open``: small messages go out at once, not 40 ms later."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def failure_words(error):
    """Why a connection could not be made, from its OSError, in words for a person."""
    if isinstance(error, socket.gaierror):
        return "host name is not known"
    if isinstance(error, TimeoutError):
        return "no answer"
    return (getattr(error, "strerror", None) or str(error)).lower()
