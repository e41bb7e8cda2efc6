"""The API client on a serial line: what else is printed there, ports in use and unplugged."""

import fcntl
import json
import os
import termios
import threading

import pytest

import fake_node
from fieldpost_tools.api import ApiCallError, ApiLinkError, ApiTimeout, Client, SerialTransport

SHORT_S = 0.3


@pytest.fixture
def fake():
    return fake_node.usual()


@pytest.fixture
def line(fake):
    with fake_node.on_pty(fake) as line:
        yield line


def test_output_of_the_board_is_kept_apart(line):
    printed = []
    line.before = b"boot \xff\r\n"
    line.between = b"printing\r\n>>> "
    with Client(SerialTransport(line.path, on_output=printed.append)) as client:
        line.fake.segment = 10
        assert client.call("system.echo", text="abcdef" * 5) == {"text": "abcdef" * 5}
        client.call("gateways.readValue", address=1)
    assert b"".join(printed).startswith(b"boot \xff\r\nprinting\r\n>>> printing")


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        (b"", "it printed nothing"),
        (b"hello\r\n", "it printed …'hello'"),
        (b"\r\n>>> ", "at its REPL, no node runs"),
    ],
)
def test_says_what_came_instead_of_an_answer(line, printed, words):
    line.fake.arrange = lambda messages: []
    line.before = printed
    with (
        Client(SerialTransport(line.path), SHORT_S) as client,
        pytest.raises(ApiTimeout, match=words),
    ):
        client.call("gateways.readValue", address=1)


def test_what_came_before_a_request_is_no_answer_to_it(line):
    line.fake.arrange = lambda messages: []
    line.before = b"before"
    with Client(SerialTransport(line.path), SHORT_S) as client:
        with pytest.raises(ApiTimeout, match="printed …'before'"):
            client.call("gateways.readValue", address=1)
        line.before = b""
        with pytest.raises(ApiTimeout, match="printed nothing"):
            client.call("gateways.readValue", address=1)


def test_sends_nothing_but_the_request_and_touches_no_line(line, monkeypatch):
    asked = []
    real = fcntl.ioctl
    settings = termios.tcgetattr(line.device)
    settings[2] |= termios.HUPCL  # as every real port has it
    termios.tcsetattr(line.device, termios.TCSANOW, settings)
    monkeypatch.setattr(fcntl, "ioctl", lambda *args: (asked.append(args[1]), real(*args))[1])
    with Client(SerialTransport(line.path)) as client:
        client.call("gateways.readValue", address=1)
        assert termios.tcgetattr(client._transport._port.fd)[2] & termios.HUPCL == 0
    (request,) = line.fake.requests
    assert line.heard == b"\x1e" + json.dumps(request, separators=(",", ":")).encode() + b"\n"
    assert asked
    assert termios.TIOCMBIC not in asked


def test_a_port_that_is_not_there_or_in_use(line):
    with pytest.raises(ApiLinkError, match="board at /dev/none: no such file"):
        Client(SerialTransport("/dev/none"))
    with Client(SerialTransport(line.path)), pytest.raises(ApiLinkError, match="another program"):
        Client(SerialTransport(line.path))


def test_an_unplugged_board_is_an_error_and_is_found_again(fake, tmp_path):
    link = tmp_path / "tty"
    with fake_node.on_pty(fake) as line:
        link.symlink_to(line.path)
        client = Client(SerialTransport(str(link)))
        assert client.call("gateways.readValue", address=1) == 20.5
        fake.arrange = lambda messages: []
        threading.Timer(0.2, line.close).start()
        line.close = lambda: None
        with pytest.raises(ApiLinkError, match=r"connection lost|input/output error"):
            client.call("gateways.readValue", address=1)
        fake.arrange = list
    with pytest.raises(ApiLinkError, match=r"input/output error|no such"):
        client.call("gateways.readValue", address=1)
    link.unlink()
    with fake_node.on_pty(fake) as line:
        link.symlink_to(line.path)
        assert client.call("gateways.readValue", address=1) == 20.5
        client.close()


def test_leaves_no_thread_or_file(line):
    def resources():
        return set(threading.enumerate()), len(os.listdir("/proc/self/fd"))

    threads, files = resources()
    for _ in range(3):
        with Client(SerialTransport(line.path)) as client:
            client.call("gateways.readValue", address=1)
    assert resources()[0] <= threads
    assert resources()[1] == files


def test_an_error_without_an_id_is_not_lost(line, fake):
    fake.arrange = lambda messages: [b'{"error":"request longer than 256"}']
    with (
        Client(SerialTransport(line.path)) as client,
        pytest.raises(ApiCallError, match=r"system\.echo: request longer than 256"),
    ):
        client.call("system.echo", x=1)
