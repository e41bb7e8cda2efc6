"""``fieldpost fetch``: read a node's own log into a store."""

import json
import time

import click

from fieldpost_tools.cli.connection import connection_options


@click.command()
@connection_options
@click.option(
    "--store",
    "--db",
    "db",
    default="fieldpost.db",
    show_default=True,
    metavar="FILE|URL",
    help="SQLite file or postgresql://…, made if new.",
)
@click.option(
    "--follow",
    "follow_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Go on for so long, with what is new.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def command(connect, db, follow_s, as_json):
    """Read what a node's log holds into a store, over its serial line or MQTT.

    The node keeps it: nothing is confirmed. What the store has already is recognised. From there
    it goes on as what a collector got: query, export, backfill.
    """
    from fieldpost_tools.direct import DirectCollector
    from fieldpost_tools.stores import open_store

    with connect() as client, open_store(db, create=True) as store:
        collector = DirectCollector(client, store)
        collector.names()
        end = time.monotonic() + (follow_s or 0)
        while True:
            found = collector.step()
            if time.monotonic() >= end:
                break
            if not found:
                time.sleep(0.5)
    names = ("node", "records", "duplicates", "skipped")
    told = {name: getattr(collector, name) for name in names}
    text = "{node}: {records} records, {duplicates} known already, {skipped} gone before"
    click.echo(json.dumps(told) if as_json else text.format(**told))
