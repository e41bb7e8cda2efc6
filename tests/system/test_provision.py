"""Provisioning of virtual boards over their serial lines, by the real mpremote and ampy."""

import contextlib
import json
import os
import shutil
import threading
import time

import littlefs
import pytest
from click.testing import CliRunner

from fieldpost_tools import boards, build, umqtt
from fieldpost_tools.broker import parse_url
from fieldpost_tools.cli import main
from fieldpost_tools.errors import ToolError
from fieldpost_tools.provision import Job, answer, content, link, once
from fieldpost_tools.provision.link import LostError, PortError, SilentError
from fieldpost_tools.provision.probe import UnfitError
from fieldpost_tools.release import File, Release
from fieldpost_tools.sim.board import Board

VIRTUAL = boards.load("VIRTUAL")
HEAP = "512k"
NEWER = "9.9.9"
CONFIG = {
    "node": "gw-1",
    "clock": {"trust_system": True},
    "devices": [{"id": "d", "driver": "virtual", "interval": 1000, "points": [{"name": "p"}]}],
}


@pytest.fixture(scope="module", autouse=True)
def no_download(umqtt_path):
    from pathlib import Path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(umqtt, "ensure", lambda: Path(umqtt_path))
        yield


@pytest.fixture(scope="module")
def provisioned(micropython, no_download, tmp_path_factory):
    """The flash of a board that was provisioned while it was empty, and what was reported."""
    folder = tmp_path_factory.mktemp("provisioned") / "flash"
    begin = time.monotonic()
    with Board(folder, HEAP) as board:
        made = once.provision(board.path, VIRTUAL, CONFIG, once.Options())
    print(f"an empty board to a node that answers: {time.monotonic() - begin:.1f} s")  # noqa: T201
    return folder, *made


@pytest.fixture
def board(provisioned, tmp_path):
    """A running board that was provisioned."""
    shutil.copytree(provisioned[0], tmp_path / "flash")
    with Board(tmp_path / "flash", HEAP) as board:
        yield board


@pytest.fixture(scope="module")
def newer(no_download, tmp_path_factory):
    """A release in which one file is another: the version."""
    package = tmp_path_factory.mktemp("newer") / "fieldpost"
    package.mkdir()
    (package / "__init__.py").write_text(f'__version__ = "{NEWER}"\n')
    changed = dict(build.compiled(package))
    files = [File.of(*item) for item in {**dict(build.compiled()), **changed}.items()]
    return Release(NEWER, 6, files)


def provision(board, release=None, tool="mpremote", config=None):
    with link.open(board.path, tool, 5.0) as board_link:
        job = Job(board_link, VIRTUAL, release=release)
        job.look()
        report = job.run(config)
        job.reset()
    return report, answer.Serial(board.path).wait(20)


def test_an_empty_board_becomes_a_node_that_answers(provisioned):
    folder, report, said = provisioned
    assert said.node == "gw-1"
    assert report.slot == "a"
    assert {"a/fieldpost/node.mpy", "a/umqtt/simple.mpy", "main.py", "config.json"} <= set(
        report.sent
    )
    assert (report.copied, report.removed) == (0, 0)
    for file in Release.build().files:
        assert (folder / "a" / file.path).read_bytes() == file.content
    for name, text in content.bootstrap().items():
        assert (folder / name).read_bytes() == text
    assert not [path for path in folder.rglob("*") if path.name.endswith(".new")]


@pytest.mark.parametrize("tool", link.TOOLS)
def test_then_nothing_is_sent_and_later_what_changed(board, newer, tool):
    if tool == "mpremote":
        answer.Serial(board.path).wait(20)  # a running node is interrupted
        again, _ = provision(board, config=CONFIG)
        assert (again.sent, again.bytes) == ([], 0)
    (board.folder / "a/fieldpost/node.py").write_text("raise SystemExit  # found before .mpy")
    report, said = provision(board, newer, tool)
    assert report.sent == ["b/fieldpost/__init__.mpy"]
    assert (report.slot, said.version) == ("b", NEWER)
    assert report.copied == len(newer.files) - 1
    assert not (board.folder / "b/fieldpost/node.py").exists()


class Cut(ToolError):  # noqa: N818
    """The host is gone."""


def cut_after(count, act):
    """A link whose ``count``-th program, of those after the look, is cut by ``act``."""
    left = [count]

    def wrap(board_link):
        real = board_link.exec

        def run(program):
            left[0] -= 1
            if left[0] == 0:
                act()
            return real(program)

        board_link.exec = run

    return wrap


@pytest.mark.parametrize(("who", "cut"), [("host", 5), ("board", 1), ("board", 12), ("host", 24)])
def test_after_a_cut_the_node_answers(board, newer, who, cut):
    """Programs of this update: 1 puts the slot file aside, 24 is the last but the commit's."""

    def act():
        if who == "host":
            raise Cut
        board.kill()

    with link.open(board.path, timeout_s=1.0) as board_link:
        job = Job(board_link, VIRTUAL, release=newer)
        job.look()
        cut_after(cut, act)(board_link)
        with pytest.raises((Cut, LostError)):
            job.run()
    board.kill()
    board.power_on()
    said = answer.Serial(board.path).wait(20)
    assert said.version != NEWER
    slots = json.loads((board.folder / "slot").read_bytes().partition(b" ")[2])
    assert slots["active"] == "a"


def test_a_cut_in_the_commit_leaves_the_old_version_or_the_new(board, newer):
    with link.open(board.path, timeout_s=1.0) as board_link:
        job = Job(board_link, VIRTUAL, release=newer)
        job.look()
        real = job.agent.commit

        def commit(paths):
            killer = threading.Timer(0.005, board.kill)
            killer.start()
            try:
                real(paths)
            finally:
                killer.join()

        job.agent.commit = commit
        with contextlib.suppress(LostError):
            job.run()
    board.power_on()
    said = answer.Serial(board.path).wait(20)
    in_b = b'"active": "b"' in (board.folder / "slot").read_bytes()
    assert (said.version == NEWER) is in_b


@pytest.mark.parametrize("tool", link.TOOLS)
def test_ctrl_c_lets_the_board_boot_what_it_had(board, tool):
    (board.folder / "main.py").write_text((board.folder / "main.py").read_text() + "# older\n")

    def interrupt(done, _total, _path):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once.provision(board.path, VIRTUAL, None, once.Options(tool=tool), interrupt)
    assert answer.Serial(board.path).wait(20).node == "gw-1"
    assert (board.folder / "main.py").read_text().endswith("# older\n")


def test_a_partition_takes_over_from_slots_and_is_written_once(provisioned, tmp_path):
    shutil.copytree(provisioned[0], tmp_path / "flash")
    with Board(tmp_path / "flash", HEAP, romfs=True) as board:
        options = once.Options(form="romfs")
        report, said = once.provision(board.path, VIRTUAL, None, options)
        assert report.sent == ["/rom"]
        assert report.removed > 100
        assert said.node == "gw-1"
        assert not (board.folder / "a").exists()
        report, said = once.provision(board.path, VIRTUAL, CONFIG, options)
        assert (report.sent, report.bytes, said.node) == ([], 0, "gw-1")


def run(*arguments, code=0):
    result = CliRunner().invoke(main, ["provision", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "node.json"
    path.write_text(json.dumps(CONFIG))
    return path


def test_the_command(board, config_file):
    there = (board.path, "--board", "VIRTUAL")
    output = run(*there, "--config", config_file)
    assert "nothing to send\ngw-1 answers, version" in output
    (board.folder / "main.py").write_text("broken")
    assert "files: 1 would be sent\n  main.py\n" in run(*there, "--dry-run")
    row = json.loads(run(*there, "--json"))
    assert (row["sent"], row["answer"]["node"]) == (["main.py"], "gw-1")
    output = run(board.path, "--board", "ESP32_GENERIC", code=1)
    assert "the board at the port is no ESP32_GENERIC" in output
    # It was interrupted, and runs again.
    assert answer.Serial(board.path).wait(20).node == "gw-1"


@pytest.mark.parametrize("tool", link.TOOLS)
def test_a_port_that_is_not_there_or_not_free(tmp_path, tool, micropython):
    output = run(tmp_path / "none", "--board", "VIRTUAL", "--tool", tool, code=3)
    assert "no such file or directory" in output
    busy = pytest.raises(PortError, match="another program uses it")
    with Board(heap=HEAP) as board, link.open(board.path), busy:
        link.open(board.path, tool)


def test_a_port_without_micropython():
    master, slave = os.openpty()
    try:
        with pytest.raises(SilentError, match="no MicroPython answers"):
            link.open(os.ttyname(slave), timeout_s=0.5)
    finally:
        os.close(master)
        os.close(slave)


def test_a_program_that_takes_the_first_keys_is_interrupted_all_the_same(micropython, monkeypatch):
    monkeypatch.setattr(link._Mpremote, "FIRST_S", 0.5)
    lines = (
        "import sys",
        "try:",
        " while True: sys.stdin.read(1)",
        "except KeyboardInterrupt: sys.stdin.read(2)",
    )
    with Board(heap=HEAP) as board:
        (board.folder / "main.py").write_text("print('runs')\n" + "\n".join(lines))
        board.power_cycle()
        board.wait_for("runs")
        with link.open(board.path) as board_link:
            assert board_link.exec("print(5)") == "5\n"


def test_an_old_firmware_is_refused(board, monkeypatch):
    real = link.Link.exec

    def old(board_link, program):
        return real(board_link, program).replace('"version": [1, ', '"version": [0, ')

    monkeypatch.setattr(link.Link, "exec", old)
    with pytest.raises(UnfitError, match="runs MicroPython 0"):
        once.provision(board.path, VIRTUAL, CONFIG, once.Options())


def test_a_board_is_waited_for_at_its_broker(board, mosquitto):
    config = {**CONFIG, "mqtt": [{"host": mosquitto.host, "port": mosquitto.port}]}
    address = parse_url(f"mqtt://{mosquitto.host}:{mosquitto.port}")
    options = once.Options(broker=address)
    report, said = once.provision(board.path, VIRTUAL, config, options)
    assert (report.revision, said.node) == (2, "gw-1")
    # The state that the broker keeps is of the boot before.
    boots = board.boots
    report, said = once.provision(board.path, VIRTUAL, config, options)
    assert (report.sent, said.node) == ([], "gw-1")
    assert board.boots == boots + 2  # for the raw REPL, and the node


def test_a_state_of_the_boot_before_is_no_answer(monkeypatch, mosquitto):
    told = [
        [{"state": "online", "boot": 3, "version": "old"}],  # kept by the broker
        [{"state": "online", "boot": 3, "version": "old"}],
        [{"state": "offline", "boot": 3}],
        [{"state": "online", "boot": 4, "version": "new"}],
    ]
    source = answer.Mqtt(parse_url(f"mqtt://{mosquitto.host}:{mosquitto.port}"), "gw-1")
    real = source._states

    def states(wait_s):
        real(wait_s)
        return told.pop(0) if source._link.connected else []

    monkeypatch.setattr(source, "_states", states)
    source._link.receive(1, 1, 1)
    with source:
        assert source.wait(5).version == "new"


def test_an_inventory(provisioned, tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDPOST_CREDENTIALS", str(tmp_path / "keys"))
    monkeypatch.setenv("SITE_KEY", "of the site")
    template = {key: CONFIG[key] for key in ("clock", "devices")}
    template["api"] = {"mqtt_secret": "secret:api_secret"}
    template["mqtt"] = [{"host": "127.0.0.1", "user": "{node}", "password": "secret:site"}]
    (tmp_path / "all.json").write_text(json.dumps(template))
    rows = ["name,board,port,config,tags,secrets"]
    made = []
    for name in ("gw-1", "gw-2"):
        shutil.copytree(provisioned[0], tmp_path / name)
        made.append(Board(tmp_path / name, HEAP).start())
        rows.append(f"{name},VIRTUAL,{made[-1].path},all.json,floor=1,site=env:SITE_KEY")
    rows.append("gw-3,VIRTUAL,/dev/none,all.json,floor=1,")
    rows.append("gw-4,VIRTUAL,,all.json,floor=2,")
    (tmp_path / "fleet.csv").write_text("\n".join(rows) + "\n")
    try:
        output = run("--inventory", tmp_path / "fleet.csv", "--tag", "floor=1", code=1)
        assert "2 ok, 1 failed" in output
        assert "of the site" not in output
        for board in made:
            config = json.loads((board.folder / "config.json").read_text())
            values = json.loads((board.folder / f"secrets/{config['secrets']}.json").read_text())
            assert config["node"] == board.folder.name == config["mqtt"][0]["user"]
            key = (tmp_path / "keys/nodes" / config["node"] / "api_secret").read_text()
            assert values == {"mqtt[main].password": "of the site", "api.mqtt_secret": key}
            assert key not in output
        output = run("gw-[12]", "--inventory", tmp_path / "fleet.csv")
        assert "2 unchanged" in output
    finally:
        for board in made:
            board.stop()


def test_images_hold_what_provisioning_brings(provisioned, tmp_path, config_file):
    there = ("--board", "ESP32_GENERIC", "--config", config_file, "--out", tmp_path / "out")
    assert "littlefs.img: 2097152 bytes" in run("image", *there)
    volume = littlefs.LittleFS(mount=False, block_size=4096, block_count=512)
    volume.context.buffer = bytearray((tmp_path / "out/littlefs.img").read_bytes())
    volume.mount()
    folder = provisioned[0]
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != "slot" and not name.startswith("data/"):
            with volume.open(f"/{name}", "rb") as file:
                assert file.read() == path.read_bytes(), name
    with volume.open("/slot", "rb") as file:
        assert json.loads(file.read().partition(b" ")[2])["active"] == "a"
