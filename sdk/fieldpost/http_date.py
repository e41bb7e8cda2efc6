"""HTTP's dates (RFC 9110, 5.6.7) and Retry-After (10.2.3), in whole seconds since 1970."""

_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
#: Longest wait that a Retry-After can ask for.
_MAX_S = 31536000


def parse_date(text):
    """Unix seconds of a date in any of its three formats; None if it is none of them.

    ``Sun, 06 Nov 1994 08:49:37 GMT``, ``Sunday, 06-Nov-94 08:49:37 GMT`` (two digits mean 1970 to
    2069) and ``Sun Nov  6 08:49:37 1994``.
    """
    words = text.replace("-", " ").split()
    if len(words) == 6 and words[5] == "GMT":
        _, day, month, year, time, _ = words
    elif len(words) == 5:
        _, month, day, time, year = words
    else:
        return None
    try:
        return _unix_s(int(year), _MONTHS.split().index(month) + 1, int(day), time)
    except ValueError:
        return None


def retry_after(text, now_s):
    """Seconds to wait, 0 to a year, that a ``Retry-After`` asks for; None if it is not valid.

    ``now_s``: Unix seconds as the one who waits knows them, or the server's own ``Date`` header
    parsed; None refuses dates.
    """
    text = text.strip()
    if text and all(char in "0123456789" for char in text):
        return min(int(text[:12]), _MAX_S)
    moment = parse_date(text)
    if moment is None or now_s is None:
        return None
    return min(max(moment - now_s, 0), _MAX_S)


def _unix_s(year, month, day, time):
    hour, minute, second = [int(part) for part in time.split(":")]
    if year < 100:
        year += 2000 if year < 70 else 1900
    good = 1970 <= year <= 9999 and 1 <= day <= 31
    if not (good and 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):
        raise ValueError
    # Years that begin in March end with the leap day.
    if month < 3:
        year, month = year - 1, month + 12
    days = year * 365 + year // 4 - year // 100 + year // 400
    days += (153 * (month - 3) + 2) // 5 + day - 719469
    return days * 86400 + hour * 3600 + minute * 60 + second
