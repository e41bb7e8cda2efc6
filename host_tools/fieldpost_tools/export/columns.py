"""A value of any type in columns of fixed types, for sinks with tables."""

from fieldpost_tools.query import format_value

#: A double holds every integer up to it.
_EXACT = 2**53


def split(value):
    """``(number, exact, text, json)`` of a value, None where it is none of the kind.

    ``number`` is a float (booleans count as 0 and 1); ``exact`` an integer that the float does
    not hold; ``json`` the text of a boolean, array or object.
    """
    if value is None:
        return None, None, None, None
    if isinstance(value, bool):
        return float(value), None, None, format_value(value)
    if isinstance(value, int):
        return float(value), None if -_EXACT <= value <= _EXACT else value, None, None
    if isinstance(value, float):
        return value, None, None, None
    if isinstance(value, str):
        return None, None, value, None
    return None, None, None, format_value(value)
