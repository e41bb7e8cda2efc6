"""For driver tests: a driver with its points, configured and validated as on a node."""

from fieldpost.config import SCHEMA, Validator
from fieldpost.point import Point


def make(driver, points, **device):
    """A driver of the class ``driver``; ``points`` are dicts without ids and, mostly, names."""
    rows = [
        dict(point, id=i + 1, name=point.get("name", "p%d" % i)) for i, point in enumerate(points)
    ]
    device.update(id="dev", driver="it", points=rows)
    config = Validator(SCHEMA, lambda _: driver).table("device", device, "device")
    made = [Point(row["id"], "dev", row["name"], row["unit"], row) for row in config["points"]]
    return driver(config, made)


def values(driver):
    """What the points of a driver hold: the value of a good one, else its status."""
    return [p.value if p.status == "ok" else p.status for p in driver.points]


async def refused(awaitable, error):
    """The text of the ``error`` that ``awaitable`` raises."""
    try:
        await awaitable
    except error as raised:
        return str(raised)
    raise AssertionError("not refused")
