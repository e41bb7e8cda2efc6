"""A node that answers API requests as it is told: in segments, late, twice, in bad order, never.

``FakeNode`` makes the answers; ``on_mqtt`` and ``on_pty`` put it behind a transport.
"""

import json
import os
import select
import threading
import time
import tty
from contextlib import contextmanager

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from fieldpost_tools.broker import no_delay


def refuse(text):
    """For methods: answer with an error."""
    raise ValueError(text)


class FakeNode:
    """Answers by ``methods``, ``{"module.method": function(**arguments)}``.

    ``segment``: longest text in one message, in characters, and longest part of a stream;
    ``arrange``: a function that gets the list of messages of one reply and returns what is sent
    instead; ``requests``: what came.
    """

    def __init__(self, **methods):
        self.methods = {name.replace("__", "."): function for name, function in methods.items()}
        self.segment = 0
        self.arrange = list
        self.requests = []
        self._streams = []

    def answer(self, data):
        """The messages, as bytes, that answer a request."""
        request = json.loads(data)
        self.requests.append(request)
        if request.get("noreply"):
            return []
        if "requests" in request:
            reply = [self._reply({"id": request["id"], **one}) for one in request["requests"]]
        elif "stream" in request:
            reply = self._part(request)
            return self._encoded(self.arrange([reply]))
        else:
            reply = self._reply(request)
        return self._encoded(self._segments(request["id"], json.dumps(reply)))

    def _encoded(self, messages):
        return [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]

    def _part(self, request):
        if "module" in request:
            reply = self._reply({k: v for k, v in request.items() if k != "stream"})
            if "error" in reply:
                return reply
            self._streams.append(json.dumps(reply, separators=(",", ":")))
        handle = len(self._streams) if "module" in request else request["stream"]
        number = request.get("part", 1)
        text, size = self._streams[handle - 1], self.segment or 10**9
        part = text[size * (number - 1) : size * number]
        reply = {"id": request["id"], "stream": handle, "part": number, "value": part}
        return {**reply, "last": True} if size * number >= len(text) else reply

    def _reply(self, request):
        arguments = dict(request)
        reply = {"id": arguments.pop("id")}
        name = f"{arguments.pop('module')}.{arguments.pop('method')}"
        try:
            return {**reply, "value": self.methods[name](**arguments)}
        except KeyError:
            return {**reply, "error": "invalid method"}
        except ValueError as error:
            return {**reply, "error": str(error)}

    def _segments(self, id, text):
        size = self.segment or len(text)
        parts = [text[at : at + size] for at in range(0, len(text), size)]
        if len(parts) == 1:
            return self.arrange([json.loads(text)])
        total = len(parts)
        return self.arrange(
            [
                {"id": id, "segment": n, "total": total, "value": part}
                for n, part in enumerate(parts, 1)
            ]
        )


def usual():
    """A node with two values and methods that echo and wait."""
    return FakeNode(
        gateways__readValue=lambda address: (
            {1: 20.5, 2: "ü\n\x1e"}.get(address) or refuse("invalid address")
        ),
        system__echo=lambda **arguments: arguments,
        system__wait=lambda seconds: time.sleep(seconds),
    )


@contextmanager
def on_mqtt(fake, host, port, node="gw-1"):
    """Run ``fake`` at a broker; yields the paho client."""
    prefix = f"fieldpost/nodes/{node}/"
    ready = threading.Event()

    def on_message(client, _data, message):
        # In a thread each, as a node answers in a task each.
        threading.Thread(target=work, args=(client, message.payload), daemon=True).start()

    def work(client, payload):
        for reply in fake.answer(payload):
            client.publish(prefix + "reply", reply, 1)

    client = Client(CallbackAPIVersion.VERSION2, clean_session=True)
    client.will_set(prefix + "state", '{"state":"offline"}', 1, True)
    client.on_socket_open = no_delay
    client.on_connect = lambda client, *_: client.subscribe(prefix + "api", 1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = on_message
    client.connect(host, port)
    client.loop_start()
    assert ready.wait(10)
    client.publish(prefix + "state", '{"state":"online"}', 1, True).wait_for_publish(10)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


class Line:
    """A pseudo terminal with ``fake`` at its other end; ``path`` is the device, ``device`` open.

    ``before`` is printed before each reply, ``between`` between its messages.
    """

    def __init__(self, fake):
        self.fake = fake
        self.before = b""
        self.between = b""
        self.heard = bytearray()
        self._master, self.device = os.openpty()
        tty.setraw(self.device)
        self.path = os.ttyname(self.device)
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def print(self, data):
        """Write to the host, as a program on the board does."""
        os.write(self._master, data)

    def close(self):
        """Unplug the board."""
        self._closing = True
        self._thread.join(10)
        os.close(self.device)
        os.close(self._master)

    def _run(self):
        waiting = b""
        while not self._closing:
            if not select.select((self._master,), (), (), 0.05)[0]:
                continue
            data = os.read(self._master, 4096)
            self.heard += data
            waiting += data
            *requests, waiting = waiting.split(b"\n")
            for request in requests:
                self._answer(request.rpartition(b"\x1e")[2])

    def _answer(self, request):
        self.print(self.before)
        for message in self.fake.answer(request):
            self.print(b"\x1e" + message + b"\n" + self.between)


@contextmanager
def on_pty(fake):
    """Run ``fake`` at a serial line; yields the ``Line``."""
    line = Line(fake)
    try:
        yield line
    finally:
        line.close()
