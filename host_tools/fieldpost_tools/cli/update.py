"""``fieldpost update``: another release of the code for nodes, one or many."""

import functools
import json
import sys

import click

from fieldpost_tools.cli.config import FLEET_KEY
from fieldpost_tools.cli.connection import nodes_options
from fieldpost_tools.errors import InputError


def _nodes(function):
    """The options for nodes, whose names also stand without ``--node``; ``--save`` needs none."""
    inner = nodes_options(function)

    @click.argument("more", nargs=-1, metavar="[NODE]...")
    @click.option("--save", metavar="DIR", help="Save the release in a folder, update nothing.")
    @functools.wraps(inner)
    def wrapper(more, save, names, **others):
        if save:
            _save(save, others)
        else:
            inner(names=names + more, **others)

    return wrapper


def _percents(_context, _parameter, text):
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers, as 10,50,100") from None


@click.command()
@_nodes
@click.option("--to", "version", metavar="VERSION", help="Refuse if the release is another one.")
@click.option(
    "--release", "folder", metavar="DIR", help="One saved by --save; else this program's."
)
@click.option("--minimal", is_flag=True, help="Without optional parts, for the smallest boards.")
@click.option(
    "--percent",
    "percents",
    default="100",
    show_default=True,
    callback=_percents,
    metavar="N,N,…",
    help="Stages: how many of the nodes have been updated at the end of each.",
)
@click.option(
    "--max-failures",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Stop after more failures than that.",
)
@click.option(
    "--healthy-s",
    default=180.0,
    show_default=True,
    type=click.FloatRange(1, 86400),
    help="Longest wait for a node to prove healthy.",
)
@click.option(
    "--fleet-key-env",
    default=FLEET_KEY,
    show_default=True,
    metavar="NAME",
    help="Environment variable with the nodes' fleet_key; else that of the credentials, if any.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, send nothing.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead.")
def command(nodes, version, folder, minimal, percents, max_failures, **options):
    """Bring nodes another release of their code, over MQTT or serial lines, in stages.

    A node gets what it lacks into the slot that it does not run from, and restarts. Unless the
    release proves healthy (a link to a broker stands) within three starts, the node returns to the
    one before by itself. What was interrupted goes on with the same command.

    Exit codes: 1 a node is not updated; 2 wrong usage; 3 the broker or serial port is not reached.
    """
    from fieldpost_tools.rollout import Rollout

    release = _release(version, folder, minimal)
    rollout = Rollout(nodes.names, percents, max_failures, nodes.parallel)
    _run(nodes, release, rollout, **options)


def _release(version, folder, minimal):
    """The release that is meant; InputError where it has another version."""
    from fieldpost_tools.release import Release

    release = Release.load(folder) if folder else _built(minimal)
    if version and version != release.version:
        where = folder or "this program"
        raise InputError("to", version, f"{release.version}, which {where} has, or --release DIR")
    return release


def _built(minimal):
    from fieldpost_tools.provision.job import MINIMAL_OPTIMIZE
    from fieldpost_tools.release import Release

    return Release.build(MINIMAL_OPTIMIZE if minimal else 0, minimal)


def _save(folder, options):
    release = _release(options["version"], options["folder"], options["minimal"])
    release.save(folder)
    click.echo(f"{folder}: {release.version}, {len(release.files)} files, {release.size} bytes")


def _run(nodes, release, rollout, healthy_s, fleet_key_env, dry_run, as_json):
    from fieldpost_tools import fleet
    from fieldpost_tools.update import Update

    key = fleet.key(fleet_key_env)

    def work(name):
        update = Update(lambda: nodes.connect(name), release, key)
        return update.plan() if dry_run else update.run(healthy_s)

    for stage, outcome in rollout.run(work):
        of = f"stage {stage} of {len(rollout.stages)}: " if len(rollout.stages) > 1 else ""
        click.echo(f"{of}{outcome.node}: {outcome.status}, {outcome.detail}", err=as_json)
    if as_json:
        rows = fleet.rows(rollout.outcomes)
        told = {"version": release.version, "nodes": rows, "untouched": rollout.untouched}
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        _show(rollout)
    sys.exit(fleet.exit_code(rollout.outcomes))


def _show(rollout):
    from fieldpost_tools import fleet
    from fieldpost_tools.cli import values

    if len(rollout.outcomes) > 1 or rollout.untouched:
        values.console().print(fleet.table(rollout.outcomes))
        click.echo(fleet.counts(rollout.outcomes))
    if rollout.untouched:
        why = "stopped" if rollout.stopped else "ended"
        click.echo(f"{why}; not touched: {', '.join(rollout.untouched)}")
