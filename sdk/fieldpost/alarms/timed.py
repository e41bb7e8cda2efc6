"""Conditions that depend on what was before: changes, rates, values that stay or stay away."""

from .conditions import Condition, differ, number


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
        self.limit = row["limit"]
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
