"""Configurations brought to real nodes: virtual boards, CPython nodes, mosquitto."""

import contextlib
import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import servers
from api_lines import NODE, board
from device_suite import ROOT
from fieldpost_tools import api, cli
from fieldpost_tools.config import files, push

SECRET = "a p4ssword that nobody sees"
FLEET_KEY = "the key of all these nodes"
WAIT_S = 30


def configuration(port, name=NODE, **keys):
    base = {
        "node": name,
        "api": {"mqtt": ["read", "config.*"]},
        "mqtt": [{"host": "127.0.0.1", "port": port, "backoff_min_ms": 50, "password": SECRET}],
        "devices": [
            {
                "id": "ahu-1",
                "driver": "virtual",
                "points": [{"id": 7, "name": "n", "kind": "counter"}],
            }
        ],
        "last_id": 7,
    }
    return base | keys


def url(broker):
    return f"mqtt://{broker.host}:{broker.port}"


def over_mqtt(broker, *names):
    return ("--mqtt", url(broker), *(word for name in names for word in ("--node", name)))


def wait_online(broker, *names):
    deadline = time.monotonic() + WAIT_S
    with api.MqttHub(url(broker)) as hub:
        while not dict.fromkeys(names, "online").items() <= hub.states().items():
            assert time.monotonic() < deadline, hub.states()


def current(broker, name=NODE):
    with api.Client(api.MqttTransport(url(broker), name)) as client:
        return push.current(client)


def run(command, options, *arguments, code=0, env=None):
    """The command's result, with ``seconds``; no secret is in what it says."""
    begin = time.monotonic()
    words = ["config", command, *options, *map(str, arguments)]
    result = CliRunner().invoke(cli.main, words, env=env)
    assert result.exit_code == code, result.output
    assert SECRET not in result.output
    assert FLEET_KEY not in result.output
    result.seconds = time.monotonic() - begin
    return result


@pytest.fixture
def tell(capsys):
    """Prints a figure where it is seen."""

    def tell(words):
        with capsys.disabled():
            print(f"\n    {words} ", end="")  # noqa: T201

    return tell


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch, tmp_path):
    """Those of whoever runs the tests sign nothing."""
    monkeypatch.setenv("FIELDPOST_CREDENTIALS", str(tmp_path / "credentials"))


# One board


@pytest.fixture(scope="module")
def running(tmp_path_factory, micropython, umqtt_path):
    """``(mosquitto, board)`` of one node."""
    broker = servers.Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    with broker, board(configuration(broker.port)) as made:
        wait_online(broker, NODE)
        yield broker, made


@pytest.fixture(params=["mqtt", "serial"])
def options(request, running):
    broker, made = running
    return over_mqtt(broker, NODE) if request.param == "mqtt" else ("--serial", made.path)


def test_a_push_changes_what_differs(options, tmp_path, tell):
    way = options[0][2:]
    run("get", options, "--out", tmp_path / "node.toml")
    config = files.load(tmp_path / "node.toml")
    config["devices"][0]["points"] = [{"name": "n", "kind": "counter"}, {"name": way}]
    files.save(tmp_path / "node.toml", config)
    done = run("push", options, tmp_path / "node.toml", "--json")
    found = json.loads(done.stdout)
    assert (found["status"], found["applied"]) == ("ok", ["device:ahu-1"])
    assert found["after"] == found["before"] + 1
    again = run("push", options, tmp_path / "node.toml", "--json")
    assert json.loads(again.stdout)["status"] == "unchanged"
    tell(f"push over {way}: {done.seconds:.2f} s; again, unchanged: {again.seconds:.2f} s")
    points = json.loads(run("get", options, "devices.ahu-1.points").stdout)
    assert [point["name"] for point in points] == ["n", way]
    assert points[0]["id"] == 7 < points[1]["id"]
    assert f"│ {found['after']} " in run("show", options).stdout


def test_a_stale_revision_is_refused(running, tmp_path):
    options = over_mqtt(running[0], NODE)
    run("set", options, "description=one")
    now = current(running[0])
    files.save(tmp_path / "old.json", now.config | {"revision": now.revision - 1})
    assert "unchanged" in run("push", options, tmp_path / "old.json").stdout
    files.save(tmp_path / "old.json", now.config | {"revision": now.revision - 1, "node": "x"})
    refused = run("push", options, tmp_path / "old.json", code=1)
    assert f"stale revision: {now.revision - 1}, the node has {now.revision}" in refused.stderr


def test_a_link_is_on_trial_until_it_connects(running, tell):
    done = run("set", over_mqtt(running[0], NODE), "mqtt.main.keepalive_s=25")
    assert "in effect: mqtt:main" in done.stdout
    tell(f"changed link confirmed: {done.seconds:.2f} s")


class Cut(api.Client):
    """A client that is killed at the ``n``-th part; ``offsets`` of those before."""

    def __init__(self, broker, n):
        self.offsets = []
        self._n = n
        super().__init__(api.MqttTransport(url(broker), NODE))

    def call(self, method, arguments=None, /, **more):
        if method == "config.put":
            if len(self.offsets) == self._n:
                raise KeyboardInterrupt
            self.offsets.append(arguments["offset"])
        return super().call(method, arguments, **more)


def test_a_push_that_was_cut_goes_on_where_it_was(running, tmp_path, tell):
    broker, made = running
    points = [{"name": f"p{i}", "description": "x" * 40} for i in range(100)]
    device = {"id": "many", "driver": "virtual", "interval": 60000, "points": points}
    now = current(broker)
    wanted = now.config | {"devices": [device]}
    with Cut(broker, 2) as client, pytest.raises(KeyboardInterrupt):
        push.push(push.Node(client), now, wanted, NODE)
    made.power_cycle()
    wait_online(broker, NODE)
    with Cut(broker, 1000) as client:
        offset = client.call("config.status")["staged"]["offset"]
        assert offset > 2000
        begin = time.monotonic()
        result = push.push(push.Node(client), now, wanted, NODE)
        tell(f"push resumed at {offset} bytes: {time.monotonic() - begin:.2f} s")
        assert client.offsets[0] == offset
        assert (result.status, result.applied) == ("ok", ["device:ahu-1", "device:many"])
        back = push.rollback(push.Node(client), push.current(client))
        assert "+ devices.ahu-1" in " ".join(map(str, back.changes))


def test_a_wrong_broker_is_returned_from(running, tell):
    broker, made = running
    options = ("--serial", made.path)
    revision = current(broker).revision
    wrong = "mqtt.main.host=203.0.113.1", "--confirm-s", "3"
    failed = run("set", options, *wrong, code=1)
    assert f"revision {revision + 1} not kept: mqtt:main: " in failed.stderr
    wait_online(broker, NODE)
    now = current(broker)
    assert now.revision == revision + 2
    assert now.config["mqtt"][0]["host"] == "127.0.0.1"
    tell(f"returned from a wrong broker after {failed.seconds:.2f} s (confirm-s 3)")
    shown = run("show", over_mqtt(broker, NODE)).stdout
    assert f"│ not kept │ revision {revision + 1}: mqtt:main: " in shown


def test_a_restart_and_another_name_are_followed(running, tell):
    broker, made = running
    boots = made.boots
    done = run("set", over_mqtt(broker, NODE), "node=gw-9")
    assert made.boots == boots + 1
    assert done.stdout.startswith('~ node: "gw-1" → "gw-9"')
    assert current(broker, "gw-9").config["node"] == "gw-9"
    tell(f"renamed by a restart: {done.seconds:.2f} s")
    back = run("rollback", over_mqtt(broker, "gw-9"))
    assert '~ node: "gw-9" → "gw-1"' in back.stdout
    assert current(broker).config["node"] == NODE


def test_secrets_are_nowhere_but_in_their_place(running, monkeypatch):
    broker, made = running
    monkeypatch.setenv("PW", SECRET + "!")
    options = ("--serial", made.path)
    done = run("set", options, "mqtt.main.password=env:PW", "mqtt.main.user=gw-1")
    assert "~ mqtt.main.password: changed (secret)" in done.stdout
    run("set", options, "fleet_key=env:KEY", env={"KEY": FLEET_KEY})
    for words in (("show",), ("get",), ("get", "--revision"), ("history",)):
        revision = current(broker).revision
        run(words[0], options, *words[1:], *([revision] if words[1:] else []))
    unsigned = run("set", options, "description=x", code=1)
    assert "signature missing" in unsigned.stderr
    wrong = run("set", options, "description=x", code=1, env={"FIELDPOST_FLEET_KEY": "no"})
    assert "signature invalid" in wrong.stderr
    env = {"FIELDPOST_FLEET_KEY": FLEET_KEY}
    run("set", options, "description=x", env=env)
    with api.Client(api.SerialTransport(made.path)) as client:
        told = [client.call(f"system.get{what}") for what in ("Audit", "Errors", "State")]
    assert SECRET not in made.output + broker.log + json.dumps(told)
    holding = [
        path.relative_to(made.folder).parts[0]
        for path in made.folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    # The plan is what the node is built from; everything else refers to the secret.
    assert set(holding) == {"secrets", "data"}


# A fleet


class Nodes:
    """CPython nodes of the real SDK, in a process of their own; a context manager that kills."""

    CODE = """
import asyncio, sys
from fieldpost.node import Node

async def main():
    nodes = [Node(path + "/config.json", path + "/data") for path in sys.argv[1:]]
    await asyncio.gather(*(node.run() for node in nodes))

asyncio.run(main())
"""

    def __init__(self, folder, umqtt_path, *configs):
        self._paths = [folder / config["node"] for config in configs]
        self._path = os.pathsep.join((str(ROOT / "sdk"), umqtt_path))
        for path, config in zip(self._paths, configs, strict=True):
            path.mkdir()
            (path / "config.json").write_text(json.dumps(config))

    def __enter__(self):
        command = [sys.executable, "-c", self.CODE, *self._paths]
        self._process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": self._path})

    def __exit__(self, *_exc_info):
        self._process.kill()
        self._process.wait()


NAMES = [f"gw-{i:02}" for i in range(1, 21)]


def inventory(folder, broker):
    """All are to change their link and a device; the new broker of gw-19 is none."""
    for name in NAMES:
        wanted = configuration(1 if name == "gw-19" else broker.port, "{node}", has_fleet_key=True)
        link = wanted["mqtt"][0]
        wanted["mqtt"][0] = {**link, "password": None, "has_password": True, "keepalive_s": 20}
        wanted["devices"][0]["interval"] = 500
        files.save(folder / f"{name}.toml", wanted)
    rows = [f"{name},VIRTUAL,{name}.toml,good={name < 'gw-18'}\n" for name in NAMES]
    path = folder / "fleet.csv"
    path.write_text("name,board,config,tags\n" + "".join(rows))
    return path


@contextlib.contextmanager
def twenty(folder, broker, umqtt_path):
    """Two boards and 17 nodes on CPython, of which gw-18 has another key; gw-20 was there."""
    configs = [configuration(broker.port, name, fleet_key=FLEET_KEY) for name in NAMES]
    configs[17]["fleet_key"] = "another key than theirs"
    with contextlib.ExitStack() as stack:
        for config in configs[:2]:
            stack.enter_context(board(config))
        stack.enter_context(Nodes(folder, umqtt_path, *configs[2:19]))
        with Nodes(folder, umqtt_path, configs[19]):
            wait_online(broker, *NAMES)
        yield


def test_twenty_nodes_with_two_bad_ones_and_one_offline(
    tmp_path, mosquitto, micropython, umqtt_path, tell
):
    options = ("--mqtt", url(mosquitto), "--inventory", inventory(tmp_path, mosquitto))
    env = {"FIELDPOST_FLEET_KEY": FLEET_KEY}
    with twenty(tmp_path, mosquitto, umqtt_path):
        first = run(
            "push", options, "--confirm-s", "4", "--parallel", "20", "--json", code=1, env=env
        )
        again = run("push", (*options, "--tag", "good=True"), env=env)
    rows = {row["node"]: row for row in json.loads(first.stdout)}
    good, bad = NAMES[:17], NAMES[17:]
    assert [rows[name]["status"] for name in bad] == ["failed", "failed", "offline"]
    assert "signature invalid" in rows["gw-18"]["detail"]
    assert "revision 1 not kept: mqtt:main: " in rows["gw-19"]["detail"]
    assert [(rows[name]["status"], rows[name].get("revision")) for name in good] == [
        ("ok", "0 → 1")
    ] * 17
    assert again.stdout.splitlines()[-1] == "17 unchanged"
    seconds = [rows[name]["seconds"] for name in good]
    tell(
        f"20 nodes: 17 ok in {min(seconds):.1f} to {max(seconds):.1f} s each,"
        f" 2 failed, 1 offline: {first.seconds:.1f} s in all; again: {again.seconds:.1f} s"
    )
