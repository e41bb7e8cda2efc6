"""Puts MicroPython on a board, with a file system and a ROMFS image where asked for.

ESP chips are written by ``esptool``, as a process with arguments from ``board.json``; it resets
the chip into its bootloader, compares a hash of every part afterwards and starts it. Boards with
a UF2 bootloader are a drive that the firmware is copied to. What would not boot is refused before
anything is written: a file for another chip, an application without bootloader, parts that do not
fit. Where the firmware carries a partition table, that one counts, not ``board.json``.

Formats: ESP image header and partition table as in the ESP-IDF programming guide; the file system
of a table without ``vfs`` as the esp32 port makes it from 1.26 on; UF2 as in Microsoft's
specification. ``esptool``: ``pip install fieldpost[flash]``.
"""

import importlib.util
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fieldpost_tools import image as images
from fieldpost_tools.boards import Area
from fieldpost_tools.errors import InputError, ToolError

ESP_MAGIC = 0xE9
#: Of an ESP image: magic at 0, number of the chip at 12.
_CHIP = struct.Struct("<12xH")
TABLE_OFFSET = 0x8000
#: Magic, type, subtype, offset, bytes, label, flags.
_ENTRY = struct.Struct("<HBBII16sI")
ENTRY_MAGIC, TABLE_BYTES, APP = 0x50AA, 0xC00, 0
#: Two magic numbers, flags, address, bytes, number, count, family; data; the last magic number.
_UF2 = struct.Struct("<IIIIIIII476xI")
UF2_MAGIC = (0x0A324655, 0x9E5D5157, 0x0AB16F30)
#: UF2 family of blocks that fit any chip; firmware for the RP2350 begins with one.
UF2_ANY = 0xE48BFF57
UF2_INFO = "INFO_UF2.TXT"
ROMFS_MAGIC = b"\xd2\xcd\x31"
CONNECT_ATTEMPTS = 7
TIMEOUT_S = 900
_FATAL = "A fatal error occurred: "
#: What esptool draws around its words.
_FRAME = " ╭─╮│╰╯"


class FlashError(ToolError):
    """The board cannot be reached or written, or what was to be written is not for it."""


@dataclass(frozen=True)
class Part:
    """One file and where on the flash it belongs."""

    offset: int
    path: str


def plan(board, firmware, image=None, romfs=None):
    """The parts to write, checked: paths of the firmware, a littlefs and a ROMFS image.

    Raises ``InputError`` where a path cannot be read, ``FlashError`` and ``images.ImageError``
    where a file is not for this board.
    """
    if board.flashing is None or board.flashing.tool != "esptool":
        raise InputError("board", board.id, "one that esptool writes")
    content = _read("--firmware", firmware)
    _check_chip(board, content, firmware)
    areas = layout(board, content)
    end = areas["app"].offset + areas["app"].bytes
    if board.flashing.offset + len(content) > end:
        raise FlashError(f"{firmware} ends behind the application's partition, {end:#x}")
    parts = [Part(board.flashing.offset, str(firmware))]
    if image is not None:
        parts.append(Part(_check_littlefs(areas.get("vfs"), image), str(image)))
    if romfs is not None:
        parts.append(Part(_check_romfs(board, areas.get("romfs"), romfs), str(romfs)))
    return parts


def command(board, port, parts, erase=False):
    """The command line of esptool as a list; ``erase`` empties the whole flash first."""
    how = board.flashing
    line = [sys.executable, "-m", "esptool", "--chip", how.chip, "--port", str(port)]
    line += ["--baud", str(how.baud), "--before", how.before, "--after", how.after]
    line += ["--connect-attempts", str(CONNECT_ATTEMPTS), "write-flash", *how.write]
    line += ["--erase-all"] if erase else []
    for part in parts:
        line += [hex(part.offset), part.path]
    return line


def run(board, line):
    """Run a ``command``; its progress goes to stdout. Raises ``FlashError`` in one line."""
    if importlib.util.find_spec("esptool") is None:
        raise FlashError("flashing needs: pip install fieldpost[flash]")
    try:
        done = subprocess.run(
            line, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FlashError(f"esptool did not finish within {TIMEOUT_S} s") from error
    if done.returncode:
        raise FlashError(_problem(board, done.stderr))


def copy_uf2(board, firmware, drive):
    """Copy a firmware to the drive of a board's UF2 bootloader; returns the new file's path.

    Raises ``InputError`` where the drive is not that of such a board, ``FlashError`` for a
    firmware that is not for it, and where the drive takes no file.
    """
    check_uf2(board, firmware)
    try:
        told = Path(drive, UF2_INFO).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError("--drive", str(drive), f"a drive with {UF2_INFO}") from error
    if board.flashing.volume not in told:
        raise InputError("--drive", str(drive), f"the drive of an {board.chip}")
    try:
        return shutil.copy(firmware, drive)
    except OSError as error:
        raise FlashError(f"{drive} takes no file: {error.strerror}") from error


def check_uf2(board, firmware):
    """Raise ``FlashError`` unless the file is UF2 and every block is for the board's chip."""
    content = _read("--firmware", firmware)
    if not content or len(content) % _UF2.size:
        raise FlashError(f"{firmware} is not a UF2 file")
    for first, second, *_, family, last in _UF2.iter_unpack(content):
        if (first, second, last) != UF2_MAGIC:
            raise FlashError(f"{firmware} is not a UF2 file")
        if family not in (*board.flashing.families, UF2_ANY):
            raise FlashError(f"{firmware} is for UF2 family {family:#x}, not an {board.chip}")


def layout(board, firmware):
    """``{"app": Area, "vfs": Area, "romfs": Area}`` of a firmware's bytes, those there are.

    From its partition table, which an image for an ESP32 must have; else from ``board.json``.
    """
    if board.flashing.image_chip_id is None:
        vfs = Area(board.filesystem.offset, board.flash_bytes)
        return {"app": board.app, "vfs": vfs}
    rows = list(_partitions(firmware[TABLE_OFFSET - board.flashing.offset :]))
    if not any(kind == APP for kind, _, _ in rows):
        raise FlashError(
            f"the firmware has no partition table at {TABLE_OFFSET:#x}: "
            "take the complete image, not the application alone"
        )
    areas = {label: area for kind, label, area in rows if kind != APP}
    end = max(area.offset + area.bytes for _, _, area in rows)
    if board.chip_flash_bytes > end:
        # The port makes the file system of what is left.
        areas.setdefault("vfs", Area(end, board.chip_flash_bytes - end))
    areas["app"] = next(area for kind, _, area in rows if kind == APP)
    return areas


def _partitions(table):
    """``(type, label, Area)`` of each entry of a partition table."""
    for start in range(0, min(len(table), TABLE_BYTES) - _ENTRY.size + 1, _ENTRY.size):
        magic, kind, _, offset, size, label, _ = _ENTRY.unpack_from(table, start)
        if magic != ENTRY_MAGIC:
            return
        yield kind, label.rstrip(b"\0").decode(errors="replace"), Area(offset, size)


def _check_chip(board, content, path):
    if len(content) < _CHIP.size or content[0] != ESP_MAGIC:
        raise FlashError(f"{path} is not an image for an ESP chip")
    (chip,) = _CHIP.unpack_from(content)
    wanted = board.flashing.image_chip_id
    if wanted is not None and chip != wanted:
        raise FlashError(f"{path} is for chip number {chip}, an {board.chip} is number {wanted}")


def _check_littlefs(vfs, path):
    """Where the image belongs."""
    content = _read("--image", path)
    if vfs is None:
        raise FlashError("the firmware leaves no flash for files")
    if b"littlefs" not in (content[8:16], content[4104:4112]):
        raise FlashError(f"{path} is not a littlefs image")
    if len(content) != vfs.bytes:
        raise FlashError(
            f"{path} has {len(content)} bytes, the firmware's file system {vfs.bytes} "
            f"at {vfs.offset:#x}: only an image of that size can be mounted"
        )
    return vfs.offset


def _check_romfs(board, area, path):
    """Where the image belongs."""
    content = _read("--romfs", path)
    if not content.startswith(ROMFS_MAGIC):
        raise FlashError(f"{path} is not a ROMFS image")
    images.check_romfs(content, area and area.bytes, f"this firmware of {board.id}")
    return area.offset


def _read(option, path):
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(option, str(path), f"a readable file ({error.strerror})") from error


def _problem(board, words):
    """esptool's last words as one line for a person."""
    lines = [line.strip(_FRAME) for line in words.splitlines() if line.strip(_FRAME)]
    fatal = [line.partition(_FATAL)[2] for line in lines if _FATAL in line]
    problem = (fatal or [" ".join(lines[-3:]) or "esptool failed"])[0]
    if problem.startswith("Failed to connect"):
        return (
            f"{problem.rstrip('.')}: hold BOOT while you press RESET, then try again; "
            f"boards/{board.id.partition('-')[0]}/README.md says more"
        )
    return problem
