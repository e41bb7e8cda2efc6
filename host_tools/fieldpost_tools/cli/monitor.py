"""``fieldpost monitor``: live values and counters of a node in the terminal."""

import json
import sys
import time
from contextlib import contextmanager

import click

from fieldpost_tools.cli.connection import connection_options


@click.command()
@connection_options
@click.option(
    "--interval",
    "interval_s",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    metavar="SECONDS",
    help="Pause between two readings.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End after this time.",
)
@click.option("--once", is_flag=True, help="Read once, show it, end.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each reading.")
def command(connect, interval_s, seconds, once, as_json):
    """Show the values and counters of a node while it runs.

    Where the output is no terminal, it is lines: everything at first, then what has changed.
    Ctrl-C ends it. Exit codes are those of `fieldpost api`; a node that was heard once is waited
    for.
    """
    from fieldpost_tools.monitor import Monitor

    with connect() as client, _screen(as_json, once) as screen:
        reader = Monitor(client)
        screen.show(reader.read())
        end = time.monotonic() + seconds if seconds else None
        try:
            while not once and _pause(interval_s, end):
                _turn(reader, screen)
        except KeyboardInterrupt:
            pass


def _pause(interval_s, end):
    """Wait for the next turn; False when the time is over."""
    left = interval_s if end is None else min(interval_s, end - time.monotonic())
    time.sleep(max(left, 0))
    return left == interval_s


def _turn(reader, screen):
    from fieldpost_tools.api.errors import ApiError

    try:
        snapshot = reader.read()
    except ApiError as error:
        screen.fail(str(error))
    else:
        screen.show(snapshot)


@contextmanager
def _screen(as_json, once):
    if as_json:
        yield _Json()
    elif once:
        yield _Page()
    elif sys.stdout.isatty():
        with _live() as screen:
            yield screen
    else:
        yield _Lines()


class _Json:
    def show(self, snapshot):
        points = [point._asdict() for point in snapshot.points]
        _echo({"info": snapshot.info, "points": points})

    def fail(self, words):
        _echo({"error": words})


def _echo(value):
    click.echo(json.dumps(value, ensure_ascii=False))


class _Page:
    """Everything, once."""

    def show(self, snapshot):
        from fieldpost_tools.cli import values

        values.console().print(_picture(snapshot))


class _Lines:
    """What has changed, for output that goes into a file."""

    def __init__(self):
        self._points = {}
        self._counters = {}

    def show(self, snapshot):
        now = time.strftime("%H:%M:%S")
        for point in snapshot.points:
            shown = point._replace(value_date=None)
            if self._points.get(point.id) != shown:
                self._points[point.id] = shown
                click.echo(f"{now} {' '.join(filter(None, _cells(point)))}")
        for name, count in sorted(snapshot.counters.items()):
            before = self._counters.get(name, 0)
            if count != before:
                click.echo(f"{now} {name} {count} ({count - before:+})")
        self._counters = snapshot.counters

    def fail(self, words):
        click.echo(f"{time.strftime('%H:%M:%S')} {words}")


@contextmanager
def _live():
    from rich.live import Live

    with Live(refresh_per_second=4) as live:
        yield _Live(live)


class _Live:
    """Everything, painted again each time."""

    def __init__(self, live):
        self._live = live
        self._last = None
        self._at = 0.0

    def show(self, snapshot):
        now = time.monotonic()
        rates = _rates(self._last, snapshot, now - self._at)
        self._last, self._at = snapshot, now
        self._live.update(_picture(snapshot, rates))

    def fail(self, words):
        self._live.update(_picture(self._last, problem=words))


def _rates(before, snapshot, seconds):
    """What each counter gains in a second; empty after a restart of the node."""
    if before is None or before.info["boot"] != snapshot.info["boot"]:
        return {}
    counters = before.counters
    return {
        name: (count - counters[name]) / seconds
        for name, count in snapshot.counters.items()
        if name in counters
    }


def _picture(snapshot, rates=None, problem=None):
    """All of a snapshot as something that rich prints."""
    from rich.console import Group
    from rich.text import Text

    from fieldpost_tools.cli.values import table

    points = table(
        ("point", "value", "unit", "text", "status", "age"),
        [(*_cells(point), _age(snapshot, point)) for point in snapshot.points],
    )
    names = ("counter", "total", "/s") if rates else ("counter", "total")
    counters = table(
        names,
        [
            (name, str(count), *([f"{rates.get(name, 0):.1f}"] if rates else []))
            for name, count in sorted(snapshot.counters.items())
            if count
        ],
    )
    head = Text(_head(snapshot.info))
    return Group(head, points, counters, *([Text(problem)] if problem else []))


def _head(info):
    parts = [f"{info['node']} on {info['board']}", f"boot {info['boot']}"]
    parts.append(f"up {info['uptime_ms'] // 1000} s")
    for name in ("heap", "flash"):
        if info[name]:
            parts.append(f"{name} {info[name]['free'] // 1024} KiB free")
    clock = info["clock"]
    parts.append(f"clock {clock['source']}" if clock["trusted"] else "clock not set")
    return ", ".join(parts)


def _cells(point):
    """Name, value, unit, driver's text and status of a point, for a person."""
    from fieldpost_tools.cli.values import cell, printable

    texts = point.unit, point.value_string or "", point.status
    return (f"{point.device}/{point.point}", cell(point.value), *map(printable, texts))


def _age(snapshot, point):
    now = snapshot.info["clock"]["unix_ms"]
    if now is None or point.value_date is None:
        return ""
    return f"{max(0, now - point.value_date) / 1000:.1f} s"
