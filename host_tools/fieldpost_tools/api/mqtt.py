"""API requests and replies over an MQTT broker."""

import threading

from fieldpost_tools.api.errors import ApiLinkError
from fieldpost_tools.api.hub import MqttHub, state_word
from fieldpost_tools.api.signature import Signer
from fieldpost_tools.errors import InputError


class MqttTransport:
    """Reaches the node ``node`` through the broker at ``url`` (``mqtt://`` or ``mqtts://``).

    ``password`` is used if the URL has none; ``ca`` is a PEM file to verify the broker with;
    ``secret`` signs requests, for a node with ``api.mqtt_secret``. A lost connection comes back by
    itself; calls that wait meanwhile fail. Instead of a URL, an open ``MqttHub`` that others
    share is used, and not closed.

    Requests go out with QoS 0: no broker keeps them, so that none is done twice, or hours later
    when the node is back and nobody waits any more.
    """

    #: Others call the same node, and their replies come here, too.
    shared = True

    def __init__(self, url, node, password=None, ca=None, secret=None):
        self._own = not isinstance(url, MqttHub)
        self._hub = MqttHub(url, password, ca) if self._own else url
        if not node or not node.isprintable() or any(c in node for c in "/+#"):
            raise InputError("node", node, "one topic level: not empty, without / + #")
        self._signer = Signer(secret) if secret else None
        self.node = node
        self._topic = f"fieldpost/nodes/{node}/api"
        self._problem = "no answer"  # None: both subscriptions stand
        #: "online" or "offline", as the node's state says; None: this broker has never heard.
        self.node_state = None
        self._settled = threading.Event()  # whether or not the first subscription stands
        self._receive = self._lost = None

    def __str__(self):
        return f"node {self.node!r} at broker {self._hub.address}"

    def open(self, receive, lost):
        """Connect and subscribe.

        ``receive(payload)`` gets what comes on the reply topic, as bytes, ``lost(error)`` is told
        that the connection is; both are called by a thread of ours. Raises ApiLinkError.
        """
        self._receive, self._lost = receive, lost
        if self._own:
            self._hub.open()
        self._hub.attach(self)
        self._settled.wait(self._hub.CONNECT_TIMEOUT_S)
        if self._problem:
            error = self._hub.error(self._problem)
            self.close()
            raise error

    def send(self, data, id=None):
        """Send a request with this id. Raises ApiLinkError, also if the node is offline."""
        if self._problem:
            raise self._hub.error(self._problem)
        if self.node_state == "offline":
            raise ApiLinkError(f"{self} is offline")
        if self._signer:
            data = self._signer.seal(self._topic, data, id)
        self._hub.publish(self._topic, data)

    def hint(self):
        """What is known about why there is no answer."""
        if self.node_state is None:
            return f"; broker {self._hub.address} has heard of no node {self.node!r}"
        return f"; the node is {self.node_state}"

    def close(self):
        """Disconnect; a hub of others stays."""
        if self._problem != "closed":
            self._problem = "closed"
            self._hub.detach(self)
            if self._own:
                self._hub.close()

    # Called by the hub

    def subscribed(self, problem):
        """The broker has answered to the subscriptions."""
        if self._problem != "closed":
            self._problem = problem
        self._settled.set()

    def disconnected(self, error):
        """The connection is lost."""
        if self._problem != "closed":
            self._problem = "connection lost"
            self.node_state = None
            self._lost(error)

    def take(self, kind, payload):
        """A message of the node: its state, or a reply."""
        if kind == "reply":
            self._receive(payload)
        elif kind == "state":
            self.node_state = state_word(payload)
            if self.node_state == "offline":
                # It will not answer any more.
                self._lost(ApiLinkError(f"{self} is offline"))
