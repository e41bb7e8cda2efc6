"""The board's own parts, for drivers: found when a driver starts, refusals said in words."""

from ..errors import DriverError


def part(module, name):
    """``name`` of a module of the firmware; ``DriverError`` where this board lacks it."""
    try:
        return getattr(__import__(module), name)
    except (ImportError, AttributeError):
        raise DriverError("no %s.%s here" % (module, name)) from None


def pin(number, mode="IN", pull="none", **keys):
    """A ``machine.Pin``; ``mode`` and ``pull`` (``none``, ``up``, ``down``) name its constants.

    Raises ``DriverError`` for a pin that the chip does not have, or that cannot do it.
    """
    make = part("machine", "Pin")
    try:
        pull = None if pull == "none" else getattr(make, "PULL_" + pull.upper())
        return make(number, getattr(make, mode), pull, **keys)
    except (ValueError, TypeError, AttributeError) as error:
        raise DriverError("pin %d: %s" % (number, error)) from None
