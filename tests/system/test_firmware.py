"""The firmware on a virtual board: crash loops, safe mode, releases on trial, damaged files."""

import contextlib
import json
import shutil
import subprocess
import sys
import time

import pytest

from fieldpost_tools import build, data
from fieldpost_tools.release import Release
from fieldpost_tools.sim.board import Board

HEAP = "512k"
NODE = {
    "node": "gw-1",
    "devices": [{"id": "demo", "driver": "virtual", "points": [{"name": "one", "value": 1}]}],
}
BROKEN = {**NODE, "node": "no spaces"}
TIMEOUT_S = 15


@pytest.fixture(scope="session")
def release(umqtt_path):
    return Release.build()


class Firmware:
    """The flash of a board with slots, and the board; its pauses are short."""

    def __init__(self, folder, config):
        self.folder = folder
        for name in build.FIRMWARE_FILES:
            shutil.copy(data.firmware_folder() / name, folder)
        self.edit("main.py", "PAUSE_S = 10", "PAUSE_S = 0.1")
        self.configure(config)
        self.board = Board(folder, HEAP)

    def edit(self, name, old, new):
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))

    def configure(self, config):
        (self.folder / "config.json").write_text(json.dumps(config))

    def set(self, module, **values):
        """Have constants of a module of ``fieldpost_board`` changed before main.py runs."""
        with (self.folder / "boot.py").open("a") as boot:
            boot.write(f"try:\n    import fieldpost_board.{module} as _module\n")
            boot.writelines(f"    _module.{name} = {value}\n" for name, value in values.items())
            boot.write("except Exception as _error:\n    print(_error)\n")

    def install(self, release, slot):
        release.save(self.folder / slot)

    def break_slot(self, slot, version="9.9.9"):
        """Give a slot a release that crashes at import."""
        package = self.folder / slot / "fieldpost_board"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "run.py").write_text("raise ValueError('bad release')\n")
        (self.folder / slot / "release").write_text(json.dumps({"version": version}) + "\n")

    def slot(self):
        """What the file /slot says."""
        return json.loads((self.folder / "slot").read_text().split(" ", 1)[1])

    def until(self, **state):
        """Wait until /slot says so."""
        end = time.monotonic() + TIMEOUT_S
        while True:
            with contextlib.suppress(OSError, ValueError):
                if self.slot().items() >= state.items():
                    return
            assert time.monotonic() < end, self.board.output[-2000:]
            time.sleep(0.02)

    def interrupt(self):
        """Ctrl-C, and the REPL that follows. Not while it imports: what runs MicroPython on a
        computer takes a Ctrl-C at any moment, and is left with a locked heap by some."""
        self.board.send(b"\x03")
        self.board.wait_for("node stopped")
        self.board.wait_for(">>> ")


@pytest.fixture
def firmware(micropython, release, tmp_path):
    """Makes a ``Firmware`` with the release in slot a; switched on by ``with``."""
    made = []

    def make(config=NODE):
        flash = tmp_path / "flash"
        flash.mkdir()
        made.append(Firmware(flash, config))
        made[0].install(release, "a")
        return made[0]

    yield make
    for one in made:
        one.board.stop()


# -- starts


def test_a_release_in_a_slot_runs_and_is_healthy_after_a_while(firmware):
    made = firmware()
    made.set("health", HEALTHY_MS=500)
    with made.board as board:
        made.until(attempts=1)
        made.until(attempts=0, active="a", trial=False)
        made.interrupt()
        assert board.exec("import sys, fieldpost; print(sys.path[0], fieldpost.__file__)") == (
            "/a /a/fieldpost/__init__.mpy\n"
        )
        assert board.exec("print([name for name in sys.modules if 'slots' in name])") == "[]\n"


def test_a_soft_reset_by_a_host_tool_is_no_start(firmware):
    made = firmware()
    with made.board as board:
        made.until(attempts=1)
        command = [sys.executable, "-m", "mpremote", "connect", board.path]
        for _ in range(2):
            done = subprocess.run(
                [*command, "exec", "import fieldpost; print(fieldpost.__file__)"],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=True,
            )
            assert done.stdout == "/a/fieldpost/__init__.mpy\n"
        assert made.slot()["attempts"] == 1


def test_code_without_the_board_package_runs_a_node(firmware):
    made = firmware({**NODE, "node": "plain"})
    shutil.move(made.folder / "a", made.folder / "lib")
    shutil.rmtree(made.folder / "lib" / "fieldpost_board")
    (made.folder / "slots.py").unlink()
    with made.board as board:
        board.wait_for("slots: no module named 'slots'")
        assert board.running
        time.sleep(1)
        made.interrupt()
        assert board.exec("import fieldpost; print(fieldpost.__file__)").startswith("/lib/")
    assert not (made.folder / "slot").exists()
    assert not (made.folder / "last_error.txt").exists()


def test_a_damaged_board_package_is_an_error_and_not_left_out(firmware):
    made = firmware()
    (made.folder / "a" / "fieldpost_board" / "run.mpy").unlink()
    with made.board as board:
        board.wait_for("ImportError: no module named 'fieldpost_board.run'")
        board.wait_for("restart in ")


def test_a_broken_slots_py_leaves_the_first_slot_and_the_repl(firmware):
    made = firmware()
    (made.folder / "slots.py").write_text("def select(:\n")
    with made.board as board:
        board.wait_for("slots: invalid syntax")
        time.sleep(1)
        made.interrupt()
        assert board.exec("import fieldpost; print(fieldpost.__file__)").startswith("/a/")


def test_a_torn_slot_file_starts_what_is_there(firmware):
    made = firmware()
    made.set("health", HEALTHY_MS=0)
    (made.folder / "slot").write_bytes(b'12345678 {"active": "b", "tr')
    with made.board:
        made.until(active="a", attempts=0)
        made.interrupt()


# -- crashes


def test_a_crash_loop_ends_in_safe_mode_and_that_ends_too(firmware):
    made = firmware(BROKEN)
    made.set("safe", HOLD_S=0.5)
    made.set("health", HEALTHY_MS=0)
    with made.board as board:
        for _ in range(5):
            board.wait_for("ConfigError: node: 'no spaces'")
            board.wait_for("restart in ")
        board.wait_for("safe mode: 6 starts without a healthy one, see last_error.txt")
        board.wait_for("Ctrl-C gives the REPL; a reset tries again")
        board.wait_for("ConfigError", timeout=TIMEOUT_S)  # a try
        board.wait_for("safe mode: 8 starts")
        made.configure(NODE)
        made.until(attempts=9)
        made.until(attempts=0)
        made.interrupt()
    assert "no spaces" in (made.folder / "last_error.txt").read_text()


def test_ctrl_c_in_safe_mode_gives_the_repl_and_it_stays(firmware):
    made = firmware(BROKEN)
    with made.board as board:
        board.wait_for("safe mode: 6 starts", timeout=TIMEOUT_S)
        made.interrupt()
        boots = board.boots
        assert board.exec("import sys; print(sys.path[0])") == "/a\n"
        assert board.boots == boots


def test_ctrl_c_before_a_restart_gives_the_repl_and_it_stays(firmware):
    made = firmware(BROKEN)
    made.edit("main.py", "PAUSE_S = 0.1", "PAUSE_S = 1")
    with made.board as board:
        board.wait_for("restart in 1 s")
        made.interrupt()
        time.sleep(1.2)
        assert board.boots == 1


def test_a_flash_that_takes_no_error_file_restarts_too(firmware):
    made = firmware(BROKEN)
    (made.folder / "last_error.txt").mkdir()
    with made.board as board:
        board.wait_for("last_error.txt [Errno 21]")
        board.wait_for("ConfigError", timeout=TIMEOUT_S)


def test_a_held_button_keeps_the_node_from_starting(firmware):
    made = firmware()
    (made.folder / "pins").mkdir()
    (made.folder / "pins" / "5").write_text("0")
    (made.folder / "board.json").write_text('{"button": 5}')
    made.set("safe", HOLD_S=0.2)
    made.set("health", HEALTHY_MS=0)
    with made.board as board:
        board.wait_for("safe mode: the button is held")
        (made.folder / "pins" / "5").write_text("1")
        made.until(attempts=0)
        assert board.output.count("safe mode") == 1
        made.interrupt()


def test_buttons_of_a_board_file(firmware):
    made = firmware()
    pins = made.folder / "pins"
    pins.mkdir()
    (pins / "5").write_text("1")
    (pins / "6").write_text("0")
    reason = "from fieldpost_board import safe; print(safe.reason(5))"
    made.set("health", HEALTHY_MS=0)
    with made.board as board:
        made.until(attempts=0)
        made.interrupt()
        for text, answer in (
            (None, None),
            ("", None),
            ("[]", None),
            ("{}", None),
            ('{"button": null}', None),
            ('{"button": 99}', None),
            ('{"button": 5, "pressed": 1}', "the button is held"),
            ('{"button": 6, "pressed": 1}', None),
            ('{"button": 6}', "the button is held"),
        ):
            if text is not None:
                (made.folder / "board.json").write_text(text)
            assert board.exec(reason) == f"{answer}\n", text


# -- releases on trial


def try_out(made):
    """Make slot b active, on trial."""
    made.board.start()
    made.until(attempts=0)
    made.interrupt()
    made.board.exec("import slots; slots.switch('b')")
    made.board.send(b"import machine; machine.reset()\r")


def test_a_release_that_crashes_at_import_returns_to_the_former_one(firmware):
    made = firmware()
    made.break_slot("b")
    made.set("health", HEALTHY_MS=0)
    try_out(made)
    for _ in range(3):
        made.board.wait_for("ValueError: bad release")
    made.until(active="a", trial=False, attempts=0)
    assert made.slot()["returned"] == "9.9.9 in b: not healthy in 3 starts"
    made.interrupt()
    assert made.board.output.count("ValueError: bad release") == 3


def test_a_release_that_reaches_its_broker_stays(firmware, release, mosquitto):
    made = firmware({**NODE, "mqtt": [{"host": "127.0.0.1", "port": mosquitto.port}]})
    made.install(release, "b")
    try_out(made)
    made.until(active="b", trial=False, attempts=0)
    assert made.slot()["returned"] is None


def test_a_release_that_reaches_no_broker_returns(firmware, release):
    made = firmware({**NODE, "mqtt": [{"host": "127.0.0.1", "port": 9}]})
    made.install(release, "b")
    # On trial, running alone proves nothing.
    made.set("health", HEALTHY_MS=0, TRIAL_MS=0)
    try_out(made)
    for _ in range(3):
        made.board.wait_for("this release is on trial and has reached no broker: reset")
    made.until(active="a", trial=False, attempts=0)
    assert made.slot()["returned"].endswith(" in b: not healthy in 3 starts")
    made.interrupt()


def test_a_release_of_a_node_without_brokers_has_to_run_for_a_while(firmware, release):
    made = firmware()
    made.install(release, "b")
    made.set("health", HEALTHY_MS=500, TRIAL_MS=60000)
    made.board.start()
    made.until(attempts=0)
    try_out(made)
    made.until(active="b", trial=True, attempts=1)
    made.until(active="b", trial=False, attempts=0)
    made.interrupt()
