"""Images of what a board's flash holds besides the firmware, for flashing everything in one step.

A littlefs image is the whole file system that MicroPython mounts at ``/``: it has to have exactly
the size of its partition. Its on-disk version is 2.0, which every MicroPython with littlefs 2
mounts; those with littlefs 2.6 or newer make it 2.1 when they first write. Made by
``littlefs-python``: ``pip install fieldpost[flash]``.
"""

from pathlib import PurePosixPath

from fieldpost_tools.errors import InputError, ToolError

#: 2.0: an older littlefs refuses 2.1.
DISK_VERSION = 0x0002_0000
#: MicroPython's defaults; its cache is four times the larger of read and prog size, and what a
#: file may hold to be stored inside its folder follows from that.
READ_BYTES = 32
CACHES = 4
LOOKAHEAD_BYTES = 32
NAME_BYTES = 255
_NO_SPACE = -28


class ImageError(ToolError):
    """Files do not fit, or a board has no place for the image."""


def littlefs_image(board, files):
    """The littlefs image of ``board`` (a ``boards.Board``) with these files, as bytes.

    ``files``: ``{path: content}``, paths as on the board (``/a/fieldpost/node.mpy``, the leading
    ``/`` may be missing). Same files, same bytes. Raises ``ImageError`` where they do not fit or
    the board has no flash for files, ``InputError`` for a path that no board could open.
    """
    try:
        import littlefs
    except ImportError:
        raise ImageError("a littlefs image needs: pip install fieldpost[flash]") from None
    if not board.filesystem:
        raise ImageError(f"{board.id} has no file system on flash")
    volume = littlefs.LittleFS(mount=False, **_parameters(board))
    volume.format()
    volume.mount()
    try:
        for path, content in sorted((_checked(path), files[path]) for path in files):
            _write(volume, path, content)
    except littlefs.LittleFSError as error:
        if error.code != _NO_SPACE:
            raise
        size = sum(map(len, files.values()))
        raise ImageError(
            f"{len(files)} files of {size} bytes do not fit the {board.flash_bytes} bytes "
            f"that {board.id} has for files"
        ) from error
    volume.unmount()
    return bytes(volume.context.buffer)


def check_romfs(content, partition_bytes, name):
    """Raise ``ImageError`` unless the image fits; ``partition_bytes`` is None without one."""
    if partition_bytes is None:
        raise ImageError(f"{name} has no ROMFS partition")
    if len(content) > partition_bytes:
        raise ImageError(
            f"a ROMFS image of {len(content)} bytes, the partition of {name} has {partition_bytes}"
        )


def _parameters(board):
    prog = board.filesystem.prog_bytes
    return {
        "block_size": board.filesystem.block_bytes,
        "block_count": board.flash_bytes // board.filesystem.block_bytes,
        "read_size": READ_BYTES,
        "prog_size": prog,
        "cache_size": CACHES * max(READ_BYTES, prog),
        "lookahead_size": LOOKAHEAD_BYTES,
        "name_max": NAME_BYTES,
        "disk_version": DISK_VERSION,
    }


def _checked(path):
    """A path of ``files``, and its file's path below the root of the volume."""
    parts = PurePosixPath("/", path).parts[1:]
    long = any(len(part.encode()) > NAME_BYTES for part in parts)
    if not parts or ".." in parts or long or path.endswith("/"):
        raise InputError("path", path, f"a file below /, names of {NAME_BYTES} bytes at most")
    return path


def _write(volume, path, content):
    path = PurePosixPath("/", path)
    volume.makedirs(str(path.parent), exist_ok=True)
    with volume.open(str(path), "wb") as file:
        file.write(content)
