"""Images: MicroPython itself mounts what is made, and finds every file as it was given."""

import hashlib
import json
import struct
import subprocess

import pytest

from fieldpost_tools import boards, image
from fieldpost_tools.errors import InputError

#: Mounts an image as a board's boot does, prints the hash of every file, then writes one.
READ = """
import hashlib, json, os, sys, vfs

BLOCK = 4096

class Flash:
    def __init__(self, path):
        self.data = bytearray(os.stat(path)[6])
        with open(path, "rb") as file:
            file.readinto(self.data)
    def readblocks(self, number, buf, offset=0):
        start = number * BLOCK + offset
        buf[:] = memoryview(self.data)[start : start + len(buf)]
    def writeblocks(self, number, buf, offset=0):
        start = number * BLOCK + offset
        self.data[start : start + len(buf)] = buf
    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // BLOCK
        if op == 5:
            return BLOCK
        if op == 6:
            self.data[arg * BLOCK : (arg + 1) * BLOCK] = b"\\xff" * BLOCK
            return 0

def files(folder):
    for name, kind, *_ in os.ilistdir(folder):
        path = folder + "/" + name
        if kind == 0x4000:
            yield from files(path)
        else:
            yield path

path, prog = sys.argv[1], int(sys.argv[2])
flash = Flash(path)
# A file system with other sizes than the port's own has to be named; the rest finds it itself.
vfs.mount(flash if prog == 32 else vfs.VfsLfs2(flash, progsize=prog), "/flash")
found = {}
for name in files("/flash"):
    with open(name, "rb") as file:
        found[name[6:]] = hashlib.sha256(file.read()).digest().hex()
size = os.statvfs("/flash")
with open("/flash/a/new", "wb") as file:
    file.write(b"x" * 5000)
os.rename("/flash/a/new", "/flash/a/fieldpost/empty")
with open("/flash/a/fieldpost/empty", "rb") as file:
    changed = len(file.read())
vfs.umount("/flash")
print(json.dumps([found, size[1] * size[2], changed]))
"""

FILES = {
    "/boot.py": b"print('boot')\n",
    "main.py": b"",
    "/a/fieldpost/empty": b"",
    "/a/fieldpost/inline": bytes(128),
    "/a/fieldpost/not-inline": bytes(range(256)) * 4,
    "/a/release": b"x" * 4096,
    "/secrets/größe.json": b"{}",
    **{f"/b/deep/{n % 3}/part-{n}.mpy": bytes([n]) * n * 711 for n in range(40)},
}


def mounted(micropython, tmp_path, board, content):
    (tmp_path / "read.py").write_text(READ)
    (tmp_path / "image").write_bytes(content)
    prog = board.filesystem.prog_bytes
    command = [micropython, "-X", "heapsize=32m", "read.py", "image", str(prog)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["ESP32_GENERIC", "RPI_PICO_W", "ESP8266_GENERIC"])
def test_micropython_mounts_the_image_and_finds_every_file(name, micropython, tmp_path):
    board = boards.load(name)
    content = image.littlefs_image(board, FILES)
    assert len(content) == board.flash_bytes
    # Its superblock: version, size and number of blocks.
    assert struct.pack("<III", 0x20000, 4096, board.flash_bytes // 4096) in content[:4096]
    found, size, changed = mounted(micropython, tmp_path, board, content)
    expected = {f"/{path.lstrip('/')}": data for path, data in FILES.items()}
    assert found == {path: hashlib.sha256(data).hexdigest() for path, data in expected.items()}
    assert (size, changed) == (board.flash_bytes, 5000)


def test_the_same_files_in_another_order_make_the_same_image():
    board = boards.load("RPI_PICO_W")
    backwards = dict(reversed(FILES.items()))
    assert image.littlefs_image(board, FILES) == image.littlefs_image(board, backwards)


def test_files_that_do_not_fit_are_refused():
    board = boards.load("RPI_PICO_W")
    with pytest.raises(image.ImageError, match="2 files of 900001 bytes do not fit the 868352"):
        image.littlefs_image(board, {"/a": bytes(900_000), "/b": b"x"})


@pytest.mark.parametrize("path", ["", "/", "/a/", "/a/../b", "/" + "ü" * 128])
def test_a_path_that_no_board_opens_is_refused(path):
    with pytest.raises(InputError, match="a file below /"):
        image.littlefs_image(boards.load("ESP32_GENERIC"), {path: b""})


def test_a_board_without_flash_has_no_image():
    with pytest.raises(image.ImageError, match="VIRTUAL has no file system on flash"):
        image.littlefs_image(boards.load("VIRTUAL"), FILES)
