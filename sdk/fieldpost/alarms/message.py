"""Messages of alarms: a text with ``{names}`` in it."""

from ..compat import const

#: Used where an alarm has no message of its own.
DEFAULT = "{type} at {node_id}: {value} {unit}"
#: Characters of a value that are shown.
_VALUE_CHARS = const(64)


def render(template, values):
    """The text for ``values`` (a dict); None in it is written ``unknown``.

    Raises ValueError for a name that is not in ``values`` and for a stray brace.
    """
    text, *pieces = template.split("{")
    if "}" in text:
        raise ValueError("stray }")
    for piece in pieces:
        name, brace, literal = piece.partition("}")
        if not brace or name not in values:
            raise ValueError("unknown {%s}, want {%s}" % (name, "} {".join(sorted(values))))
        if "}" in literal:
            raise ValueError("stray }")
        value = values[name]
        text += ("unknown" if value is None else str(value)[:_VALUE_CHARS]) + literal
    return text.strip()
