"""``fieldpost config``: the configurations of nodes, one or many."""

import json
import sys
from pathlib import Path

import click

from fieldpost_tools import fleet
from fieldpost_tools.cli import config_view as view
from fieldpost_tools.cli.connection import nodes_options
from fieldpost_tools.errors import InputError

#: Environment variable of the key that signs configurations and updates.
FLEET_KEY = "FIELDPOST_FLEET_KEY"

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead.")
_CONFIRM = click.option(
    "--confirm-s",
    default=60,
    show_default=True,
    type=click.IntRange(0, 3600),
    metavar="SECONDS",
    help="In which changed links must connect, or the node returns; 0: it never does.",
)
_KEY = click.option(
    "--fleet-key-env",
    default=FLEET_KEY,
    show_default=True,
    metavar="NAME",
    help="Environment variable with the nodes' fleet_key; else that of the credentials, if any.",
)


_LOCK_OUT = click.option(
    "--lock-out", is_flag=True, help="Also what allows no other configuration over MQTT."
)


@click.group()
def command():
    """Show, check, change and roll back the configurations of nodes.

    Over a serial line (--serial) or over MQTT (--mqtt, --node), for one node or, by names,
    patterns and inventories, for many. Secrets of files are references, "env:NAME" or "file:PATH";
    no secret is ever shown. docs/configuration.md tells more.

    Exit codes: 1 a node refuses, returns from it or, of many, is not reached; 2 wrong usage or a
    configuration that is not allowed; 3 the node is not reached or does not answer in time.
    """


@command.command(short_help="Show revision, trial, links and devices.")
@nodes_options
@_JSON
def show(nodes, as_json):
    """Show revision, trial, links and devices of nodes as they are now."""
    from fieldpost_tools.config import summary

    def work(name):
        with nodes.connect(name) as client:
            return summary.read(client)

    if nodes.single:
        found = work(nodes.names[0])
        view.echo_json(found) if as_json else view.show_one(found)
    else:
        view.many(nodes, lambda name: view.show_row(work(name)), as_json)


@command.command(short_help="Get a configuration, or a value of it.")
@nodes_options
@click.argument("path", required=False)
@click.option("--toml", is_flag=True, help="TOML instead of JSON.")
@click.option("--out", metavar="FILE", help="Into this file; for many nodes, into this folder.")
@click.option("--revision", type=int, metavar="N", help="A former configuration of the node.")
@_JSON
def get(nodes, path, toml, out, revision, as_json):
    """Get the configuration of nodes, or what is at PATH of it, as devices.ahu-1.interval.

    Secrets are shown as has_…; pushed again, they stay what they are.
    """
    from fieldpost_tools.config import paths

    if not (nodes.single or out or path):
        raise click.UsageError("the configurations of many nodes need --out FOLDER")

    def work(name):
        with nodes.connect(name) as client:
            config = view.read(client, revision)
        return paths.get(config, path) if path else config

    def row(name):
        value = work(name)
        if out:
            target = Path(out) / f"{name}{'.toml' if toml else '.json'}"
            return fleet.OK, view.save(target, value, toml)
        return fleet.OK, view.text(value), {"value": value} if as_json else {}

    if not nodes.single:
        view.many(nodes, row, as_json)
    elif out:
        click.echo(view.save(Path(out), work(nodes.names[0]), toml))
    else:
        view.show_value(work(nodes.names[0]), toml)


@command.command("set", short_help="Change values.")
@nodes_options
@click.argument("assignments", nargs=-1, required=True, metavar="PATH=VALUE...")
@_CONFIRM
@_KEY
@_LOCK_OUT
@click.option("--dry-run", is_flag=True, help="Show what would change, send nothing.")
@_JSON
def set_(nodes, assignments, as_json, **options):
    """Change values of nodes: all of them at once, as one revision.

    mqtt.main.host=10.0.0.9, devices.ahu-1.points.dat.log="on_cov 0.5": list items go by id or
    name. A VALUE that is JSON counts as such, anything else as text; null sets a key to its
    default and removes an item; an object adds one.
    """
    from fieldpost_tools.config import paths

    changes = [paths.assignment(text) for text in assignments]

    def make(_name, now):
        config = json.loads(json.dumps(now.config))
        for path, value in changes:
            paths.put(config, path, value)
        return config, "."

    _change(nodes, make, as_json, **options)


@command.command(short_help="Show what a push would change.")
@nodes_options
@click.argument("file", required=False, metavar="[FILE]")
@_JSON
def diff(nodes, file, as_json):
    """Show what pushing FILE would change; without FILE, what the inventory says for each node."""
    source = _Source(nodes, file)
    _change(nodes, source.wanted, as_json, dry_run=True, planned="differs")


@command.command(short_help="Check files as a node does.")
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("--board", metavar="ID", help="Also whether it fits this board, as fieldpost plan.")
def validate(paths, board):
    """Check configuration files as a node does. Secrets need not be there."""
    from fieldpost_tools.config import check, files, template
    from fieldpost_tools.errors import ToolError

    bad = 0
    for path in paths:
        try:
            config = template.stand_in(files.load(path))
            made = check.check(config, path)
            advice = check.advice(config, board) if board else ()
        except ToolError as error:
            click.echo(f"Error: {error}", err=True)
            bad += 1
            continue
        click.echo(f"{path}: valid, {view.contents(made)}")
        for sentence in advice:
            click.echo(f"{path}: warning: {sentence}")
    sys.exit(2 if bad else 0)


@command.command(short_help="Give nodes a configuration.")
@nodes_options
@click.argument("file", required=False, metavar="[FILE]")
@_CONFIRM
@_KEY
@_LOCK_OUT
@click.option("--dry-run", is_flag=True, help="Show what would change, send nothing.")
@_JSON
def push(nodes, file, as_json, **options):
    """Give nodes the configuration in FILE; without FILE, what the inventory says for each.

    A node that has it already is sent nothing. One whose links change has to reach its brokers
    within --confirm-s, also over a restart; otherwise it returns to the configuration before, and
    says why. What was interrupted goes on where it ended.
    """
    source = _Source(nodes, file)
    _change(nodes, source.wanted, as_json, **options)


@command.command(short_help="Give nodes their former configuration.")
@nodes_options
@click.argument("revision", required=False, type=int)
@_CONFIRM
@_LOCK_OUT
@_JSON
def rollback(nodes, revision, confirm_s, lock_out, as_json):
    """Give nodes their former configuration again, or that of REVISION, as a new revision."""
    from fieldpost_tools.config import push as pushing

    def work(name, report):
        with nodes.connect(name) as client:
            now = pushing.current(client)
            node = _node(nodes, client, None, report, lock_out)
            return now.config["node"], pushing.rollback(node, now, revision, confirm_s)

    view.results(nodes, work, as_json)


@command.command(short_help="List the configurations that nodes keep.")
@nodes_options
@_JSON
def history(nodes, as_json):
    """List the configurations that nodes keep, the newest first."""

    def work(name):
        with nodes.connect(name) as client:
            return client.call("config.history")

    if nodes.single:
        rows = work(nodes.names[0])
        view.echo_json(rows) if as_json else view.show_history(rows)
    else:
        view.many(nodes, lambda name: view.history_row(work(name)), as_json)


class _Source:
    """What each node is to have: one file for all, or the inventory's for each."""

    def __init__(self, nodes, file):
        from fieldpost_tools.config import files

        self._nodes = nodes
        self._file = file
        missing = [name for name in nodes.names if not (file or self._path(name))]
        if missing:
            raise click.UsageError(f"which configuration for {missing[0]}? FILE, or an inventory")
        found = {file or str(self._path(name)) for name in nodes.names}
        self._loaded = {path: files.load(path) for path in found}

    def wanted(self, name, now):
        """``(configuration, folder of its file)`` for a node."""
        from fieldpost_tools.config import template

        path = self._file or str(self._path(name))
        own = now.config["node"]
        config = template.fill(self._loaded[path], own, self._nodes.entries.get(name))
        if not self._nodes.single and config["node"] != own:
            raise InputError(f"{path}: node", config["node"], '"{node}" in a file for many nodes')
        return config, Path(path).parent

    def _path(self, name):
        entry = self._nodes.entries.get(name)
        return entry.config if entry else None


def _change(nodes, make, as_json, dry_run, planned="planned", **options):
    """Push to every node what ``make(name, current)`` returns, with the folder of its file.

    ``options`` are those of the command; none where nothing is sent (``dry_run``).
    """
    from fieldpost_tools.config import push as pushing

    key = fleet.key(options.get("fleet_key_env", FLEET_KEY))
    confirm_s = options.get("confirm_s", pushing.CONFIRM_S)

    def work(name, report):
        with nodes.connect(name) as client:
            now = pushing.current(client)
            wanted, folder = make(name, now)
            node = _node(nodes, client, key, report, options.get("lock_out", False))
            own = now.config["node"]
            result = pushing.push(node, now, wanted, own, folder, confirm_s, dry_run)
            return own, result

    view.results(nodes, work, as_json, planned)


def _node(nodes, client, key, report, lock_out):
    from fieldpost_tools.config import push as pushing

    reach = nodes.connect if nodes.over_mqtt else None
    return pushing.Node(client, key, report, reach, lock_out)
