"""Answers flushes in a process of its own, at the broker without delay::

    python acker.py collector HOST PORT STORE    the real collector into a fresh SQLite file
    python acker.py minimal HOST PORT            reads the flush's numbers and confirms, no more

Prints a line when it is subscribed; serves until it is killed.
"""

import json
import struct
import sys
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("sdk", "host_tools")]

from fieldpost_tools.collect import Collector  # noqa: E402 - found by the line above
from fieldpost_tools.store import Store  # noqa: E402

ACK = {"noreply": True, "subscription": "default", "subscriber": "collector"}
INFLIGHT = 1000


def collect(host, port, path):
    """Store and acknowledge as in production."""
    url = f"mqtt://{host}:{port}"
    with Store(Path(path), create=True) as store, Collector(url, store) as collector:
        while not collector.link.connected:
            collector.step()
        print("ready", flush=True)
        collector.run()


def acknowledge(host, port):
    """Acknowledge each flush on sight."""

    def on_message(client, _userdata, message):
        topic = message.topic.split("/flush/")[0] + "/api/loggers/ackSubscribe"
        client.publish(topic, json.dumps(ACK | numbers(message.payload)), qos=1)

    client = Client(CallbackAPIVersion.VERSION2, "bench-acker")
    client.max_inflight_messages_set(INFLIGHT)
    client.on_connect = lambda *_: client.subscribe("fieldpost/nodes/+/flush/collector", qos=1)
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = on_message
    client.connect(host, port)
    client.loop_forever()


def numbers(payload):
    """Id of a flush and ``stream``, ``seq`` of its first record; JSON or packed."""
    if payload[:1] == b"{":
        flush = json.loads(payload)
        return {key: flush[key] for key in ("flush", "stream", "seq")}
    flush, length = struct.unpack_from("<I4xB", payload, 2)
    stream, seq = struct.unpack_from("<I4xI", payload, 11 + length + 8)
    return {"flush": flush, "stream": stream, "seq": seq}


if __name__ == "__main__":
    work = {"collector": collect, "minimal": acknowledge}[sys.argv[1]]
    work(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
