"""The ROMFS partition of a virtual board: modules run from it, not from the heap."""

import ast
import os

import pytest

from fieldpost_tools import romfs
from fieldpost_tools.provision import link
from fieldpost_tools.sim.board import Board, BoardError

IMPORT = """
import gc
gc.collect(); before = gc.mem_alloc()
import umqtt.simple, fieldpost.node, fieldpost.drivers.modbus
gc.collect(); print(gc.mem_alloc() - before, fieldpost.node.__file__)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("rom") / "node.img"
    path.write_bytes(romfs.node_image())
    return path


def make_image(folder, target):
    target.write_bytes(romfs.image(folder))
    return target


def test_modules_come_from_rom_also_after_a_reset(micropython, tmp_path):
    files = tmp_path / "files"
    (files / "lib").mkdir(parents=True)
    (files / "one.py").write_text("print('one runs')\n")
    (files / "lib" / "two.py").write_text("x = 2\n")
    (files / "data.bin").write_bytes(bytes(range(256)))
    with Board(romfs=make_image(files, tmp_path / "img")) as board:
        (board.folder / "main.py").write_text("import one, two\nprint('two is', two.x)\n")
        for reset in (board.soft_reset, board.power_cycle):
            reset()
            board.wait_for("one runs\ntwo is 2\n")
        paths = "['', '.frozen', '/lib', '/rom', '/rom/lib'] []\n"
        assert board.exec("import sys; print(sys.path, sys.argv)") == paths
        assert board.exec("import os; print(os.listdir('/'))") == "['rom', 'main.py']\n"
        content = board.exec("print(open('/rom/data.bin', 'rb').read())")
        assert ast.literal_eval(content) == bytes(range(256))
        with pytest.raises(BoardError, match="OSError"):
            board.exec("open('/rom/data.bin', 'wb')")


def test_the_sdk_takes_much_less_heap_from_rom_than_from_files(micropython, image):
    from fieldpost_tools import build

    with Board(heap="512k", romfs=image) as board:
        from_rom, place = board.exec(IMPORT).split()
    with Board(heap="512k") as board:
        build.build_mpy(board.folder / "lib")
        from_files, _ = board.exec(IMPORT).split()
    assert place.startswith("/rom/lib/fieldpost/")
    assert int(from_rom) < 0.75 * int(from_files)


@pytest.mark.parametrize("size", [0, Board.ROMFS_BYTES + 1])
def test_an_image_that_does_not_fit_the_partition_is_refused(micropython, tmp_path, size):
    image = tmp_path / "img"
    image.write_bytes(bytes(size))
    with pytest.raises(BoardError, match=f"image of {size} bytes, the partition takes"):
        Board(romfs=image).start()


@pytest.mark.parametrize("romfs", [True, "damaged"])
def test_a_partition_without_an_image_is_left_alone(micropython, tmp_path, romfs):
    if romfs == "damaged":
        romfs = tmp_path / "img"
        romfs.write_bytes(os.urandom(64))
    with Board(romfs=romfs) as board:
        assert board.exec("import os; print(os.listdir('/'))") == "[]\n"
        with link.open(board.path) as raw:
            assert raw.exec("import vfs; print(vfs.rom_ioctl(1))") == "1\n"


def test_what_is_written_to_the_partition_outlives_the_power(micropython, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.py").write_text("print('one runs')\n")
    image = make_image(tmp_path / "files", tmp_path / "img").read_bytes()
    with Board(romfs=True) as board:
        with link.open(board.path) as raw:
            raw.exec("import vfs\np = vfs.rom_ioctl(2, 0)\np.ioctl(6, 0)")
            raw.exec(f"p.writeblocks(0, {image})")
        board.power_cycle()
        assert board.exec("import one") == "one runs\n"
