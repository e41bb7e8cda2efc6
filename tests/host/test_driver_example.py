"""The driver that ``drivers/base.py`` shows works as written."""

import sys
import textwrap
import types

import pytest
from driver_kit import make, values

from fieldpost.drivers import base
from fieldpost.errors import DriverError


@pytest.fixture
def tank(monkeypatch):
    """The class of the example, its ADC giving what ``raw`` says."""
    raw = [0]
    adc = types.SimpleNamespace(read_u16=lambda: raw[0])
    machine = types.SimpleNamespace(ADC=lambda _pin: adc)
    monkeypatch.setitem(sys.modules, "machine", machine)
    text = base.__doc__.split("::\n", 1)[1].split("\nRows of")[0]
    module = {}
    exec(textwrap.dedent(text), module)
    return module["driver"], raw


async def test_example(tank):
    driver_class, raw = tank
    driver = make(driver_class, [{}, {"litres": 50.0, "offset": -65}], pin=4)
    await driver.start()
    await driver.read(driver.points)
    assert values(driver) == ["no signal"] * 2
    raw[0] = 32800
    await driver.read(driver.points)
    assert values(driver) == [pytest.approx(100.1, abs=0.01), pytest.approx(24.97, abs=0.01)]
    with pytest.raises(DriverError, match=r"^read only$"):
        await driver.write(driver.points[0], 1)
    await driver.stop()


def test_example_is_short():
    text = base.__doc__.split("::\n", 1)[1].split("\nRows of")[0]
    assert len([line for line in text.splitlines() if line.strip()]) <= 20
