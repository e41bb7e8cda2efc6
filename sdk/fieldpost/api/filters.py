"""Filters of lists: which objects a request wants.

A filter is an object: every key names a field, with dots into the objects within, and its value is
what the field must be, or a list of what it may be: ``{"driver": ["modbus", "virtual"],
"json.host": "10.0.0.6"}``.
"""

from ..errors import ApiError


def check(wanted):
    """Raise ApiError("invalid value") unless ``wanted`` is a filter or None; returns a filter."""
    if wanted is None:
        return {}
    if not isinstance(wanted, dict):
        raise ApiError("invalid value")
    return wanted


def selects(wanted, item):
    """Whether an object has all the fields. ApiError("invalid value") for a field unknown there;
    what is not in the objects within is null."""
    return all(_accepts(wanted[key], _field(item, key)) for key in wanted)


def _field(item, key):
    name, _, rest = key.partition(".")
    if name not in item:
        raise ApiError("invalid value")
    value = item[name]
    while rest:
        name, _, rest = rest.partition(".")
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _accepts(wanted, value):
    for one in wanted if isinstance(wanted, list) else (wanted,):
        # true is not 1.
        if one == value and isinstance(one, bool) == isinstance(value, bool):
            return True
    return False
