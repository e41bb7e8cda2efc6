"""One board from its port to its node's answer, and the boards of an inventory."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from fieldpost_tools import boards, credentials, fleet
from fieldpost_tools.config import check, files, secrets, template
from fieldpost_tools.errors import InputError
from fieldpost_tools.provision import answer, link
from fieldpost_tools.provision.job import Job
from fieldpost_tools.provision.rom import RomJob


@dataclass(frozen=True)
class Options:
    """How boards are provisioned: ``form``, ``single``, ``trial`` as of ``Job``, ``tool`` and
    ``silence_s`` as of ``link.open``; ``wait_s`` for the node, 0 not at all; ``broker`` (a
    ``broker.Address``) and ``ca`` where its word is waited for there."""

    form: str = "mpy"
    tool: str = "mpremote"
    single: bool = False
    trial: bool = True
    dry: bool = False
    silence_s: float = 10.0
    wait_s: float = 60.0
    broker: object = None
    ca: str | None = None


def configuration(path, node=None, entry=None):
    """The configuration in a file, for a node: checked, with its secrets. Raises ToolError.

    ``node`` and ``entry`` (of an inventory) fill in a template, see ``config.template``.
    """
    config = files.load(path)
    if node:
        config = {**template.fill(config, node, entry), "node": node}
    check.check(config, path)
    return secrets.resolved(config, Path(path).absolute().parent)


def provision(port, board, config, options, show=None):
    """Bring the board at ``port`` where it should be: its ``Report``, and the node's ``Answer``
    (None where it was not waited for).

    ``config``: a dict, or None to leave what the board has. The board boots afterwards whatever
    happened, unless it is gone. Raises ToolError.
    """
    with contextlib.ExitStack() as parts:
        board_link = parts.enter_context(link.open(port, options.tool, options.silence_s))
        kind = RomJob if options.form == "romfs" else Job
        job = kind(board_link, board, options.form, options.single, options.trial, show=show)
        try:
            job.look()
            report = job.run(config, options.dry)
            node = config["node"] if config else job.node_name()
            waits = node and options.wait_s and not options.dry
            source = parts.enter_context(_source(port, node, options)) if waits else None
            job.reset()
        except BaseException:
            board_link.abandon()
            raise
        if not node:
            report.notes.append("it has no configuration yet, so no node starts")
        return report, source.wait(options.wait_s) if source else None


def _source(port, node, options):
    if options.broker:
        return answer.Mqtt(options.broker, node, options.ca)
    return answer.Serial(port)


def each(entries, options, parallel=8):
    """Yield a ``fleet.Outcome`` for each ``inventory.Entry`` as they come: "ok", "unchanged" or
    what went wrong. Credentials that a node has not yet are made."""
    found = {entry.name: entry for entry in entries}
    yield from fleet.each(list(found), lambda name: _one(found[name], options), parallel)


def _one(entry, options):
    if not entry.port:
        raise InputError(f"{entry.name}: port", None, "the serial device that the board is at")
    if not options.dry:
        credentials.ensure(entry.name)
    config = configuration(entry.config, entry.name, entry) if entry.config else None
    report, said = provision(entry.port, boards.load(entry.board), config, options)
    words = summary(report) + (f"; {said.node} answers" if said else "")
    facts = {"board": report.board, "version": report.version}
    return fleet.OK if report.changed else fleet.UNCHANGED, words, facts


def summary(report):
    """What was done, in a line."""
    if not (report.sent or report.copied or report.removed):
        return "nothing to send"
    verbs = ("would be sent", "copied", "removed") if report.dry else ("sent", "copied", "removed")
    counts = (len(report.sent), report.copied, report.removed)
    words = [f"{count} {verb}" for count, verb in zip(counts, verbs, strict=True) if count]
    size = "" if report.dry else f", {report.bytes} bytes in {report.seconds:.1f} s"
    return "files: " + ", ".join(words) + size
