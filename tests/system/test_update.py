"""Updates over the air: real MicroPython, firmware and broker; bad releases, power cuts, kills."""

import contextlib
import dataclasses
import itertools
import signal
import subprocess
import sys
import threading
import time

import pytest

import servers
from fieldpost_tools import api
from fieldpost_tools.collect import Collector
from fieldpost_tools.errors import ToolError
from fieldpost_tools.release import Release
from fieldpost_tools.store import Store
from fieldpost_tools.update import Update, UpdateError
from system import update_kit as kit

OLD = "0.1.0"
RESET = "SW_CPU_RESET"
NODES = ("gw-1", "gw-2")
KEY = "a-key-of-the-fleet"
COMPAT, NET = "fieldpost/compat.py", "fieldpost/net.py"
CRASHES = {COMPAT: {"import asyncio\n": "raise ValueError('broken')\n"}}
DEAF = {NET: {"async def open_stream(": "async def _open_stream("}}


class Fleet:
    """Boards at a broker, and a collector of all they send."""

    def __init__(self, folder, umqtt):
        self.folder, self.umqtt = folder, umqtt
        (folder / "mosquitto").mkdir()
        self.broker = servers.Mosquitto(folder / "mosquitto")
        self.broker.start()
        self.url = f"mqtt://127.0.0.1:{self.broker.port}"
        self.old = self.release("old", kit.versioned(OLD), OLD)
        self.boards = {}
        for name in NODES:
            config = kit.configuration(name, self.broker.port)
            self.boards[name] = kit.board(folder / name, self.old, config)
        self._ended = threading.Event()
        self._collecting = threading.Thread(target=self._collect)

    def release(self, name, changes, version=kit.VERSION, optimize=0):
        """A release that is this checkout with changes."""
        return kit.release(self.umqtt, self.folder / name, changes, version, optimize)

    def _collect(self):
        with (
            Store(self.folder / "records.db", create=True) as store,
            Collector(self.url, store, ["+"]) as one,
        ):
            while not self._ended.is_set():
                one.step(0.1)

    def connect(self, name="gw-1"):
        """A client of a node."""
        return api.Client(api.MqttTransport(self.url, name))

    def update(self, release, name="gw-1"):
        """An update that looks often, and does not look back long."""
        made = Update(lambda: self.connect(name), release)
        made.POLL_S, made.RETRY_S = 0.1, 0.1
        return made

    def records(self, name="gw-1"):
        """``{stream: [(seq, Unix ms), ...]}`` of what was collected."""
        with Store(self.folder / "records.db") as store:
            rows = store.read(
                "SELECT stream, seq, ts_ms FROM records JOIN nodes ON nodes.id = node"
                " WHERE name = ? ORDER BY stream, seq",
                (name,),
            )
            found = {}
            for stream, seq, ts_ms in rows:
                found.setdefault(stream, []).append((seq, ts_ms))
            return found

    def status(self, name="gw-1"):
        """What the node says of its release."""
        return kit.status(lambda: self.connect(name))

    def __enter__(self):
        self._collecting.start()
        for board in self.boards.values():
            board.start()
        return self

    def __exit__(self, *_exc_info):
        self._ended.set()
        self._collecting.join()
        for board in self.boards.values():
            board.stop()
        self.broker.stop()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, umqtt_path, micropython):
    with Fleet(tmp_path_factory.mktemp("fleet"), umqtt_path) as fleet:
        yield fleet


def fieldpost(*words):
    """The command, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "fieldpost_tools", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def tell(words):
    """Shown by ``pytest -s``."""
    sys.stdout.write(words + "\n")


def apply(fleet, update, name="gw-1"):
    """Have an update applied; what the node last said of its log before it restarted."""
    board = fleet.boards[name]
    resets = board.output.count(RESET)
    with fleet.connect(name) as client:
        client.timeout_s = 0.5
        update.apply()
        while board.output.count(RESET) == resets:
            with contextlib.suppress(api.ApiTimeout, api.ApiLinkError):
                log = client.call("system.getState")["logs"]["default"]
    return log


def check_records(fleet, log):
    """Nothing is missing in any stream, nor at the end of the one that the restart ended."""
    end = time.monotonic() + 10
    while len((found := fleet.records()).get(log["stream"], ())) < log["acquired"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    for rows in found.values():
        assert [seq for seq, _ in rows] == list(range(len(rows)))


def jitter(fleet, begin_ms, end_ms):
    """By how much the intervals between records deviate from the configured one, in words."""
    times = sorted(ts_ms for rows in fleet.records().values() for _, ts_ms in rows)
    times = [ts_ms for ts_ms in times if begin_ms <= ts_ms <= end_ms]
    late = sorted(abs(b - a - kit.INTERVAL_MS) for a, b in itertools.pairwise(times))
    p99 = late[len(late) * 99 // 100]
    return f"sampling meanwhile: {len(late)} intervals, jitter p99 {p99} ms, at most {late[-1]} ms"


def test_a_release_that_crashes_stops_the_rollout_and_the_node_returns(fleet, tmp_path):
    bad = fleet.release("crashes", kit.versioned(kit.VERSION, CRASHES))
    bad.save(tmp_path / "bad")
    begin = time.monotonic()
    words = ["update", *NODES, "--mqtt", fleet.url, "--release", tmp_path / "bad"]
    with fieldpost(*words, "--percent", "50,100", "--healthy-s", "30") as run:
        said = run.communicate(timeout=60)[0]
    tell(f"crash at boot: returned after {time.monotonic() - begin:.1f} s, all in all\n{said}")
    assert run.returncode == 1
    assert "stage 1 of 2: gw-1: failed, returned to 0.1.0: 9.9.9 in b" in said
    assert "stopped; not touched: gw-2" in said
    assert fleet.status()["version"] == OLD
    untouched = fleet.status("gw-2")
    assert (untouched["sha256"], untouched["staged"]) == (fleet.old.sha256, None)
    assert not (fleet.boards["gw-2"].folder / "b").exists()
    assert "ValueError: broken" in (fleet.boards["gw-1"].folder / "last_error.txt").read_text()


def test_a_release_that_never_connects_is_left(fleet):
    begin = time.monotonic()
    update = fleet.update(fleet.release("deaf", kit.versioned(kit.VERSION, DEAF)))
    with pytest.raises(UpdateError, match=r"returned to 0\.1\.0: 9\.9\.9 in b: not healthy in 3"):
        update.run(40)
    tell(f"no link: returned after {time.monotonic() - begin:.1f} s, {kit.TRIAL_S} s a trial")
    assert fleet.status()["version"] == OLD


def test_only_the_rest_is_sent_after_the_host_and_the_board_were_killed(fleet):
    large = fleet.release("large", kit.versioned(kit.VERSION), optimize=3)
    large.save(fleet.folder / "saved")
    words = ["update", "gw-1", "--mqtt", fleet.url, "--release", fleet.folder / "saved"]
    with fieldpost(*words) as host, fleet.connect() as client:
        while (client.call("update.status")["staged"] or {}).get("phase") != "receiving":
            time.sleep(0.02)
        first = client.call("update.status")["staged"]
        while (staged := client.call("update.status")["staged"])["need"] > first["need"] * 2 // 3:
            time.sleep(0.02)
        host.send_signal(signal.SIGKILL)
        host.wait()
        staged = client.call("update.status")["staged"]
    board = fleet.boards["gw-1"]
    board.kill()
    board.power_on()
    assert 0 < staged["need"] < first["need"]
    assert fleet.status()["version"] == OLD

    update = fleet.update(large)
    begin_ms = time.time() * 1000
    update.deliver()
    window = begin_ms, time.time() * 1000
    tell(
        f"{large.size} bytes, {len(large.files)} files; of {first['bytes']} bytes that were to be "
        f"sent {staged['bytes']} after the kills, in {update.seconds:.2f} s"
    )
    assert update.sent_files == staged["need"]
    assert update.sent_bytes == staged["bytes"]
    log = apply(fleet, update)
    assert update.wait(30) < 30
    status = fleet.status()
    assert (status["version"], status["slot"]) == (kit.VERSION, "b")
    assert (status["trial"], status["sha256"]) == (False, large.sha256)
    check_records(fleet, log)
    tell(jitter(fleet, *window))


def test_the_others_follow(fleet):
    words = ["update", "gw-*", "--mqtt", fleet.url, "--release", fleet.folder / "saved"]
    with fieldpost(*words, "--to", kit.VERSION, "--percent", "50,100") as run:
        said = run.communicate(timeout=60)[0]
    tell(said)
    assert run.returncode == 0
    assert "stage 1 of 2: gw-1: unchanged, runs it already" in said
    assert "stage 2 of 2: gw-2: ok, " in said
    assert fleet.status("gw-2")["version"] == kit.VERSION


def test_over_a_serial_line_with_a_signature(fleet, tmp_path):
    config = kit.configuration("gw-3", 1, mqtt=[], subscribers=[], fleet_key=KEY)
    with kit.board(tmp_path / "gw-3", fleet.old, config) as board:

        def connect():
            return api.Client(api.SerialTransport(board.path))

        kit.status(connect)
        new = fleet.release("serial", kit.versioned(kit.VERSION))
        for release, key, said in (
            (new, None, "signature missing"),
            (new, "the key of another fleet", "signature invalid"),
            (altered(new, path="../boot.py"), KEY, r"invalid line: \w+ \d+ \.\./boot\.py"),
            (altered(new, sha256="0" * 64), KEY, "wrong hash"),
        ):
            with pytest.raises(ToolError, match=said):
                Update(connect, release, key).run()
        assert kit.status(connect)["version"] == OLD
        boot = (board.folder / "boot.py").read_bytes()

        status, words, facts = Update(connect, new, KEY).run(30)
        tell(f"over the serial line: {words}")
        assert (status, facts) == ("ok", {"version": f"{OLD} → {kit.VERSION}"})
        assert Update(connect, new, KEY).run(30)[0] == "unchanged"
        assert (board.folder / "boot.py").read_bytes() == boot


def altered(release, **keys):
    """Two files of the release, one of them with another entry in the manifest."""
    file = dataclasses.replace(release.files[1], content=b"other", size=5, **keys)
    return Release(release.version, release.mpy, [release.files[0], file])
