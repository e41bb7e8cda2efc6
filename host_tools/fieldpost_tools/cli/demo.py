"""``fieldpost demo``: the whole chain on this computer, and an account of every record."""

import json
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import click

from fieldpost_tools.errors import ToolError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option(
    "--seconds", default=60.0, show_default=True, type=click.FloatRange(10, 86400), help="Length."
)
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object; lines on stderr.")
@click.option(
    "--keep",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Keep database, CSV and the board's files there.",
)
@click.option(
    "--heap",
    help="Heap of the virtual board, e.g. 136k (below 240k: no webhook; below 160k: fewer points)."
    " [default: 256k]",
)
def command(seconds, as_json, folder, heap):
    """Run a board, a broker, a device and a collector, and show the data flow.

    A virtual board samples a simulated air-handling unit (Modbus TCP), this computer, and made-up
    points; a collector stores what it delivers. An alarm goes to a local receiver by webhook,
    which verifies its signature. In the middle the broker is killed for a while.
    Ends with 0 only if every record arrived exactly once, and every alarm.
    """
    from fieldpost_tools import demo

    with _interruptible(), _work_folder(folder) as work:
        try:
            with _screen(as_json) as show:
                result = demo.run(seconds, heap or demo.HEAP, work, show)
        except ToolError as error:
            if isinstance(error, demo.DemoError) and error.details:
                click.echo(error.details, err=True)
            if as_json:
                click.echo(json.dumps({"error": str(error)}))
            raise
        if folder:
            result["folder"] = str(work)
        _report(result, as_json)
    sys.exit(1 if result["problems"] else 0)


def _report(result, as_json):
    from fieldpost_tools.demo import view

    if as_json:
        for problem in result["problems"]:
            click.echo(problem, err=True)
        click.echo(json.dumps(result))
        return
    click.echo("\n".join(view.summary(result)))
    kept = result.get("folder")
    click.echo(f"  kept in {kept}: demo.db, demo.csv" if kept else "  --keep DIR keeps the data")


@contextmanager
def _work_folder(folder):
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        yield Path(folder)
    else:
        with tempfile.TemporaryDirectory(prefix="fieldpost-demo-") as temporary:
            yield Path(temporary)


@contextmanager
def _interruptible():
    """Any of ``SIGNALS`` ends the run and cleans up; what comes meanwhile is ignored.

    One that is ignored already (nohup) stays so.
    """

    def interrupt(_number, _frame):
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _screen(as_json):
    from rich.console import Console

    from fieldpost_tools.demo import view

    if not as_json and sys.stdout.isatty():
        with view.live_screen(Console()) as show:
            yield show
    else:
        yield view.Lines(lambda text: click.echo(text, err=as_json))
