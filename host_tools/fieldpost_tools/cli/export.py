"""``fieldpost export``: stored records into files."""

import click

from fieldpost_tools.cli.selection import selection_options


@click.group()
def command():
    """Write stored records elsewhere."""


@command.command("csv")
@selection_options
@click.option("--out", required=True, metavar="FILE", help='File to write; "-" is stdout.')
def csv_command(db, out, selection):
    """Write raw records as CSV (RFC 4180), in the order in which each node recorded them."""
    from fieldpost_tools import query
    from fieldpost_tools.export import csv
    from fieldpost_tools.store import Store

    with Store(db) as store:
        rows = query.records(store, selection)
        if out == "-":
            count = csv.write_stdout(rows)
        else:
            count = csv.write_file(rows, out)
    click.echo(f"{count} rows", err=out == "-")
