"""file:// delivery: JSON Lines, appended, up to a size, then on in a new file.

The paths are those of the node's file system. Only files with the names of logs are written: no
URL reaches the node's configuration, its state or its programs.
"""

import os

from ..compat import const
from ..smallfile import make_folder, remove

#: What the name of a file may end with.
SUFFIXES = (".jsonl", ".ndjson", ".log", ".txt")
#: Longest path; littlefs has 255 bytes for each name.
_MAX_CHARS = const(200)


def path_of(url):
    """The path of ``file:///path``.

    Raises ValueError where it is not absolute, has an empty, ``.`` or ``..`` part, a NUL or a
    backslash, ends with none of ``SUFFIXES``, or is too long.
    """
    path = url[len("file://") :]
    parts = path.split("/")
    if not url.startswith("file:///") or len(path) > _MAX_CHARS or "\0" in path or "\\" in path:
        raise ValueError("file: an absolute path")
    if any(part in ("", ".", "..") for part in parts[1:]):
        raise ValueError("file: no empty part, no . and no ..")
    name, dot, suffix = parts[-1].rpartition(".")
    if not name or dot + suffix not in SUFFIXES:
        raise ValueError("file: a name that ends with one of " + " ".join(SUFFIXES))
    return path


def append(url, body, limit, files=1):
    """Append ``body`` (bytes of JSON) as one line; missing folders are made.

    A file that would grow beyond ``limit`` bytes becomes ``<path>.1``, that ``.2``, up to
    ``files``; the oldest goes. A longer line has a file of its own. Raises ValueError for a path
    that is not allowed, OSError.
    """
    path = path_of(url)
    line = body.replace(b"\n", b" ") + b"\n"
    size = _size(path)
    if size is None:
        make_folder(path.rpartition("/")[0])
    elif size and size + len(line) > limit:
        _rotate(path, files)
    elif size and not _whole(path):
        # A power cut left half a line: it must not spoil this one.
        line = b"\n" + line
    with open(path, "ab") as file:
        file.write(line)


def _rotate(path, files):
    remove("%s.%d" % (path, files))
    for number in range(files - 1, 0, -1):
        older = "%s.%d" % (path, number)
        if _size(older) is not None:
            os.rename(older, "%s.%d" % (path, number + 1))
    if files:
        os.rename(path, path + ".1")
    else:
        remove(path)


def _whole(path):
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return None
