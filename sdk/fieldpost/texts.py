"""What only those ask for who look at a configuration: it stays in the file of the plan.

A row of a device is ``[id, description, tags, keys, secrets, names]``: ``keys`` are those of its
configuration that are set and may be shown, ``secrets`` says ``{"has_password": True}``, ``names``
are the keys of its points that must not be shown. The rows of its points follow:
``[numeric id, acquisition rule, description, tags]``.
"""

from .compat import const
from .errors import ApiError
from .smallfile import unseal

#: Rows read at once.
_PAGE = const(8)
_TRAILER_BYTES = const(11)


def rows(node):
    """Yield the rows in the order of the configuration, and None where others may have a turn.

    Without the file, for want of space, they are what the node knows. Raises ApiError when the
    configuration changes meanwhile.
    """
    if node.plan_path is None:
        yield from _known(node)
        return
    digests = node.digests
    at = 0
    while True:
        if node.digests is not digests:
            raise ApiError("configuration changed")
        page, at = _page(node.plan_path, at)
        if not page:
            return
        yield from page
        yield None


def _page(path, at):
    """Some rows from a position on (0: the first), and the position behind them."""
    page = []
    with open(path, "rb") as file:
        if not at:
            file.seek(-_TRAILER_BYTES, 2)
            at = int(file.read())
        file.seek(at)
        while len(page) < _PAGE:
            line = file.readline()
            if len(line) <= _TRAILER_BYTES:
                break
            at += len(line)
            page.append(unseal(str(line, "utf-8").rstrip()))
    return page, at


def _known(node):
    for device in node.devices.values():
        yield [device.id, None, None, {}, {}, []]
        for point in device.points:
            yield [point.id, None, None, None]
