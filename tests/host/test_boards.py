"""Boards: what stands in boards/, checked by the schema, by the loader and against itself."""

import copy
import json
import re

import jsonschema
import pytest
from click.testing import CliRunner

from fieldpost import config
from fieldpost_tools import boards, cli, data, image
from fieldpost_tools.errors import InputError
from fieldpost_tools.release import Release
from fieldpost_tools.schema import drivers

FOLDERS = sorted(path.parent for path in data.boards_folder().glob("*/board.json"))
EXPECTED = (
    "ESP32_GENERIC",
    "ESP32_GENERIC_C3",
    "ESP32_GENERIC_C6",
    "ESP32_GENERIC_S3",
    "ESP32_GENERIC_S3-SPIRAM_OCT",
    "ESP8266_GENERIC",
    "RPI_PICO2_W",
    "RPI_PICO_W",
    "VIRTUAL",
)
#: Nothing that any key of a board allows but a few do.
ODD = (None, True, -1, 10**9, "", "0xZZ", "x" * 100, [], ["a b"], {})


def read(name):
    return json.loads((data.boards_folder() / name).read_text(encoding="utf-8"))


def validator():
    made = jsonschema.Draft202012Validator(read("board.schema.json"))
    made.check_schema(made.schema)
    return made


def show(*arguments, code=0):
    result = CliRunner().invoke(cli.main, ["board", *arguments], env={"COLUMNS": "300"})
    assert result.exit_code == code, result.output
    return result.output


def test_every_board_is_there_and_has_a_readme():
    assert set(EXPECTED) <= set(boards.names())
    for folder in FOLDERS:
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert "not run on hardware" in text.lower() or folder.name == "VIRTUAL"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_readme_wires_rs485_to_the_pins_of_the_board(folder):
    wired = boards.load(folder.name).pins.rs485
    text = (folder / "README.md").read_text(encoding="utf-8")
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert len(shown) == (wired is not None)
    for device in shown:
        assert vars(wired).items() <= device.items()
        config.validate({"node": "x", "devices": [device]})
        for pin in (wired.tx, wired.rx, wired.de):
            assert f"| GPIO {pin} " in text


@pytest.mark.parametrize("name", boards.names())
def test_a_board_agrees_with_itself(name):
    board = boards.load(name)
    assert board.id == name
    assert set(board.drivers) <= set(drivers())
    assert not config.validate({"node": "x", **board.defaults})["devices"]
    assert set(board.sources) <= set(vars(board))
    assert "heap_bytes" in board.sources
    if board.filesystem is None:
        return
    end = board.filesystem.offset + board.flash_bytes
    assert end <= board.chip_flash_bytes
    assert board.flash_bytes % board.filesystem.block_bytes == 0
    assert board.app.offset + board.app.bytes <= board.filesystem.offset
    log = board.defaults["subscriptions"][0]
    assert log["store"].get("maxBytes", 0) < board.flash_bytes / 2
    assert log["ring_bytes"] < board.heap_bytes / 4
    assert ("updates" in board.fits.features) == (board.fits.slots == 2)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_schema_takes_every_board(folder):
    assert not list(validator().iter_errors(read(f"{folder.name}/board.json")))


def places(value, path=()):
    """The path of every key and first item, ``sources`` and ``defaults`` from outside only."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, item in inner:
        yield (*path, key)
        if isinstance(item, dict | list) and key not in ("sources", "defaults", "variants"):
            yield from places(item, (*path, key))


def test_loader_and_schema_refuse_the_same():
    row = read("ESP32_GENERIC/board.json") | {
        "variants": {},
        "romfs": {"offset": "0x1", "bytes": "0x2"},
    }
    row["flashing"] |= read("RPI_PICO_W/board.json")["flashing"]
    row.pop("variants")
    schema = validator()
    refused = 0
    for path in places(row):
        for odd in ODD:
            changed = copy.deepcopy(row)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = odd
            good = schema.is_valid(changed)
            refused += not good
            assert accepts(changed) == good, (path, odd)
    assert refused > 300


def accepts(row):
    try:
        boards.check(row)
    except InputError:
        return False
    return True


@pytest.mark.parametrize("key", ["id", "heap_bytes", "pins", "sources"])
def test_a_board_lacks_a_key(key):
    row = read("VIRTUAL/board.json")
    row.pop("variants")
    del row[key]
    with pytest.raises(InputError, match=rf"board.json: {key}: None is not allowed, expected "):
        boards.check(row)
    assert not validator().is_valid(row)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("heap_bytes", 5, "heap_bytes: 5 is not allowed, expected an integer from 16384"),
        ("hepa_bytes", 5, "expected one of .*heap_bytes"),
        ("profile", "big", "expected one of full, minimal"),
        ("filesystem", {"offset": "4096"}, "offset: '4096' .* hexadecimal text such as 0x1000"),
        ("fits", {"slots": 1, "features": ["ai"]}, r"features\[0\]: 'ai' .* one of alarms, api"),
        ("sources", {"x": "somewhere"}, "text that begins with chosen or documented"),
    ],
)
def test_what_is_wrong_is_named(key, value, words):
    row = {**read("VIRTUAL/board.json"), key: value}
    row.pop("variants")
    with pytest.raises(InputError, match=words):
        boards.check(row)


def test_an_unknown_board_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"board: 'ESP33' is not allowed, expected one of ESP32_"):
        boards.load("ESP33")
    with pytest.raises(InputError, match=r"board: .*VIRTUAL. is not allowed"):
        boards.load("../boards/VIRTUAL")


@pytest.mark.parametrize("name", ["ESP32_GENERIC", "RPI_PICO_W", "RPI_PICO2_W"])
def test_the_flash_holds_every_release_and_the_log(name):
    board = boards.load(name)
    files = {file.path: file.content for file in Release.build().files}
    held = {f"/{slot}/{path}": files[path] for path in files for slot in "ab"[: board.fits.slots]}
    store = config.validate({"node": "x", **board.defaults})["subscriptions"][0]["store"]
    for number in range((store["maxBytes"] + store["reserve"]) // store["segment"]):
        held[f"/data/{number}"] = bytes(store["segment"])
    assert len(image.littlefs_image(board, held)) == board.flash_bytes


def test_a_variant_is_its_board_with_some_keys_changed():
    plain, large = (boards.load(f"ESP32_GENERIC_S3{end}") for end in ("", "-SPIRAM_OCT"))
    assert large.heap_bytes > 8 * plain.heap_bytes
    assert large.firmware == "ESP32_GENERIC_S3-SPIRAM_OCT"
    assert (large.flashing, large.filesystem) == (plain.flashing, plain.filesystem)


def test_command_list_shows_every_board():
    shown = show("list")
    for name in boards.names():
        assert re.search(rf"│ {re.escape(name)} ", shown)
    assert "143 KiB" in shown


def test_command_show_tells_all_and_where_from():
    shown = show("show", "ESP32_GENERIC")
    assert re.search(r"filesystem.offset +│ 0x200000 ", shown)
    assert re.search(r"heap_bytes +│ 146000 \(143 KiB\) +│ measured: official firmware", shown)
    found = json.loads(show("show", "RPI_PICO_W", "--json"))
    assert found["flashing"]["families"] == [0xE48BFF56]
    assert found["missing_packages"] == ["umqtt.simple"]
    assert "expected one of" in show("show", "nothing", code=2)
