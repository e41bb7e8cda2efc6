"""The options by which every reading command chooses its records."""

import functools
import time

import click

_OPTIONS = (
    click.option(
        "--store",
        "--db",
        "db",
        default="fieldpost.db",
        show_default=True,
        metavar="FILE|URL",
        help="The collector's file or postgresql://….",
    ),
    click.option("--node", "nodes", multiple=True, help="Only this node; repeatable."),
    click.option(
        "--point", "points", multiple=True, help="device/name, or a pattern; repeatable."
    ),
    click.option("--since", metavar="TIME", help="From then on: ISO 8601, Unix ms, or -15m."),
    click.option("--until", metavar="TIME", help="Up to then, exclusive."),
)


def selection_options(function):
    """Add the options; ``function`` gets ``db`` and ``selection``, a ``query.Selection``."""
    return _OPTIONS[0](time_options(function))


def time_options(function):
    """The same without ``db``."""

    @functools.wraps(function)
    def wrapper(nodes, points, since, until, **others):
        from fieldpost_tools.query import Selection, parse_time

        now_ms = time.time_ns() // 1_000_000
        limits = parse_time("since", since, now_ms), parse_time("until", until, now_ms)
        return function(selection=Selection(nodes, points, *limits), **others)

    for option in reversed(_OPTIONS[1:]):
        wrapper = option(wrapper)
    return wrapper
