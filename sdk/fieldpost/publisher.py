"""Publishes bus events to templated MQTT topics, live and without a log behind them.

Per event type (``value``, ``alarm``, ``status``) any number of patterns, each with QoS, retain, a
node filter (comma-separated prefixes of ``device/point``) and optionally the one broker it is
for. Payloads are those of WIRE_FORMATS, topic engine.
"""

import json

from .events import (
    ALARM_ACKNOWLEDGED,
    ALARM_CLEARED,
    ALARM_RAISED,
    DEVICE_DISCOVERED,
    DEVICE_DOWN,
    DEVICE_RECOVERED,
    VALUE_CHANGED,
)
from .outlet_json import json_value
from .topics import Template, prefixes, selected

_KINDS = {
    "value": (VALUE_CHANGED,),
    "alarm": (ALARM_RAISED, ALARM_CLEARED, ALARM_ACKNOWLEDGED),
    "status": (DEVICE_DOWN, DEVICE_DISCOVERED, DEVICE_RECOVERED),
}


def value_type(value):
    """The wire's name for the type of a value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "float"
    return "string" if isinstance(value, str) else "json"


class Publisher:
    """Connects a bus to links. ``published`` and ``dropped`` count messages; those are dropped for
    which a link is down or full, and which have no topic."""

    def __init__(self, node, bus, clock, links):
        self.node = node
        self.bus = bus
        self.clock = clock
        self.links = links
        self.published = 0
        self.dropped = 0
        #: ``{kind: [(Template, prefixes, pattern), ...]}`` of the kinds that have any.
        self.patterns = {}
        self._handles = []

    def configure(self, config):
        """Use the validated ``publish`` section from now on."""
        for handle in self._handles:
            self.bus.unsubscribe(handle)
        self._handles = []
        self.patterns = {}
        for name, kinds in _KINDS.items():
            patterns = config[name]
            if patterns:
                self.patterns[name] = [
                    (Template(pattern["topic"]), prefixes(pattern["nodes"]), pattern)
                    for pattern in patterns
                ]
                handler = getattr(self, "_" + name)
                self._handles += [self.bus.subscribe(kind, handler) for kind in kinds]

    def _value(self, _kind, key, point):
        moment = self.clock.unix_ms()
        payload = '{"node_id":%s,"value":%s,"value_type":"%s","timestamp_ms":%s}' % (
            json.dumps(key),
            json_value(point.value),
            value_type(point.value),
            "null" if moment is None else moment,
        )
        names = {"node_id": key, "device_id": point.device, "point_id": point.name}
        self._publish("value", key, names, payload)

    def _alarm(self, _kind, key, alarm):
        names = {"node_id": key, "severity": alarm["severity"]}
        names["device_id"], _, names["point_id"] = key.partition("/")
        self._publish("alarm", key, names, json.dumps(alarm))

    def _status(self, kind, key, protocol):
        body = {
            "device_key": key,
            "event": kind[len("device_") :],
            "protocol": protocol,
            "timestamp_ms": self.clock.unix_ms(),
        }
        names = {"device_key": key, "device_id": key, "protocol": protocol}
        # The filter "ahu-1/" selects all of a device.
        self._publish("status", key + "/", names, json.dumps(body))

    def _publish(self, name, key, names, payload):
        names["node"] = self.node
        for template, nodes, pattern in self.patterns[name]:
            if not selected(key, nodes):
                continue
            topic = template.render(names)
            for link in self.links:
                if link.config["publish"] and pattern["broker"] in (None, link.name):
                    self._send(link, topic, payload, pattern)

    def _send(self, link, topic, payload, pattern):
        # A pattern of nothing but variables that this event has not makes no topic.
        if topic and link.publish(topic, payload, pattern["qos"], pattern["retain"]):
            self.published += 1
        else:
            self.dropped += 1
