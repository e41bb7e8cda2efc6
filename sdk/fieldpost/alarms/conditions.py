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

    def __init__(self, row, points, _now):
        self.points = points
        self.limit = row.get("limit", 0)
        self.deadband = row.get("deadband", 0)

    def update(self, now):
        """One of its points was read, or failed."""

    def test(self, now, raised):
        """Whether it holds; ``raised``: the alarm is raised, so the deadband counts."""
        raise NotImplementedError

    def due(self, _now):
        """When ``test`` may say something else without an update; None: never."""
        return


class High(Condition):
    """Above a limit."""

    def test(self, _now, raised):
        """See ``Condition``."""
        value = number(self.points[0])
        if value is None:
            return None
        return value > (self.limit - self.deadband if raised else self.limit)


class Low(Condition):
    """Below a limit."""

    def test(self, _now, raised):
        """See ``Condition``."""
        value = number(self.points[0])
        if value is None:
            return None
        return value < (self.limit + self.deadband if raised else self.limit)


class Range(Condition):
    """Outside of what is physically possible."""

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        self.low = row.get("low")
        self.high = row.get("high")

    def test(self, _now, raised):
        """See ``Condition``."""
        value = number(self.points[0])
        if value is None:
            return None
        margin = self.deadband if raised else 0
        return (self.high is not None and value > self.high - margin) or (
            self.low is not None and value < self.low + margin
        )


class Deviation(Condition):
    """Too far from another point."""

    settle = True

    def test(self, _now, raised):
        """See ``Condition``."""
        value, other = number(self.points[0]), number(self.points[1])
        if value is None or other is None:
            return None
        return abs(value - other) > (self.limit - self.deadband if raised else self.limit)


class Mismatch(Condition):
    """Not what another point commands."""

    settle = True

    def test(self, _now, _raised):
        """See ``Condition``."""
        point, other = self.points
        if point.status != "ok" or other.status != "ok":
            return None
        return differ(point.value, other.value, self.limit)


class States(Condition):
    """In one of some states."""

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        self.states = row["states"]

    def test(self, _now, _raised):
        """See ``Condition``."""
        point = self.points[0]
        return point.value in self.states if point.status == "ok" else None


class Change(Condition):
    """Another value than before, for just one test."""

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        self._value = points[0].value
        self._changed = self._told = False

    def update(self, _now):
        """See ``Condition``."""
        point = self.points[0]
        if point.status == "ok":
            # The first value is no change.
            self._changed = self._value is not None and point.value != self._value
            self._value = point.value

    def test(self, _now, _raised):
        """See ``Condition``."""
        self._told, self._changed = self._changed, False
        return self._told

    def due(self, now):
        """See ``Condition``."""
        return now if self._told else None


class Stale(Condition):
    """Not read for too long."""

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        self.window = row["window_ms"]
        self._last = now

    def update(self, now):
        """See ``Condition``."""
        if self.points[0].status == "ok":
            self._last = now

    def test(self, now, _raised):
        """See ``Condition``."""
        return now - self._last >= self.window

    def due(self, now):
        """See ``Condition``."""
        due = self._last + self.window
        return due if due > now else None


class Rate(Condition):
    """Changes too fast: from one window to the next, or already within one."""

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        self.window = row["window_ms"]
        self._start = None
        self._from = None
        self._rate = None  # change in a window's time

    def update(self, now):
        """See ``Condition``."""
        value = number(self.points[0])
        if value is None:
            self._from = None
            return
        if self._from is None:
            self._from, self._start, self._rate = value, now, None
            return
        change = abs(value - self._from)
        elapsed = now - self._start
        if elapsed >= self.window:
            self._rate = change * self.window / elapsed
            self._from, self._start = value, now
        elif change > self.limit:
            self._rate = change

    def test(self, _now, raised):
        """See ``Condition``."""
        if self._rate is None or number(self.points[0]) is None:
            return None
        return self._rate > (self.limit - self.deadband if raised else self.limit)


class Stuck(Condition):
    """Read again and again, and always the same."""

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        self.window = row["window_ms"]
        self._value = None
        self._since = None  # None while it fails
        self._moved = False

    def update(self, now):
        """See ``Condition``."""
        point = self.points[0]
        if point.status != "ok":
            self._since = None
            return
        moved = self._value is not None and differ(point.value, self._value, self.deadband)
        if moved or self._since is None:
            self._moved = moved
            self._value = point.value
            self._since = now

    def test(self, now, _raised):
        """See ``Condition``."""
        if self._since is None:
            return None
        # What was raised before a restart stays so until it moves.
        return True if now - self._since >= self.window else (False if self._moved else None)

    def due(self, now):
        """See ``Condition``."""
        due = None if self._since is None else self._since + self.window
        return due if due is not None and due > now else None


class Flapping(Condition):
    """Changes too often."""

    def __init__(self, row, points, now):
        super().__init__(row, points, now)
        self.window = row["window_ms"]
        self.changes = row["changes"]
        self._value = None
        self._times = []  # of the last changes
        self._start = now

    def update(self, now):
        """See ``Condition``."""
        point = self.points[0]
        if point.status != "ok":
            return
        if self._value is not None and differ(point.value, self._value, self.deadband):
            if len(self._times) == self.changes:
                self._times.pop(0)
            self._times.append(now)
        self._value = point.value

    def test(self, now, _raised):
        """See ``Condition``."""
        if len(self._times) == self.changes and now - self._times[0] < self.window:
            return True
        # What was raised before a restart stays so until it can be known.
        return False if now - self._start >= self.window else None

    def due(self, now):
        """See ``Condition``."""
        first = self._times[0] if len(self._times) == self.changes else self._start
        due = first + self.window
        return due if due > now else None


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


_CLASSES = {
    "high_limit": High,
    "low_limit": Low,
    "deviation": Deviation,
    "command_mismatch": Mismatch,
    "state_fault": States,
    "multi_state": States,
    "state_change": States,
    "stale": Stale,
    "rate_of_change": Rate,
    "stuck": Stuck,
    "range": Range,
    "flapping": Flapping,
    "expression": Formula,
}


def make(row, points, now):
    """The condition of a row, over these ``Point`` objects."""
    if row["type"] == "state_change" and "states" not in row:
        return Change(row, points, now)
    return _CLASSES[row["type"]](row, points, now)
