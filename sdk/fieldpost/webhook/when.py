"""Dates as text, from Unix ms in whole numbers: ``time.gmtime`` has another epoch on boards."""


def split(ms):
    """``(year, month, day, hour, minute, second, ms)`` of Unix ms, UTC."""
    days, rest = divmod(ms, 86400000)
    seconds, milli = divmod(rest, 1000)
    # Years that begin in March end with the leap day; eras of 400 years (Hinnant).
    era, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day += 1 - (153 * month + 2) // 5
    year += era * 400 + month // 10
    month = month % 12 + 3 if month < 10 else month - 9
    return year, month, day, seconds // 3600, seconds // 60 % 60, seconds % 60, milli


def iso(ms):
    """``2026-11-22T03:34:33.123Z`` (RFC 3339), or None for None."""
    return None if ms is None else "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % split(ms)
