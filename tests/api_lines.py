"""For system tests of the API: a node on a virtual board, asked over MQTT and its serial line.

Nothing of the host's own API client is used: what goes over the wire is written out here.
"""

import contextlib
import json
import queue
import time

import serial
from paho.mqtt.client import Client, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from fieldpost_tools import build
from fieldpost_tools.sim.board import Board

TIMEOUT_S = 15
NODE = "gw-1"
PREFIX = f"fieldpost/nodes/{NODE}"


def configuration(port, **keys):
    """A node with a writable point, a counter and a text, and a collector that confirms by id."""
    base = {
        "node": NODE,
        "mqtt": [{"host": "127.0.0.1", "port": port, "backoff_min_ms": 50}],
        "devices": [
            {
                "id": "ahu-1",
                "driver": "virtual",
                "interval": 50,
                "points": [
                    {
                        "id": 1,
                        "name": "dat",
                        "unit": "°C",
                        "value": 21.5,
                        "writable": True,
                        "min": 5,
                        "max": 40,
                        "log": "on_update",
                    },
                    {"id": 2, "name": "n", "kind": "counter"},
                ],
            },
            {
                "id": "meter",
                "driver": "virtual",
                "interval": 100,
                "points": [{"id": 7, "name": "kwh", "kind": "counter"}],
            },
        ],
    }
    return base | keys


@contextlib.contextmanager
def board(config, heap="512k"):
    """A running board with the real firmware."""
    made = Board(heap=heap)
    build.install(made.folder, config)
    with made:
        yield made


class Line:
    """Asks by ``send(request)`` and hears in ``self.heard``; a context manager."""

    def __init__(self):
        self.heard = queue.Queue()
        self._number = 0

    def ask(self, module_method, args=None, **more):
        """The whole reply to a request with an id of its own."""
        self._number += 1
        module, _, method = module_method.partition(".")
        id = f"{type(self).__name__}-{self._number}"
        self.send({"id": id, "module": module, "method": method, **(args or {}), **more})
        return self.reply(id)

    def value(self, *args, **more):
        """The value of a reply."""
        reply = self.ask(*args, **more)
        assert "error" not in reply, reply
        return reply["value"]

    def error(self, *args, **more):
        """The error of a reply."""
        reply = self.ask(*args, **more)
        assert "value" not in reply, reply
        return reply["error"]

    def reply(self, id):
        """The reply with this id, put together."""
        parts = {}
        while True:
            message = json.loads(self.heard.get(timeout=TIMEOUT_S))
            head = message[0] if isinstance(message, list) else message
            if head.get("id") != id:
                continue
            if "segment" not in head:
                return message
            parts[message["segment"]] = message["value"]
            if len(parts) == message["total"]:
                return json.loads("".join(parts[number + 1] for number in range(len(parts))))


class Mqtt(Line):
    """Over a broker."""

    def __init__(self, port, node=NODE):
        super().__init__()
        self.prefix = f"fieldpost/nodes/{node}"
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv311)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self.flushes = queue.Queue()
        self.online = queue.Queue()
        self._client.subscribe([(self.prefix + topic, 1) for topic in ("/reply", "/flush/+")])
        self._client.subscribe(self.prefix + "/state", 1)
        self._client.loop_start()

    def __enter__(self):
        while json.loads(self.online.get(timeout=TIMEOUT_S))["state"] != "online":
            continue
        return self

    def __exit__(self, *_exc_info):
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, request, address=""):
        """Publish a request, text or anything JSON can say, to ``.../api`` + address."""
        self.publish(
            request if isinstance(request, (str, bytes)) else json.dumps(request), address
        )

    def publish(self, payload, address="", retain=False):
        """Publish bytes as they are."""
        self._client.publish(self.prefix + "/api" + address, payload, 1, retain)

    def next(self):
        """The next message on the reply topic, parsed."""
        return json.loads(self.heard.get(timeout=TIMEOUT_S))

    def _on_message(self, _client, _userdata, message):
        kinds = {"reply": self.heard, "state": self.online}
        kinds.get(message.topic.rpartition("/")[2], self.flushes).put(message.payload)


class Serial(Line):
    """Over the board's serial line."""

    def __init__(self, board):
        super().__init__()
        self._port = serial.Serial(board.path, 115200, timeout=TIMEOUT_S)
        self.noise = b""

    def __enter__(self):
        time.sleep(0.5)  # until the node looks at its input
        return self

    def __exit__(self, *_exc_info):
        self._port.close()

    def send(self, request):
        """Write a request as an element of a JSON text sequence."""
        text = request if isinstance(request, bytes) else json.dumps(request).encode()
        self._port.write(b"\x1e" + text + b"\n")
        self.heard = _Reader(self)

    def write(self, data):
        """Write bytes as they are."""
        self._port.write(data)

    def next(self):
        """The next message, parsed."""
        return json.loads(_Reader(self).get(TIMEOUT_S))

    def read_text(self):
        """The next text of the sequence; what stands before it goes to ``noise``."""
        self.noise += self._port.read_until(b"\x1e").rstrip(b"\x1e")
        return self._port.read_until(b"\n")


class _Reader:
    """Reads the line itself when something is wanted from the queue."""

    def __init__(self, line):
        self._line = line

    def get(self, timeout):
        """The next text."""
        text = self._line.read_text()
        assert text.endswith(b"\n"), (text, self._line.noise)
        return text
