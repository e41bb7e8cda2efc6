"""Hardware drivers on a virtual board: pins are files that the computer moves."""

import json
import time

import pytest

import device_suite
from fieldpost_tools.build import build_mpy
from fieldpost_tools.sim.board import Board

CONFIG = {
    "node": "gw-1",
    "devices": [
        {
            "id": "io",
            "driver": "gpio",
            "interval": 50,
            "points": [
                {"id": 1, "name": "door", "pin": 4, "pull": "up", "invert": True},
                {"id": 2, "name": "lamp", "pin": 5, "mode": "out", "initial": False},
            ],
        },
        {
            "id": "tank",
            "driver": "adc",
            "interval": 50,
            "period": 10,
            "points": [{"id": 3, "name": "level", "pin": 32, "atten": "11dB", "low": 400}],
        },
        {
            "id": "meter",
            "driver": "counter",
            "pin": 6,
            "debounce": 10,
            "interval": 50,
            "points": [{"id": 4, "name": "total"}],
        },
        {
            "id": "chip",
            "driver": "i2c",
            "scl": 22,
            "sda": 21,
            "points": [{"id": 5, "name": "found", "kind": "scan"}],
        },
    ],
    "subscriptions": [{"id": "default", "store": {"disk": False}}],
}
MAIN = """
import asyncio
from fieldpost.node import Node

node = Node("config.json", "/data")

def tell(kind, key, point):
    print(kind, key, point.value if kind == "value_changed" else node.devices[key].status)
    if key == "io/door":
        asyncio.create_task(node.write(2, point.value))

for kind in ("value_changed", "device_down"):
    node.bus.subscribe(kind, tell)
asyncio.run(node.run())
"""


def within(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def board(micropython, tmp_path, umqtt_path):
    folder = tmp_path / "flash"
    build_mpy(folder / "lib", device_suite.SDK / "fieldpost")
    (folder / "data").mkdir()
    (folder / "pins").mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "main.py").write_text(MAIN)
    with Board(folder, heap="256k") as board:
        yield board


def test_inputs_outputs_and_voltages(board):
    pins = board.folder / "pins"
    board.wait_for("value_changed io/door False")
    within(5, lambda: (pins / "5").read_text() == "0")
    (pins / "4").write_text("0")
    board.wait_for("value_changed io/door True")
    board.wait_for("value_changed io/lamp True")
    within(5, lambda: (pins / "5").read_text() == "1")
    (pins / "32").write_text("1.25")
    board.wait_for("value_changed tank/level 1250.0")
    (pins / "4").unlink()
    board.wait_for("value_changed io/door False")
    within(5, lambda: (pins / "5").read_text() == "0")


def test_pulses_of_a_contact(board):
    board.wait_for("value_changed meter/total 0")
    for total in (1, 2):
        (board.folder / "pins" / "6").write_text("1")
        board.wait_for(f"value_changed meter/total {total}")
        (board.folder / "pins" / "6").write_text("0")
        time.sleep(0.3)


def test_what_the_board_lacks_is_said(board):
    board.wait_for("device_down chip no machine.SoftI2C here")


def test_a_board_without_the_folder_has_no_pins(micropython):
    with Board() as board:
        board.wait_for(">>> ")
        assert board.exec("import machine; print(hasattr(machine, 'Pin'))") == "False\n"
