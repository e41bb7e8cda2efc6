"""Five-field cron expressions: minute, hour, day of month, month, day of week.

A field is ``*`` or a comma-separated list of values ``a``, ranges ``a-b`` and steps ``*/n``,
``a-b/n``, ``a/n`` (from a to the field's end). Months and weekdays also go by the first three
letters of their English name, in any case; Sunday is 0 or 7, so ``fri-sun`` is a range.

Both-day-fields rule of crontab(5): where neither day field is ``*``, a day that matches either of
them matches; otherwise it has to match both. A stepped field such as ``*/2`` is not ``*``.

Only integers and an own calendar (Gregorian, in days since 1970-01-01), so neither the platform's
epoch nor its float size matters.
"""

_FIELDS = (
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day of month", 1, 31, ""),
    ("month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"),
    ("day of week", 0, 6, "sunmontuewedthufrisat"),
)


class Cron:
    """One compiled expression.

    Raises ValueError naming the field, the part that is wrong and what is allowed, or when the
    expression names a date that no year has.
    """

    def __init__(self, text):
        words = text.lower().split()
        if len(words) != 5:
            raise ValueError("cron '%s': want 5 fields" % text)
        masks = [_mask(words[i], *_FIELDS[i]) for i in range(5)]
        self.minutes, self.hours, self.days, self.months, weekdays = masks
        self.weekdays = weekdays | weekdays >> 7
        self.either = words[2] != "*" != words[4]
        if self._date(0) < 0:
            raise ValueError("cron '%s': no year has this date" % text)

    def next_due(self, unix_ms):
        """The first matching minute strictly after ``unix_ms``, as Unix milliseconds (UTC)."""
        day, minute = divmod(unix_ms // 60000 + 1, 1440)
        at = self._time(minute)
        date = self._date(day if at >= 0 else day + 1)
        if date != day:
            at = self._time(0)
        return (date * 1440 + at) * 60000

    def _time(self, minute):
        """The first matching minute of the day from ``minute`` on, or -1."""
        hour, minute = divmod(minute, 60)
        while hour < 24:
            if self.hours >> hour & 1:
                while minute < 60:
                    if self.minutes >> minute & 1:
                        return hour * 60 + minute
                    minute += 1
            hour += 1
            minute = 0
        return -1

    def _date(self, day):
        """The first matching day from ``day`` on, or -1 where no year has one.

        Walks months, from at most two years before ``day`` (the year is estimated by the average
        year and never late) to past the longest gap: 29 February over a century, eight years.
        """
        year = 1969 + day * 400 // 146097
        first = _new_year(year)
        for i in range(128):
            month = i % 12 + 1
            past = first + _month_days(year + i // 12, month)
            if self.months >> month & 1:
                for date in range(max(day, first), past):
                    a = self.days >> (date - first + 1) & 1
                    b = self.weekdays >> (date + 4) % 7 & 1
                    if (a or b) if self.either else (a and b):
                        return date
            first = past
        return -1


def _new_year(year):
    """1 January of ``year`` in days since 1970-01-01."""
    year -= 1
    return year * 365 + year // 4 - year // 100 + year // 400 - 719162


def _month_days(year, month):
    if month == 2:
        return _new_year(year + 1) - _new_year(year) - 337
    return 30 + (month + month // 8) % 2


def _mask(text, name, low, high, names):
    """The values of a field as an integer with one bit each."""
    mask = 0
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            value, end = low, high
        else:
            value = _value(first, low, names)
            end = _value(last, low, names) if dash else high if slash else value
            if end == 0 < value and high == 6:
                end = 7
        step = _value(step, 0, "") if slash else 1
        if not low <= value <= end <= high + (high == 6) or step < 1:
            raise ValueError(
                "cron %s '%s': want %d..%d%s, lists a,b, ranges a-b, steps /n"
                % (name, part, low, high, " or a name" if names else "")
            )
        while value <= end:
            mask |= 1 << value
            value += step
    return mask


def _value(word, low, names):
    """A number or a name's number; -1 for anything else."""
    if word.isdigit():
        return int(word)
    at = names.find(word)
    return at // 3 + low if len(word) == 3 and at % 3 == 0 else -1
