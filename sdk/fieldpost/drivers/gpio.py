"""Digital inputs and outputs of the board.

Keys of a point:

============  =====================================================================================
``pin``       GPIO number, 0..63; one point a pin
``mode``      ``in``, ``out``, or ``open_drain``: an output that only pulls down
``pull``      ``none``, ``up`` or ``down`` (none); GPIO 34 to 39 of an ESP32 have none
``invert``    true: the low level means true (false)
``debounce``  ms for which an input has to stay before its new level counts, 0..10000 (20)
``initial``   what an output is at the start; without, an output stays as it is found
============  =====================================================================================

Values are true or false. Inputs are reported with each read and, by interrupts, at each change
that lasted: a pulse between two reads is two updates. With ``debounce`` 0 every edge counts, up to
16 that come before the node gets to them. Outputs are read back from the pin, and keep their level
when the driver stops.

API: ``machine.Pin(id, mode, pull, value=)`` and ``Pin.irq(handler, trigger)``, library/machine.Pin
of MicroPython's documentation; the value is set before the mode, so no output flickers.
"""

from ..compat import asyncio
from ..errors import ConfigError, DriverError
from .base import Driver
from .board import pin
from .contact import Contact, make_flag, watch


class Gpio(Driver):
    """Pins as points."""

    POINT = """
        pin: int 0..63
        mode: enum in out open_drain = in
        pull: enum none up down = none
        invert: bool = false
        debounce: int 0..10000 = 20
        initial: bool = ?
    """

    def __init__(self, config, points):
        """``ConfigError`` if two points have the same pin."""
        super().__init__(config, points)
        pins = set()
        for point in points:
            number = point.config["pin"]
            if number in pins:
                raise ConfigError(point.key + ".pin", number, "a pin used only once")
            pins.add(number)
        self._inputs = {}
        self._outputs = {}
        self._task = None

    async def start(self):
        """Set up every pin. ``DriverError`` for one that the chip does not have."""
        self._flag = make_flag()
        for point in self.points:
            config = point.config
            if config["mode"] == "in":
                contact = Contact(config, config["invert"], self._flag, point.update)
                self._inputs[point.id] = contact
            else:
                keys = {}
                if config["initial"] is not None:
                    keys["value"] = config["initial"] != config["invert"]
                number, mode = config["pin"], config["mode"].upper()
                self._outputs[point.id] = pin(number, mode, config["pull"], **keys)
        self._watch()

    def _watch(self):
        if self._inputs:
            self._task = asyncio.create_task(watch(self._inputs.values(), self._flag))

    async def read(self, points):
        """Update the points with what the inputs settled on and what the outputs' pins are."""
        task = self._task
        if task and task.done():
            self._watch()
            await task  # raises what ended it
        for point in points:
            contact = self._inputs.get(point.id)
            if contact:
                point.update(contact.active)
            else:
                point.update(bool(self._outputs[point.id]()) != point.config["invert"])
        if self._inputs:
            # Also where an interrupt got lost, the task sees the level now.
            self._flag.set()

    async def write(self, point, value):
        """Set an output by true, false, 1 or 0."""
        output = self._outputs.get(point.id)
        if output is None:
            raise DriverError("read only")
        try:
            active = bool((False, True).index(value))
        except ValueError:
            raise DriverError("invalid value") from None
        output(active != point.config["invert"])
        point.update(active)

    async def stop(self):
        """Have no more interrupts; outputs keep their level."""
        if self._task:
            self._task.cancel()
            self._task = None
        for contact in self._inputs.values():
            contact.close()
        self._inputs = {}
        self._outputs = {}


driver = Gpio
