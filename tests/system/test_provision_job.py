"""What provisioning sends, copies, removes and refuses, on a board in a folder."""

import json
import zlib
from dataclasses import replace

import pytest

from fieldpost_tools import boards
from fieldpost_tools.build import FIRMWARE_FILES
from fieldpost_tools.config.check import CheckError
from fieldpost_tools.errors import InputError
from fieldpost_tools.provision import Job, content, once
from fieldpost_tools.provision.job import RoomError
from fieldpost_tools.provision.link import BoardFault
from fieldpost_tools.provision.probe import UnfitError
from fieldpost_tools.provision.rom import RomJob
from fieldpost_tools.release import Release
from provision_kit import FakeLink, booted, code_of, release

BOARD = boards.load("VIRTUAL")
ONE = release("1.0")


@pytest.fixture
def provision(tmp_path):
    """``provision(release, config, …)`` the board in a folder; its ``Report``."""

    def provision(
        made=ONE, config=None, dry=False, board=BOARD, single=False, trial=True, **facts
    ):
        link = FakeLink(tmp_path, **facts)
        job = Job(link, board, release=made, single=single, trial=trial)
        job.look()
        return job.run(config, dry)

    provision.folder = tmp_path
    return provision


def state(folder):
    return json.loads((folder / "slot").read_bytes().partition(b" ")[2])


def test_a_fresh_board_gets_everything_into_slot_a(provision):
    report = provision()
    assert report.slot == "a"
    assert report.sent == [*(f"a/{file.path}" for file in ONE.files), *FIRMWARE_FILES]
    assert booted(provision.folder)[0] == code_of(ONE)
    assert (provision.folder / "a" / "release").read_bytes() == ONE.manifest
    # There is nothing to return to, so there is no trial.
    assert state(provision.folder)["trial"] is False


def test_the_second_run_sends_nothing(provision):
    provision()
    report = provision()
    assert (report.sent, report.copied, report.removed, report.bytes) == ([], 0, 0, 0)
    assert not report.changed


def test_a_changed_file_is_the_only_one_that_is_sent(provision):
    provision()
    report = provision(release("1.1", ring=b"new"))
    assert report.sent == ["b/fieldpost/ring.mpy"]
    assert (report.slot, report.copied) == ("b", 4)
    assert state(provision.folder) == {
        "active": "b",
        "trial": True,
        "attempts": 0,
        "returned": None,
    }
    back = provision(ONE)
    assert (back.slot, back.sent, back.copied) == ("a", [], 0)


def test_what_the_release_does_not_have_goes(provision):
    provision()
    old = provision.folder / "a/fieldpost"
    (old / "node.py").write_text("comes before node.mpy")
    (old / "gone").mkdir()
    (old / "gone" / "x.mpy").write_text("")
    report = provision()
    assert (report.slot, report.sent, report.removed) == ("a", [], 3)
    assert booted(provision.folder)[0] == code_of(ONE)
    assert not (old / "gone").exists()
    assert provision().changed is False


def test_the_manifest_alone_is_not_believed(provision):
    provision()
    (provision.folder / "a/fieldpost/node.mpy").write_bytes(b"rotten")
    report = provision()
    assert (report.slot, report.sent) == ("b", ["b/fieldpost/node.mpy"])
    assert booted(provision.folder)[0] == code_of(ONE)


def test_the_library_of_the_former_layout_goes_after_the_switch(provision):
    library = provision.folder / "lib"
    for made in (ONE.files[0], ONE.files[1]):
        path = library / made.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.content)
    (library / "other.py").write_text("not ours")
    (provision.folder / "main.py").write_text("")
    report = provision()
    assert report.copied == 2
    assert [path.name for path in library.iterdir()] == ["other.py"]
    assert booted(provision.folder)[0] == code_of(ONE)


def test_a_dry_run_changes_nothing(provision):
    provision()
    before = booted(provision.folder)
    report = provision(release("1.1", ring=b"new"), dry=True)
    assert (report.sent, report.copied) == (["b/fieldpost/ring.mpy"], 4)
    assert booted(provision.folder) == before
    assert not (provision.folder / "b").exists()


@pytest.mark.parametrize("trial", [True, False])
def test_a_release_that_follows_another_may_be_on_trial(provision, trial):
    provision()
    report = provision(release("1.1", ring=b"new"), trial=trial)
    assert state(provision.folder)["trial"] is report.on_trial is trial


def test_starts_that_failed_do_not_count_once_somebody_is_at_it(tmp_path):
    def run(dry=False):
        job = Job(FakeLink(tmp_path), BOARD, release=ONE)
        job.look()
        report = job.run(dry=dry)
        job.reset()
        return report

    run()
    slots = {"active": "a", "trial": True, "attempts": 2, "returned": None}
    body = json.dumps(slots).encode()
    (tmp_path / "slot").write_bytes(b"%08x %s" % (zlib.crc32(body), body))
    assert run(dry=True).sent == []
    assert state(tmp_path) == slots
    assert run().sent == []
    assert state(tmp_path) == {**slots, "attempts": 0}


@pytest.mark.parametrize("where", ["plain", "copy"])
def test_what_the_flash_does_not_hold_is_noticed(provision, monkeypatch, where):
    if where == "copy":
        provision()
    real = FakeLink.exec

    def rotting(link, program):
        if program.startswith("copy("):
            # The source rots after it was hashed.
            (provision.folder / "a/fieldpost/node.mpy").write_bytes(b"rotten")
        if where == "plain" and "end('a/fieldpost/node.mpy'" in program:
            program = program.replace("end(", "file.write(b'!')\nend(")
        return real(link, program)

    monkeypatch.setattr(FakeLink, "exec", rotting)
    if where == "copy":
        report = provision(release("1.1", ring=b"new"))
        assert sorted(report.sent) == ["b/fieldpost/node.mpy", "b/fieldpost/ring.mpy"]
        assert booted(provision.folder)[0] == code_of(release("1.1", ring=b"new"))
    else:
        with pytest.raises(BoardFault, match="does not hold what was written"):
            provision()
        assert booted(provision.folder)[0] is None


# What does not fit


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"name": "circuitpython"}, "runs circuitpython"),
        ({"platform": "esp32"}, "no VIRTUAL.*port linux, it has esp32"),
        ({"version": [1, 21, 0]}, r"runs MicroPython 1.21.0, VIRTUAL needs .* or newer"),
        ({"mpy": 5}, "version 5, mpy-cross makes 6.*--py"),
    ],
)
def test_a_board_that_does_not_fit_is_refused(provision, facts, words):
    with pytest.raises(UnfitError, match=words):
        provision(**facts)
    assert list(provision.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("machine", "fits"),
    [
        ("Generic ESP32S3 module with Octal-SPIRAM with ESP32S3", True),
        ("Generic ESP32 module with ESP32", False),
    ],
)
def test_the_chip_is_compared(provision, machine, fits):
    facts = {"platform": "esp32", "machine": machine, "version": [1, 24, 0]}
    if fits:
        provision(board=boards.load("ESP32_GENERIC_S3"), **facts)
    else:
        with pytest.raises(UnfitError, match=r"a chip ESP32-S3, it has ESP32$"):
            provision(board=boards.load("ESP32_GENERIC_S3"), **facts)


def test_a_flash_without_room_for_two_releases(provision):
    provision(free=30)
    before = booted(provision.folder)
    two = release("1.1", ring=b"new")
    with pytest.raises(RoomError, match=r"56 KiB needed, 0 KiB free; --single replaces"):
        provision(two, free=8)
    assert booted(provision.folder) == before
    report = provision(two, free=10, single=True)
    assert (report.slot, report.sent) == ("a", ["a/fieldpost/ring.mpy"])
    assert booted(provision.folder)[0] == code_of(two)
    with pytest.raises(RoomError):
        provision(release("1.2", ring=bytes(99999)), free=10, single=True)


@pytest.mark.parametrize(
    ("version", "sent"), [(None, True), ("", True), ("1.3.3", True), ("1.3.4", False)]
)
def test_umqtt_of_the_firmware_is_used_where_it_is_good_enough(tmp_path, version, sent):
    job = Job(FakeLink(tmp_path, umqtt=version), BOARD)
    job.look()
    report = job.run(dry=True)
    assert ("a/umqtt/simple.mpy" in report.sent) is sent
    assert report.notes == ([] if sent else ["umqtt.simple 1.3.4 is that of the firmware"])


def test_a_watchdog_is_fed(tmp_path):
    link = FakeLink(tmp_path, watchdog=30000)
    link.exec("import sys, types\nsys.modules['machine'] = types.ModuleType('machine')")
    link.exec("class W:\n def __init__(s, timeout): W.fed = 0; W.timeout = timeout")
    link.exec("def feed(s):\n W.fed += 1\nW.feed = feed\nsys.modules['machine'].WDT = W")
    try:
        job = Job(link, BOARD, release=ONE)
        job.look()
        job.run()
        link.exec("print(W.timeout, W.fed > 20)")
        assert link._names["printed"] == ["30000 True"]
    finally:
        link.exec("del sys.modules['machine']")


def test_a_partition_is_written_by_mpremote_only(tmp_path):
    with pytest.raises(InputError, match="'ampy' is not allowed, expected mpremote"):
        RomJob(FakeLink(tmp_path), BOARD, release=ONE).look()


# Configurations


def config(**more):
    device = {"id": "d", "driver": "virtual", "points": [{"name": "p"}, {"name": "q"}]}
    return {"node": "gw-1", "devices": [device], **more}


@pytest.fixture
def board_config(provision):
    return lambda: json.loads((provision.folder / "config.json").read_text())


def test_a_configuration_is_sent_once(provision, board_config):
    made = Release.build()
    report = provision(made, config())
    assert report.revision == 1
    assert report.sent[-2:] == ["config.json", "data/config.plan"]
    assert board_config()["revision"] == 1
    again = provision(made, config())
    assert (again.revision, again.sent) == (None, [])
    # The plan is remade where the board's is not of this configuration.
    (provision.folder / "data/config.plan").write_text("0 x\n")
    assert provision(made).sent == ["data/config.plan"]


def test_points_keep_their_ids_and_the_former_configuration_is_kept(provision, board_config):
    made = Release.build()
    provision(made, config())
    changed = config()
    changed["devices"][0]["points"] = [{"name": "new"}, {"name": "q"}]
    report = provision(made, changed)
    assert report.sent == ["history/1.json", "config.json", "data/config.plan"]
    points = board_config()["devices"][0]["points"]
    assert {point["name"]: point["id"] for point in points} == {"q": 2, "new": 3}
    former = json.loads((provision.folder / "history/1.json").read_text())
    assert [point["name"] for point in former["devices"][0]["points"]] == ["p", "q"]


def test_secrets_are_apart_and_kept_where_the_file_says_so(provision, board_config):
    made = Release.build()
    mqtt = {"host": "10.0.0.5", "user": "gw-1"}
    provision(made, config(mqtt=[{**mqtt, "password": "hunter2"}]))
    text = (provision.folder / "config.json").read_text()
    assert "hunter2" not in text
    assert board_config()["mqtt"][0]["has_password"] is True
    place = provision.folder / f"secrets/{board_config()['secrets']}.json"
    assert json.loads(place.read_text()) == {"mqtt[main].password": "hunter2"}
    kept = config(mqtt=[{**mqtt, "has_password": True}])
    assert provision(made, kept).sent == []
    changed = provision(made, config(mqtt=[{**mqtt, "password": "other"}]))
    assert [path.split("/")[0] for path in changed.sent[:2]] == ["history", "secrets"]
    with pytest.raises(InputError, match="has_"):
        provision(made, config(api={"has_mqtt_secret": True}))


def test_a_minimal_board_refuses_what_its_release_lacks(provision):
    board = replace(BOARD, profile="minimal")
    rule = {"id": "hot", "point": "d/p", "type": "high_limit", "limit": 5}
    alarms = config(alarms=[rule])
    with pytest.raises(UnfitError, match="the minimal profile, which has no alarms/engine"):
        provision(Release.build(minimal=True), alarms, board=board)
    provision(Release.build(minimal=True), config(), board=board)


def test_a_file_with_mistakes_is_refused_before_a_board_is_touched(tmp_path):
    path = tmp_path / "node.json"
    path.write_text(json.dumps({"node": "gw-1", "state_interval": "x"}))
    with pytest.raises(CheckError, match="state_interval"):
        once.configuration(path)


def test_what_a_new_version_does_not_accept_is_said(provision):
    provision(Release.build())
    (provision.folder / "config.json").write_text('{"node": "gw-1", "no": 1}')
    report = provision(Release.build())
    assert report.notes == ["this version does not accept the board's configuration"]
    assert content.node_name((provision.folder / "config.json").read_bytes()) == "gw-1"
