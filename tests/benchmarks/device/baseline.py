"""umqtt.simple as people use it: blocking QoS 1 messages, one after the other.

JSON on stdin: ``port``, ``seconds``, ``warm_up``. Prints messages acknowledged and the time.
"""

import json
import sys
import time

from umqtt.simple import MQTTClient

TOPIC = b"fieldpost/bench/dev/point/value"


def publish_for(client, ms, payload):
    """Publish until ``ms`` have passed; returns ``(messages, ms)``."""
    count = 0
    start = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), start) < ms:
        client.publish(TOPIC, payload, qos=1)
        count += 1
    return count, time.ticks_diff(time.ticks_ms(), start)


def main(port, seconds, warm_up, payload):
    client = MQTTClient("bench-baseline", "127.0.0.1", port, keepalive=60)
    client.connect()
    publish_for(client, 1000 * warm_up, payload)
    count, ms = publish_for(client, 1000 * seconds, payload)
    client.disconnect()
    print(json.dumps({"count": count, "ms": ms}))


main(**json.load(sys.stdin))
