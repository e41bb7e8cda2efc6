"""Writes ``firmware/package.json``, by which ``mip`` installs a node from a checkout.

``python -m fieldpost_tools.mip > firmware/package.json``, whenever a file comes or goes.

The sources of the files are relative to the package.json, so any web server will do that shows
the checkout's top folder, as does ``mpremote mip install firmware/package.json``. On the board
they lie in its ``lib``; ``boot.py`` and ``main.py``, which belong beside it, are not among them.
"""

import json
import sys

from fieldpost import __version__
from fieldpost_tools import data, umqtt

#: Format of package.json, not of Fieldpost.
FORMAT = 1


def package():
    """The object in package.json: ``urls`` with ``[file on the board, source]``, ``deps``."""
    firmware = data.firmware_folder()
    found = [
        *_files(data.sdk_folder(), "../sdk/"),
        *_files(firmware / "fieldpost_board", ""),
        ["slots.py", "slots.py"],
    ]
    return {
        "v": FORMAT,
        "version": __version__,
        "urls": sorted(found),
        "deps": [[umqtt.PROJECT.removeprefix("micropython-"), "latest"]],
    }


def text():
    """``package()`` as the text of the file, a line each."""
    made = package()
    rows = ",\n".join("  " + json.dumps(row) for row in made.pop("urls"))
    head = json.dumps(made)[:-1]
    return f'{head}, "urls": [\n{rows}\n]}}\n'


def _files(folder, place):
    for path in folder.rglob("*.py"):
        name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        yield [name, place + name]


if __name__ == "__main__":
    sys.stdout.write(text())
