"""The embedded broker, used by paho as any broker would be."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paho.mqtt import client as paho

from fieldpost_tools.sim.broker import PORTS, Broker, EmbeddedBrokerError


@pytest.fixture(scope="module")
def shared():
    with Broker() as broker:
        yield broker


@pytest.fixture
def connect(shared):
    """``connect(name, clean=True, will=None)``: a connected paho client, closed by the test."""
    clients = []

    def one(name, clean=True, will=None, broker=shared):
        client = Client(name, clean, will)
        clients.append(client)
        client.open(broker.port)
        return client

    yield one
    for client in clients:
        client.close()


class Client:
    def __init__(self, name, clean, will):
        self.received = []
        self.paho = paho.Client(paho.CallbackAPIVersion.VERSION2, name, clean_session=clean)
        self.paho.on_message = self._on_message
        self.paho.on_connect = self._on_connect
        self.paho.on_subscribe = self._on_subscribe
        self.session_present = None
        self.granted = None
        if will:
            self.paho.will_set(*will, qos=1, retain=True)

    def _on_connect(self, _client, _data, flags, _reason, _properties):
        self.session_present = flags.session_present

    def _on_subscribe(self, _client, _data, _mid, reasons, _properties):
        self.granted = reasons

    def _on_message(self, _client, _data, message):
        self.received.append((message.topic, message.payload, message.qos, message.retain))

    def open(self, port):
        self.paho.connect("127.0.0.1", port, keepalive=30)
        self.paho.loop_start()
        until(lambda: self.session_present is not None)

    def subscribe(self, topic, qos=1):
        self.paho.subscribe(topic, qos)
        until(lambda: self.granted)

    def publish(self, topic, payload, qos=1, retain=False):
        self.paho.publish(topic, payload, qos, retain).wait_for_publish(10)

    def close(self):
        self.paho.disconnect()
        self.paho.loop_stop()

    def break_off(self):
        self.paho.socket().shutdown(socket.SHUT_RDWR)
        self.paho.loop_stop()


def until(condition, timeout=10):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_qos_0_and_1(connect):
    hears, says = connect("hears"), connect("says")
    hears.subscribe("q/+")
    for i in range(100):
        says.publish("q/1", b"%d" % i)
    until(lambda: len(hears.received) == 100)
    assert hears.received == [("q/1", b"%d" % i, 1, False) for i in range(100)]
    says.publish("q/0", b"x", qos=0)
    until(lambda: len(hears.received) == 101)


def test_retained_messages_come_to_those_who_subscribe(connect):
    says, keeps = connect("says"), connect("keeps")
    keeps.subscribe("r/#")
    says.publish("r/state", b"on", retain=True)
    late, other = connect("late"), connect("other")
    other.subscribe("elsewhere")
    late.subscribe("r/#")
    until(lambda: late.received)
    assert late.received == [("r/state", b"on", 1, True)]
    says.publish("r/state", b"", retain=True)
    empty = connect("empty")
    empty.subscribe("r/#")
    empty.publish("r/end", b"")
    until(lambda: empty.received)
    assert empty.received == [("r/end", b"", 1, False)]
    assert other.received == []


def test_a_will_is_published_when_the_connection_breaks_and_retained(connect):
    hears = connect("hears")
    hears.subscribe("w/#")
    connect("dying", will=("w/state", b"offline")).break_off()
    until(lambda: hears.received)
    assert hears.received == [("w/state", b"offline", 1, False)]
    connect("leaving", will=("w/other", b"offline")).close()
    late = connect("late")
    late.subscribe("w/#")
    until(lambda: late.received)
    assert late.received == [("w/state", b"offline", 1, True)]


@pytest.mark.parametrize("leave", [Client.close, Client.break_off])
def test_a_session_is_kept_while_the_client_is_away(connect, leave):
    name = leave.__name__
    first = connect(name, clean=False)
    assert not first.session_present
    first.subscribe(f"s/{name}")
    leave(first)
    time.sleep(1.5)  # amqtt looks for sessions to forget once a second
    says = connect("says")
    for i in range(20):
        says.publish(f"s/{name}", b"%d" % i)
    again = connect(name, clean=False)
    assert again.session_present
    until(lambda: len(again.received) == 20)
    assert again.received == [(f"s/{name}", b"%d" % i, 1, False) for i in range(20)]
    again.close()
    fresh = connect(name)
    assert not fresh.session_present


def test_large_messages(connect):
    hears, says = connect("hears"), connect("says")
    hears.subscribe("large")
    payload = os.urandom(1 << 20)
    says.publish("large", payload)
    until(lambda: hears.received)
    assert hears.received[0][1] == payload


def test_a_restart_keeps_the_port_and_forgets_everything(connect):
    with Broker() as broker:
        assert broker.port in PORTS
        client = connect("away", clean=False, broker=broker)
        client.subscribe("x")
        client.publish("x", b"1", retain=True)
        client.close()
        pid, port = broker.pid, broker.port
        broker.restart()
        assert broker.port == port
        assert broker.pid != pid
        back = connect("away", clean=False, broker=broker)
        assert not back.session_present
        back.subscribe("x")
        back.publish("x", b"2")
        until(lambda: back.received)
        assert back.received == [("x", b"2", 1, False)]
        broker.kill()
        assert not broker.running
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((broker.host, port), timeout=1)
        broker.start()
        broker.start()
        socket.create_connection((broker.host, port), timeout=5).close()
    assert not broker.running


def test_a_port_that_is_taken(shared):
    with pytest.raises(EmbeddedBrokerError, match=f"port {shared.port}: .*in use"):
        Broker(shared.port).start()


def test_a_process_that_does_not_come_up(monkeypatch):
    monkeypatch.setattr(Broker, "START_TIMEOUT_S", 0.05)
    broker = Broker()
    with pytest.raises(EmbeddedBrokerError, match="no answer"):
        broker.start()
    assert not broker.running


PROGRAM = """
import sys
from fieldpost_tools.sim.broker import Broker
print(Broker().start().pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_it_ends_with_the_program_that_started_it(how):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with program:
        pid = int(program.stdout.readline())
        if how:
            program.send_signal(how)
        program.stdin.close()
        program.wait(10)
    until(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_command(how):
    program = subprocess.Popen(
        [sys.executable, "-m", "fieldpost_tools", "sim", "broker", "--port", "0"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with program:
        said = program.stderr.readline().decode()
        host, port = said.removeprefix("broker at ").split(";")[0].split(":")
        socket.create_connection((host, int(port)), timeout=5).close()
        program.send_signal(how)
        assert program.wait(10) == 0
        assert program.stdout.read() == b""
