"""``fieldpost query``: stored records as a table, CSV or JSON."""

import json
import math
import sys
from itertools import islice

import click

from fieldpost_tools.cli.selection import selection_options
from fieldpost_tools.query import format_time, format_value


@click.command()
@selection_options
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(0), help="Newest N; 0 = all."
)
@click.option(
    "--format",
    "form",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json"]),
)
def command(db, selection, limit, form):
    """Show stored records, the newest last.

    All of them (--limit 0) come by node, in the order recorded. JSON is one array of objects;
    NaN and infinities stand in it as strings.
    """
    from fieldpost_tools import query
    from fieldpost_tools.stores import open_store

    with open_store(db) as store:
        if limit:
            rows = query.newest(store, selection, limit)
        else:
            rows = query.records(store, selection)
        {"table": _table, "csv": _csv, "json": _json}[form](rows)


def _csv(rows):
    from fieldpost_tools.export import csv

    csv.write_stdout(rows)


def _json(rows):
    separator = "["
    for row in rows:
        fields = row._replace(value=_finite(row.value))._asdict()
        click.echo(separator + json.dumps(fields, ensure_ascii=False), nl=False)
        separator = ",\n "
    click.echo("]" if separator != "[" else "[]")


def _finite(value):
    if isinstance(value, float) and not math.isfinite(value):
        return format_value(value)
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _table(rows):
    from rich.console import Console
    from rich.table import Table

    rows = iter(rows)
    width = None if sys.stdout.isatty() else 200
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    # A table must know all its rows to align them: long ones come in parts.
    while part := list(islice(rows, 1000)):
        table = Table("node", "device", "point", "time", "value", "unit", "text")
        for row in part:
            when, value = format_time(row.ts_ms), format_value(row.value)
            names = row.node, row.device, row.point
            table.add_row(*map(_printable, (*names, when, value, row.unit, row.value_text or "")))
        console.print(table)


def _printable(text):
    # What a node sent must not steer the terminal.
    return text if text.isprintable() else repr(text)[1:-1]
