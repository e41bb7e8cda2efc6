"""smallfile: what is read is what was written, or the damage is noticed."""

import os

from core_kit import refused
from log_kit import Fault, wipe

from fieldpost import smallfile

VALUES = (0, 1234567890123, "text", None, [1, {"a": [True, 1.5]}], {"7": 1732233600123})


def fresh():
    """An empty folder."""
    wipe()
    smallfile.make_folder("data/a/b")
    return "data/a/b/state"


def raw(path):
    with open(path, "rb") as file:
        return file.read()


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


def test_what_is_read_is_what_was_written():
    path = fresh()
    for value in VALUES:
        smallfile.save(path, value)
        assert smallfile.load(path) == value
        assert smallfile.unseal(smallfile.seal(value)) == value
    assert os.listdir("data/a/b") == ["state"]


def test_a_file_that_is_not_there():
    path = fresh()
    assert smallfile.load(path) is None
    assert smallfile.load("data/nowhere/state") is None
    smallfile.remove(path)
    smallfile.save(path, 1)
    smallfile.remove(path)
    assert smallfile.load(path) is None


def test_folders_are_made_once():
    fresh()
    smallfile.make_folder("data/a/b")
    smallfile.make_folder("data/a/c/d")
    assert sorted(os.listdir("data/a")) == ["b", "c"]


def test_every_damaged_byte_is_noticed():
    path = fresh()
    smallfile.save(path, {"7": 1732233600123})
    whole = raw(path)
    for at in range(len(whole)):
        for bit in range(8):
            put(path, whole[:at] + bytes((whole[at] ^ 1 << bit,)) + whole[at + 1 :])
            refused(ValueError, smallfile.load, path)
        put(path, whole[:at])
        refused(ValueError, smallfile.load, path)
    put(path, whole)
    assert smallfile.load(path) == {"7": 1732233600123}


def test_a_cut_leaves_the_old_value():
    path = fresh()
    smallfile.save(path, "old")
    calls = 0
    while True:
        with Fault(5, calls):
            try:
                smallfile.save(path, "new")
                break
            except OSError:
                pass
        assert smallfile.load(path) == "old"
        calls += 1
    assert calls >= 3, "open, write, rename"
    assert smallfile.load(path) == "new"


def test_a_cursor_takes_no_block_of_its_own():
    # littlefs keeps up to 128 bytes inline.
    assert len(smallfile.seal((1 << 53) - 1)) < 40
