"""``fieldpost flash``: what is refused, what esptool is told, and that esptool reads it so."""

import dataclasses
import os
import pty
import shlex
import struct
import subprocess
import sys

import pytest
from click.testing import CliRunner

from esp_rom import EspRom
from fieldpost_tools import boards, cli, flash, image, romfs
from fieldpost_tools.errors import InputError

ESP32 = boards.load("ESP32_GENERIC")
PICO = boards.load("RPI_PICO_W")
NVS = (1, 2, 0x9000, 0x6000, b"nvs")
PHY = (1, 1, 0xF000, 0x1000, b"phy_init")
FACTORY = (0, 0, 0x10000, 0x1F0000, b"factory")
VFS = (1, 0x81, 0x200000, 0x200000, b"vfs")


def esp_image(chip):
    """The smallest ESP image with one segment, as the ROM loader checks it."""
    header = struct.pack(
        "<BBBBIB3xHBHHxxxxB", 0xE9, 1, 2, 0x20, 0x400D0018, 0xEE, chip, 0, 0, 999, 0
    )
    data = bytes(16)
    body = header + struct.pack("<II", 0x3FFE8000, len(data)) + data
    body += bytes(15 - len(body) % 16)
    return body + bytes([0xEF])  # 0xEF xor every byte of data, which are 0


def table(*entries):
    packed = (struct.pack("<HBBII16sI", 0x50AA, *entry, 0) for entry in entries)
    return b"".join(packed).ljust(0xC00, b"\xff")


def firmware(board=ESP32, entries=(NVS, PHY, FACTORY, VFS), chip=None, size=0x20000):
    """A complete image: bootloader, partition table at 0x8000, application at 0x10000."""
    chip = board.flashing.image_chip_id if chip is None else chip
    made = bytearray(b"\xff" * size)
    start = board.flashing.offset
    for offset, content in ((start, esp_image(chip)), (0x8000, table(*entries))):
        made[offset - start : offset - start + len(content)] = content
    made[0x10000 - start : 0x10000 - start + len(esp_image(chip))] = esp_image(chip)
    return bytes(made)


@pytest.fixture
def fw(tmp_path):
    path = tmp_path / "fw.bin"
    path.write_bytes(firmware())
    return path


def run(*arguments, code=0):
    result = CliRunner().invoke(cli.main, ["flash", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def esptool(*arguments):
    command = [sys.executable, "-m", "esptool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dry_run_prints_the_command(fw, tmp_path):
    lfs, rom = tmp_path / "lfs.bin", tmp_path / "rom.img"
    lfs.write_bytes(image.littlefs_image(ESP32, {"/main.py": b"pass"}))
    (tmp_path / "rom").mkdir()
    rom.write_bytes(romfs.image(tmp_path / "rom"))
    entries = (NVS, PHY, (0, 0, 0x10000, 0x1D0000, b"factory"), VFS)
    fw.write_bytes(firmware(entries=(*entries, (1, 0x8F, 0x1E0000, 0x20000, b"romfs"))))
    options = ("--board", "ESP32_GENERIC", "--firmware", fw, "--image", lfs, "--romfs", rom)
    line = shlex.split(run("/dev/ttyUSB7", *options, "--erase", "--dry-run"))
    assert line[:3] == [sys.executable, "-m", "esptool"]
    assert shlex.join(line[3:13]) == (
        "--chip esp32 --port /dev/ttyUSB7 --baud 460800 --before default-reset --after hard-reset"
    )
    at = line.index("write-flash")
    assert line[at + 1 :] == [
        *("--flash-mode", "keep", "--flash-size", "keep", "--erase-all"),
        *("0x1000", str(fw), "0x200000", str(lfs), "0x1e0000", str(rom)),
    ]


@pytest.mark.parametrize("name", ["ESP32_GENERIC", "ESP32_GENERIC_C6", "ESP8266_GENERIC"])
def test_esptool_understands_every_argument(name, fw, tmp_path):
    board = boards.load(name)
    parts = [flash.Part(board.flashing.offset, str(fw))]
    line = flash.command(board, tmp_path / "tty", parts, erase=True)
    # It opens the port when it has read all of its arguments.
    with pytest.raises(flash.FlashError, match=r"Could not open .*tty, the port is busy"):
        flash.run(board, line)
    line[line.index("--flash-mode") + 1] = "none"
    with pytest.raises(flash.FlashError, match="'none'"):
        flash.run(board, line)


def test_esptool_reads_the_made_image_as_what_it_is_taken_for(fw, tmp_path):
    told = esptool("image-info", fw)
    assert "ESP32 Image Header" in told
    app = tmp_path / "app.bin"
    app.write_bytes(esp_image(0))
    merged = tmp_path / "merged.bin"
    esptool("--chip", "esp32", "merge-bin", "-o", merged, "0x1000", fw, "0x200000", app)
    assert merged.read_bytes()[0x200000:] == app.read_bytes()


@pytest.mark.parametrize("board", ["ESP32_GENERIC_S3", "ESP32_GENERIC_C3", "ESP32_GENERIC_C6"])
def test_a_firmware_for_another_chip_is_refused(board, fw):
    words = run("P", "--board", board, "--firmware", fw, "--dry-run", code=1)
    assert "is for chip number 0" in words
    other = boards.load(board)
    fw.write_bytes(firmware(other))
    line = shlex.split(run("P", "--board", board, "--firmware", fw, "--dry-run"))
    assert line[-2:] == ["0x0", str(fw)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not an image for an ESP chip"),
        (b"PK\x03\x04" * 10, "is not an image for an ESP chip"),
        (esp_image(0), "no partition table at 0x8000: take the complete image"),
        (firmware(entries=(NVS, PHY)), "no partition table at 0x8000"),
        (firmware(size=0x1FF001), "ends behind the application's partition, 0x200000"),
    ],
)
def test_a_file_that_would_not_boot_is_refused(content, words, fw):
    fw.write_bytes(content)
    with pytest.raises(flash.FlashError, match=words):
        flash.plan(ESP32, fw)


def test_the_largest_firmware_that_fits_is_taken(fw):
    fw.write_bytes(firmware(size=0x1FF000))
    assert flash.plan(ESP32, fw) == [flash.Part(0x1000, str(fw))]


def test_files_lie_behind_the_application_where_the_table_does_not_say(fw, tmp_path):
    fw.write_bytes(firmware(entries=(NVS, PHY, (0, 0, 0x10000, 0x210000, b"factory"))))
    lfs = tmp_path / "lfs.bin"
    lfs.write_bytes(image.littlefs_image(ESP32, {}))
    with pytest.raises(
        flash.FlashError, match=r"2097152 bytes, the firmware's .* 1966080 at 0x220"
    ):
        flash.plan(ESP32, fw, lfs)
    smaller = dataclasses.replace(ESP32, flash_bytes=0x1E0000)
    lfs.write_bytes(image.littlefs_image(smaller, {}))
    assert flash.plan(ESP32, fw, lfs)[1].offset == 0x220000


def test_a_file_system_that_the_port_makes_is_as_large_as_the_chip(fw, tmp_path):
    board = boards.load("ESP32_GENERIC_S3-SPIRAM_OCT_16M")
    fw.write_bytes(firmware(board, entries=(NVS, PHY, FACTORY)))
    lfs = tmp_path / "lfs.bin"
    lfs.write_bytes(image.littlefs_image(board, {}))
    assert flash.plan(board, fw, lfs)[1].offset == 0x200000
    fw.write_bytes(firmware(board))  # a firmware before 1.26, with a table for less
    with pytest.raises(
        flash.FlashError, match="14680064 bytes, the firmware's file system 2097152"
    ):
        flash.plan(board, fw, lfs)


def test_images_of_another_kind_are_refused(fw, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(bytes(0x200000))
    with pytest.raises(flash.FlashError, match="is not a littlefs image"):
        flash.plan(ESP32, fw, other)
    with pytest.raises(flash.FlashError, match="is not a ROMFS image"):
        flash.plan(ESP32, fw, None, other)
    with pytest.raises(InputError, match=r"--image: .* a readable file \(No such file"):
        flash.plan(ESP32, fw, tmp_path / "none")


def test_a_romfs_image_needs_a_partition_that_is_large_enough(fw, tmp_path):
    rom = tmp_path / "rom.img"
    (tmp_path / "rom").mkdir()
    (tmp_path / "rom" / "big").write_bytes(bytes(200_000))
    rom.write_bytes(romfs.image(tmp_path / "rom"))
    with pytest.raises(image.ImageError, match="this firmware of ESP32_GENERIC has no ROMFS part"):
        flash.plan(ESP32, fw, None, rom)
    fw.write_bytes(firmware(entries=(FACTORY, (1, 0x8F, 0x3E0000, 0x20000, b"romfs"), VFS)))
    with pytest.raises(image.ImageError, match=r"the partition of this firmware .* has 131072"):
        flash.plan(ESP32, fw, None, rom)


def test_an_esp8266_has_neither_chip_number_nor_partition_table(fw):
    board = boards.load("ESP8266_GENERIC")
    fw.write_bytes(b"\xe9" + bytes(600_000))
    assert flash.plan(board, fw) == [flash.Part(0, str(fw))]
    fw.write_bytes(b"\xe9" + bytes(0x100000))
    with pytest.raises(flash.FlashError, match="ends behind"):
        flash.plan(board, fw)


def test_esptool_writes_every_part_where_it_belongs(fw, tmp_path):
    lfs = tmp_path / "lfs.bin"
    lfs.write_bytes(image.littlefs_image(ESP32, {"/main.py": b"print('flashed')"}))
    with EspRom() as rom:
        run(rom.path, "--board", "ESP32_GENERIC", "--firmware", fw, "--image", lfs, "--erase")
    content = fw.read_bytes()
    assert rom.flash[0x1000 : 0x1000 + len(content)] == content
    assert rom.flash[0x200000:] == lfs.read_bytes()
    assert rom.erased
    assert rom.flash[:0x1000] == b"\xff" * 0x1000


def test_what_is_not_written_stays_without_erase(fw):
    with EspRom() as rom:
        run(rom.path, "--board", "ESP32_GENERIC", "--firmware", fw)
    assert not rom.erased
    assert rom.flash[0x200000:] == bytes(0x200000)


def test_another_chip_at_the_port_is_told_in_one_line(fw):
    fw.write_bytes(firmware(boards.load("ESP32_GENERIC_S3")))
    with EspRom() as rom:
        words = run(rom.path, "--board", "ESP32_GENERIC_S3", "--firmware", fw, code=1)
    assert words.startswith("Error: This chip is ESP32, not ESP32-S3."), words
    assert rom.flash == bytes(len(rom.flash))


def test_a_board_that_does_not_answer_is_told_in_one_line(fw, monkeypatch):
    monkeypatch.setattr(flash, "CONNECT_ATTEMPTS", 1)
    master, slave = pty.openpty()
    try:
        options = ("--board", "ESP32_GENERIC", "--firmware", fw)
        words = run(os.ttyname(slave), *options, code=1)
    finally:
        os.close(master)
        os.close(slave)
    assert words == (
        "Error: Failed to connect to ESP32: No serial data received: hold BOOT while you press "
        "RESET, then try again; boards/ESP32_GENERIC/README.md says more\n"
    )


def test_a_port_that_is_not_there_is_told_in_one_line(fw, tmp_path):
    words = run(tmp_path / "tty", "--board", "ESP32_GENERIC", "--firmware", fw, code=1)
    assert words == f"Error: Could not open {tmp_path}/tty, the port is busy or doesn't exist.\n"


def test_esptool_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(flash, "TIMEOUT_S", 0.1)
    with pytest.raises(flash.FlashError, match=r"did not finish within 0.1 s"):
        flash.run(ESP32, [sys.executable, "-c", "import time; time.sleep(60)"])


def uf2(*families):
    rows = enumerate(families)
    return b"".join(
        struct.pack("<IIIIIIII476xI", 0x0A324655, 0x9E5D5157, 0x2000, 0x10000000 + 256 * n, 256, n,
                    len(families), family, 0x0AB16F30)
        for n, family in rows
    )  # fmt: skip


@pytest.fixture
def drive(tmp_path):
    folder = tmp_path / "drive"
    folder.mkdir()
    (folder / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nBoard-ID: RPI-RP2\n")
    return folder


def test_a_pico_gets_its_firmware_by_a_copy(tmp_path, drive):
    path = tmp_path / "pico.uf2"
    path.write_bytes(uf2(0xE48BFF56, 0xE48BFF56))
    options = ("--board", "RPI_PICO_W", "--firmware", path)
    assert "hold BOOTSEL" in run(*options)
    assert "where the drive RPI-RP2 is mounted" in run(*options)
    run(*options, "--drive", drive, "--dry-run")
    assert not (drive / "pico.uf2").exists()
    assert "copied to" in run(*options, "--drive", drive)
    assert (drive / "pico.uf2").read_bytes() == path.read_bytes()


def test_a_uf2_file_or_drive_of_another_chip_is_refused(tmp_path, drive):
    path = tmp_path / "pico2.uf2"
    path.write_bytes(uf2(flash.UF2_ANY, 0xE48BFF59))
    with pytest.raises(flash.FlashError, match="is for UF2 family 0xe48bff59, not an RP2040"):
        flash.copy_uf2(PICO, path, drive)
    pico2 = boards.load("RPI_PICO2_W")
    with pytest.raises(InputError, match=r"--drive: .* the drive of an RP2350"):
        flash.copy_uf2(pico2, path, drive)
    with pytest.raises(InputError, match=r"a drive with INFO_UF2.TXT"):
        flash.copy_uf2(pico2, path, tmp_path)
    assert list(drive.iterdir()) == [drive / "INFO_UF2.TXT"]


@pytest.mark.parametrize("content", [b"", b"x" * 511, b"x" * 512, uf2(0xE48BFF56)[:-4] + bytes(4)])
def test_what_is_no_uf2_file_is_refused(content, tmp_path):
    path = tmp_path / "x.uf2"
    path.write_bytes(content)
    with pytest.raises(flash.FlashError, match="is not a UF2 file"):
        flash.check_uf2(PICO, path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--board", "ESP32_GENERIC"), "which PORT is the board at?"),
        (("P", "--board", "VIRTUAL"), "a board with a chip"),
        (("P", "--board", "ESP33"), "expected one of ESP32_GENERIC"),
        (("--board", "RPI_PICO_W", "--erase"), "a UF2 drive takes the firmware only"),
        (("P", "--board", "ESP32_GENERIC", "--drive", "/"), "--drive is for"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, words, fw):
    assert words in run(*arguments, "--firmware", fw, code=2)
