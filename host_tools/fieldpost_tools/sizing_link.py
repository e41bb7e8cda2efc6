"""What a node and its collectors send each other in a day, message by message.

MQTT packets are counted to the byte; TCP/IP (and TLS) as so many bytes a packet, one packet a
message, and one that only acknowledges for each QoS 1 exchange.
"""

import json
import math
import tempfile
from dataclasses import dataclass

from fieldpost.record import HEADER_BYTES
from fieldpost.topics import Template, selected
from fieldpost.topics import prefixes as split_prefixes
from fieldpost_tools.sizing_records import HOUR_MS, groups_per_hour, record_json, samples

DAY_HOURS = 24
#: Bytes that TLS 1.2 adds to a record (AES-GCM): header, nonce and tag.
TLS_BYTES = 29
_PUBACK_BYTES = 4
_PING_BYTES = 2
#: Typical numbers, for their digits.
_FLUSH_ID, _STREAM, _SEQ, _UNIX_MS = 50_000_000, 50, 100_000, 1_700_000_000_000
_LINK_COUNTERS = (
    "connects",
    "disconnects",
    "failures",
    "sent",
    "received",
    "acked",
    "resent",
    "oversize",
    "refused",
    "dropped",
    "errors",
)
_COUNT = 10_000


@dataclass
class Traffic:
    """What one kind of message takes: ``messages``, MQTT bytes ``up`` (from the node) and
    ``down``, and ``packets`` on the wire in both directions; all a day."""

    kind: str
    messages: float = 0.0
    up: float = 0.0
    down: float = 0.0
    packets: float = 0.0

    def add(self, messages, size, qos, towards_node=False):
        """So many MQTT messages of ``size`` bytes each a day."""
        answers = messages * _PUBACK_BYTES if qos else 0
        sent = messages * size
        self.messages += messages
        self.up += answers if towards_node else sent
        self.down += sent if towards_node else answers
        self.packets += messages * (3 if qos else 2)


def publish_bytes(topic, payload_bytes, qos):
    """Length of an MQTT PUBLISH packet (MQTT 3.1.1, 3.3)."""
    body = 2 + len(topic.encode()) + (2 if qos else 0) + payload_bytes
    length = 1
    while body >> 7 * length:
        length += 1
    return 1 + length + body


@dataclass(frozen=True)
class Pace:
    """How a subscription is flushed: ``per_hour`` batches, of ``records`` on average, the first
    of which waits up to ``delay_ms``."""

    per_hour: float
    records: float
    delay_ms: float


def pace(rules, found, record_bytes):
    """The ``Pace`` that flush rules make of these sources."""
    total = sum(source.per_hour for source in found)
    if not total:
        return Pace(0.0, 0.0, 0.0)
    wakes = _wakes_per_hour(found)
    period = float(rules["minDelay"])
    enough = rules["onEntries"]
    if rules["onBytes"]:
        enough = min(enough, rules["onBytes"] / record_bytes)
    if enough > 1:
        period = max(
            period, min(enough / total, 1 / wakes + rules["maxDelay"] / HOUR_MS) * HOUR_MS
        )
    most = min(rules["maxEntries"], rules["maxBytes"] / record_bytes)
    per_hour = max(min(HOUR_MS / period if period else wakes, wakes), total / most)
    if total / wakes > most:
        per_hour = max(per_hour, wakes * math.ceil(total / wakes / most))
    return Pace(per_hour, total / per_hour, period)


def _wakes_per_hour(found):
    """How often records arrive so far apart that each time is a flush of its own.

    Devices with the same interval are read in the same moment: what the first request brings goes
    at once, what the others bring soon after goes together.
    """
    return groups_per_hour(found, lambda source: source.burst > 0)


def traffic(config, logs, changes_per_hour, float_bits):
    """The ``Traffic`` of a day by kind; ``logs`` are ``(row, sources, Pace, bytes a record,
    records a frame)`` of each subscription."""
    if not config["mqtt"]:
        return []
    flushes, acks = Traffic("flushes"), Traffic("acknowledgements")
    for row, found, beat, size, frame_records in logs:
        readers = [one for one in config["subscribers"] if one["subscription"] == row["id"]]
        for reader in readers:
            _flush(config["node"], reader, found, beat, size, frame_records, flushes, acks)
    made = [flushes, acks, _state(config), _live(config, changes_per_hour, float_bits)]
    busy = sum(one.messages for one in made)
    return [one for one in [*made, _pings(config, busy)] if one.messages]


def _flush(node, reader, found, beat, size, frame_records, flushes, acks):
    name = reader["subscription"]
    quiet = DAY_HOURS * HOUR_MS / reader["keepalive"] if reader["keepalive"] else 0
    messages = DAY_HOURS * beat.per_hour
    topic = f"fieldpost/nodes/{node}/flush/{reader['subscriber']}"
    if reader["format"] == "packed":
        head = 11 + len(name)
        # One that goes over the end of a frame becomes two chunks.
        chunks = 1 + max(beat.records - 1, 0) / frame_records
        payload = head + chunks * HEADER_BYTES + beat.records * size
    else:
        head = len(_json_head(name)) + 3
        payload = head - 1 + beat.records * _json_record_bytes(found)
    if messages:
        flushes.add(messages, publish_bytes(topic, round(payload), 1), 1)
        if reader["ack"] in ("id", "md5"):
            text = _ack(reader)
            topic = f"fieldpost/nodes/{node}/api/loggers/ackSubscribe"
            acks.add(messages, publish_bytes(topic, len(text), 1), 1, towards_node=True)
    flushes.add(max(quiet - messages, 0), publish_bytes(topic, head, 1), 1)


def _json_head(subscription):
    return (
        f'{{"module":"loggers","method":"subscribe","subscription":"{subscription}"'
        f',"event":"flush","flush":{_FLUSH_ID},"stream":{_STREAM},"seq":{_SEQ},"value":'
    )


def _json_record_bytes(found):
    total = sum(source.per_hour for source in found)
    if not total:
        return 0.0
    return (
        sum(
            source.per_hour * (len(f",[{_UNIX_MS},{source.id},]") + source.json_bytes)
            for source in found
        )
        / total
    )


def _ack(reader):
    body = {
        "noreply": True,
        "subscription": reader["subscription"],
        "subscriber": reader["subscriber"],
        "flush": _FLUSH_ID,
        "stream": _STREAM,
        "seq": _SEQ,
    }
    if reader["ack"] == "md5":
        body["md5"] = "0" * 32
    return json.dumps(body)


def _state(config):
    """The retained state, in the words of a node that is made for it."""
    from fieldpost.node import Node

    bare = {key: config[key] for key in ("node", "revision", "subscribers")}
    bare["subscriptions"] = [dict(row, addresses="all") for row in config["subscriptions"]]
    with tempfile.TemporaryDirectory() as folder:
        state = Node(bare, folder).state()
    state["devices"] = {row["id"]: "ok" for row in config["devices"]}
    for link in config["mqtt"]:
        for name in _LINK_COUNTERS:
            state["counters"][f"mqtt_{link['name']}_{name}"] = 0
    # Six of the numbers keep growing.
    size = len(json.dumps(state)) + 6 * len(str(_COUNT))
    made = Traffic("state")
    topic = f"fieldpost/nodes/{config['node']}/state"
    messages = DAY_HOURS * HOUR_MS / config["state_interval"] * len(config["mqtt"])
    made.add(messages, publish_bytes(topic, size, 1), 1)
    return made


def _live(config, changes_per_hour, float_bits):
    """Values published as they change."""
    made = Traffic("live values")
    for pattern in config["publish"]["value"]:
        brokers = [link for link in config["mqtt"] if link["publish"]]
        links = sum(pattern["broker"] in (None, link["name"]) for link in brokers)
        for device in config["devices"]:
            if not device["enabled"]:
                continue
            reads = HOUR_MS / device["interval"]
            messages = links * DAY_HOURS * reads * -math.expm1(-changes_per_hour / reads)
            for point in device["points"]:
                key = f"{device['id']}/{point['name']}"
                if selected(key, split_prefixes(pattern["nodes"])):
                    topic = Template(pattern["topic"]).render(
                        {"node": config["node"], "node_id": key}
                    )
                    size = _value_bytes(key, samples(device, point, float_bits), float_bits)
                    qos = pattern["qos"]
                    made.add(messages, publish_bytes(topic, size, qos), qos)
    return made


def _value_bytes(key, values, float_bits):
    text = '{"node_id":"%s","value":,"value_type":"%s","timestamp_ms":%d}'
    kind = {bool: "bool", int: "integer", str: "string"}.get(type(values[0]), "float")
    json_bytes = sum(len(record_json(value, float_bits)) for value in values) / len(values)
    return round(len(text % (key, kind, _UNIX_MS)) + json_bytes)


def _pings(config, messages):
    """Keepalives of links that have nothing to say for so long."""
    made = Traffic("keepalive")
    for link in config["mqtt"]:
        gap = DAY_HOURS * HOUR_MS / messages / 1000
        if gap > link["keepalive_s"]:
            count = DAY_HOURS * 3600 / link["keepalive_s"] - messages
            made.messages += count
            made.up += count * _PING_BYTES
            made.down += count * _PING_BYTES
            made.packets += 3 * count
    return made
