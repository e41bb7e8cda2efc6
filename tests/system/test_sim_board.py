"""The virtual board: boots, resets and dies like a board; mpremote and ampy cannot tell."""

import ast
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import serial
from mpremote.transport_serial import SerialTransport

from fieldpost import config
from fieldpost_tools import build, data
from fieldpost_tools.sim import chip, console
from fieldpost_tools.sim.board import Board, BoardError
from fieldpost_tools.sim.engine import Engine
from fieldpost_tools.sim.port import Port

MAIN = "import time\nprint('main runs')\nwhile True: time.sleep(0.05)\n"
CAUSE = "import machine; print(machine.reset_cause())"


@pytest.fixture
def board(micropython):
    with Board() as board:
        board.wait_for(">>> ")  # so that no main.py of a test is found by this first boot
        yield board


@pytest.fixture
def busy(board):
    """A board that prints from boot.py and is inside main.py."""
    (board.folder / "boot.py").write_text("print('boot runs')\n")
    (board.folder / "main.py").write_text(MAIN)
    board.power_cycle()
    board.wait_for("main runs")
    return board


def run(*command):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def mpremote(board, *command):
    return run("mpremote", "connect", board.path, *command)


def ampy(board, *command):
    return run("ampy.cli", "-p", board.path, *command)


# Booting


def test_boot_py_then_main_py_then_repl(board):
    (board.folder / "boot.py").write_text("print('one'); shared = 7\n")
    (board.folder / "main.py").write_text("print('two', shared, __name__)\n")
    board.power_cycle()
    board.wait_for("rst:0x1 (POWERON_RESET)\r\none\ntwo 7 __main__\nMicroPython ")
    board.wait_for(">>> ")
    assert board.exec("print(shared)") == "7\n"


def test_a_boot_py_that_fails_keeps_main_py_from_running(board):
    (board.folder / "boot.py").write_text("1/0\n")
    (board.folder / "main.py").write_text(MAIN)
    board.power_cycle()
    board.wait_for('File "boot.py", line 1, in <module>\nZeroDivisionError')
    board.wait_for(">>> ")
    assert "main runs" not in board.output


def test_it_looks_like_a_board_from_inside(board):
    assert board.exec("print(sorted(globals()))") == "['__file__', '__name__']\n"
    assert board.exec("import sys; print(sys.path, sys.argv)") == "['', '.frozen', '/lib'] []\n"
    (board.folder / "lib").mkdir()
    (board.folder / "lib" / "extra.py").write_text("x = 5\n")
    assert board.exec("import os, extra; print(os.listdir('/'), extra.x)") == "['lib'] 5\n"
    assert board.exec("open('/a', 'w').write('abc'); print(list(os.ilistdir('/'))[-1][3])")
    assert (board.folder / "a").read_text() == "abc"


def test_proc_is_readable_but_not_listed_nor_writable(board):
    assert re.match(r"[\d.]+ ", board.exec("print(open('/proc/loadavg').read())"))
    assert board.exec("import os; print(os.listdir('/'), 'class' in os.listdir('/sys/'))") == (
        "[] True\n"
    )
    with pytest.raises(BoardError, match="OSError: 30"):
        board.exec("open('/sys/x', 'w')")
    with pytest.raises(BoardError, match="ENOENT"):
        board.exec("open('/etc/hostname')")


def test_the_heap_is_as_large_as_asked(micropython):
    with Board(heap="160k") as board:
        assert board.exec("x = bytearray(100_000); print(len(x))") == "100000\n"
    with Board(heap="96k") as board:
        board.exec("x = bytearray(60_000)")
        with pytest.raises(BoardError, match="MemoryError"):
            board.exec("y = bytearray(40_000)")


@pytest.mark.parametrize("heap", ["9q", "2k"])
def test_a_board_that_cannot_boot_says_so_at_once(micropython, heap):
    begin = time.monotonic()
    with pytest.raises(BoardError, match="cannot boot"):
        Board(heap=heap).start()
    assert time.monotonic() - begin < 5


def test_the_environment_is_passed_on(micropython):
    with Board(env={"SITE": "north"}) as board:
        assert board.exec("import os; print(os.getenv('SITE'))") == "north\n"


# Resets


@pytest.mark.parametrize(
    ("code", "cause", "rtc"),
    [
        ("machine.soft_reset()", 5, b"kept"),
        ("import sys; sys.exit()", 5, b"kept"),
        ("machine.reset()", 2, b"kept"),
        ("machine.WDT(timeout=50)\nwhile True: pass", 3, b"kept"),
    ],
)
def test_resets_from_the_program(board, code, cause, rtc):
    (board.folder / "once.py").write_text(
        f"import machine, os\nos.remove('main.py')\nmachine.RTC().memory(b'kept')\n{code}\n"
    )
    board.exec("import os; os.rename('once.py', 'main.py')")
    boots, pid = board.boots, board.pid
    board.send(b"\x04")
    board.wait_for("soft reboot")
    board.wait_for({5: "MPY: soft reboot", 2: "SW_CPU_RESET", 3: "WDT"}[cause])
    board.wait_for(">>> ")
    assert board.boots == boots + 2
    assert board.pid != pid
    assert board.exec(CAUSE) == f"{cause}\n"
    assert board.exec("print(machine.RTC().memory())") == f"{rtc}\n"


def test_files_are_renamed(board):
    board.exec("import os; os.mkdir('a'); os.mkdir('/a/b'); open('/a/one', 'w').close()")
    for old, new in (("/a/one", "/a/b/a_longer_name"), ("a/b/a_longer_name", "/x"), ("/x", "y")):
        board.exec(f"os.rename({old!r}, {new!r})")
        assert not (board.folder / old.strip("/")).exists()
        assert (board.folder / new.strip("/")).exists()


def test_a_soft_reset_runs_main_again_and_a_power_cut_clears_rtc_memory(busy):
    busy.exec("import machine; machine.RTC().memory(bytes(range(256)) * 8)")
    busy.soft_reset()
    busy.wait_for("MPY: soft reboot\r\nboot runs\nmain runs")
    assert busy.exec(CAUSE) == "5\n"
    assert busy.exec("print(len(machine.RTC().memory()))") == "2048\n"
    with pytest.raises(BoardError, match="buffer too long"):
        busy.exec("machine.RTC().memory(bytes(2049))")
    busy.power_cycle()
    busy.wait_for("main runs")
    assert busy.exec(CAUSE) == "1\n"
    assert busy.exec("print(machine.RTC().memory())") == "b''\n"


def test_a_fed_watchdog_lets_it_run_and_a_soft_reset_does_not_stop_it(board):
    board.exec(
        "import machine, time\ndog = machine.WDT(timeout=1000)\n"
        "for _ in range(24): time.sleep_ms(50); dog.feed()"
    )
    boots = board.boots
    board.soft_reset()
    board.wait_for("WDT")
    board.wait_for(">>> ")
    assert board.boots == boots + 2
    time.sleep(1.2)
    assert board.boots == boots + 2


def test_a_cut_of_the_power_stops_everything_at_once(board):
    (board.folder / "main.py").write_text(
        "n = 0\nwhile True:\n    n += 1\n    with open('n', 'w') as f: f.write('%09d' % n)\n"
    )
    board.power_cycle()
    count = board.folder / "n"
    while not count.exists() or count.read_text() < "000000100":
        time.sleep(0.01)
    pid = board.pid
    board.kill()
    assert not board.running
    assert board.pid is None
    assert not Path(f"/proc/{pid}").exists()
    last = count.read_text()
    time.sleep(0.1)
    assert count.read_text() == last
    board.power_on()
    assert board.running


def test_a_crash_of_the_interpreter_is_a_reset(busy):
    os.kill(busy.pid, signal.SIGSEGV)
    busy.wait_for("SW_CPU_RESET")
    busy.wait_for("main runs")
    assert busy.exec(CAUSE) == "2\n"


def test_a_program_that_exits_at_once_starts_again_without_spinning(board, monkeypatch):
    monkeypatch.setattr(Engine, "SPAWN_INTERVAL_S", 0.5)
    (board.folder / "main.py").write_text("import sys\nsys.exit()\n")
    board.soft_reset()
    boots, begin = board.boots, time.monotonic()
    for _ in range(5):
        board.wait_for("MPY: soft reboot")
    assert board.boots >= boots + 3
    assert time.monotonic() - begin > 1


# Ctrl-C


def test_ctrl_c_ends_an_asyncio_program_and_gives_the_repl(board):
    (board.folder / "main.py").write_text(
        "import asyncio\nasync def run():\n    print('loop runs')\n    while True:\n"
        "        await asyncio.sleep_ms(10)\nasyncio.run(run())\n"
    )
    board.power_cycle()
    board.wait_for("loop runs")
    pid = board.pid
    board.send(b"\x03")
    board.wait_for("KeyboardInterrupt")
    board.wait_for(">>> ")
    assert board.exec("print('alive')") == "alive\n"
    assert board.pid == pid


def test_ctrl_c_at_any_moment_interrupts_or_is_input_but_never_kills(board):
    pid = board.pid
    end = time.monotonic() + 3
    while time.monotonic() < end:
        board.send(b"for i in range(%d): pass\r\r" % random.randrange(20_000))
        time.sleep(random.random() * 0.004)
        board.send(b"\x03" * random.randrange(1, 3))
    assert board.exec("print('alive')") == "alive\n"
    assert board.pid == pid


def test_ctrl_c_as_a_program_ends_does_not_kill(board, monkeypatch):
    look = chip._catches

    def slow_look(pid, number):
        found = look(pid, number)
        time.sleep(0.2)  # the program would have ended before the signal comes
        return found

    monkeypatch.setattr(chip, "_catches", slow_look)
    pid = board.pid
    board.send(b"import time; time.sleep_ms(150)\r")
    time.sleep(0.05)
    board.send(b"\x03")
    board.wait_for("KeyboardInterrupt")
    board.wait_for(">>> ")
    assert board.pid == pid


def test_ctrl_c_interrupts_what_mpremote_runs(board):
    transport = SerialTransport(board.path)
    try:
        transport.enter_raw_repl(soft_reset=False)
        transport.exec_raw_no_follow("while True: pass")  # sent in raw paste mode
        transport.serial.write(b"\x03")
        _, problem = transport.follow(timeout=5)
    finally:
        transport.close()
    assert b"KeyboardInterrupt" in problem


# Host tools


@pytest.mark.parametrize("resume", [(), ("resume",)])
def test_mpremote(busy, tmp_path, resume):
    local, data = tmp_path / "x.py", os.urandom(5000)
    local.write_text("print('from run')\n")
    (tmp_path / "data").write_bytes(data)
    assert mpremote(busy, *resume, "exec", "print(1 + 1)") == "2\n"
    assert mpremote(busy, *resume, "eval", "6 * 7") == "42\n"
    assert mpremote(busy, *resume, "run", local) == "from run\n"
    mpremote(busy, *resume, "fs", "cp", tmp_path / "data", ":data")
    assert (busy.folder / "data").read_bytes() == data
    mpremote(busy, *resume, "fs", "cp", ":data", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert re.search(r" 5000 data\n", mpremote(busy, *resume, "fs", "ls"))
    causes = {(): "5\n", ("resume",): "1\n"}
    assert mpremote(busy, *resume, "exec", CAUSE) == causes[resume]


def test_mpremote_soft_reset_runs_boot_py_only_and_reset_main_py_too(busy):
    at = busy.printed
    mpremote(busy, "soft-reset")
    printed, at = busy.read(at)
    assert b"OK\r\nMPY: soft reboot\r\nboot runs\n\r\nraw REPL; CTRL-B to exit\r\n" in printed
    assert b"main runs" not in printed
    busy.wait_for(">>> ")
    mpremote(busy, "reset")
    busy.wait_for("SW_CPU_RESET")
    busy.wait_for("main runs")


def test_mpremote_mounts_a_folder(board, tmp_path):
    (tmp_path / "here.py").write_text("print('imported')\n")
    assert "imported\n" in mpremote(board, "mount", tmp_path, "exec", "import here")


def test_ampy(busy, tmp_path):
    local = tmp_path / "y.py"
    local.write_text("print('from ampy')\n")
    ampy(busy, "put", local, "y.py")
    assert (busy.folder / "y.py").read_text() == local.read_text()
    assert ampy(busy, "ls").split() == ["/boot.py", "/main.py", "/y.py"]
    assert "from ampy" in ampy(busy, "get", "y.py")
    assert ampy(busy, "run", local) == "from ampy\n"
    boots = busy.boots
    ampy(busy, "reset")
    assert busy.boots == boots + 1


def test_an_open_device_outlives_resets(board, tmp_path):
    device = os.readlink(board.path)
    with serial.Serial(board.path, timeout=10) as port:
        for code in (b"import machine; machine.reset()\r", b"\x04", b"print(5 * 5)\r"):
            time.sleep(0.1)
            port.write(code)
            if code.startswith(b"print"):
                assert b"25\n" in port.read_until(b"25\n")
            else:
                assert b">>> " in port.read_until(b"information.\r\n>>> ")
        board.power_cycle()
        assert b"POWERON" in port.read_until(b"information.\r\n>>> ")
    assert os.readlink(board.path) == device


def test_the_link_is_where_asked_and_goes_with_the_board(micropython, tmp_path):
    link = tmp_path / "tty0"
    link.symlink_to("/nowhere")
    with Board(tmp_path / "flash", link=link) as board:
        assert board.path == str(link)
        assert Path(os.readlink(link)).is_char_device()
        assert mpremote(board, "eval", "1") == "1\n"
    assert not link.is_symlink()
    assert (tmp_path / "flash").is_dir()
    link.write_text("a file")
    with pytest.raises(Exception, match="free or a symlink"), Board(link=link):
        pass
    assert link.read_text() == "a file"


# Output


def test_output_without_a_host_is_kept_in_part_and_counted(board):
    begin = board.printed
    board.exec("for i in range(5000): print('%099d' % i)")
    assert board.printed - begin > 500_000
    assert len(board.output) == console.Console.LIMIT_BYTES
    assert f"{4999:099}" in board.output


def test_a_slow_host_gets_every_byte(board):
    with serial.Serial(board.path, timeout=10) as port:
        port.write(b"for i in range(5000): print('%099d' % i)\r\r")
        received = b""
        while not received.endswith(b"%099d\n>>> " % 4999):
            received += port.read(max(1, min(20_000, port.in_waiting)))
            time.sleep(0.01)
    assert [int(line) for line in re.findall(rb"\n(\d{99})", received)] == list(range(5000))


def test_a_host_that_reads_nothing_does_not_stop_the_board(board):
    with serial.Serial(board.path) as port:
        port.write(b"for i in range(5000): print('%099d' % i)\r\r")
        board.wait_for(f"{4999:099}", timeout=4 * Port.STALL_S + 10)


# Ending


def descendants():
    me = str(os.getpid())
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[1] == me:
            found.append(stat.parent.name)
    return found


def test_fifty_boots_leave_no_process_thread_or_file_behind(micropython, tmp_path):
    def resources():
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(descendants())

    before = resources()
    for _ in range(5):
        with Board(tmp_path) as board:
            inside = resources()
            for _ in range(5):
                board.soft_reset()
                board.power_cycle()
            assert resources() == inside
    assert board.pid is None
    assert resources() == before


PROGRAM = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
from fieldpost_tools.sim.board import Board
board = Board()
(board.folder / "main.py").write_text("print('main runs')\\nwhile True: pass\\n")
board.start()
board.wait_for("main runs")
print(board.pid, board.path, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_the_board_dies_with_the_program_that_made_it(micropython, how):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with program:
        pid, path = program.stdout.readline().decode().split()
        if how:
            program.send_signal(how)
        program.stdin.close()
        program.wait(10)
    end = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()
    assert how or not Path(path).is_symlink()


def test_a_stopped_board_is_gone(micropython):
    board = Board()
    folder = board.folder
    with pytest.raises(BoardError, match="not started"):
        board.kill()
    board.start()
    board.stop()
    board.stop()
    assert not folder.exists()
    with pytest.raises(BoardError, match="stopped for good"):
        board.start()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_thread_is_reported_and_leaves_nothing(board, monkeypatch):
    pid = board.pid
    monkeypatch.setattr(chip.Chip, "messages", lambda _: 1 / 0)
    with pytest.raises(BoardError, match="ended by an error"):
        board.wait_for("nothing")
    with pytest.raises(BoardError, match="ended by an error"):
        board.send(b"x")
    board.stop()
    assert not Path(f"/proc/{pid}").exists()


# Command and firmware


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_command(micropython, tmp_path, how):
    link = tmp_path / "tty0"
    command = [sys.executable, "-m", "fieldpost_tools", "sim", "board", "--link", link]
    (tmp_path / "flash").mkdir()
    (tmp_path / "flash" / "main.py").write_text(MAIN)
    program = subprocess.Popen(
        [*command, "--dir", tmp_path / "flash", "--heap", "96k"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with program:
        said = b""
        while b"main runs" not in said:
            said += program.stdout.read1()
        assert link.is_symlink()
        program.send_signal(how)
        assert program.wait(10) == 0
        assert b"board at %s, flash in" % bytes(link) in program.stderr.read()
    assert not link.is_symlink()


NODE = {
    "node": "gw-1",
    "devices": [{"id": "demo", "driver": "virtual", "points": [{"name": "one", "value": 1}]}],
}


def test_the_firmware_runs_a_node_until_ctrl_c(micropython, umqtt_path):
    board = Board(heap="256k")
    build.install(board.folder, NODE)
    with board:
        time.sleep(1)
        assert "Traceback" not in board.output
        assert not board.output.endswith(">>> ")
        board.send(b"\x03")
        board.wait_for("node stopped")
        board.wait_for(">>> ")
        assert board.exec("import gc; print(gc.threshold() > 0)") == "True\n"
    assert not (board.folder / "last_error.txt").exists()


def test_the_firmware_keeps_the_newest_error(tmp_path, micropython, umqtt_path):
    build.install(tmp_path, {**NODE, "node": "no spaces"})
    with Board(tmp_path, heap="256k") as board:
        board.wait_for("ConfigError: node: 'no spaces'")
        board.wait_for("restart in ")
        error = (tmp_path / "last_error.txt").read_text()
        assert error.startswith("Traceback")
        assert "ConfigError: node: 'no spaces'" in error
        (tmp_path / "config.json").write_text("{")
        board.soft_reset()
        board.wait_for("ValueError")
        board.wait_for("restart in ")
        assert "no spaces" not in (tmp_path / "last_error.txt").read_text()
        (tmp_path / "a" / "fieldpost" / "node.py").write_text("raise ValueError('x' * 5000)")
        board.soft_reset()
        board.wait_for("ValueError: " + "x" * 5000)
        board.wait_for("restart in ")
    assert (tmp_path / "last_error.txt").read_text() == "x" * 2047 + "\n"


def test_the_firmware_reports_a_full_heap(tmp_path, micropython, umqtt_path):
    build.install(tmp_path, NODE)
    with Board(tmp_path, heap="40k") as board:
        board.wait_for("MemoryError")
        board.wait_for("restart in ")
    assert "MemoryError" in (tmp_path / "last_error.txt").read_text()


def test_the_examples_are_valid_configurations():
    examples = data.firmware_folder() / "examples"
    config.validate(json.loads((examples / "config.json").read_text(encoding="utf-8")))
    source = (examples / "hello.py").read_text(encoding="utf-8")
    hello = next(node.value for node in ast.parse(source).body if isinstance(node, ast.Assign))
    config.validate(ast.literal_eval(hello))
