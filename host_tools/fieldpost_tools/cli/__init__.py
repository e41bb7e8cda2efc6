"""The ``fieldpost`` command: one module a command, imported when it is called.

A module ``fieldpost_tools.cli.<name>`` exports its click command or group as ``command``; it is
listed while its file is there. Its help line stands here, so that ``fieldpost --help`` imports
none of them and starts at once. Every ``ToolError`` becomes one line on stderr and its exit code.
"""

import importlib
import importlib.util

import click

from fieldpost_tools import __version__
from fieldpost_tools.errors import ToolError

#: Command name -> help line, in the order of ``fieldpost --help``.
COMMANDS = {
    "demo": "Run a board, a broker, a device and a collector, and show the data flow.",
    "sim": "Run virtual boards and an embedded broker.",
    "board": "Show the boards that are known, and what fits on them.",
    "flash": "Put MicroPython on a board.",
    "provision": "Install firmware and configuration on a board.",
    "config": "Check, push and roll back a node's configuration.",
    "update": "Bring nodes another release of their code.",
    "api": "Call a node's API.",
    "monitor": "Show a node's live values and counters.",
    "collect": "Store what nodes send, then acknowledge it.",
    "fetch": "Read a node's own log into a store.",
    "query": "Show stored records.",
    "export": "Write stored records elsewhere.",
    "report": "Write an HTML page about the stored data.",
    "backfill": "Send stored records to a sink again.",
    "retention": "Remove old records, keep their averages.",
    "plan": "Work out buffers, flash life and traffic.",
    "status": "Show nodes, streams and gaps.",
}


class _Failure(click.ClickException):
    def __init__(self, error):
        super().__init__(str(error))
        self.exit_code = error.exit_code


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are called."""

    def list_commands(self, ctx):
        """Names of the commands whose file is installed."""
        return super().list_commands(ctx) + [name for name in COMMANDS if _installed(name)]

    def get_command(self, ctx, name):
        """Import the command; None if there is no such one."""
        if name in COMMANDS and _installed(name):
            return importlib.import_module(f"{__name__}.{name}").command
        return super().get_command(ctx, name)

    def format_commands(self, ctx, formatter):
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def invoke(self, ctx):
        """Run the command; a ``ToolError`` ends it with one line and its exit code."""
        try:
            return super().invoke(ctx)
        except ToolError as error:
            raise _Failure(error) from error


def _installed(name):
    return importlib.util.find_spec(f"{__name__}.{name}") is not None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fieldpost", message="%(prog)s %(version)s")
def main():
    """Collect, query and export what Fieldpost nodes deliver."""
