"""Runs the node that config.json describes; Ctrl-C stops it and gives the REPL.

When it ends by an error, the traceback goes to the console and into last_error.txt, which always
holds the newest one only.
"""

import asyncio
import io
import sys

LAST_ERROR_BYTES = 2048


def report(error):
    """Print an exception with its traceback and keep the end of that in last_error.txt."""
    text = io.StringIO()
    sys.print_exception(error, text)
    text = text.getvalue()
    print(text)
    with open("last_error.txt", "w") as file:
        file.write(text[-LAST_ERROR_BYTES:])


def main():
    """Run until Ctrl-C or an error."""
    try:
        from fieldpost.node import Node  # here, so that a damaged installation is reported too

        asyncio.run(Node("config.json").run())
    except KeyboardInterrupt:
        asyncio.new_event_loop()  # its tasks must not go on in a loop that the REPL starts
        print("node stopped")
    except Exception as error:
        report(error)


main()
