"""Calls a node's JSON API, over MQTT or over its serial line.

::

    from fieldpost_tools.api import ApiCallError, Client, MqttTransport

    with Client(MqttTransport("mqtt://127.0.0.1", "gw-1")) as client:
        print(client.call("gateways.readValue", address="ahu-1/dat"))
"""

from fieldpost_tools.api.client import Client
from fieldpost_tools.api.errors import ApiCallError, ApiError, ApiLinkError, ApiTimeout
from fieldpost_tools.api.hub import MqttHub
from fieldpost_tools.api.mqtt import MqttTransport
from fieldpost_tools.api.serial_line import SerialTransport

__all__ = [
    "ApiCallError",
    "ApiError",
    "ApiLinkError",
    "ApiTimeout",
    "Client",
    "MqttHub",
    "MqttTransport",
    "SerialTransport",
]
