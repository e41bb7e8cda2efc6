"""``fieldpost api``: call a method of a node."""

import json

import click

from fieldpost_tools.cli.connection import connection_options
from fieldpost_tools.errors import InputError


@click.command()
@connection_options
@click.argument("method", metavar="MODULE.METHOD")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="The value as JSON.")
@click.option(
    "--stream",
    is_flag=True,
    help="Fetch a long array in parts; each item a line of JSON, as it comes.",
)
def command(connect, method, arguments, as_json, stream):
    """Call a method of a node's API and show the value it answers with.

    A VALUE that is JSON counts as such, anything else as text: address=7, address=ahu-1/dat,
    filter='{"gateway.driver":["modbus"]}', name='"7"' for the text 7. docs/api.md describes
    every method.

    Exit codes: 1 the node answers with an error, 2 wrong usage, 3 the node is not reached or does
    not answer in time.
    """
    given = dict(map(parse_argument, arguments))
    with connect() as client:
        if stream:
            for item in client.stream(method, given):
                _echo(item)
            return
        value = client.call(method, given)
    if as_json:
        _echo(value)
    else:
        from fieldpost_tools.cli import values

        values.show(value)


def parse_argument(text):
    """``(key, value)`` of ``key=value``. Raises InputError."""
    key, mark, value = text.partition("=")
    if not key or not mark:
        raise InputError("argument", text, "key=value")
    try:
        return key, json.loads(value, parse_constant=_refuse_constant)
    except ValueError:
        return key, value


def _echo(value):
    click.echo(json.dumps(value, ensure_ascii=False))


def _refuse_constant(name):
    # NaN and Infinity, which Python takes for JSON.
    raise ValueError(name)
