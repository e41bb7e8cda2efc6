"""What ``fieldpost config`` prints: one node in full, of many nodes a table."""

import json
import sys

import click

from fieldpost_tools import fleet
from fieldpost_tools.cli import values
from fieldpost_tools.config import diff, files, push, secrets, summary, tree
from fieldpost_tools.errors import InputError


def echo_json(value):
    """Print a value as JSON, over several lines."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def text(value):
    """A value on one line."""
    if isinstance(value, str):
        return values.printable(value)
    return json.dumps(value, ensure_ascii=False)


def read(client, revision=None):
    """A node's configuration, the one in effect or a former one, for people and files."""
    if revision is None:
        config = push.current(client).config
    else:
        (reply,) = client.stream("config.getRevision", revision=revision)
        config = reply["config"]
    shown = {key: config[key] for key in config if key not in diff.OWN}
    return tree.ordered(secrets.shortened(shown))


def show_value(value, toml):
    """A configuration or a value of it, as a file says it."""
    if isinstance(value, dict):
        click.echo(files.dumps(value, toml).rstrip("\n"))
    else:
        echo_json(value)


def save(path, value, toml):
    """Write it into a file, whose folder is made; returns the path for a person."""
    if not isinstance(value, dict):
        raise InputError("path", path.name, "a part that is an object, in order to write a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.save(path, value, toml or None)
    return str(path)


def contents(config):
    """What there is in a configuration, in words."""
    points = sum(len(device["points"]) for device in config["devices"])
    counted = (
        (len(config["devices"]), "device"),
        (points, "point"),
        (len(config["mqtt"]), "link"),
    )
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in counted)


def show_one(found):
    """The summary of a node as tables."""
    console = values.console()
    rows = [(key, str(found[key])) for key in ("node", "version", "board", "revision")]
    rows.append(("up for", f"{found['uptime_ms'] // 1000} s"))
    rows.append(("trial", summary.trial_words(found["trial"]) or "none"))
    rows.append(("not kept", summary.returned_words(found["returned"]) or "none"))
    staged = found["staged"]
    if staged:
        rows.append(("staged", f"{staged['offset']} of {staged['size']} bytes"))
    console.print(values.table(("name", "value"), [(k, values.printable(v)) for k, v in rows]))
    links = [
        (one["name"], "up" if one["connected"] else "down", values.cell(one["reason"] or ""))
        for one in found["links"]
    ]
    console.print(values.table(("link", "state", "last reason"), links))
    devices = [(id, values.cell(status)) for id, status in sorted(found["devices"].items())]
    console.print(values.table(("device", "status"), devices))


def show_row(found):
    """The same of one of many nodes, as an outcome's ``(status, detail, facts)``."""
    trial = summary.trial_words(found["trial"])
    returned = summary.returned_words(found["returned"])
    detail = f"not kept: {returned}" if returned else ""
    facts = {
        "revision": str(found["revision"]),
        "version": found["version"],
        "links": summary.links_words(found["links"]),
        "devices": summary.devices_words(found["devices"]),
    }
    return ("trial" if trial else fleet.OK), trial or detail, facts


def show_history(rows):
    """The configurations that a node keeps."""
    cells = [(str(row["revision"]), str(row["size"]), row["sha256"]) for row in rows]
    values.console().print(values.table(("revision", "bytes", "sha256"), cells))


def history_row(rows):
    """The same of one of many nodes."""
    return fleet.OK, ", ".join(str(row["revision"]) for row in rows), {"history": rows}


def many(nodes, work, as_json):
    """Do the work on all nodes, show how it goes, and end with a summary and an exit code."""
    outcomes = []
    for outcome in fleet.each(nodes.names, work, nodes.parallel):
        outcomes.append(outcome)
        _progress(f"{len(outcomes)}/{len(nodes.names)} {outcome.node}: {outcome.status}", True)
    if as_json:
        echo_json(fleet.rows(outcomes))
    else:
        values.console().print(fleet.table(outcomes))
        click.echo(fleet.counts(outcomes))
    sys.exit(fleet.exit_code(outcomes))


def results(nodes, work, as_json, planned="planned"):
    """Show what became of ``work(name, report)``, which returns a node's name and its
    ``push.Result``; ``planned`` is the word for what is not done."""
    if nodes.single:
        _result(*work(nodes.names[0], _progress), as_json, planned)
        return

    def row(name):
        _, result = work(name, lambda _words: None)
        status = planned if result.status == "planned" else result.status
        facts = {"revision": _revisions(result), **_numbers(result), "changes": _rows(result)}
        return status, result.detail, facts

    many(nodes, row, as_json)


def _result(name, result, as_json, planned):
    if as_json:
        made = {"node": name, "status": result.status, **_numbers(result)}
        echo_json({**made, "applied": result.applied, "changes": _rows(result)})
        return
    for change in result.changes:
        click.echo(values.printable(str(change)))
    words = f"{name}: revision {_revisions(result)}"
    if result.status == "ok":
        click.echo(f"{words}, in effect: {', '.join(result.applied) or 'all of it'}")
    elif result.status == "unchanged":
        click.echo(f"{words}, unchanged")
    else:
        click.echo(f"{words}, {planned}: {len(result.changes)} changes")


def _numbers(result):
    return {"before": result.before, "after": result.after}


def _rows(result):
    return [change.row() for change in result.changes]


def _revisions(result):
    if result.before == result.after:
        return str(result.before)
    return f"{result.before} → {result.after}"


def _progress(words, always=False):
    """A line about how it goes, beside the output."""
    if always or sys.stderr.isatty():
        click.echo(words, err=True)
