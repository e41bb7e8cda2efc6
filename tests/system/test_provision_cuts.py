"""A cut at any change of the flash leaves a board that boots what it had, or all of the new."""

import shutil

import pytest

from fieldpost_tools import boards
from fieldpost_tools.provision import Job, content
from fieldpost_tools.provision.link import BoardFault, LostError
from provision_kit import FakeLink, booted, code_of, contents, release

BOARD = boards.load("VIRTUAL")
OLD, NEW = release("1.0"), release("2.0", node=b"changed" * 900, ring=b"new")


def config(name, password="first"):
    return {
        "node": name,
        "mqtt": [{"host": "10.0.0.5", "user": name, "password": password}],
        "devices": [{"id": "d", "driver": "virtual", "points": [{"name": "p"}]}],
    }


@pytest.fixture(autouse=True)
def made_once(monkeypatch):
    """Validation takes most of the time, and is the same for each cut."""
    made = {}
    real = content.configuration

    def configuration(*arguments):
        key = repr(arguments)
        if key not in made:
            made[key] = real(*arguments)
        return made[key]

    monkeypatch.setattr(content, "configuration", configuration)
    # The small release has no such modules.
    monkeypatch.setattr(content, "modules", lambda _configured: [])


def provision(folder, made, wanted=None, cut=0, single=False, **facts):
    link = FakeLink(folder, cut, **facts)
    job = Job(link, BOARD, release=made, single=single)
    job.look()
    return link, job.run(wanted)


def fresh(folder):
    folder.mkdir()


def provisioned(folder):
    folder.mkdir()
    provision(folder, OLD, config("gw-1"))


def twice(folder):
    provisioned(folder)
    provision(folder, release("0.9", modbus=b"older"))


def with_library(folder):
    """As it was before there were slots."""
    (folder / "lib").mkdir(parents=True)
    OLD.save(folder / "lib")
    (folder / "lib" / "release").unlink()
    (folder / "lib" / "other.py").write_text("not ours")
    (folder / "boot.py").write_text("import gc\n")
    (folder / "main.py").write_text("from fieldpost.node import Node\n")
    (folder / "config.json").write_text('{"node": "old"}')


def damaged(folder):
    provisioned(folder)
    (folder / "a/fieldpost/node.mpy").write_bytes(b"rotten")
    (folder / "a/fieldpost/node.py").write_text("comes first")


@pytest.mark.parametrize("start", [fresh, provisioned, twice, with_library, damaged])
def test_a_cut_at_every_change(tmp_path, start):
    start(tmp_path / "start")
    before = booted(tmp_path / "start")
    shutil.copytree(tmp_path / "start", tmp_path / "whole")
    link, _ = provision(tmp_path / "whole", NEW, config("gw-2"))
    after = booted(tmp_path / "whole")
    assert after[0] == code_of(NEW)
    assert b'"gw-2"' in after[1]
    # The new code takes the old configuration; never the other way round.
    allowed = {before, after} | ({(after[0], before[1])} if before[0] else {(None, after[1])})
    assert link.changes > 20
    seen = set()
    for cut in range(1, link.changes + 1):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "start", folder)
        with pytest.raises(LostError):
            provision(folder, NEW, config("gw-2"), cut)
        found = booted(folder)
        assert found in allowed, cut
        seen.add(found)
        if cut % 5 == 0:
            provision(folder, NEW, config("gw-2"))
            assert booted(folder) == after
            assert not [path for path in contents(folder) if path.endswith(".new")]
        shutil.rmtree(folder)
    assert seen >= {before, after} or start is fresh


def test_a_cut_while_one_slot_is_replaced_in_place_leaves_no_code_that_is_a_mixture(tmp_path):
    provisioned(tmp_path / "start")
    shutil.copytree(tmp_path / "start", tmp_path / "whole")
    link, _ = provision(tmp_path / "whole", NEW, single=True)
    assert not (tmp_path / "whole" / "b").exists()
    for cut in range(1, link.changes + 1):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "start", folder)
        with pytest.raises(LostError):
            provision(folder, NEW, cut=cut, single=True)
        assert booted(folder)[0] in (None, code_of(OLD), code_of(NEW)), cut
        shutil.rmtree(folder)


def test_a_flash_that_is_full_in_the_middle_keeps_the_old_version(tmp_path):
    provisioned(tmp_path / "start")
    before = booted(tmp_path / "start")
    for full in range(0, 30, 3):
        folder = tmp_path / "full"
        shutil.copytree(tmp_path / "start", folder)
        with pytest.raises(BoardFault, match="28"):
            provision(folder, NEW, config("gw-2"), full=full)
        assert booted(folder) == before
        shutil.rmtree(folder)
