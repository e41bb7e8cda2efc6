"""API requests and replies over an MQTT broker."""

import json
import secrets
import ssl
import threading

from paho.mqtt.client import Client, MQTTErrorCode, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from fieldpost_tools import broker
from fieldpost_tools.api.errors import ApiLinkError
from fieldpost_tools.api.signature import Signer
from fieldpost_tools.errors import InputError

_OK = MQTTErrorCode.MQTT_ERR_SUCCESS


class MqttTransport:
    """Reaches the node ``node`` through the broker at ``url`` (``mqtt://`` or ``mqtts://``).

    ``password`` is used if the URL has none; ``ca`` is a PEM file to verify the broker with;
    ``secret`` signs requests, for a node with ``api.mqtt_secret``. A lost connection comes back by
    itself; calls that wait meanwhile fail.

    Requests go out with QoS 0: no broker keeps them, so that none is done twice, or hours later
    when the node is back and nobody waits any more.
    """

    #: Others call the same node, and their replies come here, too.
    shared = True
    KEEPALIVE_S = 30
    CONNECT_TIMEOUT_S = 5.0
    BACKOFF_S = (1, 30)

    def __init__(self, url, node, password=None, ca=None, secret=None):
        self._address = broker.parse_url(url, password)
        if not node or not node.isprintable() or any(c in node for c in "/+#"):
            raise InputError("node", node, "one topic level: not empty, without / + #")
        self._signer = Signer(secret) if secret else None
        self.node = node
        self._prefix = f"fieldpost/nodes/{node}/"
        self._connected = False
        self._state = "no answer"
        #: "online" or "offline", as the node's state says; None: this broker has never heard.
        self.node_state = None
        self._settled = threading.Event()  # whether or not the first connection stands
        self._receive = self._lost = None
        self._client = self._make_client(ca)

    def __str__(self):
        return f"node {self.node!r} at broker {self._address}"

    def open(self, receive, lost):
        """Connect and subscribe.

        ``receive(payload)`` gets what comes on the reply topic, as bytes, ``lost(error)`` is told
        that the connection is; both are called by a thread of ours. Raises ApiLinkError.
        """
        self._receive, self._lost = receive, lost
        try:
            self._connect()
        except ApiLinkError:
            self.close()
            raise

    def send(self, data, id=None):
        """Send a request with this id. Raises ApiLinkError, also if the node is offline."""
        if not self._connected:
            raise self._error(self._state)
        if self.node_state == "offline":
            raise ApiLinkError(f"{self} is offline")
        topic = self._prefix + "api"
        if self._signer:
            data = self._signer.seal(topic, data, id)
        if self._client.publish(topic, data).rc != _OK:
            raise self._error("connection lost")

    def hint(self):
        """What is known about why there is no answer."""
        if self.node_state is None:
            return f"; broker {self._address} has heard of no node {self.node!r}"
        return f"; the node is {self.node_state}"

    def close(self):
        """Disconnect."""
        self._connected, self._state = False, "closed"
        client = self._client
        client.disconnect()
        client.loop_stop()
        # paho closes its last sockets when it is deleted: nothing may keep it in a circle.
        client.on_connect = client.on_subscribe = client.on_message = client.on_disconnect = None

    def _connect(self):
        try:
            self._client.connect(self._address.host, self._address.port, self.KEEPALIVE_S)
        except ssl.SSLCertVerificationError as error:
            raise self._error(f"certificate is not trusted: {error.verify_message}") from None
        except (OSError, UnicodeError) as error:
            raise self._error(broker.failure_words(error)) from None
        self._client.loop_start()
        self._settled.wait(self.CONNECT_TIMEOUT_S)
        if not self._connected:
            raise self._error(self._state)

    def _make_client(self, ca):
        client = Client(
            CallbackAPIVersion.VERSION2,
            f"fieldpost-api-{secrets.token_hex(6)}",
            protocol=MQTTv311,
        )
        client.connect_timeout = self.CONNECT_TIMEOUT_S
        client.reconnect_delay_set(*self.BACKOFF_S)
        if self._address.user is not None:
            client.username_pw_set(self._address.user, self._address.password)
        if self._address.tls:
            client.tls_set_context(broker.tls_context(ca))
        elif ca:
            raise InputError("ca", str(ca), "no CA with mqtt://; use mqtts://")
        client.on_socket_open = broker.no_delay
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _error(self, words):
        return ApiLinkError(f"broker {self._address}: {words}")

    def _on_connect(self, client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            self._state = f"refused: {str(reason).lower()}"
            self._settled.set()
        else:
            client.subscribe([(self._prefix + "state", 1), (self._prefix + "reply", 1)])

    def _on_subscribe(self, _client, _userdata, _mid, reasons, _properties):
        if any(reason.is_failure for reason in reasons):
            self._state = f"refuses the subscription to {self._prefix}reply"
        else:
            self._connected = True
        self._settled.set()

    def _on_disconnect(self, _client, _userdata, _flags, _reason, _properties):
        if self._connected:
            self._connected = False
            self._state = "connection lost"
            self.node_state = None
            self._lost(self._error(self._state))

    def _on_message(self, _client, _userdata, message):
        if message.topic.endswith("/reply"):
            self._receive(message.payload)
            return
        try:
            self.node_state = json.loads(message.payload)["state"]
        except (ValueError, TypeError, KeyError):
            self.node_state = None
