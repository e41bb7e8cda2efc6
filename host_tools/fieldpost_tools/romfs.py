"""ROMFS images: a read-only file system in flash that MicroPython runs .mpy files from in place.

A board with a ROMFS partition mounts it at ``/rom`` and imports from ``/rom`` and ``/rom/lib``.
Bytecode and strings stay in flash, so a package takes a fraction of the heap that it takes when
it is loaded from an ordinary file system.
"""

import tempfile
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from fieldpost_tools import build


def image(folder):
    """The image, as bytes, of everything below ``folder``, which becomes its root."""
    writer = VfsRomWriter()
    _add(writer, Path(folder))
    return bytes(writer.finalise())


def node_image(optimize=0):
    """The image of what a node imports: the SDK and umqtt as .mpy, in ``lib``."""
    with tempfile.TemporaryDirectory(prefix="fieldpost-rom-") as folder:
        build.build_mpy(Path(folder, "lib"), optimize=optimize)
        return image(folder)


def _add(writer, folder):
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            writer.opendir(path.name)
            _add(writer, path)
            writer.closedir()
        else:
            writer.mkfile(path.name, path.read_bytes())
