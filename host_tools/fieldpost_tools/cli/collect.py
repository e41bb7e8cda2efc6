"""``fieldpost collect``: run a collector, with its counters on the terminal or as JSON lines."""

import json
import os
import signal
import sys
import time
from contextlib import contextmanager

import click

#: Environment variable of the broker's password.
PASSWORD = "FIELDPOST_MQTT_PASSWORD"


@click.command()
@click.option(
    "--mqtt",
    "url",
    required=True,
    metavar="URL",
    help=f"mqtt[s]://[user[:password]@]host[:port]; the password also by {PASSWORD}.",
)
@click.option(
    "--store",
    "--db",
    "db",
    default="fieldpost.db",
    show_default=True,
    metavar="FILE|URL",
    help="SQLite file or postgresql://…, made if new.",
)
@click.option("--node", "nodes", multiple=True, help="Only this node; repeatable.")
@click.option("--subscriber", default="collector", show_default=True, help="Our name at the node.")
@click.option("--share", metavar="GROUP", help="Share the work with collectors of this group.")
@click.option("--ca", metavar="FILE", help="PEM file that verifies the broker (mqtts://).")
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End after this time.",
)
@click.option(
    "--until-idle",
    "idle_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End when nothing new came for so long.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a second, then a summary.")
def command(url, db, nodes, subscriber, share, ca, for_s, idle_s, as_json):
    """Store what nodes send in a database, and acknowledge it once it is committed.

    Several collectors of one share group write into one PostgreSQL (its password also by
    PGPASSWORD).

    Ctrl-C or SIGTERM ends it after committing what arrived.
    """
    from fieldpost_tools.collect import Collector
    from fieldpost_tools.stores import open_store

    password = os.environ.get(PASSWORD)
    with open_store(db, create=True) as store:
        collector = Collector(url, store, nodes or ("+",), subscriber, share, None, ca, password)
        with _screen(as_json) as show, collector:
            run = _Run(collector, store, for_s, idle_s)
            with _signals(run.stop):
                run.until_done(show)
        show(run.status(final=True), True)


class _Run:
    """One run of a collector with a clock around it."""

    TICK_S = 1.0

    def __init__(self, collector, store, for_s, idle_s):
        self._collector, self._store = collector, store
        self._for_s, self._idle_s = for_s, idle_s
        self._started = self._active = self._ticked = time.monotonic()
        self._ticked_records = 0
        self._stopping = False

    def stop(self):
        """End after the current round."""
        self._stopping = True

    def until_done(self, show):
        """Collect until stopped or the time is over; ``show(status, False)`` every second."""
        counters = self._collector.counters
        while not self._stopping and not self._over(time.monotonic()):
            before = counters.records
            self._collector.step()
            now = time.monotonic()
            if counters.records > before:
                self._active = now
            if now - self._ticked >= self.TICK_S:
                show(self.status(), False)

    def status(self, final=False):
        """Counters, rate since the last call (or of the whole run), and sums of the store."""
        now = time.monotonic()
        counters, link = self._collector.counters, self._collector.link
        since, before = (self._started, 0) if final else (self._ticked, self._ticked_records)
        rate = (counters.records - before) / max(now - since, 1e-3)
        self._ticked, self._ticked_records = now, counters.records
        totals = self._store.totals()
        return {
            "seconds": round(now - self._started, 3),
            "broker": link.state,
            "outages": link.outages,
            "nodes": totals.nodes,
            "stored": totals.records,
            "records_per_s": round(rate, 1),
            **vars(counters),
            "gaps": totals.gaps,
            "missing": totals.missing,
            "dropped": totals.dropped,
        }

    def _over(self, now):
        if self._for_s is not None and now - self._started >= self._for_s:
            return True
        return self._idle_s is not None and now - self._active >= self._idle_s


@contextmanager
def _signals(stop):
    """The first SIGINT or SIGTERM stops cleanly, a second one ends at once."""

    def handle(number, _frame):
        signal.signal(number, signal.SIG_DFL)
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _screen(as_json):
    """A function ``show(status, final)``: JSON lines, a live line, or lines in a log."""
    if as_json:
        yield _show_json
    elif sys.stdout.isatty():
        with _live() as show:
            yield show
    else:
        yield _LogLines()


def _show_json(status, final):
    click.echo(json.dumps({"event": "summary" if final else "progress", **status}))


def _line(status):
    line = (
        f"{status['nodes']} nodes  {status['records']} records  {status['records_per_s']:.0f}/s"
        f"  {status['duplicates']} duplicates  {status['gaps']} gaps ({status['missing']} missing)"
        f"  {status['dropped']} dropped at nodes  broker: {status['broker']}"
    )
    return line + (f"  last problem: {status['problem']}" if status["problem"] else "")


class _LogLines:
    """Plain lines, seldom, for output that goes into a file; a new problem is shown at once."""

    EVERY = 10

    def __init__(self):
        self._calls = 0
        self._problem = ""

    def __call__(self, status, final):
        self._calls += 1
        if final or self._calls % self.EVERY == 1 or status["problem"] != self._problem:
            self._problem = status["problem"]
            click.echo(_line(status))


@contextmanager
def _live():
    from rich.live import Live
    from rich.text import Text

    with Live(Text("connecting"), refresh_per_second=4, transient=True) as live:

        def show(status, final):
            if final:
                click.echo(_line(status))
            else:
                live.update(Text(_line(status)))

        yield show
