"""Analog inputs: millivolts, averages over time, ranges, inputs that fail."""

from driver_kit import make, refused, values
from fake_machine import ADC, Pin, installed
from patch_kit import FakeTime

from fieldpost.compat import asyncio
from fieldpost.drivers import adc
from fieldpost.drivers.adc import Adc
from fieldpost.errors import ConfigError, DriverError


def near(found, wanted):
    """Whether numbers are those wanted, within what a single-precision float can say."""
    return len(found) == len(wanted) and all(
        abs(one - other) <= 1e-5 * abs(other) for one, other in zip(found, wanted)
    )


async def read(driver):
    await driver.read(driver.points)
    return values(driver)


async def test_millivolts_scaled_and_rounded():
    with installed():
        ADC.volts[32] = lambda: 1234000
        points = [
            {"pin": 32, "atten": "11dB"},
            {"pin": 32, "scale": 0.01, "offset": -4},
            {"pin": 32, "scale": 0.0101, "decimals": 1},
            {"pin": 32, "scale": 0.0101, "decimals": 0},
        ]
        driver = make(Adc, points, period=0)
        await driver.start()
        found = await read(driver)
        assert near(found, [1234, 8.34, 12.5, 12]) and isinstance(found[3], int)


async def test_attenuations_are_the_ports():
    with installed():
        names = ("0dB", "2.5dB", "6dB", "11dB")
        points = [{"pin": 30 + i, "atten": name} for i, name in enumerate(names)]
        await make(Adc, points).start()
        assert [ADC.made[30 + i].atten for i in range(4)] == [0, 1, 2, 3]


class Uncalibrated:
    Pin = Pin

    class ADC:
        """An input of a port that has neither calibration nor attenuation."""

        def __init__(self, pin):
            self.number = pin.number

        def read_u16(self):
            return 13107


async def test_a_port_without_calibration():
    with installed(machine=Uncalibrated):
        driver = make(Adc, [{"pin": 26}, {"pin": 27, "reference": 5000}])
        await driver.start()
        assert near(await read(driver), [660, 1000])
        driver = make(Adc, [{"pin": 26, "atten": "11dB"}])
        assert "ATTN_11DB" in await refused(driver.start(), DriverError)


async def test_samples_are_spread_and_averaged():
    time = FakeTime()
    taken = []

    def reading():
        taken.append(time.now)
        return 1000 * len(taken)

    with installed(), time.of(adc):
        ADC.volts[32] = reading
        driver = make(Adc, [{"pin": 32}], samples=10, period=25)
        await driver.start()
        assert near(await read(driver), [5.5])
        assert taken == [0, 2, 5, 7, 10, 12, 15, 17, 20, 22]


async def test_others_run_while_it_samples():
    turns = []

    async def other():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    with installed():
        ADC.volts[32] = lambda: 0
        for period in (0, 10):
            turns.clear()
            driver = make(Adc, [{"pin": 32}], samples=8, period=period)
            await driver.start()
            task = asyncio.create_task(other())
            await read(driver)
            task.cancel()
            assert len(turns) >= 7


async def test_out_of_range_fails_the_point():
    with installed():
        volts = [100000]
        ADC.volts[32] = lambda: volts[0]
        driver = make(Adc, [{"pin": 32, "low": 400, "high": 2000}, {"pin": 32}], period=0)
        await driver.start()
        assert (await read(driver))[0] == "below range"
        volts[0] = 2000001
        assert (await read(driver))[0] == "above range"
        for volts[0] in (400000, 2000000):
            assert near(await read(driver), [volts[0] / 1000] * 2)


async def test_an_input_that_cannot_be_read_fails_alone_and_recovers():
    with installed():
        good = [3]

        def sometimes():
            good[0] -= 1
            if good[0] < 0:
                raise OSError("busy")
            return 5000

        ADC.volts[32] = sometimes
        ADC.volts[33] = lambda: 7000
        driver = make(Adc, [{"pin": 32}, {"pin": 33}], samples=4, period=0)
        await driver.start()
        found = await read(driver)
        assert found[0] == "adc: busy" and near(found[1:], [7])
        good[0] = 4
        assert near(await read(driver), [5, 7])


async def test_what_cannot_be_set_up():
    with installed():
        said = await refused(make(Adc, [{"pin": 5}]).start(), DriverError)
        assert said == "pin 5: invalid pin"
    with installed(machine=object):
        said = await refused(make(Adc, [{"pin": 32}]).start(), DriverError)
        assert said == "no machine.ADC here"
    try:
        make(Adc, [], period=500, timeout_ms=500)
    except ConfigError as error:
        assert error.path == "dev.period"
    else:
        raise AssertionError("accepted")
