"""The smallest node: one made-up point, recorded every second and delivered to a broker.

Copy it to a board that has the ``fieldpost`` package as main.py, with your broker's address.
"""

import asyncio

from fieldpost.node import Node

CONFIG = {
    "node": "hello",
    "mqtt": [{"host": "192.168.1.10"}],
    "devices": [
        {
            "id": "demo",
            "driver": "virtual",
            "points": [{"name": "wave", "kind": "sine", "log": "1000"}],
        }
    ],
    "subscribers": [{"subscriber": "collector"}],
}

asyncio.run(Node(CONFIG).run())
