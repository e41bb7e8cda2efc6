"""``fieldpost api`` against a fake node: arguments, output, exit codes."""

import json

import pytest
from click.testing import CliRunner

import fake_node
from fieldpost_tools import cli
from fieldpost_tools.cli.api import parse_argument

T0 = 1_700_000_000_000
ADDRESSES = [
    {"json": {"a": [1]}, "value": 20.5, "id": 1, "name": "dat", "alias": None},
    {"id": 2, "name": "\x1b[31mfan", "value": True, "status": "ok", "value_date": T0},
]
METHODS = {
    "system__echo": lambda **arguments: arguments,
    "gateways__getAddresses": lambda: ADDRESSES,
    "gateways__readValue": lambda address: address,
    "gateways__fail": lambda: fake_node.refuse("invalid address"),
}


@pytest.fixture
def line():
    with fake_node.on_pty(fake_node.FakeNode(**METHODS)) as line:
        yield line


def run(*arguments, code=0, env=None):
    result = CliRunner().invoke(cli.main, ["api", *map(str, arguments)], env=env)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=7", 7),
        ("a=-0.5", -0.5),
        ("a=true", True),
        ("a=null", None),
        ('a="7"', "7"),
        ("a=ahu-1/dat", "ahu-1/dat"),
        ("a=", ""),
        ("a=x=y", "x=y"),
        ("a=NaN", "NaN"),
        ("a=-Infinity", "-Infinity"),
        ('a={"b":[1]}', {"b": [1]}),
        ("a=[1", "[1"),
    ],
)
def test_values_are_json_or_text(text, value):
    assert parse_argument(text) == ("a", value)
    assert type(parse_argument(text)[1]) is type(value)


def test_json_is_the_value_alone(line):
    arguments = ["a=1", "b=ü", "c=[null]"]
    output = run("--serial", line.path, "--json", "system.echo", *arguments).stdout
    assert output == '{"a": 1, "b": "ü", "c": [null]}\n'


def test_a_stream_is_a_line_an_item(line):
    line.fake.segment = 30
    output = run("--serial", line.path, "--stream", "gateways.getAddresses").stdout
    assert [json.loads(text) for text in output.splitlines()] == ADDRESSES


def test_people_get_tables(line):
    output = run("--serial", line.path, "gateways.getAddresses").stdout
    assert [cell.strip() for cell in output.splitlines()[1].strip("┃").split("┃")] == [
        "id",
        "name",
        "value",
        "status",
        "value_date",
        "json",
    ]
    assert "2023-11-14T22:13:20.000Z" in output
    assert '{"a":[1]}' in output
    assert "\x1b" not in output
    assert "\\x1b[31mfan" in output
    assert "│ a    │ 1     │" in run("--serial", line.path, "system.echo", "a=1").stdout


@pytest.mark.parametrize(
    ("value", "shown"),
    [("20.5", "20.5"), ("null", "null"), ("true", "true"), ("[1,[2]]", "1\n[2]")],
)
def test_other_values_are_lines(line, value, shown):
    output = run("--serial", line.path, "gateways.readValue", f"address={value}").stdout
    assert output == shown + "\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--serial", "{port}", "gateways.fail"], 1, "Error: gateways.fail: invalid address"),
        (["--serial", "{port}", "gateways.no"], 1, "Error: gateways.no: invalid method"),
        (["--serial", "{port}", "gateways"], 2, "expected module.method"),
        (["--serial", "{port}", "gateways.fail", "x"], 2, "argument: 'x'"),
        (["--serial", "{port}", "gateways.fail", "=1"], 2, "argument: '=1'"),
        (["--serial", "/dev/none", "gateways.fail"], 3, "/dev/none: no such file"),
        (["--mqtt", "mqtt://127.0.0.1:1", "--node", "n", "a.b"], 3, "connection refused"),
        (["gateways.fail"], 2, "where is the node?"),
        (["--mqtt", "mqtt://h", "a.b"], 2, "belong together"),
        (["--serial", "{port}", "--mqtt", "mqtt://h", "a.b"], 2, "where is the node?"),
        (["--serial", "{port}", "--ca", "x", "a.b"], 2, "--ca"),
        (["--serial", "{port}"], 2, "MODULE.METHOD"),
    ],
)
def test_errors_are_one_line_with_their_code(line, arguments, code, words):
    result = run(*[one.format(port=line.path) for one in arguments], code=code)
    assert words in result.stderr.splitlines()[-1]


def test_no_answer_ends_in_time(line):
    line.fake.arrange = lambda messages: []
    result = run("--serial", line.path, "--timeout", "0.2", "system.echo", code=3)
    assert result.stderr == "Error: system.echo: no answer in 0.2 s; it printed nothing\n"


def test_a_request_is_what_was_asked_for(line):
    run("--serial", line.path, "system.echo", 'filter={"gateway.driver":["modbus"]}')
    (request,) = line.fake.requests
    assert json.loads(json.dumps(request["filter"])) == {"gateway.driver": ["modbus"]}
