"""Runs the node that config.json describes; Ctrl-C stops it and gives the REPL.

While it runs it answers requests to its JSON API on the console (see ``fieldpost.api.serial``).

When it ends by an error, the traceback goes to the console and into last_error.txt, which always
holds the newest one only. After a pause, in which Ctrl-C gives the REPL, the board resets: nobody
may be there to do it.
"""

import asyncio
import os
import sys
import time

ERROR_FILE = "last_error.txt"
ERROR_BYTES = 2048
PAUSE_S = 10


def start():
    """Count the start of the release; returns its node."""
    if "slots" in sys.modules:  # boot.py could import it; its memory is the node's now
        sys.modules.pop("slots").select()
    try:
        # Here, so that a damaged installation is reported too.
        from fieldpost_board.run import make
    except ImportError as error:
        if "'fieldpost_board'" not in str(error):
            raise
        from fieldpost.node import Node

        make = Node
    return make("config.json")


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


def restart():
    """Reset after a pause; Ctrl-C in it gives the REPL."""
    from machine import reset

    print("restart in %d s, Ctrl-C gives the REPL" % PAUSE_S)
    time.sleep(PAUSE_S)
    reset()


def main():
    """Run until Ctrl-C or an error."""
    try:
        try:
            asyncio.run(start().run(console=True))
        except Exception as error:
            try:
                report(error)
            except OSError as full:
                print(ERROR_FILE, full)
            restart()
    except KeyboardInterrupt:
        asyncio.new_event_loop()  # its tasks must not go on in a loop that the REPL starts
        print("node stopped")


main()
