"""``fieldpost export``: stored records into files, databases and brokers."""

import gc
import json
import signal
import threading
import time
from contextlib import contextmanager

import click

from fieldpost_tools.cli.selection import selection_options

config_option = click.option(
    "--config",
    default="exports.toml",
    show_default=True,
    metavar="FILE",
    help="The exports file: store and connectors.",
)


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
    from fieldpost_tools.stores import open_store

    with open_store(db) as store:
        rows = query.records(store, selection)
        if out == "-":
            count = csv.write_stdout(rows)
        else:
            count = csv.write_file(rows, out)
    click.echo(f"{count} rows", err=out == "-")


@command.command()
@config_option
@click.option("--until-idle", is_flag=True, help="End when every connector has all there is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a second.")
def run(config, until_idle, as_json):
    """Export continuously, every connector at its own pace. Ctrl-C or SIGTERM ends it."""
    from fieldpost_tools.export import pipeline

    # Batches are many small objects that live for a moment, and never cycles.
    gc.set_threshold(100_000)
    with open_exports(config) as (exports, store, states):
        stopping = threading.Event()
        shown = threading.Thread(
            target=_show, args=(exports, store, states, stopping, until_idle, as_json)
        )
        with stopped_by_signals(stopping):
            shown.start()
            try:
                pipeline.run(exports.exports, lambda: _opened(exports), states, stopping)
            finally:
                stopping.set()
                shown.join()
        rows = _standings(exports, store, states)
        click.echo(json.dumps(rows) if as_json else _table(rows))


@command.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(config, as_json):
    """Where every connector stands, and its backfills."""
    with open_exports(config) as (exports, store, states):
        rows = _standings(exports, store, states)
        jobs = [job._asdict() for job in states.jobs()]
    if as_json:
        click.echo(json.dumps({"connectors": rows, "backfills": jobs}))
        return
    click.echo(_table(rows))
    for job in jobs:
        text = "backfill {job} to {connector}: {state}, {rows} of {total} records"
        click.echo(text.format(**job) + (f", {job['error']}" if job["error"] else ""))


@command.command()
@click.argument("names", nargs=-1)
@config_option
def test(names, config):
    """Ask the sinks of all connectors, or of those NAMES, whether they can be written to."""
    from fieldpost_tools.errors import ToolError
    from fieldpost_tools.export import settings

    exports = settings.load(config)
    failed = False
    for export in [exports.find(name) for name in names] or exports.exports:
        try:
            click.echo(f"{export.name}: {export.connector.health()}")
        except ToolError as error:
            failed = True
            click.echo(f"{export.name}: {error}", err=True)
        finally:
            export.connector.close()
    if failed:
        raise SystemExit(1)


@command.command("list")
@config_option
def list_command(config):
    """The connectors of the exports file."""
    from fieldpost_tools.export import settings

    for export in settings.load(config).exports:
        state = "" if export.common["enabled"] else "  disabled"
        click.echo(f"{export.name}  {export.common['type']}{state}")


@command.command()
@click.argument("name")
@click.argument("kind", metavar="TYPE")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@config_option
def add(name, kind, pairs, config):
    """Add a connector to the exports file, after checking it; values are TOML, else text."""
    from fieldpost_tools.export import edit

    edit.add(config, name, kind, pairs)
    click.echo(f"{name} added to {config}")


@command.command()
@click.argument("name")
@config_option
def remove(name, config):
    """Remove a connector from the exports file, and forget where it stood."""
    from fieldpost_tools.export import edit, settings
    from fieldpost_tools.export.state import States

    exports = settings.load(config)
    exports.find(name)
    edit.remove(config, name)
    if exports.state.exists():
        with States(exports.state) as states:
            states.remove(name)
    click.echo(f"{name} removed from {config}")


@contextmanager
def open_exports(config):
    """``(Exports, store, States)``, open."""
    from fieldpost_tools.export import settings
    from fieldpost_tools.export.state import States

    exports = settings.load(config)
    with _opened(exports) as store, States(exports.state) as states:
        yield exports, store, states


def _opened(exports):
    from fieldpost_tools.stores import open_store

    return open_store(exports.store)


@contextmanager
def stopped_by_signals(stopping):
    """The first SIGINT or SIGTERM sets the event, a second one ends at once."""

    def handle(number, _frame):
        signal.signal(number, signal.SIG_DFL)
        stopping.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(exports, store, states, stopping, until_idle, as_json):
    while not stopping.wait(1.0):
        rows = _standings(exports, store, states)
        if as_json:
            click.echo(json.dumps(rows))
        busy = [
            row for row in rows if row["enabled"] and (row["behind"] or row["state"] != "idle")
        ]
        if until_idle and not busy and all(row["state"] for row in rows):
            stopping.set()


def _standings(exports, store, states):
    """What is told of every connector: counters, ``behind`` (runs not exported), last error."""
    from fieldpost_tools import arrivals, events

    known = {one.name: one for one in states.all()}
    filling = {job.connector for job in states.jobs() if job.state == "running"}
    ends = arrivals.last(store).run, events.last(store)
    rows = []
    for export in exports.exports:
        one = known.get(export.name)
        row = {"name": export.name, "type": export.common["type"]}
        row |= {"enabled": export.common["enabled"], "state": one.state if one else ""}
        if export.name in filling:
            row["state"] = "backfilling"
        if one:
            names = ("rows", "events", "skipped", "dead", "error")
            row |= {name: getattr(one, name) for name in names}
            row["error_time"] = _time(one.error_ms)
            behind = max(0, ends[0] - 1 - one.position.run) + max(0, ends[1] - one.event)
            row["behind"] = behind
        else:
            row["behind"] = None
        rows.append(row)
    return rows


def _time(ms):
    return ms and time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))


def _table(rows):
    lines = [f"{'connector':<16} {'type':<12} {'state':<12} {'records':>10} {'events':>7}"]
    lines[0] += f" {'skipped':>8} {'dead':>5}  last error"
    for row in rows:
        state = row["state"] or ("new" if row["enabled"] else "disabled")
        numbers = [row.get(name, 0) for name in ("rows", "events", "skipped", "dead")]
        line = f"{row['name']:<16} {row['type']:<12} {state:<12} {numbers[0]:>10} {numbers[1]:>7}"
        error = f"{row['error_time']} {row['error']}" if row.get("error") else ""
        lines.append(f"{line} {numbers[2]:>8} {numbers[3]:>5}  {error}".rstrip())
    return "\n".join(lines)
