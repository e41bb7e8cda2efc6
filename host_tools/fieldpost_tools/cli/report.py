"""``fieldpost report``: one HTML page about the stored data."""

import os
from pathlib import Path

import click

from fieldpost_tools.cli.selection import selection_options


@click.command()
@selection_options
@click.option("--out", default="report.html", show_default=True, metavar="FILE")
@click.option("--title", default="Fieldpost", show_default=True)
def command(db, selection, out, title):
    """Write one self-contained HTML page: trends, gaps, alarms, delivery."""
    from fieldpost_tools import report
    from fieldpost_tools.errors import OutputError
    from fieldpost_tools.stores import open_store

    path = Path(out)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open_store(db) as store, part.open("w", encoding="utf-8") as file:
            for piece in report.write(store, selection, title):
                file.write(piece.encode("utf-8", "replace").decode())
        part.replace(path)
    except OSError as error:
        raise OutputError(f"'{path}': {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"{path}, {path.stat().st_size} bytes")
