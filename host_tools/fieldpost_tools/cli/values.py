"""What a node answered, for a person: tables of objects, one line for the rest.

A node's objects have no order of keys, so tables have one of their own. Unix milliseconds in keys
that are known to hold a time are shown as ISO 8601.
"""

import sys

from fieldpost_tools.query import format_time, format_value

#: Keys that come first, and last; the others stand between them by name.
_FIRST = ("ts", "id", "name", "subscription", "subscriber", "gateway_id", "address", "value")
_LAST = ("json", "private_json")
_TIMES = ("ts", "ts_ms", "unix_ms", "start", "end", "value_date", "status_date")


def printable(text):
    """``text``, unless it would steer the terminal: then with escapes."""
    return text if text.isprintable() else repr(text)[1:-1]


def cell(value):
    """Any JSON value on one line."""
    return printable(format_value(value))


def member(key, value):
    """The value of a key of an object on one line."""
    if key in _TIMES and isinstance(value, int):
        return format_time(value)
    return cell(value)


def ordered(keys):
    """A list of keys in the order of a table."""
    between = sorted(set(keys) - set(_FIRST) - set(_LAST))
    return [key for key in (*_FIRST, *between, *_LAST) if key in keys]


def console():
    """A rich console that prints text as it is; 200 columns where there is no terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 200
    return Console(width=width, markup=False, emoji=False, highlight=False)


def show(value):
    """Print a value: an object as a table of its keys, a list of objects as a table with a column
    for each key that has a value in one of them."""
    if isinstance(value, dict) and value:
        rows = [(printable(key), member(key, value[key])) for key in ordered(value)]
        console().print(table(("name", "value"), rows))
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        keys = ordered({key for item in value for key in item if item[key] is not None})
        rows = [[member(key, item.get(key)) for key in keys] for item in value]
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
