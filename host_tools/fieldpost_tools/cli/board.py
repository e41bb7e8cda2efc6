"""``fieldpost board``: the boards that are known, and what fits on them."""

import dataclasses
import json

import click

from fieldpost_tools.cli.plan import bytes_text

#: Keys of a board that are numbers of the flash, shown as in partition tables.
_HEX = ("offset", "bytes", "families")
_SIZES = "_bytes"


@click.group()
def command():
    """Show the boards that are known, and what fits on them."""


@command.command("list")
def list_boards():
    """Every board and variant in one table.

    "files" is the file system of the official firmware, "heap" what is free with Wi-Fi up.
    """
    from fieldpost_tools import boards
    from fieldpost_tools.cli import values

    columns = ("board", "chip", "flash", "files", "heap", "profile", "TLS")
    columns += ("fits, run from files", "fits, frozen or in ROMFS")
    rows = [_summary(boards.load(name)) for name in boards.names()]
    values.console().print(values.table(columns, rows))


@command.command()
@click.argument("name", metavar="BOARD")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead.")
def show(name, as_json):
    """Everything that is known about a board, and where its figures come from."""
    from fieldpost_tools import boards
    from fieldpost_tools.cli import values

    row = dataclasses.asdict(boards.load(name))
    if as_json:
        click.echo(json.dumps(row, ensure_ascii=False, indent=1))
        return
    sources = row.pop("sources")
    lines = [
        (path, _text(path, value), sources.get(path, ""))
        for path, value in _flat("", row)
        if value not in (None, ())
    ]
    values.console().print(values.table(("key", "value", "source"), lines))


def _summary(board):
    sizes = (board.chip_flash_bytes, board.flash_bytes, board.heap_bytes)
    flash, files, heap = ("no limit" if size is None else bytes_text(size) for size in sizes)
    tls = "no limit" if board.fits.tls_sessions is None else str(board.fits.tls_sessions)
    fits = (board.fits.features, board.fits.features_in_flash)
    parts = (", ".join(features) or "nothing, see its README" for features in fits)
    return (board.id, board.chip, flash, files, heap, board.profile, tls, *parts)


def _flat(path, value):
    """``(path, value)`` of everything in nested dicts."""
    if isinstance(value, dict) and value and path != "defaults":
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}" if path else key, inner)
    else:
        yield path, value


def _text(path, value):
    key = path.rpartition(".")[2]
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return ", ".join(hex(one) if key in _HEX else str(one) for one in value)
    if key in _HEX:
        return hex(value)
    if key.endswith(_SIZES) and value >= 1024:
        return f"{value} ({bytes_text(value)})"
    return str(value)
