"""Virtual points: values over time, determinism, writes."""

from driver_kit import make, refused, values

from fieldpost.compat import ticks_add
from fieldpost.drivers import virtual
from fieldpost.drivers.virtual import Virtual
from fieldpost.errors import ConfigError, DriverError


class Time:
    """Stands in for ``ticks_ms``; starts just before the ticks wrap."""

    def __init__(self):
        self.ms = -50

    def __call__(self):
        return ticks_add(0, self.ms)


async def series(times_ms, *points):
    """The values of the points at each of the times after the start."""
    true_ticks = virtual.ticks_ms
    virtual.ticks_ms = time = Time()
    try:
        driver = make(Virtual, points)
        await driver.start()
        found = [[] for _ in points]
        for ms in times_ms:
            time.ms = ms - 50
            await driver.read(driver.points)
            for i, value in enumerate(values(driver)):
                found[i].append(value)
        return found
    finally:
        virtual.ticks_ms = true_ticks


async def test_constants_keep_their_type():
    wanted = [3, 2.5, "off", True, False, "", 0]
    points = [{"value": value} for value in wanted[:-1]] + [{}]
    found = await series([0, 1000], *points)
    assert found == [[value, value] for value in wanted]
    assert [type(one[0]) for one in found] == [type(value) for value in wanted]


async def test_ramp_starts_again_each_period():
    times = [0, 25, 50, 99, 100, 150, 500000050]
    ramp = {"kind": "ramp", "from": 10, "to": 20, "period": 100}
    ahead = dict(ramp, phase=50)
    whole = dict(ramp, decimals=0)
    found = await series(times, ramp, ahead, whole)
    assert found[0] == [10.0, 12.5, 15.0, 19.9, 10.0, 15.0, 15.0]
    assert found[1] == [15.0, 17.5, 10.0, 14.9, 15.0, 10.0, 10.0]
    assert found[2] == [10, 12, 15, 20, 10, 15, 15]
    assert isinstance(found[2][0], int)


async def test_sine_has_mean_amplitude_period_and_phase():
    sine = {"kind": "sine", "value": 20, "amplitude": 5, "period": 1000}
    found = await series([0, 250, 500, 750, 1000], sine, dict(sine, phase=250, decimals=1))
    assert found == [[20, 25, 20, 15, 20], [25, 20, 15, 20, 25]]
    assert (await series([125], sine)) == [[23.54]]


async def test_counter_counts_reads_and_toggle_follows_time():
    counter = {"kind": "counter", "value": 5, "step": 3}
    big = {"kind": "counter", "value": (1 << 62), "step": 1}
    toggle = {"kind": "toggle", "period": 100}
    found = await series([0, 0, 49, 50, 100], counter, big, toggle)
    assert found[0] == [5, 8, 11, 14, 17]
    assert found[1][4] == (1 << 62) + 4
    assert found[2] == [False, False, False, True, False]


async def test_walk_depends_on_its_seed_alone():
    walk = {"kind": "walk", "value": 50, "step": 2, "min": 45, "max": 55, "decimals": 4}
    times = list(range(200))
    first, other = await series(times, walk, dict(walk, seed=2))
    again, _ = await series([one * 7 for one in times], walk, dict(walk, seed=2))
    assert first == again and first != other
    assert min(first) == 45 and max(first) == 55
    steps = [first[i + 1] - first[i] for i in range(199)]
    assert max(abs(step) for step in steps) <= 2.001
    assert min(steps) < -1 and max(steps) > 1
    # The generator's first numbers, so that every interpreter walks the same way.
    at = 50
    for value, number in zip(first, (2469, 2508, 33278)):
        at += 2 * (2 * number - 65521) / 65521
        assert abs(value - at) < 0.001


async def test_written_values_stay_until_null():
    points = [
        {"kind": "counter", "writable": True},
        {"value": 7, "writable": True},
        {"value": 1},
    ]
    driver = make(Virtual, points)
    await driver.start()
    counter, setpoint, fixed = driver.points
    await driver.write(counter, -1.5)
    await driver.write(setpoint, "auto")
    await driver.read(driver.points)
    await driver.read(driver.points)
    assert values(driver) == [-1.5, "auto", 1]
    await driver.write(counter, None)
    await driver.write(setpoint, None)
    await driver.write(setpoint, None)
    await driver.read(driver.points)
    assert values(driver) == [0, 7, 1]
    for value in (float("nan"), float("inf"), [1], {}, b"x"):
        assert await refused(driver.write(setpoint, value), DriverError) == "invalid value"
    assert await refused(driver.write(fixed, 1), DriverError) == "read only"
    await driver.stop()


def test_values_that_a_kind_cannot_have_are_refused():
    for point in ({"value": []}, {"kind": "sine", "value": "x"}, {"kind": "walk", "value": {}}):
        try:
            make(Virtual, [point])
        except ConfigError as error:
            assert error.path == "dev/p0.value"
        else:
            raise AssertionError("accepted")
