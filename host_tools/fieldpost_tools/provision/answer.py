"""Waits for a node that boots: its answer on the serial line, or its first word at a broker."""

import json
import secrets
import time
from dataclasses import dataclass

from fieldpost_tools import api, broker
from fieldpost_tools.api.errors import ApiCallError, ApiError, ApiLinkError, ApiTimeout

#: How long the first attempt waits, the longest of the others, and the pause between them.
CALL_S, LONGEST_CALL_S, PAUSE_S = 0.5, 2.0, 0.25


@dataclass(frozen=True)
class Answer:
    """What the node says of itself; ``seconds`` since it was waited for."""

    node: str
    version: str
    seconds: float


class Serial:
    """The API on the serial line."""

    def __init__(self, port):
        self._port = port

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass

    def wait(self, timeout_s):
        """The ``Answer``. Raises ApiTimeout, with what the board prints instead."""
        begin = time.monotonic()
        error = ApiTimeout(f"no answer at {self._port}")
        call_s = CALL_S
        while time.monotonic() - begin < timeout_s:
            try:
                info = self._ask(call_s)
                return Answer(info["node"], info["version"], time.monotonic() - begin)
            except ApiCallError as refusal:
                raise ApiError(f"the node runs, but: {refusal}") from None
            except ApiError as failure:
                # A USB board is away while it resets; a node answers when it runs.
                error = failure
                call_s = min(2 * call_s, LONGEST_CALL_S)
                time.sleep(PAUSE_S)
        raise ApiTimeout(f"the node does not answer in {timeout_s:.0f} s: {error}")

    def _ask(self, call_s):
        with api.Client(api.SerialTransport(self._port), call_s) as client:
            return client.call("system.getInfo")


class Mqtt:
    """The node's state at a broker; made before the board is reset, so that no word is missed.

    ``address`` is a ``broker.Address``; ``ca`` as for ``broker.Link``. Raises BrokerError.
    """

    #: How long a state of an earlier boot may take to come.
    RETAINED_S = 1.0

    def __init__(self, address, node, ca=None):
        self._address = address
        self._link = broker.Link(
            address,
            f"fieldpost-provision-{secrets.token_hex(4)}",
            [f"fieldpost/nodes/{node}/state"],
            clean=True,
            ca=ca,
        )
        self._node = node
        self._boot = None

    def __enter__(self):
        deadline = time.monotonic() + self._link.CONNECT_TIMEOUT_S
        while not self._link.connected:
            self._states(0.1)
            if time.monotonic() > deadline:
                raise ApiLinkError(f"broker {self._address}: {self._link.state}")
        deadline = time.monotonic() + self.RETAINED_S
        while self._boot is None and time.monotonic() < deadline:
            for state in self._states(0.1):
                self._boot = state.get("boot")
        return self

    def __exit__(self, *exc_info):
        self._link.close()

    def wait(self, timeout_s):
        """The ``Answer``. Raises ApiTimeout."""
        begin = time.monotonic()
        while time.monotonic() - begin < timeout_s:
            for state in self._states(PAUSE_S):
                if state.get("state") == "online" and state.get("boot") != self._boot:
                    version = state.get("version", "")
                    return Answer(self._node, version, time.monotonic() - begin)
        raise ApiTimeout(f"{self._node} is not online at {self._address} after {timeout_s:.0f} s")

    def _states(self, wait_s):
        messages = self._link.receive(wait_s, 16, 65536)
        self._link.done()
        states = [_object(payload) for _topic, payload in messages]
        return [state for state in states if isinstance(state, dict)]


def _object(payload):
    try:
        return json.loads(payload)
    except ValueError:
        return None
