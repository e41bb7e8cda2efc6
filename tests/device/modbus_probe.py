"""Runs the Modbus driver by a list of steps; the same program on both interpreters.

``python -m modbus_probe FILE``: a JSON object with ``device`` (as in a configuration) and
``steps``: ``["read"]`` or ``["write", name, value]``. Prints the results as a JSON list: for a
read what every point holds, value or status; for a write null or why it was refused.
"""

import asyncio
import json
import sys

from driver_kit import make, values

from fieldpost.drivers.modbus import Modbus
from fieldpost.errors import DriverError


async def step(driver, kind, name=None, value=None):
    try:
        if kind == "read":
            await driver.read(driver.points)
            return dict(zip([point.name for point in driver.points], values(driver)))
        point = next(point for point in driver.points if point.name == name)
        return await driver.write(point, value)
    except DriverError as error:
        return str(error)


async def run(job):
    points = job["device"].pop("points")
    driver = make(Modbus, points, **job["device"])
    await driver.start()
    results = []
    for one in job["steps"]:
        results.append(await step(driver, *one))
    await driver.stop()
    return results


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(json.dumps(asyncio.run(run(json.load(file)))))
