"""``fieldpost config`` against stand-ins: one node by its serial line, many at a broker."""

import contextlib
import json
import time

import pytest
from click.testing import CliRunner
from paho.mqtt.publish import single

import fake_node
import servers
from config_node import CONFIG, ConfigNode
from fieldpost.api.signature import Signatures
from fieldpost_tools import cli, credentials
from fieldpost_tools.config import files, push

SECRET = "p4ssword of a broker"
KEY = "the key of a fleet"
INFO = {"version": "1.0", "board": "VIRTUAL", "uptime_ms": 5000}


def fake(there):
    name = there.config["node"]
    return fake_node.FakeNode(
        **there.methods(),
        system__getInfo=lambda: {"node": name, **INFO},
        system__getState=lambda: {"devices": {"ahu-1": "ok", "hall": "timeout"}},
        mqtt__getStatus=lambda: [
            {"name": "main", "connected": True, "reason": None, "counters": {}},
            {"name": "b", "connected": False, "reason": "refused"},
        ],
    )


@pytest.fixture
def there():
    return ConfigNode()


@pytest.fixture
def one(there):
    """Options for one node."""
    with fake_node.on_pty(fake(there)) as line:
        yield "--serial", line.path


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with servers.Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@contextlib.contextmanager
def at(broker, *names, **keys):
    """``{name: ConfigNode}`` at a broker, and options to reach it."""
    nodes = {name: ConfigNode({**CONFIG, "node": name}, **keys) for name in names}
    with contextlib.ExitStack() as stack:
        for name, node in nodes.items():
            stack.enter_context(fake_node.on_mqtt(fake(node), broker.host, broker.port, name))
        yield nodes, ("--mqtt", f"mqtt://{broker.host}:{broker.port}", "--timeout", "2")


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    monkeypatch.setenv("FIELDPOST_CREDENTIALS", str(tmp_path / "credentials"))
    monkeypatch.setattr(push.Node, "STATUS_PAUSE_S", 0.01)


def run(*arguments, code=0, env=None):
    result = CliRunner().invoke(cli.main, ["config", *map(str, arguments)], env=env)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert SECRET not in result.output
    assert "broker password" not in result.output
    return result


def write(path, **keys):
    config = json.loads(json.dumps(CONFIG)) | keys
    config["mqtt"][0]["password"] = "env:PW"
    files.save(path, config)
    return path


# One node


def test_show(one):
    text = run("show", *one).stdout
    for words in ("│ revision │ 4 ", "│ trial    │ none", "│ b    │ down  │ refused", "│ hall "):
        assert words in text
    found = json.loads(run("show", *one, "--json").stdout)
    assert (found["revision"], found["links"][1]["reason"]) == (4, "refused")


def test_get(one, tmp_path):
    config = json.loads(run("get", *one).stdout)
    assert config["mqtt"] == [{"host": "10.0.0.5", "user": "gw-1", "has_password": True}]
    assert list(config) == ["node", "mqtt", "devices", "api"]
    assert run("get", *one, "devices.ahu-1.points.dat.value").stdout == "21.5\n"
    assert run("get", *one, "mqtt.main.host").stdout == '"10.0.0.5"\n'
    assert "has_password = true" in run("get", *one, "--toml").stdout
    assert "an object" in run("get", *one, "devices", "--out", tmp_path / "x", code=2).stderr
    missing = run("get", *one, "devices.hall", code=2)
    assert "at its last one there is: ahu-1" in missing.stderr
    for name in ("a.json", "a.toml"):
        run("get", *one, "--out", tmp_path / name)
        assert files.load(tmp_path / name) == config


def test_what_was_got_is_pushed_again_without_a_change(one, there, tmp_path):
    run("get", *one, "--out", tmp_path / "a.toml")
    assert run("push", *one, tmp_path / "a.toml").stdout == "gw-1: revision 4, unchanged\n"
    assert "begin" not in there.log


def test_set_several_as_one_revision(one, there):
    values = "devices.ahu-1.interval=500", "devices.ahu-1.points.dat.log=on_cov 0.5"
    text = run("set", *one, *values).stdout
    assert text.splitlines() == [
        '+ devices.ahu-1.points.dat.log: "on_cov 0.5"',
        "+ devices.ahu-1.interval: 500",
        "gw-1: revision 4 → 5, in effect: devices",
    ]
    assert there.config["devices"][0]["points"][0]["log"] == "on_cov 0.5"
    assert there.config["mqtt"][0]["password"] == "broker password"
    wrong = run("set", *one, "devices.ahu-1.interval=1", code=2)
    assert wrong.stderr == (
        "Error: gw-1: devices[0].interval (ahu-1): 1 is not allowed,"
        " expected an integer from 10 to 86400000\n"
    )
    dry = run("set", *one, "state_interval=5000", "--dry-run").stdout
    assert dry == "+ state_interval: 5000\ngw-1: revision 5, planned: 1 changes\n"
    assert there.revision == 5


def test_diff_and_push_hide_secrets(one, there, tmp_path):
    path = write(tmp_path / "node.json", state_interval=5000)
    env = {"PW": SECRET}
    words = ["~ mqtt.main.password: changed (secret)", "+ state_interval: 5000"]
    assert run("diff", *one, path).stdout.splitlines()[:2] == words
    rows = json.loads(run("diff", *one, path, "--json").stdout)
    assert rows["changes"][0] == {
        "path": "mqtt.main.password",
        "change": "changed",
        "secret": True,
    }
    assert "PW" in run("push", *one, path, code=2).stderr
    assert run("push", *one, path, env=env).stdout.splitlines()[:2] == words
    assert there.config["mqtt"][0]["password"] == SECRET
    done = json.loads(run("push", *one, path, "--json", env=env).stdout)
    assert (done["status"], done["before"], done["after"]) == ("unchanged", 5, 5)


def test_history_and_rollback(one, there):
    assert run("rollback", *one, code=1).stderr == "Error: there is no former configuration\n"
    run("set", *one, "state_interval=5000")
    assert "│ 4        │" in run("history", *one).stdout
    assert json.loads(run("history", *one, "--json").stdout)[0]["revision"] == 4
    assert json.loads(run("get", *one, "--revision", 4).stdout)["node"] == "gw-1"
    text = run("rollback", *one).stdout
    assert text.startswith("- state_interval: 5000\ngw-1: revision 5 → 6")
    assert there.config == CONFIG


def test_a_return_is_a_failure(one, there, tmp_path):
    there.returns = "mqtt:main: timeout"
    failed = run("set", *one, "mqtt.main.host=10.0.0.9", code=1)
    assert "revision 5 not kept: mqtt:main: timeout" in failed.stderr
    assert "│ not kept │ revision 5: mqtt:main: timeout" in run("show", *one).stdout


def test_validate(tmp_path):
    good = write(tmp_path / "good.json", description="{site}", fleet_key="secret:fleet")
    bad = tmp_path / "bad.toml"
    bad.write_text('node = "gw-1"\nstate_interval = 1\n')
    text = run("validate", good).stdout
    assert text == f"{good}: valid, 1 device, 2 points, 1 link\n"
    result = run("validate", good, bad, code=2)
    assert f"Error: {bad}: state_interval: 1 is not allowed" in result.stderr
    assert str(good) in result.stdout
    large = write(tmp_path / "l.json", subscriptions=[{"id": "default", "ring_bytes": 262144}])
    assert "warning: buffers take" in run("validate", large, "--board", "VIRTUAL").stdout
    assert "board" in run("validate", large, "--board", "NONE", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("push", "a.json"), "where are the nodes?"),
        (("show", "--serial", "x", "--node", "a"), "--serial is one node"),
        (("show", "--mqtt", "mqtt://h"), "where are the nodes?"),
        (("show", "--serial", "x", "--tag", "a=b"), "--tag for --inventory"),
        (("set", "--serial", "x", "a"), "expected PATH=VALUE"),
        (("push", "--serial", "x"), "which configuration"),
        (("push", "--serial", "x", "none.json"), "none.json: no such file"),
    ],
)
def test_wrong_usage(arguments, words):
    assert words in run(*arguments, code=2).stderr


# Many nodes


def test_many(broker, tmp_path):
    with at(broker, "gw-1", "gw-2", "gw-3", "other") as (nodes, options):
        nodes["gw-2"].config["state_interval"] = 5000
        path = tmp_path / "all.json"
        config = json.loads(json.dumps(CONFIG)) | {"node": "{node}", "state_interval": 5000}
        config["mqtt"][0] = {"host": "10.0.0.5", "user": "gw-1", "has_password": True}
        files.save(path, config)
        nodes["gw-3"].returns = "mqtt:main: timeout"
        nodes["gw-3"].do_begin = lambda **_: fake_node.refuse("not enough flash: 9 bytes free")
        result = run("push", *options, "--node", "gw-*", path, code=1)
        rows = [line.split() for line in result.stdout.splitlines() if "│ gw-" in line]
        assert [row[1] for row in rows] == ["gw-1", "gw-2", "gw-3"]
        assert "4 → 5" in result.stdout
        assert result.stdout.splitlines()[-1] == "1 ok, 1 unchanged, 1 failed"
        assert len([line for line in result.stderr.splitlines() if line[1:3] == "/3"]) == 3
        assert (nodes["gw-1"].revision, nodes["other"].revision) == (5, 4)
        again = json.loads(run("push", *options, "--node", "gw-[12]", path, "--json").stdout)
        assert [row["status"] for row in again] == ["unchanged", "unchanged"]
        shown = run("show", *options, "--node", "*").stdout
        assert shown.count("main up, b down (refused)") == 4
        assert shown.count("1 ok, hall timeout") == 4
        run("get", *options, "--node", "gw-1", "--node", "gw-2", "--out", tmp_path / "all")
        assert files.load(tmp_path / "all" / "gw-2.json")["node"] == "gw-2"
        values = run("get", *options, "--node", "gw-[12]", "state_interval").stdout
        assert values.count("│ 5000 ") == 2
        rows = json.loads(run("get", *options, "--node", "gw-[12]", "mqtt", "--json").stdout)
        assert rows[0]["value"][0]["has_password"] is True
        assert "--out FOLDER" in run("get", *options, "--node", "gw-*", code=2).stderr
        assert "a pattern that a node" in run("show", *options, "--node", "x*", code=2).stderr


def test_one_that_is_offline(broker, tmp_path):
    with at(broker, "up-1", "up-2") as (_, options):
        state = "fieldpost/nodes/up-3/state"
        single(state, '{"state": "offline"}', 1, True, broker.host, broker.port)
        result = run("history", *options, "--node", "up-*", code=1)
        assert result.stdout.splitlines()[-1] == "2 ok, 1 offline"


def test_an_inventory_says_what_each_is_to_have(broker, tmp_path):
    inventory = tmp_path / "fleet.toml"
    inventory.write_text(
        '[defaults]\nboard = "VIRTUAL"\nconfig = "template.json"\n'
        'secrets = {broker = "env:PW"}\n'
        '[[node]]\nname = "in-1"\nsite = "north"\n[[node]]\nname = "in-2"\nsite = "south"\n'
    )
    config = json.loads(json.dumps(CONFIG)) | {"node": "{node}", "description": "at {site}"}
    config["mqtt"] = [{"host": "h", "user": "{node}", "password": "secret:broker"}]
    files.save(tmp_path / "template.json", config)
    with at(broker, "in-1", "in-2") as (nodes, options):
        options = (*options, "--inventory", inventory)
        differs = run("diff", *options).stdout
        assert differs.splitlines()[-1] == "2 differs"
        run("push", *options, "--tag", "site=south", env={"PW": SECRET})
        assert nodes["in-1"].revision == 4
        assert nodes["in-2"].config["description"] == "at south"
        assert nodes["in-2"].config["mqtt"][0]["user"] == "in-2"
        assert nodes["in-2"].config["mqtt"][0]["password"] == SECRET
        assert "no such" not in run("show", *options, "--node", "in-1").stdout


def test_credentials_sign_requests_and_configurations(broker, tmp_path):
    """The stand-in takes what is signed as the node's own code opens it."""
    credentials.ensure("c-1")
    key = (tmp_path / "credentials" / "fleet_key").read_text()
    secret = (tmp_path / "credentials" / "nodes" / "c-1" / "api_secret").read_text()
    inventory = tmp_path / "fleet.csv"
    inventory.write_text("name,board,config\nc-1,VIRTUAL,c.json\n")
    config = json.loads(json.dumps(CONFIG)) | {"node": "{node}", "fleet_key": "secret:fleet_key"}
    config["mqtt"][0]["password"] = "secret:mqtt_password"
    files.save(
        tmp_path / "c.json",
        config | {"api": {**CONFIG["api"], "mqtt_secret": "secret:api_secret"}},
    )
    node = ConfigNode({**CONFIG, "node": "c-1"}, fleet_key=key)
    answering = fake(node)
    signatures = Signatures(secret, Clock())
    plain = answering.answer
    topic = "fieldpost/nodes/c-1/api"
    answering.answer = lambda payload: plain(signatures.open(topic, json.loads(payload)))
    with fake_node.on_mqtt(answering, broker.host, broker.port, "c-1"):
        options = ("--mqtt", f"mqtt://{broker.host}:{broker.port}", "--inventory", inventory)
        result = run("push", *options)
    assert result.stdout.splitlines()[-1] == "1 ok"
    assert node.config["fleet_key"] == key
    assert node.config["api"]["mqtt_secret"] == secret
    assert not {key, secret} & set(result.output.split())


class Clock:
    """What the node's check of signatures asks for."""

    offset_ms = 1

    def unix_ms(self):
        return time.time_ns() // 1_000_000


def test_nobody_is_locked_out_by_mistake(broker):
    with at(broker, "l-1") as (nodes, options):
        change = (*options, "--node", "l-1", 'api.mqtt=["read"]')
        refused = run("set", *change, code=1)
        assert "would take no other configuration over MQTT" in refused.stderr
        assert nodes["l-1"].revision == 4
        run("set", *change, "--lock-out")
        assert nodes["l-1"].config["api"] == {"mqtt": ["read"]}
        with fake_node.on_pty(fake(nodes["l-1"])) as line:
            run("set", "--serial", line.path, "api.mqtt=[]")
        run("rollback", *options, "--node", "l-1", 4)
        refused = run("rollback", *options, "--node", "l-1", code=1)
        assert "would take no other configuration over MQTT" in refused.stderr
        assert nodes["l-1"].config["api"] == CONFIG["api"]


def test_a_file_for_many_names_none_of_them(broker, tmp_path):
    with at(broker, "n-1", "n-2") as (nodes, options):
        files.save(tmp_path / "a.json", {"node": "n-1"})
        result = run("push", *options, "--node", "n-*", tmp_path / "a.json", code=1)
        assert nodes["n-2"].revision == 4
        assert '"{node}" in a file for many' in " ".join(result.stdout.replace("│", " ").split())


def test_signed_with_the_key_of_the_environment(broker):
    with at(broker, "s-1", fleet_key=KEY) as (nodes, options):
        change = (*options, "--node", "s-1", "state_interval=5000")
        assert "signature missing" in run("set", *change, code=1).stderr
        env = {"FIELDPOST_FLEET_KEY": "another", "MINE": KEY}
        assert "signature invalid" in run("set", *change, code=1, env=env).stderr
        run("set", *change, "--fleet-key-env", "MINE", env=env)
        assert nodes["s-1"].revision == 5
