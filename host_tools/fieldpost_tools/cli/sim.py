"""``fieldpost sim``: a virtual board and an embedded broker, until Ctrl-C."""

import json
import signal
import sys
import time

import click

from fieldpost_tools.errors import InputError

POLL_S = 0.1


@click.group()
def command():
    """Run virtual boards and an embedded broker."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it cleans up as well


@command.command()
@click.option("--heap", default="128k", show_default=True, help="Heap, as 96k or 1m.")
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False), help="Its flash. [default: temporary]"
)
@click.option("--link", type=click.Path(dir_okay=False), help="Path of the serial device to make.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False),
    help="Install a node with this configuration first.",
)
def board(heap, folder, link, config_file):
    """A virtual board: real MicroPython behind a serial device.

    Works with mpremote, ampy and serial terminals. What it prints is shown here.
    """
    from fieldpost_tools import build
    from fieldpost_tools.sim.board import Board

    virtual = Board(folder, heap, link)
    if config_file:
        build.install(virtual.folder, _read_config(config_file))
    with virtual:
        what = f"board at {virtual.path}, flash in {virtual.folder}"
        _until_interrupted(what, _Display(virtual).show)


@command.command()
@click.option("--port", default=1883, show_default=True, type=click.IntRange(0, 65535))
def broker(port):
    """An MQTT broker on 127.0.0.1, open to all, in memory (port 0: a free one)."""
    from fieldpost_tools.sim.broker import Broker, EmbeddedBrokerError

    with Broker(port) as embedded:

        def check():
            if not embedded.running:
                raise EmbeddedBrokerError("the broker's process has ended")

        _until_interrupted(f"broker at {embedded.host}:{embedded.port}", check)


def _read_config(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise InputError("--config", path, f"a JSON file ({error})") from error


class _Display:
    """Copies what a board prints to stdout."""

    def __init__(self, virtual):
        self._virtual = virtual
        self._shown = 0

    def show(self):
        data, self._shown = self._virtual.read(self._shown)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        self._virtual.check()


def _until_interrupted(what, step):
    try:
        click.echo(f"{what}; Ctrl-C ends it", err=True)
        while True:
            step()
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        click.echo(err=True)
