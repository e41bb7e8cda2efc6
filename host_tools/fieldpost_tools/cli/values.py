"""What a node answered, for a person: tables of objects, one line for the rest."""

import sys

from fieldpost_tools.query import format_value


def printable(text):
    """``text``, unless it would steer the terminal: then with escapes."""
    return text if text.isprintable() else repr(text)[1:-1]


def cell(value):
    """Any JSON value on one line."""
    return printable(format_value(value))


def console():
    """A rich console that prints text as it is; 200 columns where there is no terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 200
    return Console(width=width, markup=False, emoji=False, highlight=False)


def show(value):
    """Print a value: a list of objects as a table, an object as a table of its keys."""
    if isinstance(value, dict) and value:
        rows = [(printable(key), cell(item)) for key, item in value.items()]
        console().print(table(("name", "value"), rows))
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        keys = list(dict.fromkeys(key for item in value for key in item))
        rows = [[cell(item.get(key)) for key in keys] for item in value]
        console().print(table(map(printable, keys), rows))
    elif isinstance(value, list):
        for item in value:
            console().print(cell(item))
    else:
        console().print("null" if value is None else cell(value))


def table(names, rows):
    """A rich table of rows of text."""
    from rich.table import Table

    made = Table(*names)
    for row in rows:
        made.add_row(*row)
    return made
