"""``fieldpost backfill``: stored records to a connector again."""

import json
import threading

import click

from fieldpost_tools.cli.export import config_option, open_exports, stopped_by_signals
from fieldpost_tools.cli.selection import time_options


@click.command()
@click.option("--to", "name", required=True, metavar="NAME", help="Connector of the exports file.")
@config_option
@time_options
@click.option("--restart", is_flag=True, help="Begin anew, also where it is done.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a second, then the result.")
def command(name, config, selection, restart, as_json):
    """Send stored records to a connector again, beside its live cursor.

    Ctrl-C stops it; the same command goes on where it was. Running it twice changes nothing.
    """
    from fieldpost_tools.backfill import Backfill

    with open_exports(config) as (exports, store, states):
        backfill = Backfill(exports.find(name), store, states, selection, restart)
        stopping = threading.Event()
        with stopped_by_signals(stopping):
            job = _run(backfill, stopping, as_json)
    text = (
        f"{job.state}: {job.rows} of {job.total} records, {job.skipped} skipped, {job.dead} dead"
    )
    click.echo(json.dumps(_told(job)) if as_json else text)
    if job.state != "done":
        raise SystemExit(3)


def _told(job):
    names = ("connector", "job", "state", "rows", "total", "skipped", "dead", "error")
    return {name: getattr(job, name) for name in names}


def _run(backfill, stopping, as_json):
    from fieldpost_tools.backfill import Pace

    pace = Pace(backfill.job.rows)
    if as_json:
        return backfill.run(stopping, lambda job: click.echo(json.dumps(_told(job))))
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), "{task.completed}/{task.total}", TextColumn("{task.fields[rate]}/s"))
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[error]}")) as bar:
        total = max(backfill.job.total, 1)
        task = bar.add_task("", total=total, completed=backfill.job.rows, rate="0", error="")

        def show(job):
            pace.update(job.rows)
            rate = f"{pace.rows_per_s:,.0f}"
            bar.update(task, completed=job.rows, rate=rate, error=job.error or "")

        return backfill.run(stopping, show)
