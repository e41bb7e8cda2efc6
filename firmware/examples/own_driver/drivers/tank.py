"""A driver of one's own: the float of a tank at an analog input; goes to /drivers on the board."""

from fieldpost.drivers.base import Driver
from fieldpost.errors import DriverError

EMPTY_UV, FULL_UV = 200000, 3000000


class Tank(Driver):
    """``pin``: GPIO number of the float; ``litres`` of a point: what the tank holds."""

    DEVICE = {"pin": "int 0..63"}
    POINT = {"litres": "num 0..1000000"}

    async def start(self):
        """Open the input."""
        from machine import ADC, Pin

        self.input = ADC(Pin(self.config["pin"]))

    async def read(self, points):
        """Read it once for all points."""
        level = self.input.read_uv() - EMPTY_UV
        if level < -EMPTY_UV // 2:
            raise DriverError("float is not connected")
        for point in points:
            point.update(round(max(0, level) * point.config["litres"] / (FULL_UV - EMPTY_UV)))


driver = Tank
