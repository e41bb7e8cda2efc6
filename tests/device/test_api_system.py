"""API module system; and that no method of any module ever tells a secret."""

import json
import os
import sys

from gateways_kit import DEVICES, FOLDER, SECRET, SMALL, Board, saved

from fieldpost import __version__, restart
from fieldpost.api import dispatch
from fieldpost.compat import MICROPYTHON, sleep_ms
from fieldpost.errors import DriverError, FieldpostError
from fieldpost.events import ERROR

HEAP = "768k"
NOW = 1790000000000


class Machine:
    """As much of the module ``machine`` as is asked for; None: there is none."""

    PWRON_RESET, WDT_RESET = 1, 3

    def __init__(self, cause=3):
        self.cause = cause
        self.resets = 0

    def reset_cause(self):
        return self.cause

    def reset(self):
        self.resets += 1

    def __enter__(self):
        self.before = sys.modules.get("machine")
        sys.modules["machine"] = self
        return self

    def __exit__(self, *_):
        del sys.modules["machine"]
        if self.before:
            sys.modules["machine"] = self.before


async def test_info():
    board = await Board(revision=7).boot()
    info = await board.call("system.getInfo")
    assert (info["node"], info["version"], info["revision"]) == ("gw", __version__, 7)
    assert info["boot"] == board.node.boot
    assert 0 < info["uptime_ms"] < 60000
    assert isinstance(info["board"], str) and info["board"]
    assert info["counters"]["errors"] == 0
    assert info["clock"]["trusted"] is True and info["clock"]["source"] == "system"
    if MICROPYTHON:
        assert info["heap"]["free"] > 0 and info["heap"]["used"] > 0
    else:
        assert info["heap"] is None
    flash = info["flash"]
    assert flash is None or 0 < flash["free"] <= flash["total"]
    await board.halt()


async def test_why_the_board_started():
    board = Board()
    for cause, told in ((1, "pwron"), (3, "wdt"), (4, 4)):
        with Machine(cause):
            assert (await board.call("system.getInfo"))["reset_cause"] == told


async def test_state_is_what_the_node_publishes():
    board = await Board().boot()
    state = await board.call("system.getState")
    assert sorted(state) == sorted(board.node.state())
    assert state["devices"] == {"ahu-1": "ok", "off": "stopped", "safe": "ok"}
    await board.halt()


async def test_errors():
    board = Board()
    assert await board.call("system.getErrors") == []
    board.node.clock.set_unix_ms(NOW, "test")
    for i in range(40):
        board.node.bus.emit(ERROR, "ahu-1", DriverError("fault %d" % i))
    found = await board.call("system.getErrors")
    assert 8 <= len(found) <= 40
    assert (found[-1]["what"], "fault 39" in found[-1]["text"]) == ("ahu-1", True)
    assert sorted(found[-1]) == ["mono", "text", "ts", "what"]
    assert NOW <= found[-1]["ts"] < NOW + 60000
    board.node.clock.offset_ms = None
    assert (await board.call("system.getErrors"))[-1]["ts"] is None


async def test_audit():
    board = await Board().boot()
    assert await board.call("system.getAudit") == []
    board.node.clock.set_unix_ms(NOW, "test")
    await board.call("gateways.writeValue", address="set", value=15)
    await board.refused("gateways.writeValue", address="set", value=99)
    await board.call("gateways.getGateways")
    await board.call("gateways.stopGateway", gateway="safe")
    found = await board.call("system.getAudit")
    keys = ["id", "method", "mono", "result", "target", "transport", "ts"]
    assert all(sorted(entry) == keys for entry in found)
    told = [(entry["method"], entry["target"], entry["result"]) for entry in found]
    assert told == [
        ("gateways.writeValue", "set", "ok"),
        ("gateways.writeValue", "set", "invalid value"),
        ("gateways.stopGateway", "safe", "ok"),
    ]
    assert NOW <= found[0]["ts"] < NOW + 60000
    await board.halt()


async def test_set_time():
    board = Board(clock={"trust_system": False})
    before = await board.call("system.getInfo")
    assert before["clock"] == {"trusted": False, "source": None, "unix_ms": None}
    for wrong in (0, -1, 1704067199999, 4102444800000, 1 << 70):
        assert await board.refused("system.setTime", time=wrong) == "invalid value"
        assert not board.node.clock.trusted
    for wrong in (1790000000.5, "2026", True):
        assert "time: " in await board.refused("system.setTime", time=wrong)
    assert await board.refused("system.setTime") == "missing parameter: time"
    changed = []
    board.node.clock.on_change.append(lambda: changed.append(1))
    clock = await board.call("system.setTime", time=NOW)
    assert (clock["trusted"], clock["source"]) == (True, "api")
    assert NOW <= clock["unix_ms"] < NOW + 1000
    assert changed == [1]


async def test_config():
    board = Board(api={"mqtt_secret": SECRET})
    config = await board.call("system.getConfig")
    assert config["api"] == {"has_mqtt_secret": True}
    assert config["devices"][0] == DEVICES[0]
    safe = config["devices"][2]
    assert safe["has_password"] is True and safe["points"][0]["has_pin"] is True
    assert saved()["devices"][2]["password"] == SECRET


async def test_reboot_answers_first():
    board = await Board().boot()
    restart.DELAY_MS = 50
    with Machine() as machine:
        assert await board.call("system.reboot") is True
        assert machine.resets == 0
        for _ in range(300):
            await sleep_ms(10)
            if machine.resets:
                break
    assert machine.resets == 1
    await board.halt()


async def test_reboot_stores_what_a_log_keeps_on_flash():
    # So large that nothing is stored before.
    log = dict(SMALL, ring_bytes=16384, store={"disk": True})
    board = await Board(subscriptions=[log], subscribers=[{"subscriber": "c"}]).boot(200)
    ring = board.node.subscriptions["default"].ring
    assert ring.stored == 0 < ring.next
    stored = []
    with Machine() as machine:
        machine.reset = lambda: stored.append((ring.stored, ring.next))
        await board.call("system.reboot")
        for _ in range(300):
            await sleep_ms(10)
            if stored:
                break
    [(count, total)] = stored
    assert count == total > 0
    await board.halt()


class Nothing:
    """A module that has none of what is asked for."""


async def test_reboot_where_there_is_nothing_to_restart():
    board = Board()
    before = sys.modules.get("machine")
    sys.modules["machine"] = Nothing
    try:
        assert await board.refused("system.reboot") == "not a board"
    finally:
        del sys.modules["machine"]
        if before:
            sys.modules["machine"] = before


# -- secrets

#: Arguments that show as much as there is.
ARGUMENTS = {
    "gateways.getGateway": {"gateway": "safe"},
    "gateways.getAddressesByGateway": {"gateway": "safe"},
    "gateways.getAddress": {"address": "door"},
    "gateways.getLastValue": {"address": "door"},
    "gateways.readValue": {"address": "door"},
    "gateways.writeValue": {"address": "door", "value": SECRET},
    "gateways.insertGateway": {"gateway": {"id": "x", "driver": "vault", "password": SECRET * 9}},
    "gateways.updateGateway": {"gateway": "safe", "changes": {"password": {"x": SECRET}}},
    "gateways.insertAddress": {"address": {"gateway": "safe", "name": "x", "pin": [SECRET]}},
    "gateways.updateAddress": {"address": "door", "changes": {"pin": SECRET * 9}},
    "mqtt.insertBroker": {"broker": {"name": "x", "host": "h", "password": SECRET * 99}},
    "mqtt.updateBroker": {"broker": "main", "changes": {"pasword": SECRET}},
    "config.getRevision": {"revision": 0},
    "loggers.getSubscription": {"subscription": "default"},
    "loggers.query": {"address": "all", "start": 0, "end": 1 << 60},
}


def sockets():
    """Whether there are any, and so brokers."""
    try:
        import socket
    except ImportError:
        return False
    return bool(socket)


def secret_files():
    """What the files of secrets say."""
    folder = FOLDER + "/secrets/"
    texts = []
    for name in os.listdir(folder):
        with open(folder + name) as file:
            texts.append(file.read())
    return "".join(texts)


async def test_no_method_tells_a_secret():
    keys = {"api": {"mqtt_secret": SECRET}}
    if sockets():
        keys["mqtt"] = [{"host": "127.0.0.1", "port": 1, "password": SECRET}]
    board = await Board(**keys).boot()
    # From then on the secrets are apart.
    await board.call("gateways.updateGateway", gateway="safe", changes={"description": "x"})
    called = answered = 0
    with Machine():
        for name in dispatch.MODULES:
            if name == "kit":
                # A module of other tests.
                continue
            try:
                methods = __import__("fieldpost.api." + name, None, None, ("METHODS",)).METHODS
            except ImportError:
                continue
            for method in sorted(methods):
                method = name + "." + method
                try:
                    told = json.dumps(await board.call(method, **ARGUMENTS.get(method, {})))
                    answered += 1
                except FieldpostError as error:
                    told = str(error)
                assert SECRET not in told, method
                called += 1
        told = json.dumps(
            await board.call("system.getAudit") + await board.call("system.getErrors")
        )
        assert SECRET not in told
        assert SECRET not in json.dumps(board.node.state())
        assert called > 35 and answered > 15
        assert SECRET in secret_files()
    await board.halt()
