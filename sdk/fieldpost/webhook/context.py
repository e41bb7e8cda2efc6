"""What the configuration says of the point or device that an event is about."""

from ..compat import asyncio, const
from ..errors import ApiError
from .filters import tagged

#: Points and devices that are remembered: to find one takes several reads of flash.
_KNOWN = const(4)


async def event(hooks, row, record, action, known=None):
    """An event as providers get it; None where the endpoint's tag filters refuse it.

    ``known`` keeps what was found by its key, for events that go together.
    """
    key = record.key
    if known is None:
        known = _remembered(hooks)
    if key not in known:
        known[key] = await find(hooks.node, key)
    point = known[key]
    if not tagged(row["tags"], point and point["tags"]):
        return None
    return {
        "event": record.event,
        "action": action,
        "id": record.id,
        "ts_ms": record.ts_ms,
        "key": key,
        "data": record.data,
        "point": point,
    }


def _remembered(hooks):
    """What was found last by its key, until the configuration changes; the dict to add to."""
    if hooks.digests is not hooks.node.digests or len(hooks.points) >= _KNOWN:
        hooks.digests = hooks.node.digests
        hooks.points = {}
    return hooks.points


async def find(node, key):
    """``node_id, name, unit, device_id, protocol, description, tags`` of ``device/point`` or of a
    device id; None where there is no such device. The texts are read from flash, in turns."""
    device_id, slash, name = key.partition("/")
    device = node.devices.get(device_id)
    points = [point for point in device.points if point.key == key] if device else ()
    if device is None or (slash and not points):
        return None
    point = points[0] if points else None
    made = {
        "node_id": key,
        "name": name or device_id,
        "unit": point.unit if point else None,
        "device_id": device_id,
        "protocol": device.protocol,
        "description": None,
        "tags": {},
    }
    await _add_texts(node, made, [device_id, point.id] if point else [device_id])
    return made


async def _add_texts(node, made, ids):
    """Complete it by the rows of the device and its point, which follow in this order."""
    from .. import texts

    try:
        for row in texts.rows(node):
            if row is None:
                await asyncio.sleep(0)
            elif row[0] in ids:
                # A device's: id, description, tags ...; a point's: id, rule, description, tags.
                description, tags = row[1:3] if isinstance(row[0], str) else row[2:4]
                made["description"] = description
                made["tags"].update(tags or {})
                if row[0] == ids[-1]:
                    return
    except (ApiError, OSError, ValueError):
        # The configuration changes, or its file is damaged: it goes without texts.
        return
