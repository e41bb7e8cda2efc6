"""``fieldpost provision``: install the SDK and a configuration on boards."""

import dataclasses
import json
import os
import sys

import click

from fieldpost_tools.cli.collect import PASSWORD
from fieldpost_tools.errors import InputError

#: In place of a port: build images instead.
IMAGE = "image"
_FILES_SHOWN = 12


@click.command()
@click.argument("targets", nargs=-1, metavar="PORT | image | [NODES]...")
@click.option("--board", "name", metavar="BOARD", help="See: fieldpost board list.")
@click.option("--config", "config_file", metavar="FILE", help="The node's configuration.")
@click.option("--node", metavar="NAME", help="Name of the node, for a configuration of many.")
@click.option("--inventory", metavar="FILE", help="Provision the boards of a .csv or .toml file.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only these of them.")
@click.option("--mpy", "form", flag_value="mpy", default="mpy", help="Compiled files.  [default]")
@click.option("--py", "form", flag_value="py", help="Sources, for debugging.")
@click.option("--romfs", "form", flag_value="romfs", help="A ROMFS image: least heap, one slot.")
@click.option(
    "--tool",
    type=click.Choice(["mpremote", "ampy"]),
    default="mpremote",
    show_default=True,
    help="Whose code talks to the board.",
)
@click.option("--single", is_flag=True, help="Replace the release in place: for small flash.")
@click.option(
    "--trial/--no-trial",
    default=True,
    show_default=True,
    help="A release that reaches no broker in three starts gives way to the former one.",
)
@click.option("--dry-run", "dry", is_flag=True, help="Look only, and say what would be done.")
@click.option("--out", metavar="DIR", help="Where the images go.")
@click.option("--mqtt", "url", metavar="URL", help="Wait for the node at this broker instead.")
@click.option("--ca", metavar="FILE", help="PEM file that verifies the broker (mqtts://).")
@click.option(
    "--timeout",
    "wait_s",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="Longest wait for the node; 0 for none.",
)
@click.option(
    "--silence",
    "silence_s",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.5, 600),
    metavar="SECONDS",
    help="Longest silence of the board.",
)
@click.option("--parallel", default=8, show_default=True, type=click.IntRange(1, 64))
@click.option("--json", "as_json", is_flag=True, help="JSON instead.")
def command(targets, name, config_file, node, inventory, tags, out, parallel, as_json, **more):
    """Install the SDK and a configuration on the board at the serial device PORT.

    Only what differs is sent. Until all of it is there, the board boots what it had; a cut at any
    moment leaves the one or the other. With `image`, files for `fieldpost flash` are built
    instead; with --inventory the boards of that file are provisioned, those NODES (names or
    patterns) or all. docs/provisioning.md tells more.

    Exit codes: 1 the board refuses or does not fit, or one of many fails; 2 wrong usage; 3 the
    port is not there, or the board or the node does not answer.
    """
    _check_usage(targets, name, config_file, inventory, tags, out)
    if targets == (IMAGE,):
        _build(name, config_file, node, more["form"], out)
    elif inventory:
        _provision_many(inventory, targets, tags, _options(more), parallel, as_json)
    else:
        _provision_one(targets[0], name, config_file, node, _options(more), as_json)


def _check_usage(targets, name, config_file, inventory, tags, out):
    if inventory:
        if name or config_file or out:
            raise click.UsageError("--board, --config and --out are not for --inventory")
        return
    if len(targets) != 1:
        raise click.UsageError("which board? PORT, or --inventory FILE")
    if not name:
        raise click.UsageError("which --board is it? See: fieldpost board list")
    if tags:
        raise click.UsageError("--tag is for --inventory")
    if bool(out) != (targets == (IMAGE,)):
        raise click.UsageError("`image` and --out belong together")


def _options(more):
    from fieldpost_tools.broker import parse_url
    from fieldpost_tools.provision.once import Options

    url = more.pop("url")
    if more["ca"] and not url:
        raise click.UsageError("--ca is for --mqtt")
    address = parse_url(url, os.environ.get(PASSWORD)) if url else None
    return Options(**more, broker=address)


def _config(config_file, node):
    from fieldpost_tools.provision import once

    if config_file is None:
        return None
    return once.configuration(config_file, node)


def _provision_one(port, name, config_file, node, options, as_json):
    from fieldpost_tools import boards
    from fieldpost_tools.provision import once

    board = boards.load(name)
    config = _config(config_file, node)
    with _Bar() as bar:
        report, said = once.provision(port, board, config, options, bar.show)
    if as_json:
        row = dataclasses.asdict(report) | {"answer": said and dataclasses.asdict(said)}
        click.echo(json.dumps(row, ensure_ascii=False))
        return
    where = f" in slot {report.slot}" if report.slot else ""
    click.echo(f"{report.board}: MicroPython {report.firmware}, fieldpost {report.version}{where}")
    click.echo(once.summary(report))
    if len(report.sent) <= _FILES_SHOWN:
        for path in report.sent:
            click.echo(f"  {path}")
    if report.on_trial and not report.dry:
        click.echo("on trial: back to the former release, unless it reaches a broker in 3 starts")
    for note in report.notes:
        click.echo(note)
    if said:
        words = f"{said.node} answers, version {said.version}"
        click.echo(f"{words}, {said.seconds:.1f} s after the reset")


def _provision_many(inventory, patterns, tags, options, parallel, as_json):
    from fieldpost_tools import fleet
    from fieldpost_tools.inventory import Inventory
    from fieldpost_tools.provision import once

    entries = Inventory.load(inventory).select(patterns, tags)
    if not entries:
        raise InputError("--tag", ", ".join(tags), "tags of a node in the inventory")
    outcomes = []
    for outcome in once.each(entries, options, parallel):
        outcomes.append(outcome)
        if not as_json:
            click.echo(f"{outcome.node}: {outcome.status}, {outcome.detail}", err=True)
    if as_json:
        click.echo(json.dumps(fleet.rows(outcomes), ensure_ascii=False))
    else:
        from rich.console import Console

        Console().print(fleet.table(outcomes))
        click.echo(fleet.counts(outcomes))
    sys.exit(fleet.exit_code(outcomes))


def _build(name, config_file, node, form, out):
    from fieldpost_tools import boards
    from fieldpost_tools.provision import flash

    for path, size in flash.build(boards.load(name), _config(config_file, node), form, out):
        click.echo(f"{path}: {size} bytes")


class _Bar:
    """A progress bar of the bytes that are sent, on a terminal only."""

    def __enter__(self):
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        columns = (BarColumn(), DownloadColumn(), TextColumn("{task.description}"))
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True)
        self._progress.disable = not console.is_terminal
        self._progress.start()
        self._task = self._progress.add_task("looking", total=None)
        return self

    def __exit__(self, *exc_info):
        self._progress.stop()

    def show(self, done, total, path):
        """As ``Job`` calls it."""
        self._progress.update(self._task, completed=done, total=total, description=path)
