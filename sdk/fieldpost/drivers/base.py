"""What a driver is; subclass ``Driver`` to teach a node a new device.

A whole driver, in a file ``drivers/tank.py`` of its own::

    from fieldpost.drivers.base import Driver
    from fieldpost.errors import DriverError


    class Tank(Driver):
        DEVICE = {"pin": "int 0..48"}
        POINT = {"litres": "num 0..100000 = 200", "offset": "int -4095..4095 = 0"}

        async def start(self):
            from machine import ADC  # hardware is imported when it is needed

            self.adc = ADC(self.config["pin"])

        async def read(self, points):
            raw = self.adc.read_u16()
            for point in points:
                level = (raw + point.config["offset"]) * point.config["litres"] / 65535
                point.update(level) if raw else point.fail("no signal")


    driver = Tank

Rows of ``DEVICE`` and ``POINT`` are configuration schema rows (see ``config.py``): the node has
validated both before it makes the driver, and has filled in every default. Either may also be a
text with a line ``key: row`` each, which takes no memory on a board that runs from ROMFS.

The node calls ``start`` before the first read and ``read`` once per interval, under the device's
``timeout_ms``; a ``read`` that exceeds it is cancelled. ``read`` and ``write`` may overlap.
"""

from ..errors import DriverError


class Driver:
    """One device: ``config`` is its validated dict, ``points`` the list of all its ``Point``."""

    #: The device's own keys, beside ``id``, ``driver``, ``interval``, ``timeout_ms``, ``points``.
    DEVICE = {}
    #: A point's own keys, beside ``id``, ``name``, ``unit``, ``log``, ``tags``.
    POINT = {}

    def __init__(self, config, points):
        """Remember both; nothing is opened yet. May raise ``ConfigError``."""
        self.config = config
        self.points = points

    async def start(self):
        """Open what has to be open; ``DriverError`` if that fails, and the node tries again."""

    async def read(self, points):
        """Refresh some or all of the device's points.

        Calls ``point.update(value[, text])`` or ``point.fail(reason)`` for each. ``DriverError``
        says that the device itself cannot be reached, which the node announces and retries.
        """
        raise NotImplementedError

    async def write(self, point, value):  # noqa: ARG002 – for those who override it
        """Set a point. ``DriverError("read only")`` or ``("invalid value")`` refuses it."""
        raise DriverError("read only")

    async def stop(self):
        """Close everything; called once, also after a failed ``start``."""
