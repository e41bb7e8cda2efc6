"""slots: trials that succeed and fail, damaged files, a flash that takes nothing, power cuts."""

import os
import sys

import slots

ROOT = "slots/"
OLD = '{"version": "0.2.0", "mpy": 6, "files": 1}\n'


class PowerCutError(Exception):
    """Nothing more happens."""


class Board:
    """A folder with slots, which ``slots`` takes for the root of a flash."""

    def __init__(self, a=OLD, b=OLD):
        make_folder("slots")
        for name in ("slot", "slot~", "a/release", "b/release", "a", "b"):
            remove(ROOT + name)
        for slot, text in (("a", a), ("b", b)):
            if text is not None:
                make_folder(ROOT + slot)
                write(ROOT + slot + "/release", text)
        slots.ROOT = ROOT
        self.path = list(sys.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        sys.path[:] = self.path
        slots.ROOT = "/"

    def starts(self, count=1):
        """The active slot after so many starts."""
        for _ in range(count):
            slots.select()
        return slots.read()["active"]


def make_folder(path):
    try:
        os.mkdir(path)
    except OSError:
        return


def remove(path):
    for delete in (os.remove, os.rmdir):
        try:
            delete(path)
        except OSError:
            continue


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def content():
    try:
        with open(ROOT + "slot", "rb") as file:
            return file.read()
    except OSError:
        return None


class Replaced:
    """Puts ``open`` and ``os`` in front of the module's own; counts what would change a flash."""

    def __init__(self, fail_at=None, error=None):
        self.left = fail_at
        self.error = error
        self.renames = 0

    def __enter__(self):
        slots.open = self._open
        slots.os = self
        return self

    def __exit__(self, *_):
        del slots.open
        slots.os = os

    def step(self):
        """One change; True where the power goes in the middle of it."""
        if self.left is not None:
            self.left -= 1
        return self.left == -1

    def _open(self, path, mode="r"):
        if mode != "wb":
            return open(path, mode)
        if self.step():
            raise self.error
        return File(self, open(path, mode))

    def stat(self, path):
        return os.stat(path)

    def rename(self, old, new):
        if self.step():
            raise self.error
        self.renames += 1
        os.rename(old, new)


class File:
    def __init__(self, flash, file):
        self.flash = flash
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        torn = self.flash.step()
        self.file.write(data[: len(data) // 2] if torn else data)
        if torn:
            raise self.flash.error


# -- starts


def test_a_first_start_takes_the_slot_that_has_a_release():
    for a, b, active in ((OLD, None, "a"), (None, OLD, "b"), (None, None, None)):
        with Board(a, b):
            assert slots.read() == {
                "active": active,
                "trial": False,
                "attempts": 0,
                "returned": None,
            }
            slots.select()
            assert slots.read()["active"] == active
            assert slots.read()["attempts"] == 1


def test_the_active_slot_stands_first_in_the_path_and_the_other_not():
    with Board() as board:
        slots.select()
        assert sys.path == [ROOT + "a"] + board.path
        slots.switch("b")
        slots.select()
        assert sys.path == [ROOT + "b"] + board.path
    with Board(None, None) as board:
        slots.select()
        assert sys.path == board.path


def test_a_select_that_is_no_start_is_not_counted_and_writes_nothing():
    with Board():
        slots.select()
        slots.switch("b")
        before = content()
        for _ in range(9):
            slots.select(False)
        assert content() == before
        assert sys.path[0] == ROOT + "b"
        for _ in range(3):
            slots.select()
        slots.select(False)
        assert sys.path[0] == ROOT + "a", "what the next start will take"
        assert slots.read()["attempts"] == 3


def test_a_release_on_trial_that_is_healthy_stays():
    with Board() as board:
        board.starts()
        slots.healthy()
        slots.switch("b")
        assert slots.read() == {"active": "b", "trial": True, "attempts": 0, "returned": None}
        assert board.starts(3) == "b"
        slots.healthy()
        assert slots.read() == {"active": "b", "trial": False, "attempts": 0, "returned": None}
        assert board.starts(20) == "b"
        assert slots.read()["attempts"] == 20


def test_a_release_on_trial_has_three_starts():
    with Board(b='{"version": "0.3.0-of-a-long-name", "files": 1}\n') as board:
        board.starts()
        slots.healthy()
        slots.switch("b")
        assert board.starts(3) == "b"
        assert board.starts() == "a"
        assert slots.read() == {
            "active": "a",
            "trial": False,
            "attempts": 1,
            "returned": "0.3.0-of-a-long- in b: not healthy in 3 starts",
        }
        assert len(content()) <= 128
        assert sys.path[0] == ROOT + "a"
        slots.healthy()
        assert slots.read()["returned"], "told until the next switch"
        slots.switch("b")
        assert slots.read()["returned"] is None


def test_a_trial_with_nothing_to_return_to_goes_on():
    with Board(None) as board:
        slots.switch("b")
        assert board.starts(4) == "b"
        assert slots.read() == {"active": "b", "trial": False, "attempts": 4, "returned": None}


def test_a_manifest_that_cannot_be_read_returns_too():
    for text in ("", "{", "[]", '{"files": 1}'):
        with Board(b=text) as board:
            slots.switch("b")
            assert board.starts(4) == "a"
            assert slots.read()["returned"] == "release in b: not healthy in 3 starts"


def test_healthy_writes_only_what_changes():
    with Board() as board:
        board.starts()
        with Replaced() as flash:
            slots.healthy()
            assert flash.renames == 1
            slots.healthy()
            assert flash.renames == 1


def test_a_switch_to_nothing_is_refused_and_changes_nothing():
    with Board(b=None) as board:
        board.starts()
        before = content()
        try:
            slots.switch("b")
            raise AssertionError("switched")
        except OSError:
            assert content() == before


class Machine:
    PWRON_RESET = 1

    def __init__(self, cause):
        self.reset_cause = lambda: cause


def test_power_that_comes_and_goes_is_no_fault_of_the_code():
    before = sys.modules.get("machine")
    try:
        with Board() as board:
            board.starts()
            slots.healthy()
            for cause, attempts in ((2, 1), (2, 2), (3, 3), (1, 1), (1, 1), (2, 2)):
                sys.modules["machine"] = Machine(cause)
                board.starts()
                assert slots.read()["attempts"] == attempts
            slots.switch("b")
            sys.modules["machine"] = Machine(1)
            assert board.starts(3) == "b"
            assert board.starts() == "a", "a release on trial may hang until somebody cuts it off"
    finally:
        if before:
            sys.modules["machine"] = before
        else:
            del sys.modules["machine"]


# -- damage


def test_a_torn_file_leaves_the_slots_as_they_are_found():
    with Board() as board:
        slots.switch("b")
        board.starts()
        slots.healthy()
        whole = content()
        assert slots.read()["active"] == "b"
        for length in range(len(whole)):
            with open(ROOT + "slot", "wb") as file:
                file.write(whole[:length])
            state = slots.read()
            assert (state["active"], state["trial"]) == ("a", True)
            assert board.starts(3) == "a"
            assert board.starts() == "b", "the other one has its chance"
            assert board.starts(5) == "b"


def test_garbage_is_no_state():
    for garbage in (b"\xff" * 128, b"\0" * 128, b"00000000 {}", b"{}", bytes(range(100))):
        with Board(None) as board:
            with open(ROOT + "slot", "wb") as file:
                file.write(garbage)
            assert board.starts() == "b"
            assert slots.read()["attempts"] == 1


def test_a_folder_in_the_place_of_the_file_is_survived():
    with Board(None) as board:
        make_folder(ROOT + "slot")
        assert board.starts(9) == "b"
        assert sys.path[0] == ROOT + "b"


def test_a_slot_that_is_gone_gives_way_to_the_other():
    with Board() as board:
        slots.switch("b")
        board.starts()
        remove(ROOT + "b/release")
        assert board.starts() == "a"
        assert slots.read()["returned"] == "b: no release in this slot"
        assert sys.path[0] == ROOT + "a"
        remove(ROOT + "a/release")
        assert board.starts() is None
        assert not sys.path[0].startswith(ROOT)


def test_a_name_lost_by_a_rename_is_found_where_it_was_written():
    with Board() as board:
        slots.switch("b")
        os.rename(ROOT + "slot", ROOT + "slot~")
        assert slots.read()["trial"]
        assert board.starts() == "b"
        assert slots.read()["attempts"] == 1


def test_a_flash_that_takes_nothing_keeps_no_board_from_starting():
    for at in range(3):
        with Board():
            slots.switch("b")
            with Replaced(at, OSError(28)) as flash:
                slots.select()
                assert flash.renames == 0
            assert sys.path[0] == ROOT + "b"
            assert slots.read()["attempts"] == 0
            slots.select()
            assert slots.read()["attempts"] == 1


# -- power


def cut(work, at):
    """Whether ``work`` was cut off before its ``at``-th change of the flash."""
    with Replaced(at, PowerCutError()):
        try:
            work()
        except PowerCutError:
            return True
    return False


def test_the_power_goes_at_every_step_of_every_change():
    for prepare, work in (
        (lambda: None, lambda: slots.switch("b")),
        (lambda: None, slots.select),
        (lambda: slots.switch("b"), slots.select),
        (lambda: slots.switch("b"), slots.healthy),
        (lambda: [slots.switch("b")] + [slots.select() for _ in range(3)], slots.select),
    ):
        outcomes = []
        for at in range(4):
            with Board():
                slots.select()
                slots.healthy()
                prepare()
                before = slots.read()
                whole = not cut(work, at)
                after = slots.read()
                if whole:
                    assert after != before
                else:
                    assert after == before, "not half of it"
                outcomes.append(whole)
                slots.select()
                assert sys.path[0] == ROOT + slots.read()["active"]
        assert outcomes == [False, False, False, True]
