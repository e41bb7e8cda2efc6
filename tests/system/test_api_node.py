"""The API of a whole node on a virtual board, over mosquitto and over the board's serial line."""

import hashlib
import hmac
import json
import statistics
import subprocess
import sys
import threading
import time

import pytest

import servers
from api_lines import Mqtt, Serial, board, configuration

READS = ["read", "gateways.writeValue", "loggers.*"]
ROWS = 60


@pytest.fixture(scope="module")
def running(tmp_path_factory, micropython, umqtt_path):
    """``(mosquitto, board)``: one node for all tests, which may write over MQTT too."""
    with servers.Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        config = configuration(broker.port, api={"mqtt": READS, "segment": 512})
        with board(config) as made:
            yield broker, made


@pytest.fixture(params=[Mqtt, Serial])
def line(request, running):
    """The same node over both transports."""
    broker, made = running
    with request.param(broker.port if request.param is Mqtt else made) as line:
        yield line


@pytest.fixture
def mqtt(running):
    with Mqtt(running[0].port) as line:
        yield line


@pytest.fixture
def wire(running):
    with Serial(running[1]) as line:
        yield line


# Examples of WIRE_FORMATS


def test_request_and_reply(line):
    reply = line.ask("gateways.getGateways", replyWithModule=True, replyWithMethod=True)
    assert (reply["module"], reply["method"]) == ("gateways", "getGateways")
    assert {gateway["id"] for gateway in reply["value"]} == {"ahu-1", "meter"}
    keys = "id name description driver active internal cluster state json private_json"
    assert set(keys.split()) <= set(reply["value"][0])


def test_errors(line):
    assert line.error("gateways.none") == "invalid method"
    assert line.error("none.getGateways") == "invalid module"
    assert line.error("gateways.readValue") == "missing parameter: address"
    assert line.error("gateways.readValue", address=99) == "invalid address"
    assert line.error("gateways.writeValue", address=1, value="warm") == "invalid value"
    assert line.error("gateways.writeValue", address=1, value=100) == "invalid value"


def test_every_form_of_an_address(line):
    whole = line.value("gateways.getAddress", address=1)
    keys = "id alias name description log json gateway_id value value_string value_date status"
    assert set(keys.split()) <= set(whole)
    for form in ("dat", "ahu-1\u00acdat", {"gateway": "ahu-1", "name": "dat"}):
        assert line.value("gateways.getAddress", address=form)["id"] == 1
    found = line.value("gateways.getAddress", address=[1, "kwh"])
    assert [address["id"] for address in found] == [1, 7]


def test_filters_with_dots(line):
    found = line.value("gateways.getAddresses", filter={"gateway.driver": ["modbus"]})
    assert found == []
    found = line.value("gateways.getAddresses", filter={"gateway.driver": ["virtual"]})
    assert [address["id"] for address in found] == [1, 2, 7]


def test_values_are_read_and_written(line):
    wanted = 22.25 if isinstance(line, Mqtt) else 23.5
    line.value("gateways.writeValue", address="dat", value=wanted)
    assert line.value("gateways.readValue", address=1)["value"] == wanted
    assert line.value("gateways.getLastValue", address="ahu-1/dat")["value"] == wanted


def test_a_batch(line):
    line.send(
        {
            "id": "b",
            "requests": [
                {"module": "gateways", "method": "getGateway", "gateway": "meter"},
                {"module": "gateways", "method": "none"},
            ],
        }
    )
    first, second = line.reply("b")
    assert (first["id"], first["value"]["id"]) == ("b", "meter")
    assert second == {"id": "b", "error": "invalid method"}


def test_a_long_reply_comes_in_segments(line):
    line.send({"id": "long", "module": "gateways", "method": "getAddresses"})
    first = line.next()
    assert first["segment"] == 1
    assert first["total"] > 1
    assert len(first["value"]) == 512
    line.send({"id": "again", "module": "gateways", "method": "getAddresses"})
    assert len(line.reply("again")["value"]) == 3


def test_a_stream_is_fetched_part_by_part(line):
    line.send({"id": "s", "module": "gateways", "method": "getAddresses", "stream": 1})
    part = line.next()
    text = part["value"]
    while not part.get("last"):
        line.send({"id": "t", "stream": part["stream"]})
        part = line.next()
        text += part["value"]
    assert len(json.loads(text)["value"]) == 3


def test_noreply(line):
    line.send({"module": "gateways", "method": "getGateways", "noreply": True})
    line.send({"id": "after", "module": "gateways", "method": "getGateway", "gateway": "meter"})
    assert line.next()["id"] == "after"


def test_garbage_is_answered_and_the_node_goes_on(line):
    for text in (b"", b"{", b"\xff\xfe", b"7", b"[" * 3000):
        line.send(text)
        assert line.next() == {"error": "invalid request"}
    line.send(b" " * 4097)
    assert line.next() == {"error": "request longer than 4096"}
    assert line.value("gateways.getGateway", gateway="meter")["name"] == "meter"


# MQTT


def test_topics_name_module_and_method(mqtt):
    mqtt.send({"id": 1, "method": "getGateway", "gateway": "meter"}, "/gateways")
    assert mqtt.next()["value"]["id"] == "meter"
    for payload in ('"meter"', '["meter"]', '[{"id":1},"meter"]', '{"gateway":"meter"}'):
        mqtt.send(payload, "/gateways/getGateway")
        assert mqtt.next()["value"]["id"] == "meter"


def test_what_mqtt_may_not_call(mqtt, wire):
    reply = mqtt.error("gateways.deleteGateway", gateway="meter")
    assert reply == "invalid method"
    assert wire.value("gateways.getGateway", gateway="meter")["id"] == "meter"


def test_a_retained_request_is_ignored(running, mqtt):
    mqtt.publish('{"id":"kept","module":"gateways","method":"getGateways"}', "", retain=True)
    assert mqtt.reply("kept")
    mqtt.publish(b"", "", retain=True)  # takes it away
    assert mqtt.next() == {"error": "invalid request"}
    assert mqtt.value("gateways.getGateway", gateway="meter")


@pytest.mark.parametrize("ack", ["id", "md5"])
def test_flushes_are_confirmed_from_outside(mqtt, ack):
    mqtt.value("loggers.subscribe", subscriber=ack, ack=ack)
    confirmed = 0
    while confirmed < 3:
        raw = mqtt.flushes.get(timeout=15)
        flush = json.loads(raw)
        if "value" not in flush or not flush["value"]:
            continue
        key = {"flush": flush["flush"]}
        if ack == "md5":
            text = raw[raw.index(b'"value":') + 8 : -1]
            key = {"md5": hashlib.md5(text).hexdigest()}
        reply = mqtt.ask("loggers.ackSubscribe", subscriber=ack, **key)
        assert "error" not in reply
        confirmed += 1
    found = mqtt.value("loggers.getSubscription", subscription="default")
    assert [one["subscriber"] for one in found["subscribers"]] == [ack]
    mqtt.value("loggers.unsubscribe", subscriber=ack)


# The serial line


def test_noise_around_requests_is_ignored(wire):
    wire.write(b"print(1)\r\n\x01\x02" + b"x" * 300)
    for _ in range(3):
        assert wire.value("gateways.getGateway", gateway="meter")["id"] == "meter"
        wire.write(b"\x05more\n")
    assert wire.noise == b""


def test_a_request_in_pieces(wire):
    text = b'\x1e{"id":"p","module":"gateways","method":"getGateway","gateway":"meter"}\n'
    for at in range(0, len(text), 10):
        wire.write(text[at : at + 10])
        time.sleep(0.02)
    assert wire.next()["id"] == "p"


def test_changes_leave_entries_of_both_lines(mqtt, wire):
    mqtt.value("gateways.writeValue", address=1, value=20)
    wire.value("gateways.writeValue", address=1, value=21)
    newest = wire.value("system.getAudit")[-2:]
    assert [(entry["transport"], entry["method"]) for entry in newest] == [
        ("mqtt", "gateways.writeValue"),
        ("serial", "gateways.writeValue"),
    ]


def test_sampling_is_not_disturbed(running, capsys):
    """Intervals of a point read every 50 ms, while the serial line is asked without a pause."""
    broker, made = running
    with Mqtt(broker.port) as mqtt:
        mqtt.value("loggers.subscribe", subscriber="jitter", ack="auto")
        idle = _intervals(mqtt)
        answered = []
        stop = threading.Event()
        asking = threading.Thread(target=_ask_on, args=(made, stop, answered))
        asking.start()
        time.sleep(1)
        busy = _intervals(mqtt)
        stop.set()
        asking.join()
        mqtt.value("loggers.unsubscribe", subscriber="jitter")
    with capsys.disabled():
        print(f"\nsampling every 50 ms, idle: {_words(idle)}")  # noqa: T201
        print(f"with {len(answered)} requests on the serial line: {_words(busy)}")  # noqa: T201
    assert len(answered) > 5
    assert statistics.median(busy) == pytest.approx(50, abs=5)
    assert max(busy) < 500


def _ask_on(made, stop, answered):
    with Serial(made) as wire:
        while not stop.is_set():
            answered.append(wire.value("gateways.getAddresses"))


def _intervals(mqtt):
    """ms between the records of the counter."""
    while not mqtt.flushes.empty():
        mqtt.flushes.get()
    times = {}
    while len(times) < ROWS:
        for ts, address, value, *_ in json.loads(mqtt.flushes.get(timeout=15)).get("value", ()):
            if address == 2:
                times[value] = ts
    return [times[value + 1] - times[value] for value in sorted(times) if value + 1 in times]


def _words(intervals):
    jitter = sorted(abs(interval - 50) for interval in intervals)
    return (
        f"median {statistics.median(jitter)} ms, p99 {jitter[int(len(jitter) * 0.99)]} ms, "
        f"max {jitter[-1]} ms of {len(jitter)}"
    )


# Taking over the board


def test_mpremote_and_ctrl_c_work_as_before(running):
    _broker, made = running
    with Serial(made) as wire:
        assert wire.value("gateways.getGateway", gateway="meter")
        wire.write(b"\x03")
        time.sleep(0.5)
    assert made.output.rstrip().endswith(">>>")
    command = [sys.executable, "-m", "mpremote", "connect", made.path, "exec", "print(6*7)"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "42", done.stderr
    made.power_cycle()
    with Serial(made) as wire:
        assert wire.value("gateways.getGateway", gateway="meter")
    # Now while the node runs: mpremote interrupts it.
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "42", done.stderr
    made.power_cycle()
    with Serial(made) as wire:
        assert wire.value("gateways.getGateway", gateway="meter")


MINIMAL = """
import sys
from fieldpost.node import Node
node = Node({"node": "gw", "mqtt": [{"host": "h"}], "subscribers": [{"subscriber": "c"}]})
ack = b'{"noreply":true,"subscriber":"c","flush":1,"stream":1,"seq":0}'
node.on_message("fieldpost/nodes/gw/api/loggers/ackSubscribe", ack, False, False)
print(node.counters["stale_acks"], [name for name in sys.modules if ".api" in name])
"""


def test_confirmations_do_not_load_the_api(micropython, umqtt_path, compiled, tmp_path):
    done = subprocess.run(
        [micropython, "-c", MINIMAL],
        env={"MICROPYPATH": f"{compiled}:.frozen"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "1 []", done.stdout + done.stderr


CPYTHON = """
import asyncio
from fieldpost.node import Node
device = {"id": "v", "driver": "virtual", "points": [{"id": 1, "name": "n", "value": 5}]}
asyncio.run(Node({"node": "gw", "devices": [device]}).run(console=True))
"""


def test_a_node_on_cpython_answers_on_its_console_if_asked_to(tmp_path):
    program = subprocess.Popen(
        [sys.executable, "-c", CPYTHON],
        env={"PYTHONPATH": ":".join(sys.path)},
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    try:
        for id in (1, 2):
            request = {"id": id, "module": "gateways", "method": "getLastValue", "address": 1}
            program.stdin.write(b"noise\x1e" + json.dumps(request).encode() + b"\n")
            reply = program.stdout.readline()
            assert reply[:1] == b"\x1e"
            assert json.loads(reply[1:])["id"] == id
    finally:
        program.kill()
        program.communicate()


SECRET = "correct horse battery"


def signed(request, topic, nonce):
    """A request in its envelope, as WIRE_FORMATS' signature of webhooks: HMAC-SHA256."""
    ts = time.time_ns() // 1_000_000
    text = json.dumps(request)
    signature = hmac.new(SECRET.encode(), f"{ts}\n{nonce}\n{topic}\n{text}".encode(), "sha256")
    return {"auth": {"ts": ts, "nonce": nonce, "mac": signature.hexdigest()}, "request": text}


def test_signed_requests(mosquitto, micropython, umqtt_path):
    api = {"mqtt": ["*"], "mqtt_secret": SECRET}
    read = {"id": "r", "module": "gateways", "method": "getLastValue", "address": 1}
    topic = "fieldpost/nodes/gw-1/api"
    with board(configuration(mosquitto.port, api=api)) as made, Mqtt(mosquitto.port) as mqtt:
        time.sleep(1)  # the board's clock counts whole seconds: boot must be past
        mqtt.send(read)
        assert mqtt.next() == {"id": "r", "error": "signature missing"}
        envelope = signed(read, topic, "first-one")
        mqtt.send(envelope)
        assert "value" in mqtt.next()
        mqtt.send({"id": "again", **envelope})
        assert mqtt.next() == {"id": "again", "error": "signature used"}
        mqtt.send(envelope, "/gateways/getLastValue")
        assert mqtt.next() == {"error": "signature invalid"}
        long = {**read, "address": "quote" * 850}
        mqtt.send(signed(long, topic, "third-one"))
        assert mqtt.next() == {"error": "request longer than 4096"}
        mqtt.send({"noreply": True, "subscriber": "none", "flush": 1}, "/loggers/ackSubscribe")
        with Serial(made) as wire:
            info = wire.value("system.getInfo")
        assert info["counters"]["api_bad"] == 4
        assert info["counters"]["bad_requests"] == 1
