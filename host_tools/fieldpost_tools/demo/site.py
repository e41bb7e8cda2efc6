"""What the demo consists of: the node's configuration, the board's heap, the outage's place."""

from fieldpost_tools.sim.modbus_server import ahu_device

NODE = "demo"
BOARD = "VIRTUAL"
SUBSCRIBER = "collector"
#: Heap of the virtual board. Its words are 64 bit: on an ESP32 half of it does the same.
HEAP = "256k"
#: With less the node has no alarm and no webhook.
WEBHOOK_BYTES = 240 * 1024
#: With less it has the points of ``LEAN`` only, and a ring of half the size.
ROOMY_BYTES = 160 * 1024
#: Device and point whose values are 0, 1, 2 …, each of them recorded.
COUNTER = ("made-up", "counter")
#: Device and point that tell how much of the heap is free.
HEAP_FREE = ("board", "heap-free")
#: Device and point with an alarm: raised above the limit, cleared at ``deadband`` below it.
WATCHED = ("made-up", "wave")
LIMIT, DEADBAND = 5, 1
DECIMALS = 2

#: The unit's points that tell most about it within a minute.
TELLING = (
    "oat",
    "rat",
    "mat",
    "dat",
    "damper",
    "heating-valve",
    "cooling-valve",
    "fan-speed",
    "power",
    "occupied",
)

#: The points of all devices on a board with a small heap.
LEAN = ("dat", "heating-valve", "fan-speed", COUNTER[1], HEAP_FREE[1], WATCHED[1])

OUTAGE_PART = 0.15
#: Longest outage: the ring must hold what is acquired meanwhile.
OUTAGE_S = (2.0, 8.0)


def configuration(broker, plant, receiver, heap):
    """The node's configuration for a broker, an ``AhuServer``, a ``Receiver`` of its webhooks and
    a heap (``128k``)."""
    lean = bytes_of(heap) < ROOMY_BYTES
    unit = ahu_device(plant.host, plant.port)
    unit["interval"] = 500
    unit["points"] = [point for point in unit["points"] if point["name"] in TELLING]
    devices = [unit, _board(), _made_up()]
    if lean:
        for device in devices:
            device["points"] = [one for one in device["points"] if one["name"] in LEAN]
    return {
        "node": NODE,
        "state_interval": 1000,
        # The demo asks nothing over the serial line.
        "api": {"serial": []},
        "mqtt": [
            {
                "host": broker.host,
                "port": broker.port,
                "backoff_min_ms": 200,
                "backoff_max_ms": 1000,
                "queue_bytes": 2048,
            }
        ],
        "devices": devices,
        "subscriptions": [
            {
                "id": "default",
                "ring_bytes": 2048 if lean else 4096,
                "frame_bytes": 256 if lean else 512,
                "store": {"disk": False},
                # Small batches, so that a backlog drains without a heap full of messages. The
                # broker comes back without a memory: what was lost in it is soon sent again.
                "flush": {"maxBytes": 512, "parallel": 2, "ackTimeout": 1000},
            }
        ],
        "subscribers": [{"subscriber": SUBSCRIBER, "format": "packed"}],
        **(_alarms(receiver) if has_webhook(heap) else {}),
    }


def has_webhook(heap):
    """Is a heap large enough for an alarm and a webhook?"""
    return bytes_of(heap) >= WEBHOOK_BYTES


def _alarms(receiver):
    alarm = {
        "id": "wave-high",
        "type": "high_limit",
        "point": "/".join(WATCHED),
        "limit": LIMIT,
        "deadband": DEADBAND,
        "message": "{point_id} is {value}, the limit is {limit}",
    }
    endpoint = {**receiver.endpoint("local"), "device_down": False, "device_recovered": False}
    queue = {"ring_bytes": 1024, "frame_bytes": 512}
    return {"alarms": [alarm], "webhooks": {"endpoints": [endpoint], "queue": queue}}


def _board():
    points = [
        {"name": "load", "source": "load1"},
        {"name": "memory", "unit": "B", "source": "memory_available", "log": "2000"},
        {"name": HEAP_FREE[1], "unit": "B", "source": "heap_free"},
    ]
    return {"id": HEAP_FREE[0], "driver": "host", "interval": 500, "points": points}


def _made_up():
    points = [
        {"name": COUNTER[1], "kind": "counter"},
        {
            "name": WATCHED[1],
            "kind": "sine",
            "amplitude": 10,
            "period": 20000,
            "decimals": DECIMALS,
        },
        {"name": "walk", "kind": "walk", "value": 50, "step": 2, "log": "on_cov 0.5 0 10000"},
    ]
    return {"id": COUNTER[0], "driver": "virtual", "interval": 250, "points": points}


def bytes_of(heap):
    """Bytes of a heap's size as the interpreter takes it: ``131072``, ``128k``, ``1m``."""
    units = {"k": 1 << 10, "m": 1 << 20}
    text = str(heap).lower()
    unit = units.get(text[-1:], 1)
    digits = text.rstrip("km")
    return int(digits) * unit if digits.isdecimal() else 0


def outage(seconds):
    """``(begin, end)`` of the outage in a run of so many seconds."""
    shortest, longest = OUTAGE_S
    length = min(max(seconds * OUTAGE_PART, shortest), longest)
    begin = (seconds - length) / 2
    return begin, begin + length
