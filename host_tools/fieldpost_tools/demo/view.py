"""Shows a run: a live table on a terminal, a line a second elsewhere, and the account in words."""

import math
import time
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
#: Lines of the live view that are not points.
FRAME_LINES = 7


def sparkline(values):
    """One character a value, by its height between the least and the greatest of them.

    Values that are no finite numbers leave a blank; booleans count as 0 and 1.
    """
    numbers = [_number(value) for value in values]
    known = [number for number in numbers if number is not None]
    if not known:
        return " " * len(numbers)
    low, span = min(known), max(known) - min(known)
    scale = (len(BARS) - 1) / span if span else 0
    return "".join(" " if n is None else BARS[round((n - low) * scale)] for n in numbers)


def quantity(value, unit=""):
    """``(value, unit)`` for people: at most three decimals, thousands apart, bytes as MB."""
    if isinstance(value, bool):
        return "on" if value else "off", unit
    if _number(value) is None:
        return "–" if value is None else str(value), unit
    if unit == "B" and value >= 1_000_000:
        return f"{value / 1_000_000:,.0f}", "MB"
    return f"{round(value, 3):,}", unit


def age(ms):
    """How old something is, in words: ``0 s``, ``59 s``, ``2 min``."""
    seconds = max(0, ms) // 1000
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def status(picture):
    """The run in a line of plain text."""
    about = "" if picture.exact else "about "
    return (
        f"{picture.elapsed:5.1f} s  {picture.phase:<19}  node {_node(picture):<7}"
        f"  acquired {about}{picture.acquired}  stored {picture.stored}"
        f"  waiting {about}{picture.waiting}  {picture.rate:.1f}/s"
        f"  came twice {picture.redelivered}"
        + (f"  {alarms(picture.receiver)}" if picture.receiver else "")
    )


def alarms(receiver):
    """What came to a ``Receiver`` of webhooks, in words: the newest alarm, how many are signed."""
    if not receiver.arrivals:
        text = "no alarm yet"
    else:
        body = receiver.arrivals[-1].body
        state = body["event"].removeprefix("alarm_")
        count = len(receiver.arrivals)
        text = f"alarm {state}, {count} webhook{'s' * (count > 1)} delivered, signature ok"
    return text + (f", {receiver.refused} NOT" if receiver.refused else "")


def _number(value):
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        return None
    return value


def _node(picture):
    if not picture.state:
        return "starts"
    if not picture.broker:
        return "cut off"
    return "online" if picture.online else "offline"


def live(picture, height):
    """The live view for a terminal of so many lines."""
    now_ms = time.time_ns() // 1_000_000
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=False)
    for name in ("point", "value", "unit", "age", "latest values"):
        table.add_column(name, justify="right" if name in ("value", "age") else "left")
    points = [picture.points[key] for key in sorted(picture.points)]
    shown = points if len(points) <= height - FRAME_LINES else points[: height - FRAME_LINES - 1]
    style = "bold" if picture.broker else "dim"
    for point in shown:
        value, unit = quantity(point.value, point.unit)
        table.add_row(
            Text(f"{point.device}/{point.name}"),
            Text(value, style=style),
            Text(unit),
            Text("" if point.ts_ms is None else age(now_ms - point.ts_ms), style="dim"),
            Text(sparkline(point.history), style="cyan"),
        )
    more = len(points) - len(shown)
    return Group(*_head(picture), table, Text(f"… {more} more" if more else ""))


def _head(picture):
    colour = "green" if picture.broker else "red"
    about = "" if picture.exact else "about "
    title = Text.assemble(
        ("fieldpost demo", "bold"),
        f"  {min(picture.elapsed, picture.seconds):.0f} of {picture.seconds:.0f} s  ",
        (picture.phase, f"bold {colour}"),
    )
    counts = Text.assemble(
        "node ",
        (_node(picture), colour),
        f"  acquired {about}{picture.acquired}  stored {picture.stored}  {picture.rate:.1f}/s",
        f"  came twice {picture.redelivered}",
    )
    backlog = Text.assemble(
        ("waiting on the node ", "bold" if picture.waiting else ""),
        (f"{about}{picture.waiting}  ", f"bold {colour}"),
        (sparkline(picture.backlog), colour),
    )
    return title, counts, backlog, _alarm(picture.receiver), Text()


def _alarm(receiver):
    if receiver is None:
        return Text("no webhooks in this heap", style="dim")
    shown = Text(alarms(receiver), style="bold red" if receiver.refused else "green")
    if receiver.arrivals:
        shown.append(f"  {receiver.arrivals[-1].body['alarm']['message']}", style="dim")
    return shown


@contextmanager
def live_screen(console):
    """A function ``show(picture)`` that keeps a live view on a terminal."""
    latest = [Text("")]
    with Live(get_renderable=lambda: latest[0], console=console, refresh_per_second=5):

        def show(picture):
            latest[0] = live(picture, console.height)

        yield show


class Lines:
    """A function ``show(picture)`` for logs: ``write(text)`` gets a line a second, and one more
    whenever the phase changes."""

    EVERY_S = 1.0

    def __init__(self, write):
        self._write = write
        self._phase = None
        self._at = 0.0

    def __call__(self, picture):
        """Write what is due."""
        now = time.monotonic()
        if picture.phase != self._phase or now - self._at >= self.EVERY_S:
            self._phase, self._at = picture.phase, now
            self._write(status(picture))


def summary(result):
    """The account in plain words, as a list of lines."""
    good = not result["problems"]
    return [
        f"The node acquired {result['records_acquired']} records in {result['seconds']} s; "
        + ("every one is in the database exactly once." if good else "NOT all is well:"),
        *(f"  ! {problem}" for problem in result["problems"]),
        f"  the empty board was provisioned over its serial line:"
        f" {result['provision_bytes'] / 1000:.0f} kB in {result['provision_seconds']} s",
        f"  lost {result['lost']}, duplicates {result['duplicates']}, dropped on the node"
        f" {result['dropped']}, gaps without a reason {result['unexplained_gaps']}",
        f"  the broker was killed and gone for {result['outage_seconds']} s;"
        f" {result['backlog']} records waited on the node and were stored"
        f" {result['drain_seconds']} s after it was back",
        f"  {result['redelivered']} records came twice and were stored once",
        f"  CSV: {result['csv_rows']} rows of {result['points']} points, read back and counted;"
        f" the counter's values have {result['counter_holes']} holes",
        *_alarm_summary(result),
        f"  the node met {result['node_errors']} errors and restarted"
        f" {result['node_restarts']} tasks",
        f"  heap of {result['heap']}: free after collection, by thirds of the run: "
        + ", ".join(f"{free / 1024:.1f}" for free in result["heap_free"])
        + " KiB",
    ]


def _alarm_summary(result):
    if "alarms_raised" not in result:
        return ["  no alarms and webhooks: they need a larger heap"]
    return [
        f"  alarms: {result['alarms_raised']} raised, {result['alarms_cleared']} cleared, as the"
        f" records tell; {result['webhooks_delivered']} webhooks arrived, their signatures"
        f" verified; {result['webhooks_refused']} refused, {result['webhooks_missing']} missing,"
        f" {result['webhooks_again']} came twice"
    ]
