"""What alarms and faults watch for: one small class for each kind of condition.

A condition is told of every update or failure of its points (``update``) and asked whether it
holds (``test``): True, False, or None where that is not known, as while a point fails. ``due`` is
when time alone may change the answer. All times are ``clock.mono_ms()``.

=================== ========================================================================
type                holds while
=================== ========================================================================
high_limit          value > ``limit``; once raised, while value > limit - ``deadband``
low_limit           value < ``limit``; once raised, while value < limit + ``deadband``
deviation           value and ``other`` differ by more than ``limit``, once raised by more
                    than limit - ``deadband``
command_mismatch    they differ by more than ``limit`` (default 0), or at all if no numbers
state_fault         the value is one of ``states``
multi_state         the same
state_change        the same; without ``states``: at the moment the value changes
stale               no good value for ``window_ms``, nor since the node started
rate_of_change      the value changes by more than ``limit`` in ``window_ms``
stuck               the value stayed within ``deadband`` for ``window_ms``
range               value < ``low`` or > ``high``; ``deadband`` as for limits
flapping            ``changes`` changes (of more than ``deadband``) in ``window_ms``
expression          the expression is true (not 0)
=================== ========================================================================
"""

#: On MicroPython, booleans are no integers.
_NUMBERS = (int, float, bool)


def number(point):
    """A point's good value as a number (booleans count 0 and 1); None if it has none."""
    if point.status == "ok" and isinstance(point.value, _NUMBERS):
        return point.value
    return None


def differ(a, b, by):
    """Whether two values are not the same: numbers by more than ``by``."""
    if isinstance(a, _NUMBERS) and isinstance(b, _NUMBERS):
        return abs(a - b) > by
    return a != b


class Condition:
    """Base of all: what most need not care for."""

    #: Judged only a moment after an update, when a reading's other points are there, too.
    settle = False
    deadband = 0

    def __init__(self, row, points, _now):
        self.points = points
        if "deadband" in row:
            self.deadband = row["deadband"]

    def update(self, now):
        """One of its points was read, or failed."""

    def test(self, now, raised):
        """Whether it holds; ``raised``: the alarm is raised, so the deadband counts."""
        raise NotImplementedError

    def due(self, _now):
        """When ``test`` may say something else without an update; None: never."""


class Limits(Condition):
    """Above a limit, or below one, or either."""

    low = high = None

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        for key in ("low", "high"):
            if row["type"] == key + "_limit":
                setattr(self, key, row["limit"])
            elif key in row:
                setattr(self, key, row[key])

    def test(self, _now, raised):
        """See ``Condition``."""
        value = number(self.points[0])
        if value is None:
            return None
        margin = self.deadband if raised else 0
        if self.high is not None and value > self.high - margin:
            return True
        return self.low is not None and value < self.low + margin


class Pair(Condition):
    """Too far from another point, or (``any_value``) not the same."""

    settle = True

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        self.limit = row.get("limit", 0)
        self.any_value = row["type"] == "command_mismatch"

    def test(self, _now, raised):
        """See ``Condition``."""
        point, other = self.points
        if self.any_value and point.status == other.status == "ok":
            return differ(point.value, other.value, self.limit)
        value, wanted = number(point), number(other)
        if value is None or wanted is None:
            return None
        return abs(value - wanted) > (self.limit - self.deadband if raised else self.limit)


class States(Condition):
    """In one of some states."""

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        self.states = row["states"]

    def test(self, _now, _raised):
        """See ``Condition``."""
        point = self.points[0]
        return point.value in self.states if point.status == "ok" else None


class Formula(Condition):
    """An expression over points is true."""

    settle = True

    def __init__(self, row, points, now):
        from ..expression import Expression

        super().__init__(row, points, now)
        self._expression = Expression(row["expression"])

    def test(self, _now, _raised):
        """See ``Condition``."""
        result = self._expression.evaluate([number(point) for point in self.points])
        return None if result is None else bool(result)
