"""The boards that Fieldpost knows: ``boards/<id>/board.json``, checked and as objects.

A variant is a board that differs from another in a few keys: more memory, another flash chip. It
stands in ``variants`` of that board with only those keys, and is called by both names as the
official firmware files are: ``ESP32_GENERIC_S3-SPIRAM_OCT``.

The row beside each field says what ``board.json`` may hold there, in the notation of
``fieldpost.schema``; ``boards/board.schema.json`` says the same for editors. ``hex`` are numbers
of the flash, written ``"0x1000"`` as in partition tables; a ``pin`` is its number or its name.
"""

import json
from dataclasses import dataclass
from typing import Annotated, get_type_hints

from fieldpost.errors import ConfigError
from fieldpost.rows import Checker, one_of, refusal
from fieldpost_tools import data
from fieldpost_tools.errors import InputError

#: Where a figure may come from, the first word of its entry in ``sources``.
ORIGINS = ("chosen", "documented", "estimated", "measured")
#: Parts of the SDK in ``Fits``; ``log`` keeps records in RAM, ``durable_log`` on flash.
FEATURES = ("alarms", "api", "durable_log", "log", "tls", "updates", "webhooks")


@dataclass(frozen=True)
class Uart:
    """A UART and its pins."""

    id: Annotated[int, "int 0..9"]
    tx: Annotated[int, "int 0..99"]
    rx: Annotated[int, "int 0..99"]


@dataclass(frozen=True)
class I2c:
    """An I2C bus and its pins; ``id`` is None where the port has software buses only."""

    id: Annotated[int | None, "int 0..9 = ?"]
    scl: Annotated[int, "int 0..99"]
    sda: Annotated[int, "int 0..99"]


@dataclass(frozen=True)
class Rs485:
    """The keys of a ``modbus_rtu`` device: UART, its pins, and the pin that drives DE and /RE."""

    uart: Annotated[int, "int 0..9"]
    tx: Annotated[int, "int 0..99"]
    rx: Annotated[int, "int 0..99"]
    de: Annotated[int, "int 0..99"]


@dataclass(frozen=True)
class Pins:
    """Default pins; None where the board has no such thing."""

    led: Annotated[int | str | None, "pin = ?"]
    uart: Annotated[Uart | None, "obj Uart = ?"]
    i2c: Annotated[I2c | None, "obj I2c = ?"]
    rs485: Annotated[Rs485 | None, "obj Rs485 = ?"]


@dataclass(frozen=True)
class Fits:
    """What the memory is enough for.

    ``tls_sessions``: TLS connections at a time (None: no limit of the board); ``slots``: releases
    side by side in the file system, of which an update needs two. ``features`` are the parts of
    the SDK that fit together where the code is loaded from files, ``features_in_flash`` where it
    runs from flash, frozen or in ROMFS, which an update does not reach.
    """

    tls_sessions: Annotated[int | None, "int 0..64 = ?"]
    slots: Annotated[int, "int 0..2"]
    features: Annotated[tuple, "list feature 0..16"]
    features_in_flash: Annotated[tuple, "list feature 0..16"]


@dataclass(frozen=True)
class Filesystem:
    """littlefs as MicroPython makes it: where it begins on the flash, size of its blocks, and of
    what is programmed at once."""

    offset: Annotated[int, "hex"]
    block_bytes: Annotated[int, "int 512..65536"]
    prog_bytes: Annotated[int, "int 16..4096"]


@dataclass(frozen=True)
class Area:
    """A part of the flash."""

    offset: Annotated[int, "hex"]
    bytes: Annotated[int, "hex"]


@dataclass(frozen=True)
class Flashing:
    """How firmware gets onto the board: by ``esptool``, or as a UF2 file copied to a drive.

    ``offset`` is where the file of an official firmware belongs; ``image_chip_id`` the number of
    the chip in the header of an ESP image (None: it has none); ``write`` are options of
    ``esptool write-flash``. ``families`` are the UF2 families that the bootloader takes,
    ``volume`` the name of its drive.
    """

    tool: Annotated[str, "enum esptool uf2"]
    chip: Annotated[str, "id 1..32"]
    image_chip_id: Annotated[int | None, "int 0..65535 = ?"]
    offset: Annotated[int | None, "hex = ?"]
    baud: Annotated[int | None, "int 9600..4000000 = ?"]
    before: Annotated[str | None, "str 1..32 = ?"]
    after: Annotated[str | None, "str 1..32 = ?"]
    write: Annotated[tuple, "list str 0..16 = []"]
    families: Annotated[tuple, "list hex 0..4 = []"]
    volume: Annotated[str | None, "str 1..11 = ?"]


@dataclass(frozen=True)
class Board:
    """One board, or a variant of it.

    ``flash_bytes`` is the file system's share of the flash, ``heap_bytes`` what is free with
    Wi-Fi up before Fieldpost is loaded, ``system_heap_bytes`` the largest block beside that heap,
    of which TLS takes its memory (None: it takes it from the heap). ``None`` as a size: no limit.
    ``defaults`` are keys of a node's configuration that suit the board. ``sources`` says of a
    figure where it comes from: measured, documented, estimated.
    """

    id: Annotated[str, "id 1..64"]
    name: Annotated[str, "str 1..80"]
    chip: Annotated[str, "str 1..32"]
    port: Annotated[str, "enum esp32 esp8266 linux rp2"]
    firmware: Annotated[str, "id 1..64"]
    min_firmware: Annotated[str, "str 5..16"]
    profile: Annotated[str, "enum full minimal"]
    chip_flash_bytes: Annotated[int | None, "int 524288.. = ?"]
    flash_bytes: Annotated[int | None, "int 65536.. = ?"]
    heap_bytes: Annotated[int, "int 16384.."]
    system_heap_bytes: Annotated[int | None, "int 16384.. = ?"]
    word_bytes: Annotated[int, "int 4..8"]
    float_bits: Annotated[int, "int 32..64"]
    epoch_year: Annotated[int, "int 1970..2000"]
    rtc_memory_bytes: Annotated[int, "int 0..65536"]
    lib_folder: Annotated[str, "str 1..64"]
    pins: Annotated[Pins, "obj Pins"]
    drivers: Annotated[tuple, "list id 0..64"]
    missing_packages: Annotated[tuple, "list id 0..16"]
    fits: Annotated[Fits, "obj Fits"]
    filesystem: Annotated[Filesystem | None, "obj Filesystem = ?"]
    app: Annotated[Area | None, "obj Area = ?"]
    romfs: Annotated[Area | None, "obj Area = ?"]
    flashing: Annotated[Flashing | None, "obj Flashing = ?"]
    defaults: Annotated[dict, "map any"]
    sources: Annotated[dict, "map source"]


_CLASSES = {
    one.__name__: one for one in (Uart, I2c, Rs485, Pins, Fits, Filesystem, Area, Flashing)
}


def _rows(made):
    hints = get_type_hints(made, include_extras=True)
    return {key: hint.__metadata__[0] for key, hint in hints.items()}


_TABLES = {name: _rows(made) for name, made in {**_CLASSES, "Board": Board}.items()}


class _Checker(Checker):
    """Checks by the rows of the classes, and makes their objects."""

    def _obj(self, row, value, path):
        name = row.words[0]
        return _CLASSES[name](**self.table(name, value, path))

    def _list(self, row, value, path):
        return tuple(super()._list(row, value, path))

    def _hex(self, _row, value, path):
        try:
            if value.startswith("0x"):
                return int(value, 16)
        except (AttributeError, ValueError):
            pass
        raise refusal(path, value, "hexadecimal text such as 0x1000")

    def _pin(self, _row, value, path):
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise refusal(path, value, "the number or the name of a pin")
        return value

    def _feature(self, _row, value, path):
        if value not in FEATURES:
            raise refusal(path, value, one_of(FEATURES))
        return value

    def _source(self, _row, value, path):
        if not isinstance(value, str) or value.partition(": ")[0] not in ORIGINS:
            raise refusal(path, value, "text that begins with " + " or ".join(ORIGINS) + ":")
        return value


def names():
    """Names that ``load`` takes: every board, and behind it its variants."""
    found = []
    for path in sorted(data.boards_folder().glob("*/board.json")):
        id = path.parent.name
        found += [id, *(f"{id}-{variant}" for variant in _read(id).get("variants") or ())]
    return found


def load(name):
    """The ``Board`` called ``name``.

    Raises ``InputError`` for an unknown name, and with key, value and what is allowed for a
    ``board.json`` that is wrong.
    """
    known = names()
    if name not in known:
        raise InputError("board", name, "one of " + ", ".join(known))
    id, _, variant = name.partition("-")
    row = _read(id)
    variants = row.pop("variants", None) or {}
    if variant:
        row = {**row, **variants[variant], "id": name}
    return check(row)


def check(row):
    """The ``Board`` of the object in a ``board.json`` without its variants. Raises InputError."""
    try:
        return Board(**_Checker(_TABLES).table("Board", row, ""))
    except ConfigError as error:
        raise InputError(f"board.json: {error.path}", error.value, error.allowed) from error


def _read(id):
    path = data.boards_folder() / id / "board.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("board.json", id, f"JSON: {error}") from error
