"""A chart of stored records in the terminal, one below the other for each unit."""

import sys
import time

import click

from fieldpost_tools import aggregate, query
from fieldpost_tools.errors import InputError

#: More points in one chart nobody can tell apart.
MAX_SERIES = 8
_WIDTH, _HEIGHT, _TIMES = 100, 20, 5


def draw(store, selection, every=None):
    """Draw the selected points (at most ``MAX_SERIES``), as means of ``every``.

    By default a mean a column. Raises InputError.
    """
    found = list(query.series(store, selection))
    if not found:
        raise InputError("store", "nothing", "at least one point with records")
    if len(found) > MAX_SERIES:
        allowed = f"at most {MAX_SERIES} points in a chart: choose them by --point"
        raise InputError("point", f"{len(found)} points", allowed)
    every = every or _column_ms(store, selection)
    by_unit = {}
    for row in aggregate.rows(store, selection, every):
        if row.avg is not None:
            lines = by_unit.setdefault(row.unit, {})
            lines.setdefault(_label(row), []).append((row.ts_ms, row.avg))
    if not by_unit:
        raise InputError("point", "no numbers", "points with numbers")
    for unit, lines in by_unit.items():
        _draw(unit, lines)


def _label(row):
    return f"{row.node} {row.device}/{row.point}" if row.device else f"{row.node} {row.point}"


def _column_ms(store, selection):
    """Milliseconds that a column of the chart stands for."""
    sql = "SELECT min(ts_ms), max(ts_ms) FROM records"
    first, last = next(store.read(sql))
    since = first if selection.since is None else selection.since
    until = last if selection.until is None else selection.until
    return max(1, ((until or 0) - (since or 0)) // _WIDTH)


def _draw(unit, lines):
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(_WIDTH, _HEIGHT)
    moments = [ms for line in lines.values() for ms, _ in line]
    first, last = min(moments), max(moments)
    for label, line in lines.items():
        xs, ys = zip(*line, strict=True)
        plotext.plot(xs, ys, label=label, marker="braille")
    ticks = [first + (last - first) * i // (_TIMES - 1) for i in range(_TIMES)]
    plotext.xticks(ticks, [_time(ms, last - first) for ms in ticks])
    plotext.title(unit)
    text = plotext.build()
    click.echo(text if sys.stdout.isatty() else plotext.uncolorize(text))


def _time(ms, span_ms):
    form = "%H:%M:%S" if span_ms < 86_400_000 else "%m-%d %H:%M"
    return time.strftime(form, time.gmtime(ms // 1000))
