"""The unflushed tail of a durable log in the RTC memory of the virtual board."""

import shutil

import pytest

import device_suite
from fieldpost_tools.sim.board import Board

OPEN = """
from fieldpost.clock import Clock
from fieldpost.config import Validator
from fieldpost.counters import Counters
from fieldpost.log import Log
class Reader:
    name, ack_timeouts, acked, owed = "collector", 0, 0, 0
    def paused_ms(self):
        return None
numbers = Counters("/data")
store = Validator().table("store", {"durable": True, "rtc": True}, "")
boot = numbers.take("boot")
log = Log("/data/logs/default", store, 8192, Clock(), lambda: numbers.take("stream"), boot)
log.cursors.append(Reader())
"""
APPEND = """
for number in range(25):
    log.append(1, number)
log.tend()
print(log.next, log.stored)
"""
READ = """
reader = log.reader(0)
header = reader.open()
print(log.next, header and [reader.take()[2] for _ in range(header.count)], log.flash["errors"])
"""


@pytest.fixture
def board(micropython):
    with Board(heap="512k") as board:
        board.wait_for(">>> ")
        shutil.copytree(device_suite.SDK / "fieldpost", board.folder / "lib" / "fieldpost")
        (board.folder / "data").mkdir()
        assert board.exec(OPEN + APPEND) == "25 0\n"
        assert not list((board.folder / "data/logs/default/seg").iterdir())
        yield board


def test_a_soft_reset_keeps_it(board):
    board.soft_reset()
    assert board.exec(OPEN + READ) == f"25 {list(range(25))} 0\n"


def test_the_watchdog_keeps_it(board):
    board.send(b"import machine; machine.WDT(timeout=50)\r")
    board.wait_for("WDT")
    board.wait_for(">>> ")
    assert board.exec(OPEN + READ) == f"25 {list(range(25))} 0\n"


def test_a_power_cut_loses_it(board):
    board.power_cycle()
    board.wait_for(">>> ")
    assert board.exec(OPEN + READ) == "0 None 0\n"
