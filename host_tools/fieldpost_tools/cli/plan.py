"""``fieldpost plan``: what a configuration needs of a board, before there is one."""

import dataclasses
import json
import sys

import click

_UNITS = {"s": 1 / 3600, "m": 1 / 60, "min": 1 / 60, "h": 1.0, "d": 24.0}


class _Duration(click.ParamType):
    """A number with a unit, as hours."""

    name = "duration"

    def convert(self, value, param, ctx):
        """Hours of ``90m``, ``8h``, ``2d``."""
        if isinstance(value, float):
            return value
        number = value.rstrip("abcdefghijklmnopqrstuvwxyz")
        try:
            hours = float(number) * _UNITS[value[len(number) :]]
        except (ValueError, KeyError):
            hours = 0.0
        if not 0 < hours < 1e6:
            self.fail(f"{value!r} is not a duration such as 45s, 90m, 8h or 2d", param, ctx)
        return hours


@click.command()
@click.argument("config", metavar="NODE.JSON", type=click.File(encoding="utf-8"))
@click.option("--board", default="VIRTUAL", show_default=True, help="A folder of boards/.")
@click.option(
    "--outage",
    default="8h",
    show_default=True,
    type=_Duration(),
    help="How long nothing arrives anywhere; for the flash's life, once a day.",
)
@click.option(
    "--changes",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0, 1e9),
    help="How often an hour each point changes as its rule wants.",
)
@click.option("--flash-kib", type=click.IntRange(0), help="File system for the logs; board's own.")
@click.option("--heap-kib", type=click.IntRange(1), help="Heap; board's own.")
@click.option(
    "--packet-bytes",
    default=40,
    show_default=True,
    type=click.IntRange(0, 200),
    help="TCP/IP headers a packet: 40 with IPv4, 60 with IPv6.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead.")
def command(config, board, outage, changes, flash_kib, heap_kib, packet_bytes, as_json):
    """Work out buffers, flash life and traffic of a node's configuration.

    Ends with exit code 1 if records would be lost in the outage, and says what to change.
    """
    from fieldpost_tools import sizing
    from fieldpost_tools.errors import InputError

    try:
        row = json.load(config)
    except ValueError as error:
        raise InputError("configuration", config.name, f"JSON: {error}") from error
    place = sizing.load_board(board, _kib(flash_kib), _kib(heap_kib))
    result = sizing.plan(row, place, sizing.Assumptions(changes, outage, packet_bytes))
    if as_json:
        fields = dataclasses.asdict(result)
        click.echo(json.dumps({**fields, "fits": result.fits}, ensure_ascii=False, indent=1))
    else:
        _show(result)
    if not result.fits:
        sys.exit(1)


def _kib(number):
    return None if number is None else number * 1024


def _show(result):
    from rich.console import Console

    width = None if sys.stdout.isatty() else 100
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    board = result.board
    flash = "any size" if board.flash_bytes is None else bytes_text(board.flash_bytes)
    console.print(
        f"{result.node} on {board.name}: flash {flash}, heap {bytes_text(board.heap_bytes)}, "
        f"{board.float_bits}-bit floats"
    )
    if result.logs:
        console.print(_logs(result))
    if result.traffic:
        console.print(_traffic(result))
    for line in _words(result):
        console.print(line)


def _logs(result):
    from rich.table import Table

    columns = (
        "log",
        "points",
        "records/h",
        "bytes/record",
        "RAM holds",
        "flash holds",
        "lossless",
    )
    table = Table(*columns, "writes/day")
    for log in result.logs:
        table.add_row(
            log.subscription,
            str(log.points),
            f"{log.records_per_hour:,.0f}",
            f"{log.record_bytes:.1f}",
            hours_text(log.ram_hours),
            hours_text(log.flash_hours),
            hours_text(log.holds_hours),
            f"{log.writes_per_day:,.0f}",
        )
    return table


def _traffic(result):
    from rich.table import Table

    table = Table("a day on the link", "messages", "from the node", "to the node", "packets")
    for one in result.traffic:
        numbers = bytes_text(one.up), bytes_text(one.down), f"{one.packets:,.0f}"
        table.add_row(one.kind, f"{one.messages:,.0f}", *numbers)
    return table


def _words(result):
    """What the figures mean, a sentence each."""
    outage = hours_text(result.assumptions.outage_hours)
    for log in result.logs:
        flash = f"; flash holds {hours_text(log.flash_hours)}" if log.flash_hours else ""
        flash = "; flash has no limit" if log.flash_hours is None else flash
        needs = f"{bytes_text(log.need_ring_bytes)} of RAM"
        if log.flash_hours != 0:
            needs += f" or {bytes_text(log.need_flash_bytes)} of flash for records"
        yield (
            f"{log.subscription}: RAM holds {hours_text(log.ram_hours)}{flash}; "
            f"an outage of {outage} needs {needs}: {'fits' if log.fits else 'DOES NOT FIT'}."
        )
    if not result.logs:
        yield "No point is ever recorded."
    yield f"Flash: {_life(result)}."
    if result.traffic:
        yield (
            f"Link: {bytes_text(result.mqtt_bytes_per_day)} of MQTT a day, "
            f"{bytes_text(result.link_bytes_per_day)} with TCP/IP"
            f" ({result.assumptions.packet_bytes} bytes a packet)."
        )
    yield (
        f"Assumed: each point changes {result.assumptions.changes_per_hour:g} times an hour, "
        "where a rule or live publishing asks for changes."
    )
    for sentence in result.advice:
        yield f"Warning: {sentence}."


def _life(result):
    hours = result.assumptions.outage_hours
    when = f"an outage of {hours_text(hours)} every day" if hours < 24 else "one endless outage"
    if not result.erases_per_day:
        return f"never written, even with {when}"
    erases = f"{result.erases_per_day:,.0f} block erases a day with {when}"
    if result.flash_years is None:
        return f"{erases}; of what size it is, the board does not say"
    digits = 0 if result.flash_years >= 10 else 1
    return f"lasts {result.flash_years:,.{digits}f} years: {erases}"


def hours_text(hours):
    """A time in the unit that fits; ``no limit`` for None."""
    if hours is None:
        return "no limit"
    for limit, factor, unit in ((1 / 60, 3600, "s"), (2, 60, "min"), (72, 1, "h")):
        if hours < limit:
            return f"{hours * factor:.3g} {unit}"
    days = hours / 24
    return f"{days:,.0f} days" if days < 1000 else f"{days / 365.25:,.0f} years"


def bytes_text(number):
    """A size in bytes, KiB or MiB."""
    if number < 1024:
        return f"{number:.0f} bytes"
    if number < 1024 * 1024:
        return f"{number / 1024:.0f} KiB"
    return f"{number / 1024 / 1024:.1f} MiB"
