"""docs/drivers.md: an example a driver, each valid, each read from hardware or a stand-in."""

import json
import re
import textwrap

import fake_machine
import fake_onewire
import jsonschema
import pytest
from driver_kit import values

import device_suite
from fieldpost.config import validate
from fieldpost.drivers import base
from fieldpost.point import Point
from fieldpost_tools import schema

TEXT = (device_suite.ROOT / "docs" / "drivers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
DEVICES = [json.loads(text) for language, text in BLOCKS if language == "json"]


class Sensor:
    """A DHT22 at 21.5 °C."""

    def __init__(self, pin):
        self.pin = pin

    def measure(self):
        pass

    def temperature(self):
        return 21.5

    def humidity(self):
        return 40.1


class Dht:
    DHT22 = Sensor


#: What the hardware examples read of the fakes.
READINGS = {
    "gpio": [False, False],
    "counter": [1234500, "no interval yet"],
    "adc": [50.0, 13.2],
    "ds18x20": [55.0, 39.8, ["28ff1c2d831603bb", "28ff641e8216034a"]],
    "dht": [21.5, 40.1],
    "i2c": [25.0625, 0, [72]],
}


@pytest.fixture
def hardware():
    """The fakes in the states that ``READINGS`` are read from."""
    with fake_machine.installed(onewire=fake_onewire, dht=Dht):
        fake_machine.Pin.levels[4] = True
        fake_machine.ADC.volts.update({32: lambda: 1200000, 33: lambda: 1200000})
        fake_machine.I2C.chips[72] = bytearray([0x19, 0x10, 0xA0])
        fake_onewire.clock = None
        fake_onewire.short = False
        fake_onewire.sensors.clear()
        for rom, raw in (("28ff641e8216034a", 55 * 16), ("28ff1c2d831603bb", 40 * 16)):
            fake_onewire.sensors[bytes.fromhex(rom)] = fake_onewire.Sensor(raw)
        yield


def made(row):
    """The driver of a device of the configuration."""
    (device,) = validate({"node": "n", "devices": [row]})["devices"]
    points = [Point(one["id"], row["id"], one["name"], "", one) for one in device["points"]]
    return schema.drivers()[row["driver"]](device, points)


def test_every_driver_has_a_row_and_an_example():
    known = sorted(schema.drivers())
    assert sorted(row["driver"] for row in DEVICES) == known
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", TEXT, re.MULTILINE)) == known


@pytest.mark.parametrize("row", DEVICES, ids=lambda row: row["driver"])
def test_example_is_valid(row):
    config = {"node": "n", "devices": [row]}
    jsonschema.Draft202012Validator(schema.json_schema()).validate(config)
    assert len(made(row).points) == len(row["points"])


@pytest.mark.parametrize("name", READINGS)
async def test_example_reads(name, hardware, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (row,) = [row for row in DEVICES if row["driver"] == name]
    driver = made(row)
    await driver.start()
    await driver.read(driver.points)
    wanted = READINGS[name]
    assert values(driver) == (pytest.approx(wanted) if name == "adc" else wanted)
    await driver.stop()


def test_the_driver_of_ones_own_is_that_of_base():
    (shown,) = [text for language, text in BLOCKS if language == "python"]
    example = base.__doc__.split("::\n", 1)[1].split("\nRows of")[0]
    assert shown.strip() == textwrap.dedent(example).strip()
