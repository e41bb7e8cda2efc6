"""The examples of firmware/examples run on a virtual board; only addresses are replaced."""

import contextlib
import hashlib
import hmac
import http.server
import json
import queue
import re
import shutil
import threading
import time

import pytest

import device_suite
from api_lines import Mqtt
from fieldpost import config
from fieldpost_tools import build, data
from fieldpost_tools.sim.board import Board
from fieldpost_tools.sim.modbus_server import AhuServer

EXAMPLES = data.firmware_folder() / "examples"
TIMEOUT_S = 15
# A board with Wi-Fi, and the network in range.
NETWORK = """
STA_IF, STAT_IDLE, STAT_CONNECTING, STAT_GOT_IP = 0, 1000, 1001, 1010
def hostname(name): print("hostname", name)
def country(code): print("country", code)
class WLAN:
    ssid = None
    def __init__(self, interface): pass
    def active(self, on): pass
    def config(self, **settings): pass
    def scan(self): return [(b"plant", b"", 1, -70, 3, 0), (b"workshop", b"", 6, -50, 3, 0)]
    def connect(self, ssid, password): WLAN.ssid = ssid
    def isconnected(self): return WLAN.ssid is not None
    def status(self): return STAT_GOT_IP
    def ifconfig(self): return ("10.0.0.7",)
"""


@pytest.fixture
def board(micropython, tmp_path):
    """Makes a running board with a configuration, and a main.py of its own or the firmware's."""
    with contextlib.ExitStack() as boards:

        def make(made, main=None, files=None):
            flash = tmp_path / "flash"
            build.install(flash, made)
            (flash / "network.py").write_text(NETWORK)
            (flash / "pins").mkdir()
            for name, content in (files or {}).items():
                target = flash / name
                target.parent.mkdir(exist_ok=True)
                target.write_text(content)
            if main:
                shutil.copy(main, flash / "main.py")
            return boards.enter_context(Board(flash, "512k"))

        yield make


def example(name):
    """The configuration of an example."""
    made = json.loads((EXAMPLES / name / "config.json").read_text(encoding="utf-8"))
    # The drivers of a computer are those of the SDK.
    if name != "own_driver":
        config.validate(made)
    return made


def test_the_networks_of_the_docs_are_valid():
    page = (device_suite.ROOT / "docs" / "firmware.md").read_text(encoding="utf-8")
    blocks = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    button, network = blocks
    assert set(button) == {"button", "pressed"}
    config.validate({"node": "docs", **network})


def value_of(line, device, point):
    """The value of a point, once it has one."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        address = {"gateway": device, "name": point}
        reply = line.value("gateways.getLastValue", {"address": address})
        if reply["value"] is not None:
            return reply["value"]
        time.sleep(0.1)
    raise AssertionError(reply)


def test_the_smallest_node(board, mosquitto, tmp_path):
    source = (EXAMPLES / "hello.py").read_text(encoding="utf-8")
    body = source.split('"""\n', 1)[1]
    assert len([line for line in body.splitlines() if line]) == 15
    hello = source.replace("192.168.1.10", "127.0.0.1").replace(
        '"127.0.0.1"', f'"127.0.0.1", "port": {mosquitto.port}'
    )
    main = tmp_path / "hello.py"
    main.write_text(hello)
    board(None, main)
    with Mqtt(mosquitto.port, "hello") as line:
        flush = json.loads(line.flushes.get(timeout=TIMEOUT_S))
        assert flush["subscription"] == "default"
        assert len(flush["value"][0]) == 3


def test_the_modbus_gateway(board, mosquitto):
    made = example("modbus_gateway")
    with AhuServer(speedup=0) as plant:
        made["mqtt"][0].update(host="127.0.0.1", port=mosquitto.port)
        made["devices"][0].update(host="127.0.0.1", port=plant.port, timeout_ms=500)
        made["clock"]["ntp"] = []
        running = board(made, EXAMPLES / "modbus_gateway" / "main.py")
        running.wait_for("country DE")
        running.wait_for("wifi: workshop, 10.0.0.7")  # it is nearer
        with Mqtt(mosquitto.port, made["node"]) as line:
            assert line.flushes.get(timeout=TIMEOUT_S)[0] == 0xFB
            dat = value_of(line, "ahu-1", "dat")
            assert dat == pytest.approx(plant.air.supply_air, abs=0.2)
        plant.stop()
        running.wait_for("ahu-1 does not answer")
        plant.start()
        running.wait_for("ahu-1 answers again", timeout=TIMEOUT_S)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Puts what is posted into its server's queue."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.put((self.path, self.headers, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """Be silent."""


@pytest.fixture
def receiver():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.posts = queue.SimpleQueue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_an_alarm_to_a_webhook(board, receiver):
    made = example("alarm_webhook")
    endpoint = made["webhooks"]["endpoints"][0]
    endpoint["url"] = endpoint["url"].replace("192.168.1.30", f"127.0.0.1:{receiver.server_port}")
    made["alarms"][0]["on_delay_ms"] = 0
    made["clock"]["ntp"] = []
    running = board(made, files={"pins/34": "0.25"})  # -25 °C
    running.wait_for("wifi: plant, 10.0.0.7")
    (running.folder / "pins" / "34").write_text("0.4")  # -10 °C
    path, headers, body = receiver.posts.get(timeout=TIMEOUT_S)
    assert path == "/alarms"
    told = json.loads(body)
    assert told["event"] == "alarm_raised"
    assert told["alarm"]["message"] == "Freezer is warm"
    assert told["alarm"]["value"] == -10
    signed = hmac.new(b"change me too", body, hashlib.sha256).hexdigest()
    assert headers["X-OpenCrate-Signature"] == "sha256=" + signed
    (running.folder / "pins" / "34").write_text("0.2")
    assert json.loads(receiver.posts.get(timeout=TIMEOUT_S)[2])["event"] == "alarm_cleared"


def test_a_driver_of_ones_own(board, mosquitto):
    made = example("own_driver")
    made["mqtt"][0].update(host="127.0.0.1", port=mosquitto.port)
    made["devices"][0]["interval"] = 100
    tank = (EXAMPLES / "own_driver" / "drivers" / "tank.py").read_text(encoding="utf-8")
    running = board(made, files={"drivers/tank.py": tank, "pins/34": "1.6"})
    with Mqtt(mosquitto.port, made["node"]) as line:
        assert value_of(line, "tank-1", "level") == 600
        (running.folder / "pins" / "34").write_text("0")
        end = time.monotonic() + TIMEOUT_S
        address = {"address": {"gateway": "tank-1", "name": "level"}}
        while line.value("gateways.getLastValue", address)["status"] == "ok":
            assert time.monotonic() < end
        assert line.value("gateways.getLastValue", address)["status"] == "float is not connected"
