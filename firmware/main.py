"""Runs the node that config.json describes; Ctrl-C stops it and gives the REPL.

While it runs it answers requests to its JSON API on the console (see ``fieldpost.api.serial``).

When it ends by an error, the traceback goes to the console and into last_error.txt, which always
holds the newest one only.
"""

import asyncio
import os
import sys

ERROR_FILE = "last_error.txt"
ERROR_BYTES = 2048


def report(error):
    """Print an exception with its traceback and keep the last 2 KiB of that in a file.

    The heap may be full: nothing here is built in memory.
    """
    sys.print_exception(error)
    with open(ERROR_FILE, "w") as file:
        sys.print_exception(error, file)
    excess = os.stat(ERROR_FILE)[6] - ERROR_BYTES
    if excess > 0:
        with open(ERROR_FILE, "rb") as file:
            file.seek(excess)
            end = file.read()
        with open(ERROR_FILE, "wb") as file:
            file.write(end)


def main():
    """Run until Ctrl-C or an error."""
    try:
        from fieldpost.node import Node  # here, so that a damaged installation is reported too

        asyncio.run(Node("config.json").run(console=True))
    except KeyboardInterrupt:
        asyncio.new_event_loop()  # its tasks must not go on in a loop that the REPL starts
        print("node stopped")
    except Exception as error:
        report(error)


main()
