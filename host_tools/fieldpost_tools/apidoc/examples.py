"""The examples of ``docs/api.md``: requests to a node that runs here, and what it answered."""

import asyncio
import base64
import contextlib
import hashlib
import importlib
import json
import sys
import tempfile
from pathlib import Path

from fieldpost.node import Node
from fieldpost_tools import data
from fieldpost_tools.release import File, Release

NODE = {
    "node": "gw-1",
    "mqtt": [{"host": "127.0.0.1", "port": 1, "password": "…", "backoff_min_ms": 60000}],
    "devices": [
        {
            "id": "tank",
            "driver": "virtual",
            "interval": 500,
            "points": [
                {"id": 1, "name": "level", "unit": "%", "value": 52.5, "log": "500"},
                {"id": 2, "name": "pump", "value": False, "log": "on_update", "writable": True},
            ],
        }
    ],
    "subscribers": [{"subscriber": "collector"}],
    "alarms": [{"id": "tank-full", "type": "high_limit", "point": "tank/level", "limit": 50}],
    "publish": {"value": [{"topic": "site/{node}/{device_id}/{point_id}"}]},
}
#: What is pushed: the same with another interval, and the password that the node has.
BROKER = {"host": "127.0.0.1", "port": 1, "has_password": True, "backoff_min_ms": 60000}
PUSHED = json.dumps({**NODE, "mqtt": [BROKER], "state_interval": 30000}).encode()
PUSHED_SHA256 = hashlib.sha256(PUSHED).hexdigest()
SETTLE_S = 1.2
DATA_CHARS = 100
PREPARE_S = 0.3
OLD = Release("0.1.0", None, [File.of("fieldpost/node.mpy", b"old"), File.of("a.mpy", b"same")])
NEW = Release("0.2.0", None, [File.of("fieldpost/node.mpy", b"new"), File.of("a.mpy", b"same")])


def _base64(content):
    return base64.b64encode(content).decode()


def _put(file, content):
    return {"file": file, "offset": 0, "data": _base64(content)}


#: ``(method, arguments)`` in the order in which they are called: later ones see what earlier did.
CALLS = (
    ("config.get", {}),
    ("config.begin", {"size": len(PUSHED), "sha256": PUSHED_SHA256, "base": 0}),
    ("config.put", {"offset": 0, "data": _base64(PUSHED[:60])}),
    ("config.put", {"offset": 0, "data": _base64(PUSHED[:60])}),
    ("config.status", {}),
    ("config.put", {"offset": 60, "data": _base64(PUSHED[60:])}),
    ("config.apply", {"confirm_s": 30}),
    ("config.history", {}),
    ("config.getRevision", {"revision": 0}),
    ("config.rollback", {"revision": 0}),
    ("config.abort", {}),
    ("gateways.getGateways", {"filter": {"driver": ["virtual"]}}),
    ("gateways.getGateway", {"gateway": "tank"}),
    ("gateways.getAddresses", {"filter": {"gateway.driver": ["virtual"], "name": "level"}}),
    ("gateways.getAddressesByGateway", {"gateway": "tank", "filter": {"log": "on_update"}}),
    ("gateways.getAddress", {"address": "tank/level"}),
    ("gateways.getAddress", {"address": 99}),
    ("gateways.getLastValue", {"address": [1, {"gateway": "tank", "name": "pump"}]}),
    ("gateways.readValue", {"address": "tank\u00aclevel"}),
    ("gateways.writeValue", {"address": "pump", "value": True}),
    ("gateways.writeValue", {"address": "tank/level", "value": 50}),
    ("system.getAudit", {}),
    ("system.getConfig", {}),
    ("gateways.insertGateway", {"gateway": {"id": "hall", "driver": "virtual"}}),
    ("gateways.updateGateway", {"gateway": "hall", "changes": {"json": {"interval": 5000}}}),
    (
        "gateways.insertAddress",
        {"address": {"gateway_id": "hall", "name": "light", "json": {"unit": "lx", "value": 300}}},
    ),
    ("gateways.updateAddress", {"address": "hall/light", "changes": {"log": "on_cov 10"}}),
    ("gateways.stopGateway", {"gateway": "hall"}),
    ("gateways.startGateway", {"gateway": "hall"}),
    ("gateways.deleteAddress", {"address": "hall/light"}),
    ("gateways.deleteGateway", {"gateway": "hall"}),
    (
        "loggers.insertSubscription",
        {"subscription": {"id": "plant/fast", "acquisition": "1000", "addresses": ["tank/level"]}},
    ),
    (
        "loggers.updateSubscription",
        {"subscription": {"id": "plant/fast", "flush": {"maxDelay": 5000}}},
    ),
    ("loggers.getSubscription", {"subscription": "plant/fast"}),
    ("loggers.getSubscriptions", {"prefix": "plant/"}),
    ("loggers.replaceSubscription", {"subscription": {"id": "plant/fast", "acquisition": "500"}}),
    ("loggers.subscribe", {"subscription": "plant/", "subscriber": "scada", "lifetime": 600000}),
    ("loggers.getSubscribers", {"subscription": "plant/"}),
    ("loggers.flushSubscribe", {"subscription": "plant/", "subscriber": "scada"}),
    ("loggers.ackSubscribe", {"subscription": "default", "subscriber": "collector", "flush": 7}),
    ("loggers.pauseSubscribe", {"subscription": "plant/", "subscriber": "scada"}),
    ("loggers.pauseSubscribe", {"subscription": "plant/", "subscriber": "scada"}),
    ("loggers.resumeSubscribe", {"subscription": "plant/", "subscriber": "scada"}),
    ("loggers.unsubscribe", {"subscription": "plant/", "subscriber": "scada"}),
    ("loggers.deleteSubscription", {"subscription": "plant/fast"}),
    ("loggers.query", {"address": "tank/level", "limit": 2}),
    ("loggers.query", {"address": 1, "aggregate": "15m", "limit": 1}),
    ("loggers.fetch", {"index": 0, "maxBytes": 128}),
    ("loggers.live", {"address": ["tank/level"], "lifetime": 1000}),
    ("mqtt.getBrokers", {}),
    ("mqtt.getStatus", {}),
    ("mqtt.insertBroker", {"broker": {"name": "backup", "host": "127.0.0.1", "port": 2}}),
    ("mqtt.updateBroker", {"broker": "backup", "changes": {"port": 3, "keepalive_s": 60}}),
    ("mqtt.deleteBroker", {"broker": "backup"}),
    ("mqtt.deleteBroker", {"broker": "backup"}),
    ("mqtt.getPatterns", {"kind": "value"}),
    ("mqtt.insertPattern", {"kind": "status", "pattern": {"topic": "site/{device_id}", "qos": 1}}),
    ("mqtt.updatePattern", {"kind": "status", "index": 0, "changes": {"retain": True}}),
    ("mqtt.deletePattern", {"kind": "status", "index": 0}),
    (
        "webhooks.insert",
        {"endpoint": {"name": "ops", "url": "http://127.0.0.1:1/hook", "secret": "s3cret"}},
    ),
    ("webhooks.update", {"endpoint": "ops", "changes": {"min_severity": "critical"}}),
    ("webhooks.test", {"endpoint": "ops"}),
    ("webhooks.get", {"endpoint": "ops"}),
    ("webhooks.list", {}),
    ("webhooks.deliveries", {"endpoint": "ops", "status": "failed"}),
    ("webhooks.config", {"changes": {"concurrency": 1}}),
    ("webhooks.replay", {"endpoint": "ops"}),
    ("webhooks.delete", {"endpoint": "ops"}),
    ("system.getInfo", {}),
    ("system.getState", {}),
    ("system.getErrors", {}),
    ("system.setTime", {"time": 1_790_000_100_000}),
    ("system.setTime", {"time": 1_790_000_100}),
    ("system.reboot", {}),
    (
        "update.begin",
        {"version": NEW.version, "size": len(NEW.manifest), "sha256": NEW.sha256},
    ),
    ("update.put", _put(0, NEW.manifest)),
    ("update.status", {}),
    ("update.need", {}),
    ("update.put", _put(2, b"new")),
    ("update.apply", {}),
    ("update.abort", {}),
    ("alarms.getAlarms", {"active": True}),
    ("alarms.acknowledgeAlarm", {"alarm": "tank-full"}),
    ("alarms.acknowledgeAlarm", {"alarm": "tank-empty"}),
    ("alarms.shelveAlarm", {"alarm": "tank-full", "until": 1_790_003_700_000}),
)

_T0 = 1_790_000_100_000
#: What the page shows for values that are others every time, by key; in the second object of an
#: array times are 500 ms later, and so on.
_DATES = ("ts", "start", "value_date", "status_date", "ts_ms", "unix_ms")
_TIMES = {**dict.fromkeys(_DATES, _T0), "end": _T0 + 900_000, "mono": 61_500, "uptime_ms": 62_000}
_OTHERS = {
    **dict.fromkeys(("next", "kept", "acquired", "unacked"), 1730),
    "value_count": 1730,
    "remaining": 599_998,
    "stream": 9,
    "refused": 6,
    "mqtt_main_refused": 6,
    "board": "x86_64",
    "free": 3_145_728,
    "total": 4_194_304,
    "chunks": "9REgAAUAAAAJAAAA…",
    "count": 5,
    "index": 5,
    "preview": '{"event": "alarm_raised", …',
}


def executed():
    """``{"module.method": [(request, reply), ...]}``, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.json")
        config.write_text(json.dumps(NODE), encoding="utf-8")
        with _slots(folder):
            return asyncio.run(_run(Node(str(config), str(Path(folder, "data")))))


@contextlib.contextmanager
def _slots(folder):
    """The firmware's module, for the slots of this board."""
    OLD.save(Path(folder, "a"))
    sys.path.append(str(data.firmware_folder()))
    try:
        slots = importlib.import_module("slots")
        slots.ROOT = f"{folder}/"
        yield
    finally:
        sys.path.remove(str(data.firmware_folder()))
        sys.modules.pop("slots", None)


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
        reply = await _answer(dispatcher, request)
        made.setdefault(name, []).append((_short(request), reply))
        if name == "update.put":
            await asyncio.sleep(PREPARE_S)
    return made


def _short(request):
    """A request as it is shown: its data are not, at any length."""
    text = request.get("data", "")
    return request if len(text) < DATA_CHARS else {**request, "data": text[:DATA_CHARS] + "…"}


async def _answer(dispatcher, request):
    texts = []

    async def send(data):
        texts.append(bytes(data).decode())
        return True

    await dispatcher.handle(json.dumps(request), "python", send)
    (text,) = texts
    return steady(json.loads(text))


def steady(value, index=0):
    """The same value, with what changes from call to call as the page shows it."""
    if isinstance(value, list):
        return [steady(item, index) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _shown(key, item, index) for key, item in value.items()}
    return value


def _shown(key, value, index):
    if value is not None and key in _TIMES:
        return _TIMES[key] + 500 * index
    return _OTHERS[key] if key in _OTHERS else steady(value)
