"""What was changed through the API: the newest entries, kept in RAM."""

from ..compat import const

_TEXT_CHARS = const(40)


class Audit:
    """The newest changes. ``total`` counts all of them, so what was forgotten is the difference.

    ``entries``, oldest first: tuples of ``KEYS``. ``mono`` is the node's ``clock.mono_ms()``,
    ``target`` the method's first argument where that is a scalar, ``result`` ``ok`` or the error.
    """

    SIZE = 32
    KEYS = ("mono", "transport", "method", "id", "target", "result")

    def __init__(self):
        self.entries = []
        self.total = 0

    def note(self, *entry):
        """Add an entry; its texts are kept up to 40 characters."""
        self.total += 1
        if len(self.entries) == self.SIZE:
            self.entries.pop(0)
        self.entries.append(tuple(_short(value) for value in entry))


def _short(value):
    if isinstance(value, str):
        return value[:_TEXT_CHARS]
    return value if isinstance(value, (int, float, bool)) else None
