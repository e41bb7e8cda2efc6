"""One text for one content, whatever the order of keys: what digests and comparisons are of."""

from .compat import dumps


def canonical(value):
    """Yield the text of a value piece by piece, the same one for the same content.

    JSON whose keys are sorted; null in an object counts as absent.
    """
    if isinstance(value, dict):
        mark = "{"
        for key in sorted(value):
            if value[key] is not None:
                yield "%s%s:" % (mark, dumps(key))
                yield from canonical(value[key])
                mark = ","
        yield "{}" if mark == "{" else "}"
    elif isinstance(value, list):
        yield "["
        for i, item in enumerate(value):
            if i:
                yield ","
            yield from canonical(item)
        yield "]"
    else:
        yield dumps(value)
