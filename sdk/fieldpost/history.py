"""Values over time: rows, aggregates and filled gaps from records in the order of their log.

Pure: records come as an iterator of ``(Unix ms, point id, value, text)`` and leave as dicts; an
item ``None``, which says that others should have a turn, is passed on. Memory is one bucket and
one earlier value for each point, however many records come.

Time is read as it was recorded. Where a node's clock was set back, a bucket of that time comes
once more, with what was recorded after the change.
"""

_UNITS = {"": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000, "w": 604800000}
#: Weeks begin on Mondays, as 1970-01-05 was one.
_MONDAY = 345600000
_DAY = 86400000
#: Rows of a filled gap between two turns of others.
_FILLED = 16


class Interval:
    """Buckets of time: ``60000`` (ms), ``"60s"``, ``"15m"``, ``"12h"``, ``"7d"``, ``"2w"`` or
    ``"12o"`` (calendar months), in UTC.

    Buckets do not depend on what is asked for: they count from 1970-01-01, weeks from a Monday,
    months from January of year 0 (so ``"3o"`` are quarters, ``"12o"`` years). Raises ValueError.
    """

    def __init__(self, text):
        text = str(text)
        number = text.rstrip("smhdwo")
        unit = text[len(number) :]
        known = unit == "o" or unit in _UNITS
        if not (known and number.isdigit() and len(number) < 12 and int(number)):
            raise ValueError("ms, or a number with s m h d w or o (months)")
        self._months = int(number) if unit == "o" else 0
        self._size = int(number) * _UNITS.get(unit, 1)
        self._origin = _MONDAY if unit == "w" else 0

    def span(self, ms):
        """``(start, end)`` in Unix ms of the bucket that ``ms`` is in; the end is the next one's
        start."""
        if self._months:
            month = _month_of(ms // _DAY)
            month -= month % self._months
            return _first_day(month) * _DAY, _first_day(month + self._months) * _DAY
        start = ms - (ms - self._origin) % self._size
        return start, start + self._size


def _first_day(month):
    """The first day of a month (12 * year + 0..11) in days since 1970-01-01.

    Gregorian, with years that begin in March, as in H. Hinnant's ``days_from_civil``.
    """
    year, month = divmod(month - 2, 12)
    return year * 365 + year // 4 - year // 100 + year // 400 + (month * 153 + 2) // 5 - 719468


def _month_of(day):
    month = 1970 * 12 + day * 4800 // 146097
    while _first_day(month) > day:
        month -= 1
    while _first_day(month + 1) <= day:
        month += 1
    return month


def is_number(value):
    """True for what can be averaged: integers, finite floats, and bools as 0 and 1."""
    # MicroPython's bool is no int.
    return isinstance(value, (int, bool)) or (isinstance(value, float) and value - value == 0)


def _is_value(value):
    return value is not None and (not isinstance(value, float) or value - value == 0)


def _ratio(a, b):
    """``a / b`` of integers; exact where it is an integer, and never out of range in between."""
    whole, rest = divmod(a, b)
    return whole + rest / b if rest else whole


class Bucket:
    """What is known of the values of one bucket.

    ``count`` counts all of them. ``low`` and ``high``, ``mean()`` and ``variance()`` (of the
    population) are of the numbers only, None without one: exact sums while all are integers,
    Welford's recurrence from the first float on.
    """

    def __init__(self, start, end):
        self.start = start
        self.end = end
        self.count = 0
        self.first = self.last = None
        self.low = self.high = None
        self._numbers = 0
        # Sum and sum of squares while all are integers, else mean and sum of squared deviations.
        self._exact = True
        self._sum = self._squares = 0

    def add(self, value):
        """Take the next value."""
        if not self.count:
            self.first = value
        self.last = value
        self.count += 1
        if is_number(value):
            self._add(int(value) if isinstance(value, bool) else value)

    def _add(self, number):
        if not self._numbers:
            self.low = self.high = number
        elif number < self.low:
            self.low = number
        elif number > self.high:
            self.high = number
        if self._exact:
            if isinstance(number, int):
                self._numbers += 1
                self._sum += number
                self._squares += number * number
                return
            mean, deviation = self.mean(), self._deviation()
            self._sum, self._squares = mean or 0, deviation
            self._exact = False
        self._numbers += 1
        delta = number - self._sum
        self._sum += delta / self._numbers
        self._squares += delta * (number - self._sum)

    def mean(self):
        """Mean of the numbers."""
        if not self._numbers:
            return None
        return _ratio(self._sum, self._numbers) if self._exact else self._sum

    def variance(self):
        """Mean of the squared deviations from the mean."""
        count = self._numbers
        if not count:
            return None
        if self._exact:
            return _ratio(count * self._squares - self._sum * self._sum, count * count)
        return self._squares / count

    def _deviation(self):
        count = self._numbers
        return _ratio(count * self._squares - self._sum * self._sum, count) if count else 0


def raw_row(record):
    """A record as a row."""
    ms, id, value, text = record
    return {"ts": ms, "address": id, "value": value, "value_string": text}


def raw(records, start, end, before=False, after=False):
    """Rows of the records with ``start <= ms < end``, in the order of the log.

    ``before`` adds each point's newest record from before that, at the beginning; ``after`` its
    first one from ``end`` on.
    """
    earlier = {}
    followed = set()
    for record in records:
        if record is None:
            yield None
            continue
        ms, id = record[:2]
        if ms < start:
            if before:
                earlier[id] = record
            continue
        yield from _edges(earlier)
        earlier, before = {}, False
        if ms < end:
            yield raw_row(record)
        elif after and id not in followed:
            followed.add(id)
            yield raw_row(record)
    yield from _edges(earlier)


def _edges(earlier):
    return map(raw_row, sorted(earlier.values(), key=lambda record: record[:2]))


class Aggregate:
    """Rows of the buckets of ``interval`` (an ``Interval``) that have to do with
    ``start <= ms < end``; of what is in a bucket, only what is in that range counts.

    ``fill`` says what of a bucket without a value between two with: ``none`` leaves it out,
    ``last`` repeats the value before, ``linear`` has the value of the line between its neighbours
    at the row's ``ts``, ``boundaries`` those where the bucket begins and ends. The values just
    outside of the range count for that; ``last`` goes on to ``end``, but not past ``now``.
    ``align`` puts ``ts`` to the bucket's start (``left``) or middle (``center``). Values null, NaN
    and infinite are left out.
    """

    def __init__(self, interval, start, end, fill="none", align="left", now=None):
        self.interval = interval
        self.start = start
        self.end = end
        self.fill = fill
        self.center = align == "center"
        self.now = end if now is None else now

    def rows(self, records):
        """Generate the rows: by time for each point, those of a bucket once it is complete."""
        series = {}
        for record in records:
            if record is None:
                yield None
                continue
            ms, id, value, _ = record
            if not _is_value(value):
                continue
            if id not in series:
                series[id] = _Series(self, id)
            one = series[id]
            bucket = one.bucket
            if bucket and bucket.start <= ms < bucket.end and self.start <= ms < self.end:
                bucket.add(value)
                one.last = ms, value
            else:
                yield from one.take(ms, value)
        for id in sorted(series):
            yield from series[id].finish()

    def ts(self, start, end):
        """The time that stands for a bucket."""
        return (start + end) // 2 if self.center else start


class _Series:
    """One point's open bucket, and its last value as ``(ms, value)``."""

    def __init__(self, query, id):
        self.bucket = None
        self.last = None
        self._query = query
        self._id = id
        # Where the next bucket would begin.
        self._until = query.interval.span(query.start)[0]

    def take(self, ms, value):
        """Take a value that is not in the open bucket; yields what rows it completes."""
        query = self._query
        if ms < query.start:
            if self.bucket is None:
                self.last = ms, value
            return
        if ms >= query.end:
            yield from self._close()
            yield from self._gap(query.end, ms, value)
            self._until = max(self._until, query.end)
            return
        yield from self._close()
        start, end = query.interval.span(ms)
        yield from self._gap(start, ms, value)
        self.bucket = Bucket(start, end)
        self.bucket.add(value)
        self._until = end
        self.last = ms, value

    def finish(self):
        """Yield what rows remain at the end of the records."""
        yield from self._close()
        if self._query.fill == "last":
            yield from self._gap(min(self._query.end, self._query.now), None, None)

    def _close(self):
        bucket = self.bucket
        self.bucket = None
        if bucket:
            yield self._row(
                bucket.start,
                bucket.end,
                bucket.first,
                bucket.last,
                (bucket.low, bucket.high, bucket.mean(), bucket.variance(), bucket.count),
            )

    def _gap(self, stop, ms, value):
        """Yield rows for the buckets up to ``stop``, where the next value is known to be."""
        query = self._query
        if query.fill == "none" or self.last is None:
            return
        if query.fill != "last" and not (is_number(self.last[1]) and is_number(value)):
            return
        count = 0
        while self._until < stop:
            start, end = query.interval.span(self._until)
            first, last = self._ends(start, end, ms, value)
            yield self._row(start, end, first, last, _ramp(first, last))
            self._until = end
            count += 1
            if count % _FILLED == 0:
                yield None

    def _ends(self, start, end, ms, value):
        """First and last value of a bucket without any."""
        query = self._query
        before, known = self.last
        if query.fill == "last":
            return known, known
        if query.fill == "linear":
            start = end = query.ts(start, end)
        # Not beyond the two values, of which one may be in the same bucket outside of the range.
        # Only differences become floats, no time does.
        return tuple(
            known + (value - known) * ((min(max(at, before), ms) - before) / (ms - before))
            for at in (start, end)
        )

    def _row(self, start, end, first, last, figures):
        low, high, mean, variance, count = figures
        return {
            "ts": self._query.ts(start, end),
            "address": self._id,
            "value_first": first,
            "value_last": last,
            "value_min": low,
            "value_max": high,
            "value_avg": mean,
            "value_var": variance,
            "value_count": count,
            "start": start,
            "end": end,
        }


def _ramp(first, last):
    """Figures of a filled bucket, whose values lie on the line from ``first`` to ``last``."""
    if not is_number(first):
        return None, None, None, None, 0
    if first == last:
        return first, first, first, 0, 0
    rise = last - first
    return min(first, last), max(first, last), first + rise / 2, rise * rise / 12, 0
