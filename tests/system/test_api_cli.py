"""The API client and its commands against a real node: mosquitto, and the board's serial line."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

import servers
from api_lines import NODE, board, configuration
from fieldpost_tools import cli
from fieldpost_tools.api import (
    ApiCallError,
    ApiLinkError,
    ApiTimeout,
    Client,
    MqttTransport,
    SerialTransport,
)
from fieldpost_tools.monitor import Monitor

SECRET = "a secret of the node"
TRANSPORTS = ("mqtt", "serial")


@pytest.fixture(scope="module")
def running(tmp_path_factory, micropython, umqtt_path):
    """``(mosquitto, board)`` of one node for all tests."""
    broker = servers.Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    with broker, board(configuration(broker.port)) as made:
        wait(lambda: answers(lambda: MqttTransport(url(broker), NODE)))
        yield broker, made


@pytest.fixture(params=TRANSPORTS)
def transport(request, running):
    """``(make a transport, options of the command)``."""
    broker, made = running
    if request.param == "mqtt":
        options = ("--mqtt", url(broker), "--node", NODE)
        return lambda: MqttTransport(url(broker), NODE), options
    return lambda: SerialTransport(made.path), ("--serial", made.path)


@pytest.fixture
def client(transport):
    with Client(transport[0]()) as client:
        yield client


@pytest.fixture
def run(transport):
    """``run("api", …)``: the command on the node; its exit code is checked."""
    return lambda command, *arguments, code=0: invoke(command, transport[1], *arguments, code=code)


def invoke(command, options, *arguments, code=0, env=None):
    result = CliRunner().invoke(cli.main, [command, *options, *map(str, arguments)], env=env)
    assert result.exit_code == code, result.output
    return result


def url(broker):
    return f"mqtt://{broker.host}:{broker.port}"


def answers(make):
    try:
        with Client(make(), 1) as client:
            return client.call("system.getInfo")["node"] == NODE
    except (ApiLinkError, ApiTimeout):
        return False


def wait(done, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_value_is_read_and_an_error_is_told(run):
    value = json.loads(run("api", "--json", "gateways.readValue", "address=ahu-1/n").stdout)
    assert (value["id"], value["status"]) == (2, "ok")
    assert value["value"] > 0
    result = run("api", "gateways.readValue", "address=ahu-1/no", code=1)
    assert result.stderr == "Error: gateways.readValue: invalid address\n"
    assert "│ ahu-1 │" in run("api", "gateways.getGateways").stdout


def test_writing_is_for_the_serial_line_only(running):
    broker, made = running
    write = "gateways.writeValue", "address=ahu-1/dat", "value=22.5"
    refused = invoke("api", ("--mqtt", url(broker), "--node", NODE), *write, code=1)
    assert refused.stderr == "Error: gateways.writeValue: invalid method\n"
    serial = ("--serial", made.path)
    assert invoke("api", serial, *write).stdout == "true\n"
    value = invoke("api", serial, "--json", "gateways.readValue", "address=ahu-1/dat").stdout
    assert json.loads(value)["value"] == 22.5
    high = invoke("api", serial, *write[:2], "value=99", code=1)
    assert high.stderr == "Error: gateways.writeValue: invalid value\n"
    audit = json.loads(invoke("api", serial, "--json", "system.getAudit").stdout)
    assert [entry["result"] for entry in audit] == ["ok", "invalid value"]


def test_a_batch_and_a_notification(client):
    client.notify("system.getInfo")
    calls = [("gateways.getLastValue", {"address": n}) for n in (1, 99, 7)]
    first, second, third = client.batch(calls)
    assert (first["id"], third["id"]) == (1, 7)
    assert isinstance(second, ApiCallError)


def test_a_long_reply_is_streamed_and_segmented(client):
    wait(lambda: len(client.call("loggers.query", address="n", limit=60)) == 60)
    rows = list(client.stream("loggers.query", address="n", limit=60))
    assert rows == client.call("loggers.query", address="n", limit=60)
    values = [row["value"] for row in rows]
    assert values == list(range(values[0], values[0] + 60))
    wait(lambda: len(list(client.stream("loggers.query", address="n", limit=200))) == 200)
    with pytest.raises(ApiCallError, match="reply longer than 8192"):
        client.call("loggers.query", address="n", limit=200)


def test_a_stream_is_a_line_an_item(run):
    lines = run("api", "--stream", "loggers.query", "address=n", "limit=20").stdout.splitlines()
    values = [json.loads(line)["value"] for line in lines]
    assert values == list(range(values[0], values[0] + 20))


def test_a_request_that_is_too_long_is_refused(client):
    with pytest.raises(ApiCallError, match="request longer than 4096"):
        client.call("gateways.getLastValue", address="x" * 4096)
    assert client.call("gateways.getLastValue", address=1)["id"] == 1


def test_a_request_that_is_far_too_long_has_no_answer_over_mqtt(running):
    with (
        Client(MqttTransport(url(running[0]), NODE), 1) as client,
        pytest.raises(ApiTimeout, match=r"the request has \d+ bytes, most nodes take 4096"),
    ):
        client.call("gateways.getLastValue", address="x" * 9000)


def test_threads_get_their_own_replies(client):
    def one(number):
        id = (1, 2, 7)[number % 3]
        return client.call("gateways.getLastValue", address=id)["id"] == id

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(one, range(60)))


def test_clients_at_the_same_broker_get_their_own_replies(running):
    def make():
        return Client(MqttTransport(url(running[0]), NODE))

    with make() as one, make() as other, ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(
                lambda client=client, id=id: [
                    client.call("gateways.getLastValue", address=id)["id"] for _ in range(20)
                ]
            )
            for client, id in ((one, 1), (other, 7))
        ]
        assert [job.result(30) for job in asked] == [[1] * 20, [7] * 20]
        assert one.ignored > 0


def test_monitor_reads_everything(client):
    info, points = Monitor(client).read()
    assert info["node"] == NODE
    assert [(point.device, point.point) for point in points] == [
        ("ahu-1", "dat"),
        ("ahu-1", "n"),
        ("meter", "kwh"),
    ]


def test_monitor_shows_it(run):
    lines = run("monitor", "--json", "--seconds", "1.5", "--interval", "0.5").stdout.splitlines()
    counts = [json.loads(line)["points"][1]["value"] for line in lines]
    assert len(counts) > 1
    assert counts == sorted(set(counts))
    assert "│ meter/kwh │" in run("monitor", "--once").stdout


def test_the_serial_line_disturbs_nothing(running):
    _, made = running
    boots = made.boots
    with Client(SerialTransport(made.path)) as client:
        begin = client.call("gateways.getLastValue", address="n")
        for _ in range(20):
            client.call("gateways.getAddresses")
        end = client.call("gateways.getLastValue", address="n")
        ends = {"start": begin["value_date"], "end": end["value_date"]}
        rows = client.stream("loggers.query", ends, address="n")
        seen = [row["value"] for row in rows]
    assert seen == list(range(begin["value"], end["value"]))
    assert len(seen) > 20
    assert made.boots == boots


# Nodes of their own


def test_a_change_lasts(running, tmp_path):
    with board(configuration(running[0].port, node="gw-2", mqtt=[])) as made:
        serial = ("--serial", made.path)
        wait(lambda: made.output and heard(made))
        gateway = '{"id":"hall","driver":"virtual"}'
        assert invoke("api", serial, "gateways.insertGateway", f"gateway={gateway}").stdout
        made.power_cycle()
        wait(lambda: heard(made))
        assert "│ hall" in invoke("api", serial, "gateways.getGateways").stdout
        # Ctrl-C, as every tool for boards begins, ends the node, and the client says so.
        command = [sys.executable, "-m", "mpremote", "connect", made.path, "resume", "eval", "6*7"]
        assert subprocess.run(command, capture_output=True, timeout=30).stdout.strip() == b"42"
        silent = invoke("api", serial, "--timeout", "1", "system.getInfo", code=3)
        assert "the board is at its REPL, no node runs" in silent.stderr


def heard(made):
    try:
        with Client(SerialTransport(made.path), 1) as client:
            return client.call("system.getInfo")
    except ApiTimeout:
        return None


def test_signed_requests_and_a_node_that_goes(mosquitto, micropython, umqtt_path):
    config = configuration(mosquitto.port, api={"mqtt": ["*"], "mqtt_secret": SECRET})
    with board(config) as made:
        wait(lambda: answers(lambda: MqttTransport(url(mosquitto), NODE, secret=SECRET)))
        options = ("--mqtt", url(mosquitto), "--node", NODE)
        call = ("gateways.writeValue", "address=ahu-1/dat", "value=30")
        missing = invoke("api", options, *call, code=1)
        assert missing.stderr == "Error: gateways.writeValue: signature missing\n"
        env = {"FIELDPOST_API_SECRET": "another secret of a node", "MINE": SECRET}
        wrong = invoke("api", options, *call, code=1, env=env)
        assert wrong.stderr == "Error: gateways.writeValue: signature invalid\n"
        assert invoke("api", (*options, "--secret-env", "MINE"), *call, env=env).stdout == "true\n"
        with Client(MqttTransport(url(mosquitto), NODE, secret=SECRET)) as client:
            assert client.call("gateways.readValue", address="dat")["value"] == 30
            made.kill()
            wait(lambda: client._transport.node_state == "offline")
            with pytest.raises(ApiLinkError, match="is offline"):
                client.call("system.getInfo")
