"""``fieldpost monitor`` against a fake node: what is asked, what is shown, how it ends."""

import io
import json
import time

import pytest
from click.testing import CliRunner

import fake_node
from fieldpost_tools import cli, monitor
from fieldpost_tools.api import ApiCallError, Client, SerialTransport

T0 = 1_700_000_000_000


class Node(fake_node.FakeNode):
    """Two points, one of which counts the readings."""

    def __init__(self, points=2):
        super().__init__(
            system__getInfo=self.info,
            gateways__getAddresses=self.addresses,
            gateways__getLastValue=self.values,
        )
        self.readings = 0
        self.revision = 1
        self.boot = 5
        self.points = points

    def info(self):
        self.readings += 1
        return {
            "node": "gw-1",
            "board": "ESP32",
            "boot": self.boot,
            "revision": self.revision,
            "uptime_ms": 61_000,
            "heap": {"free": 81920, "used": 1},
            "flash": None,
            "clock": {"trusted": True, "source": "ntp", "unix_ms": T0 + 1500},
            "counters": {"errors": 0, "api_requests": 10 * self.readings},
        }

    def addresses(self):
        return [
            {"id": n, "name": f"p{n}", "gateway_id": "ahu", "json": {"unit": "°C"}}
            for n in range(1, self.points + 1)
        ]

    def values(self, address):
        if max(address) > self.points:
            fake_node.refuse("invalid address")
        return [self.value(id) for id in address]

    def value(self, id):
        return {
            "id": id,
            "value": self.readings if id == 1 else None,
            "value_string": None if id == 1 else "\x1b[31m",
            "value_date": T0 if id == 1 else None,
            "status": "ok" if id == 1 else "timeout",
        }

    def asked(self, method):
        return [one for one in self.requests if one.get("method") == method]


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def line(node):
    with fake_node.on_pty(node) as line:
        yield line


@pytest.fixture
def client(line):
    with Client(SerialTransport(line.path)) as client:
        yield client


def run(line, *arguments, code=0):
    result = CliRunner().invoke(cli.main, ["monitor", "--serial", line.path, *arguments])
    assert result.exit_code == code, result.output
    assert "\x1b" not in result.output
    return result


def test_a_reading_has_names_values_and_counters(client):
    info, points = monitor.Monitor(client).read()
    assert info["node"] == "gw-1"
    assert points == [
        (1, "ahu", "p1", "°C", 1, None, "ok", T0),
        (2, "ahu", "p2", "°C", None, "\x1b[31m", "timeout", None),
    ]


@pytest.mark.parametrize("change", ["revision", "boot"])
def test_names_are_asked_for_once_and_again_after_a_change(client, node, change):
    reader = monitor.Monitor(client)
    for _ in range(3):
        assert len(reader.read().points) == 2
    assert len(node.asked("getAddresses")) == 1
    node.points = 3
    setattr(node, change, 6)
    assert len(reader.read().points) == 3
    assert len(node.asked("getAddresses")) == 2


def test_names_that_were_just_deleted_are_forgotten(client, node):
    reader = monitor.Monitor(client)
    reader.read()
    node.points = 1
    with pytest.raises(ApiCallError, match="invalid address"):
        reader.read()
    assert len(reader.read().points) == 1


def test_many_points_are_asked_for_in_requests_that_a_node_takes(client, node):
    node.points = 950
    assert [point.id for point in monitor.Monitor(client).read().points] == list(range(1, 951))
    sizes = [len(json.dumps(one)) for one in node.asked("getLastValue")]
    assert len(sizes) == 5
    assert max(sizes) < 2048


def test_once_shows_everything(line):
    output = run(line, "--once").stdout
    assert output.startswith("gw-1 on ESP32, boot 5, up 61 s, heap 80 KiB free, clock ntp\n")
    assert "│ ahu/p1 │ 1     │ °C   │          │ ok      │ 1.5 s │" in output
    assert "│ ahu/p2 │       │ °C   │ \\x1b[31m │ timeout │       │" in output
    assert "│ api_requests │ 10    │" in output
    assert "errors" not in output


def test_json_is_a_line_for_each_reading(line):
    lines = run(line, "--json", "--once").stdout.splitlines()
    (reading,) = map(json.loads, lines)
    assert reading["info"]["counters"] == {"errors": 0, "api_requests": 10}
    assert reading["points"][0] == {
        "id": 1,
        "device": "ahu",
        "point": "p1",
        "unit": "°C",
        "value": 1,
        "value_string": None,
        "status": "ok",
        "value_date": T0,
    }
    lines = run(line, "--json", "--seconds", "0.5", "--interval", "0.1").stdout.splitlines()
    values = [json.loads(text)["points"][0]["value"] for text in lines]
    assert len(values) > 1
    assert values == list(range(2, len(values) + 2))


def test_lines_tell_what_has_changed(line):
    output = run(line, "--seconds", "0.5", "--interval", "0.3").stdout
    assert [text.split(" ", 1)[1] for text in output.splitlines()] == [
        "ahu/p1 1 °C ok",
        "ahu/p2 °C \\x1b[31m timeout",
        "api_requests 10 (+10)",
        "ahu/p1 2 °C ok",
        "api_requests 20 (+10)",
    ]


def test_a_node_that_falls_silent_is_waited_for(line, node):
    def arrange(messages):
        return [] if node.readings == 2 else messages

    node.arrange = arrange
    arguments = "--seconds", "1", "--interval", "0.1", "--timeout", "0.3", "--json"
    lines = [json.loads(text) for text in run(line, *arguments).stdout.splitlines()]
    assert lines[1] == {"error": "system.getInfo: no answer in 0.3 s; it printed nothing"}
    assert [text["points"][0]["value"] for text in (lines[0], lines[2])] == [1, 3]


def test_a_node_that_never_answers_is_an_error(line, node):
    node.arrange = lambda messages: []
    result = run(line, "--timeout", "0.1", code=3)
    assert result.stderr.splitlines()[-1].startswith("Error: system.getInfo: no answer in 0.1 s")


def test_a_terminal_is_painted_with_rates(node, line, client, monkeypatch):
    from rich.console import Console
    from rich.live import Live

    from fieldpost_tools.cli import monitor as command

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=40)
    reader = monitor.Monitor(client)
    now = [10.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Live(console=console, auto_refresh=False) as live:
        screen = command._Live(live)
        screen.show(reader.read())
        now[0] += 2
        screen.show(reader.read())
        live.refresh()
        assert "│ api_requests │ 20    │ 5.0 │" in out.getvalue()
        screen.fail("no answer")
        live.refresh()
        assert "no answer" in out.getvalue()
        node.boot = 6
        assert command._rates(screen._last, reader.read(), 1) == {}
