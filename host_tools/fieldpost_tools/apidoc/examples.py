"""The examples of ``docs/api.md``: requests to a node that runs here, and what it answered."""

import asyncio
import json
import tempfile
from pathlib import Path

from fieldpost.node import Node

NODE = {
    "node": "gw-1",
    "mqtt": [{"name": "main", "host": "127.0.0.1", "port": 1, "user": "gw-1", "password": "…"}],
    "devices": [
        {
            "id": "tank",
            "driver": "virtual",
            "interval": 500,
            "points": [
                {"id": 1, "name": "level", "unit": "%", "value": 52.5, "log": "500"},
                {"id": 2, "name": "pump", "value": False, "log": "on_update"},
            ],
        }
    ],
    "subscribers": [{"subscriber": "collector"}],
    "publish": {"value": [{"topic": "site/{node}/{device_id}/{point_id}"}]},
}
SETTLE_S = 1.2

#: ``(method, arguments)`` in the order in which they are called: later ones see what earlier did.
CALLS = []

#: Values that are others every time, by key: what the page shows instead.
CHANGING = {}


def executed():
    """``{"module.method": [(request, reply), ...]}``, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.json")
        config.write_text(json.dumps(NODE), encoding="utf-8")
        return asyncio.run(_run(Node(str(config), str(Path(folder, "data")))))


async def _run(node):
    running = asyncio.create_task(node.run())
    try:
        await asyncio.sleep(SETTLE_S)
        return await _all(node.dispatcher())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _all(dispatcher):
    made = {}
    for number, (name, arguments) in enumerate(CALLS, 1):
        module, method = name.split(".")
        request = {"id": number, "module": module, "method": method, **arguments}
        made.setdefault(name, []).append((request, await _answer(dispatcher, request)))
    return made


async def _answer(dispatcher, request):
    texts = []

    async def send(data):
        texts.append(bytes(data).decode())
        return True

    await dispatcher.handle(json.dumps(request), "python", send)
    (text,) = texts
    return steady(json.loads(text))


def steady(value, key=None):
    """The same value, with what changes from call to call as the page shows it."""
    if key in CHANGING and value is not None:
        return CHANGING[key]
    if isinstance(value, dict):
        return {name: steady(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [steady(item) for item in value]
    return value
