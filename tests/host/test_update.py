"""The host's side of an update, against the node's own code in this process, over a bad link."""

import asyncio
import base64
import importlib
import json
import os

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fieldpost import __version__, release
from fieldpost.api import update as module
from fieldpost.errors import FieldpostError
from fieldpost.node import Node
from fieldpost_tools import cli
from fieldpost_tools import update as tool
from fieldpost_tools.api import ApiCallError, ApiLinkError, ApiTimeout
from fieldpost_tools.release import File, Release
from fieldpost_tools.update import Update, UpdateError, requests, signature

KEY = "a-key-of-the-fleet"


def made(version=__version__, **contents):
    """A release of ``pkg/<name>.mpy`` files."""
    files = [File.of(f"pkg/{name}.mpy", content) for name, content in contents.items()]
    return Release(version, None, files)


OLD = made(same=b"s" * 700, part=b"old" * 300)
NEW = made(same=b"s" * 700, part=b"new" * 300, big=bytes(range(256)) * 40, tiny=b"t")


class Site:
    """A board with a node, and clients of it. ``faults`` (exceptions, None) are raised one by one
    by calls of ``update.put``, before the node has seen them, or behind where ``late``."""

    timeout_s = 10.0

    def __init__(self, folder, slots, **config):
        self.folder, self.slots = folder, slots
        slots.ROOT = f"{folder}/"
        OLD.save(folder / "a")
        self.faults, self.late = [], False
        self.requests = []
        self.received = 0
        self.boots_well = True
        self.loop = asyncio.new_event_loop()
        self.path = folder / "config.json"
        self.path.write_text(json.dumps({"node": "gw-1", **config}), encoding="utf-8")
        self.boot()

    def boot(self):
        """Start the node; what it had in RAM is gone."""
        if module._staged and module._staged._incoming:
            module._staged._incoming._file.close()
        module._staged = None
        self.node = self.run(self._made())

    async def _made(self):
        return Node(str(self.path), str(self.folder / "data"))

    def run(self, awaitable):
        """Let the node run until that is done."""
        return self.loop.run_until_complete(awaitable)

    def connect(self):
        """A client."""
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_exc_info):
        return None

    def call(self, method, args=None):
        """As of ``api.Client``."""
        try:
            value = self.run(self._call(method, args or {}))
        except FieldpostError as error:
            raise ApiCallError(method, str(error)) from None
        if method == "update.apply":
            self._restart()
        return value

    async def _call(self, method, args):
        name, _, method = method.partition(".")
        value = await self.node.dispatcher().call("python", name, method, args)
        await asyncio.sleep(0.002)
        return value

    def batch(self, calls):
        """As of ``api.Client``."""
        bodies = [dict(args, module="update", method="put") for _, args in calls]
        self.requests.append(json.dumps({"id": "a" * 12, "requests": bodies}))
        fault = self.faults.pop(0) if self.faults else None
        if fault and not self.late:
            raise fault
        values = [self.call(*call) for call in calls]
        self.received += sum(len(base64.b64decode(args["data"])) for _, args in calls)
        if fault:
            raise fault
        return values

    def _restart(self):
        state = self.slots.read()
        if self.boots_well:
            self.slots.healthy()
        else:
            self.slots._write({**state, "active": "a", "trial": False, "returned": "it broke"})
        self.boot()

    def slot(self, name="b"):
        """``{path: content}`` of a slot."""
        folder = self.folder / name
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def update(self, release=NEW, key=None):
        """An update that does not wait long."""
        update = Update(self.connect, release, key)
        update.POLL_S = update.RETRY_S = 0.001
        return update


@pytest.fixture
def site(tmp_path):
    slots = importlib.import_module("slots")
    root = slots.ROOT
    site = Site(tmp_path, slots)
    yield site
    slots.ROOT = root
    module._staged = None
    site.loop.close()


def holds(release):
    return {file.path: file.content for file in release.files} | {"release": release.manifest}


def test_a_node_gets_what_it_lacks(site):
    update = site.update()
    status, words, facts = update.run(5)
    assert (status, facts) == ("ok", {"version": f"{__version__} → {__version__}"})
    assert words.startswith(f"3 of 4 files sent, {900 + 10240 + 1 + len(NEW.manifest)} bytes in ")
    assert site.slot() == holds(NEW)
    assert site.slots.read()["active"] == "b"
    assert site.update().run(5) == ("unchanged", "runs it already", {"version": __version__})


def test_a_plan_sends_nothing(site):
    assert site.update().plan() == (
        "planned",
        "into slot b",
        {"version": f"{__version__} → {__version__}"},
    )
    assert site.update(OLD).plan()[0] == "unchanged"
    assert not site.slot()


class Clock:
    """Stands for the module time; it is as late as somebody has slept."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", [ApiTimeout, ApiLinkError])
def test_a_link_that_fails_at_every_other_request(site, late, kind, monkeypatch):
    monkeypatch.setattr(tool, "time", Clock())
    site.faults, site.late = [kind("gone"), None] * 4, late
    update = site.update()
    # Not that patient, but something moves again and again.
    update.RETRY_S, update.PATIENCE_S = 1.0, 1.5
    assert update.run(5)[0] == "ok"
    assert site.slot() == holds(NEW)
    assert len(site.faults) < 8
    assert site.received == 900 + 10240 + 1 + len(NEW.manifest), "nothing comes twice"


def test_a_node_that_restarts_in_between(site):
    site.faults = [None, None, ApiLinkError("gone")]
    connections = []

    def connect():
        connections.append(1)
        if len(connections) == 3:
            site.boot()
        return site

    update = Update(connect, NEW)
    update.POLL_S = update.RETRY_S = 0.001
    assert update.run(5)[0] == "ok"
    assert not site.faults
    assert site.slot() == holds(NEW)


def test_patience_ends(site):
    site.faults = [ApiLinkError("gone")] * 1000
    update = site.update()
    update.PATIENCE_S = 0.05
    with pytest.raises(ApiLinkError):
        update.run(5)
    site.faults = []
    assert site.update().run(5)[0] == "ok"


def test_a_node_that_returns(site):
    site.boots_well = False
    with pytest.raises(UpdateError, match=f"returned to {__version__}: it broke"):
        site.update().run(5)


def test_a_node_that_is_not_healthy_in_time(site, monkeypatch):
    monkeypatch.setattr(site.slots, "healthy", lambda: None)
    with pytest.raises(UpdateError, match=r"not healthy within 0 s: \S+ on trial"):
        site.update().run(0.05)
    # The host comes back: it only waits.
    monkeypatch.undo()
    with pytest.raises(UpdateError, match="on trial there"):
        site.update(made(other=b"other")).run(1)
    assert site.update().plan()[1] == "on trial"
    site.slots.healthy()
    update = site.update()
    assert update.run(1)[0] == "unchanged"


def test_a_release_on_trial_is_waited_for(site, monkeypatch):
    healthy = site.slots.healthy
    monkeypatch.setattr(site.slots, "healthy", lambda: None)
    update = site.update()
    update.deliver()
    update.apply()
    looked = []

    def connect():
        looked.append(1)
        if len(looked) == 4:
            healthy()
        return site

    update = Update(connect, NEW)
    update.POLL_S = 0.001
    status, words, _ = update.run(5)
    assert status == "ok"
    assert words.startswith("was on trial; healthy after ")


def test_a_release_that_is_another_one_than_it_says(site):
    with pytest.raises(UpdateError, match=f"healthy, but says that it is {__version__}"):
        site.update(made("9.9.9", x=b"x")).run(5)


def test_a_release_that_does_not_fit(site, monkeypatch):
    monkeypatch.setattr(release, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(UpdateError, match="flash full: need "):
        site.update().run(5)


def test_a_node_without_slots(site):
    site.slots.ROOT = f"{site.folder}/nowhere/"
    with pytest.raises(UpdateError, match="has no slots: provision it once"):
        site.update().run(5)


def test_somebody_else_gives_it_up(site):
    update = site.update()
    batch = site.batch

    def aborting(calls):
        values = batch(calls)
        site.call("update.abort")
        return values

    site.batch = aborting
    with pytest.raises(UpdateError, match="somebody gave it up"):
        update.run(5)


def test_a_fleet_key_signs(tmp_path, site):
    site.path.write_text(json.dumps({"node": "gw-1", "fleet_key": KEY}), encoding="utf-8")
    site.boot()
    for key, said in ((None, "signature missing"), ("another-key-of-16", "signature invalid")):
        with pytest.raises(ApiCallError, match=said):
            site.update(key=key).run(5)
    assert site.update(key=KEY).run(5)[0] == "ok"
    assert len(signature(KEY, "gw-1", NEW)) == 64


@pytest.mark.parametrize("limit", [512, 4096, 65536])
def test_requests_are_no_longer_than_the_node_takes(site, limit):
    config = {"node": "gw-1", "api": {"max_request": limit}}
    site.path.write_text(json.dumps(config), encoding="utf-8")
    site.boot()
    assert site.update().run(5)[0] == "ok"
    assert max(map(len, site.requests)) <= min(limit, tool.REQUEST_BYTES)
    assert site.slot() == holds(NEW)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20), st.integers(400, 4096), st.data())
def test_requests_are_the_files_whole_and_in_order(sizes, most, data):
    contents = {f"f{index:03}": os.urandom(size) for index, size in enumerate(sizes)}
    big = made(**contents)
    offsets = [data.draw(st.integers(0, max(0, size - 1))) for size in sizes]
    missing = list(enumerate(offsets, 1))
    got = {number: b"" for number, _ in missing}
    order = []
    for calls in requests(big, missing, most):
        assert 0 < len(calls) <= tool.CALLS
        bodies = [dict(args, module="update", method="put") for _, args in calls]
        assert len(json.dumps({"id": "a" * 12, "requests": bodies}, separators=(",", ":"))) <= most
        for name, args in calls:
            assert name == "update.put"
            number, piece = args["file"], base64.b64decode(args["data"])
            assert args["offset"] == dict(missing)[number] + len(got[number])
            got[number] += piece
            order.append(number)
    assert order == sorted(order)
    for number, offset in missing:
        assert got[number] == big.files[number - 1].content[offset:]


def test_a_request_is_a_batch_that_the_node_takes():
    tiny = made(**{f"f{index:02}": b"t" for index in range(40)})
    sizes = [len(calls) for calls in requests(tiny, [(n, 0) for n in range(1, 41)], 65536)]
    assert sizes == [32, 8]


def command(*words):
    return CliRunner().invoke(cli.main, ["update", *map(str, words)])


def test_a_release_is_saved(tmp_path):
    NEW.save(tmp_path / "a")
    result = command("--release", tmp_path / "a", "--save", tmp_path / "b")
    assert result.output == f"{tmp_path / 'b'}: {__version__}, 4 files, {NEW.size} bytes\n"
    assert Release.load(tmp_path / "b").manifest == NEW.manifest


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["gw-1", "--mqtt", "mqtt://127.0.0.1:1"], "127.0.0.1:1", 3),
        ([], "where are the nodes?", 2),
        (["--save", "x", "--to", "0.0.0"], "to: '0.0.0' is not allowed", 2),
        (["gw-1", "--mqtt", "mqtt://127.0.0.1:1", "--percent", "a"], "not a list of numbers", 2),
        (["--save", "x", "--release", "nowhere"], "nowhere holds no release", 1),
    ],
)
def test_what_the_command_refuses(tmp_path, words, said, code):
    NEW.save(tmp_path / "a")
    if "--release" not in words:
        words = [*words, "--release", tmp_path / "a"]
    result = command(*words)
    assert said in result.output
    assert result.exit_code == code
