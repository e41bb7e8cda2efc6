"""``fieldpost query``: stored records and aggregates as a table, CSV, JSON or a chart."""

import csv
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
    type=click.Choice(["table", "csv", "json", "chart"]),
)
@click.option("--every", metavar="TIME", help="Aggregate: 60s, 15m, 12h, 7d, 2w, 3o (months).")
@click.option(
    "--fill",
    default="none",
    show_default=True,
    type=click.Choice(["none", "last", "linear", "boundaries"]),
    help="What an empty bucket gets, with --every.",
)
@click.option("--align", default="left", show_default=True, type=click.Choice(["left", "center"]))
def command(db, selection, limit, form, every, fill, align):
    """Show stored records, the newest last, or aggregates of them.

    All of them (--limit 0) come by node, in the order recorded; aggregates always are all, by
    point. JSON is one array of objects; NaN and infinities stand in it as strings.
    """
    from fieldpost_tools import aggregate, query
    from fieldpost_tools.stores import open_store

    with open_store(db) as store:
        if form == "chart":
            from fieldpost_tools.cli.chart import draw

            draw(store, selection, every)
            return
        if every:
            rows = aggregate.rows(store, selection, every, fill, align)
        elif limit:
            rows = query.newest(store, selection, limit)
        else:
            rows = query.records(store, selection)
        show = {"table": _table, "csv": _csv, "json": _json}
        if every:
            show |= {"table": _buckets, "csv": _buckets_csv}
        show[form](rows)


def _csv(rows):
    from fieldpost_tools.export.csv import write_stdout

    write_stdout(rows)


def _json(rows):
    separator = "["
    for row in rows:
        fields = {name: _finite(value) for name, value in row._asdict().items()}
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
    heads = "node", "device", "point", "time", "value", "unit", "text"
    _show(heads, map(_record_cells, rows))


def _record_cells(row):
    when, value = format_time(row.ts_ms), format_value(row.value)
    return row.node, row.device, row.point, when, value, row.unit, row.value_text or ""


def _buckets(rows):
    heads = "node", "device", "point", "time", "count", "min", "avg", "max", "last", "unit"
    _show(heads, map(_bucket_cells, rows))


def _bucket_cells(row):
    figures = [_short(one) for one in (row.count, row.min, row.avg, row.max, row.last)]
    return *row[:3], format_time(row.ts_ms), *figures, row.unit


def _short(value):
    return f"{value:.6g}" if isinstance(value, float) else format_value(value)


def _buckets_csv(rows):
    from fieldpost_tools.aggregate import Row

    sys.stdout.reconfigure(encoding="utf-8", newline="")
    writer = csv.writer(sys.stdout)
    writer.writerow((*Row._fields[:5], "time", *Row._fields[5:]))
    for row in rows:
        writer.writerow((*row[:5], format_time(row.ts_ms), *map(format_value, row[5:])))


def _show(heads, rows):
    from rich.console import Console
    from rich.table import Table

    rows = iter(rows)
    width = None if sys.stdout.isatty() else 200
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    # A table must know all its rows to align them: long ones come in parts.
    while part := list(islice(rows, 1000)):
        table = Table(*heads)
        for row in part:
            table.add_row(*map(_printable, row))
        console.print(table)


def _printable(text):
    # What a node sent must not steer the terminal.
    return text if text.isprintable() else repr(text)[1:-1]
