"""Where the files that go onto boards are: the same answer in a checkout and in a wheel.

A wheel carries ``boards/`` and ``firmware/`` in ``_data/`` beside this file; a checkout (also one
that is installed as editable) has them at its top.
"""

from pathlib import Path

import fieldpost

_HERE = Path(__file__).resolve().parent
_INSTALLED = _HERE / "_data"
_TOP = _INSTALLED if _INSTALLED.is_dir() else _HERE.parents[1]


def boards_folder():
    """Folder with one folder a board. Raises ``FileNotFoundError`` in a broken installation."""
    return _existing(_TOP / "boards")


def firmware_folder():
    """Folder of boot.py, main.py and examples. Raises ``FileNotFoundError`` likewise."""
    return _existing(_TOP / "firmware")


def sdk_folder():
    """Folder of the device package's sources, the one that holds ``node.py``."""
    return Path(fieldpost.__file__).resolve().parent


def _existing(folder):
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing: install fieldpost again")
    return folder
