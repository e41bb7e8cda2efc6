"""One connection to a broker, by which any number of nodes are reached."""

import contextlib
import json
import secrets
import ssl
import threading
import time

from paho.mqtt.client import Client, MQTTErrorCode, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from fieldpost_tools import broker
from fieldpost_tools.api.errors import ApiLinkError
from fieldpost_tools.errors import InputError

_OK = MQTTErrorCode.MQTT_ERR_SUCCESS
_NODES = "fieldpost/nodes/"
_STATES = _NODES + "+/state"


class MqttHub:
    """The broker at ``url`` (``mqtt://`` or ``mqtts://``); a context manager that opens, closes.

    ``password`` is used if the URL has none; ``ca`` is a PEM file to verify the broker with. A
    lost connection comes back by itself. For ``MqttTransport``; ``states()`` is for everyone.
    """

    KEEPALIVE_S = 30
    CONNECT_TIMEOUT_S = 5.0
    BACKOFF_S = (1, 30)
    #: Retained messages of a subscription are there when none has come for so long.
    QUIET_S = 0.4

    def __init__(self, url, password=None, ca=None):
        self.address = broker.parse_url(url, password)
        self.connected = False
        #: Why it is not connected, for a person.
        self.state = "no answer"
        self._owners = []
        self._pending = {}  # packet id of a subscription -> who is told
        self._states = None
        self._heard_at = 0.0
        self._lock = threading.Lock()
        self._settled = threading.Event()  # whether or not the first connection stands
        self._client = self._make_client(ca)

    def open(self):
        """Connect. Raises ApiLinkError."""
        try:
            self._connect()
        except ApiLinkError:
            self.close()
            raise

    def close(self):
        """Disconnect."""
        self.connected, self.state = False, "closed"
        client = self._client
        client.disconnect()
        client.loop_stop()
        # paho closes its last sockets when it is deleted: nothing may keep it in a circle.
        client.on_connect = client.on_subscribe = client.on_message = client.on_disconnect = None

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *_exc_info):
        self.close()

    def attach(self, owner):
        """Subscribe to the topics of a transport, now and after every connection.

        It has ``node``; ``subscribed(words or None)`` is told why the broker refuses,
        ``take(kind, payload)`` gets messages, ``disconnected(error)`` is told that. A thread of
        ours calls them.
        """
        with self._lock:
            self._owners.append(owner)
            if self.connected:
                self._subscribe(owner)

    def detach(self, owner):
        """The end of that."""
        with self._lock:
            self._owners.remove(owner)
            if self.connected and all(one.node != owner.node for one in self._owners):
                self._client.unsubscribe(_topics(owner))

    def publish(self, topic, data):
        """Send with QoS 0. Raises ApiLinkError."""
        if not self.connected:
            raise self.error(self.state)
        if self._client.publish(topic, data).rc != _OK:
            raise self.error("connection lost")

    def states(self):
        """``{node: "online" or "offline"}`` of all nodes that this broker has heard of."""
        self._states = {}
        self._heard_at = time.monotonic()
        self._client.subscribe(_STATES, 1)
        while (left := self._heard_at + self.QUIET_S - time.monotonic()) > 0:
            time.sleep(left)
        self._client.unsubscribe(_STATES)
        found, self._states = self._states, None
        return found

    def error(self, words):
        """ApiLinkError that names the broker."""
        return ApiLinkError(f"broker {self.address}: {words}")

    def _connect(self):
        try:
            self._client.connect(self.address.host, self.address.port, self.KEEPALIVE_S)
        except ssl.SSLCertVerificationError as error:
            raise self.error(f"certificate is not trusted: {error.verify_message}") from None
        except (OSError, UnicodeError) as error:
            raise self.error(broker.failure_words(error)) from None
        self._client.loop_start()
        self._settled.wait(self.CONNECT_TIMEOUT_S)
        if not self.connected:
            raise self.error(self.state)

    def _make_client(self, ca):
        client = Client(
            CallbackAPIVersion.VERSION2,
            f"fieldpost-api-{secrets.token_hex(6)}",
            protocol=MQTTv311,
        )
        client.connect_timeout = self.CONNECT_TIMEOUT_S
        client.reconnect_delay_set(*self.BACKOFF_S)
        if self.address.user is not None:
            client.username_pw_set(self.address.user, self.address.password)
        if self.address.tls:
            client.tls_set_context(broker.tls_context(ca))
        elif ca:
            raise InputError("ca", str(ca), "no CA with mqtt://; use mqtts://")
        client.on_socket_open = broker.no_delay
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _subscribe(self, owner):
        _, mid = self._client.subscribe([(topic, 1) for topic in _topics(owner)])
        self._pending[mid] = owner

    def _on_connect(self, _client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            self.state = f"refused: {str(reason).lower()}"
        else:
            with self._lock:
                self.connected = True
                self._pending.clear()
                for owner in self._owners:
                    self._subscribe(owner)
        self._settled.set()

    def _on_subscribe(self, _client, _userdata, mid, reasons, _properties):
        with self._lock:
            owner = self._pending.pop(mid, None)
        if owner:
            refused = any(reason.is_failure for reason in reasons)
            topic = _topics(owner)[1]
            owner.subscribed(f"refuses the subscription to {topic}" if refused else None)

    def _on_disconnect(self, _client, _userdata, _flags, _reason, _properties):
        if self.connected:
            self.connected = False
            self.state = "connection lost"
            for owner in list(self._owners):
                owner.disconnected(self.error(self.state))

    def _on_message(self, _client, _userdata, message):
        node, _, kind = message.topic[len(_NODES) :].partition("/")
        for owner in list(self._owners):
            if owner.node == node:
                owner.take(kind, message.payload)
        if self._states is not None and kind == "state":
            self._heard_at = time.monotonic()
            self._states[node] = state_word(message.payload)


def state_word(payload):
    """The word of a node's state message; None for what is none."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return json.loads(payload)["state"]
    return None


def _topics(owner):
    prefix = _NODES + owner.node
    return [prefix + "/state", prefix + "/reply"]
