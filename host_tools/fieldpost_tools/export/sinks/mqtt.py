"""Publishes stored records again: one message a record, by a topic template.

``topic`` takes ``{node}``, ``{device}``, ``{point}``, ``{unit}`` and ``{tag.NAME}``, sanitised as
the node does it. The payload is that of the node's live values, ``{"node_id", "value",
"value_type", "timestamp_ms"}``, with ``node``, ``stream`` and ``seq``, by which a receiver tells a
message that came twice. Events go to ``events_topic``, as they came. QoS 1: a batch counts as
written when the broker has acknowledged all of it.
"""

import json
import math
import time

from fieldpost.publisher import value_type
from fieldpost.topics import sanitise
from fieldpost_tools import broker
from fieldpost_tools.errors import BrokerError
from fieldpost_tools.export.connector import Connector, Unavailable
from fieldpost_tools.export.mapping import Template


class Mqtt(Connector):
    """See the module."""

    OPTIONS = {
        "url": "str 8..512",
        "password": "secret 0..256 = ?",
        "ca": "str 1..1024 = ?",
        "topic": "str 1..1024 = export/{node}/{device}/{point}",
        "events_topic": "str 1..1024 = export/{node}/events",
        "timeout_s": "num 0.1..600 = 10",
    }

    def __init__(self, name, options):
        super().__init__(name, options)
        self._topic = Template("topic", options["topic"])
        self._events_topic = Template("events_topic", options["events_topic"])
        self._address = broker.parse_url(options["url"], options["password"])
        self._link = None

    def open(self, mark=None):  # noqa: ARG002 – a receiver knows by stream and seq
        """Connect within ``timeout_s``."""
        self._link = broker.Link(
            self._address, f"fieldpost-export-{self.name}"[:23], (), True, self.options["ca"]
        )
        self._pump(lambda: self._link.connected, f"broker {self._address}")

    def close(self):
        """Disconnect."""
        if self._link:
            self._link.close(0)
            self._link = None

    def write(self, samples):
        """Publish and wait for the acknowledgements."""
        for sample in samples:
            self._publish(self._render(self._topic, sample._asdict(), sample.tags), _body(sample))
        self._settle()
        return 0

    def write_events(self, events):
        """Publish the events as they came."""
        for event in events:
            names = {"node": event.node, "device": "", "point": event.key, "unit": ""}
            self._publish(self._render(self._events_topic, names, {}), event.body)
        self._settle()
        return 0

    def health(self):
        """Connects if need be."""
        if not self._link:
            self.open()
        return f"broker {self._address}, connected"

    def _render(self, template, names, tags):
        names = {name: sanitise(names[name]) for name in ("node", "device", "point", "unit")}
        return template.render(names, {key: sanitise(value) for key, value in tags.items()})

    def _publish(self, topic, body):
        text = json.dumps(body, ensure_ascii=False)
        while not self._link.publish(topic, text):
            self._settle(self._link.MAX_OUTGOING // 2)

    def _settle(self, most=0):
        """Wait until at most ``most`` messages are not acknowledged."""
        self._pump(lambda: self._link.unacknowledged <= most, f"broker {self._address}")

    def _pump(self, done, what):
        deadline = time.monotonic() + self.options["timeout_s"]
        outages = self._link.outages
        while not done():
            try:
                self._link.receive(0.05, 1, 1)
            except BrokerError as error:
                raise Unavailable(str(error)) from error
            if self._link.outages > outages or time.monotonic() > deadline:
                raise Unavailable(f"{what}: {self._link.state}")


def _body(sample):
    value = sample.value
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    return {
        "node_id": f"{sample.device}/{sample.point}",
        "value": value,
        "value_type": value_type(value),
        "timestamp_ms": sample.ts_ms,
        "node": sample.node,
        "stream": sample.stream,
        "seq": sample.seq,
    }


connector = Mqtt
