"""Runs a Modbus driver by a list of steps; the same program on both interpreters.

``python -m modbus_probe FILE``: a JSON object with ``driver``, ``devices`` (as in a configuration)
and ``steps``: ``["read"]``, ``["write", name, value]``, or ``["cycles", n]``. Every device takes
each step, all of them at once. Prints a list for each step as JSON, with the result of each
device: for a read what every point holds, value or status; for a write null or why it was refused;
for cycles how many reads of n failed and the longest of the others in ms.
"""

import asyncio
import json
import sys

from driver_kit import make, values

from fieldpost.compat import sleep_ms, ticks_diff, ticks_ms
from fieldpost.errors import DriverError


async def step(driver, kind, name=None, value=None):
    try:
        if kind == "cycles":
            return await cycles(driver, name)
        if kind == "read":
            await driver.read(driver.points)
            return dict(zip([point.name for point in driver.points], values(driver)))
        point = next(point for point in driver.points if point.name == name)
        return await driver.write(point, value)
    except DriverError as error:
        return str(error)


async def cycles(driver, n):
    failed = longest = 0
    for _ in range(n):
        started = ticks_ms()
        try:
            await driver.read(driver.points)
            longest = max(longest, ticks_diff(ticks_ms(), started))
        except DriverError:
            failed += 1
        await sleep_ms(10)
    return [failed, longest]


async def run(job):
    name = job["driver"]
    kind = __import__("fieldpost.drivers." + name, None, None, ("driver",)).driver
    drivers = []
    for device in job["devices"]:
        points = device.pop("points")
        drivers.append(make(kind, points, **device))
        await drivers[-1].start()
    results = []
    for one in job["steps"]:
        results.append(await asyncio.gather(*[step(driver, *one) for driver in drivers]))
    for driver in drivers:
        await driver.stop()
    return results


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(json.dumps(asyncio.run(run(json.load(file)))))
