"""Module ``gateways``: the devices of a node and their points, here gateways and addresses.

A **gateway** is ``{id, name, description, driver, active, internal, cluster, state, json,
private_json}``. ``id`` and ``name`` are the same text, ``active`` says whether it is polled,
``state`` is ``init``, ``ok``, ``stopped`` or why it cannot be read. ``json`` has the other keys of
its configuration, those of its driver included; of its secrets ``private_json`` tells only whether
they are set: ``{"has_password": true}``. ``internal`` is always false, ``cluster`` always null.

An **address** is ``{id, alias, name, description, log, json, gateway_id, value, value_string,
value_date, status, status_date}``. ``log`` is its acquisition rule. ``json`` has the other keys of
its configuration. ``value`` is the last good value, null before the first, ``value_string`` the
driver's text of it. ``status`` is ``init``, ``ok`` or why it could not be read. The dates are Unix
ms, null while the clock is not trusted: when the value was read, and when it was last tried.
``alias`` is always null.

A request names an address by its id, by its name if only one gateway has it, as ``"ahu-1/dat"`` or
``"ahu-1¬dat"`` (U+00AC), or by ``{"gateway": "ahu-1", "name": "dat"}``; ``invalid address`` is
the answer to one that is not there. Filters are those of ``filters``.
"""

from ..compat import asyncio, sleep_ms
from ..errors import ApiError, DriverError
from ..point import is_value
from ..texts import rows
from . import filters
from .address import find, find_all, gateway_id
from .call import READ, WRITE, Rows


def get_gateways(node, args):
    """All gateways that the filter selects, in the order of the configuration.

    Example: ``{"filter": {"driver": ["modbus"], "active": true}}``. Error: ``invalid value`` for a
    filter that is no object or names an unknown field.
    """
    wanted = filters.check(args["filter"])

    def generate():
        for row in rows(node):
            if row is None:
                yield Rows.PAUSE
            elif row[0] in node.devices:
                gateway = _gateway(node, row)
                if filters.selects(wanted, gateway):
                    yield gateway

    return Rows(generate)


async def get_gateway(node, args):
    """One gateway by its id or name. Error: ``invalid value`` if there is none."""
    id = gateway_id(node, args["gateway"])
    for row in rows(node):
        if row is None:
            await sleep_ms(0)
        elif row[0] == id:
            return _gateway(node, row)
    raise ApiError("configuration changed")


def get_addresses(node, args):
    """All addresses that the filter selects, in the order of the configuration.

    The filter's fields are those of an address, and with ``gateway.`` those of its gateway:
    ``{"filter": {"gateway.driver": ["modbus"], "status": "ok", "json.table": "holding"}}``.
    Error: ``invalid value`` for a filter that is no object or names an unknown field.
    """
    return _addresses(node, args["filter"])


def get_addresses_by_gateway(node, args):
    """The addresses of one gateway that the filter selects, all without one.

    Error: ``invalid value`` for a gateway that is not there, or as of ``getAddresses``.
    """
    return _addresses(node, args["filter"], gateway_id(node, args["gateway"]))


async def get_address(node, args):
    """One address; for an array of names the array of theirs. Error: ``invalid address``."""
    points = find_all(node, args["address"])
    if isinstance(args["address"], list):
        return Rows(lambda: _each(node, points))
    for item in _each(node, points):
        if item is not Rows.PAUSE:
            return item
        await sleep_ms(0)
    raise ApiError("invalid address")


def get_last_value(node, args):
    """The last value, without asking the device: ``{id, value, value_string, value_date, status,
    status_date}``; for an array of addresses the array of theirs. Error: ``invalid address``.
    """
    points = find_all(node, args["address"])
    if isinstance(args["address"], list):
        return Rows(lambda: (_value(node, point) for point in points))
    return _value(node, points[0])


async def read_value(node, args):
    """Ask the device now, within its ``timeout_ms``, beside the schedule of its polling.

    Returns what ``getLastValue`` does. What is wrong with a point itself its ``status`` says.
    Errors: ``invalid address``; why the device could not be asked, such as ``timeout``, ``not
    started`` or ``stopped``, which in an array is the ``status`` of its addresses.
    """
    points = find_all(node, args["address"])
    wanted = {}
    for point in points:
        wanted.setdefault(point.device, []).append(point)
    reasons = {}
    await asyncio.gather(*[_refresh(node, id, wanted[id], reasons) for id in wanted])
    if isinstance(args["address"], list):
        return [_value(node, point, reasons.get(point.device)) for point in points]
    for reason in reasons.values():
        raise DriverError(reason)
    return _value(node, points[0])


async def write_value(node, args):
    """Set a point through its driver, within the device's ``timeout_ms``. Returns true.

    ``value`` is a number, a text or a boolean. Errors: ``invalid address``; ``read only`` unless
    the point is configured with ``"writable": true``; ``invalid value`` beyond its ``min`` or
    ``max``, or for what its type cannot take; why the device did not take it, such as ``timeout``.
    """
    point = find(node, args["address"])
    value = args["value"]
    if not point.config["writable"]:
        raise DriverError("read only")
    if isinstance(value, (list, dict)) or not is_value(value) or not _within(point, value):
        raise ApiError("invalid value")
    await node.devices[point.device].write(point, value)
    return True


def insert_gateway(node, args):
    """Add a gateway: an object with ``id`` (or ``name``), ``driver`` and, as in a gateway, its
    other fields; the keys of its driver stand in ``json``, secrets in ``private_json``.

    ``{"gateway": {"id": "ahu-2", "driver": "modbus", "json": {"host": "10.0.0.7", "interval":
    1000}}}``. It is polled at once, unless ``active`` is false. Returns its ``id``. Errors:
    ``invalid value`` for what is no such object, or what the configuration does not allow.
    """
    return _changes().insert_gateway(node, args)


def update_gateway(node, args):
    """Change fields of a gateway; those not mentioned stay, null sets one to its default.

    ``{"gateway": "ahu-1", "changes": {"description": "roof", "json": {"interval": 500}}}``. Its
    device starts anew, unless only ``description`` or ``tags`` change. Returns its ``id``, which
    cannot change. Errors as of ``insertGateway``.
    """
    return _changes().update_gateway(node, args)


def delete_gateway(node, args):
    """Remove a gateway and its addresses. Returns true. Errors: ``invalid value`` without such a
    gateway; what the configuration does not allow: a subscription may name one of its addresses.
    """
    return _changes().delete_gateway(node, args)


def start_gateway(node, args):
    """Poll a gateway from now on, also after a restart. Returns true. Error: ``invalid value``."""
    return _changes().start_gateway(node, args)


def stop_gateway(node, args):
    """Do not poll a gateway from now on, also after a restart; its ``state`` is ``stopped`` and
    its addresses have no value. Returns true. Error: ``invalid value``.
    """
    return _changes().stop_gateway(node, args)


def insert_address(node, args):
    """Add an address: an object with ``gateway_id``, ``name`` and, as in an address, its other
    fields; the unit and the keys of the driver stand in ``json``.

    ``{"address": {"gateway_id": "ahu-1", "name": "dat", "log": "on_cov 0.5", "json": {"table":
    "holding", "register": 0}}}``. Returns its numeric ``id``: the given one, else one that was
    never used before. Errors: ``invalid value`` for what is no such object, or what the
    configuration does not allow.
    """
    return _changes().insert_address(node, args)


def update_address(node, args):
    """Change fields of an address; those not mentioned stay, null sets one to its default.

    ``{"address": "ahu-1/dat", "changes": {"log": "60000", "json": {"scale": 0.1}}}``. Its device
    starts anew, unless only ``description`` or ``tags`` change. Returns its ``id``; that and the
    gateway cannot change, the ``name`` can. Errors: ``invalid address``, and as of
    ``insertAddress``.
    """
    return _changes().update_address(node, args)


def delete_address(node, args):
    """Remove an address; its id is not used again. Returns true. Errors: ``invalid address``; what
    the configuration does not allow: a subscription may name it.
    """
    return _changes().delete_address(node, args)


def _changes():
    """What only those need who change something."""
    from . import gateway_changes

    return gateway_changes


def _within(point, value):
    """Whether a value keeps to the limits of its point, and of what a record can hold."""
    low, high = point.config["min"], point.config["max"]
    if isinstance(value, (str, bool)):
        return low is None and high is None
    if not -(1 << 63) <= value < 1 << 64:
        return False
    return (low is None or value >= low) and (high is None or value <= high)


async def _refresh(node, id, points, reasons):
    try:
        await node.devices[id].refresh(points)
    except DriverError as error:
        reasons[id] = str(error)


def _addresses(node, wanted, only=None):
    wanted = filters.check(wanted)
    of_gateway = {key[8:]: wanted[key] for key in wanted if key.startswith("gateway.")}
    wanted = {key: wanted[key] for key in wanted if not key.startswith("gateway.")}

    def generate():
        gateway = None
        for row in rows(node):
            if row is None:
                yield Rows.PAUSE
            elif isinstance(row[0], str):
                known = row[0] in node.devices and only in (None, row[0])
                gateway = (
                    row if known and filters.selects(of_gateway, _gateway(node, row)) else None
                )
            elif gateway and row[0] in node.points:
                address = _address(node, row, gateway)
                if filters.selects(wanted, address):
                    yield address

    return Rows(generate)


def _each(node, points):
    """Yield the addresses of some points; those in the order of the configuration in one pass."""
    source = rows(node)
    gateway = None
    for point in points:
        found = None
        # What is left of the rows, and if need be from the beginning.
        for _ in range(2):
            for row in source:
                if row is None:
                    yield Rows.PAUSE
                elif isinstance(row[0], str):
                    gateway = row
                elif row[0] == point.id:
                    found = row
                    break
            if found:
                break
            source = rows(node)
        if not found:
            raise ApiError("configuration changed")
        yield _address(node, found, gateway)


def _gateway(node, row):
    id, description, tags, public, private, _ = row
    device = node.devices[id]
    return {
        "id": id,
        "name": id,
        "description": description,
        "driver": device.protocol,
        "active": device.enabled,
        "internal": False,
        "cluster": None,
        "state": device.status,
        "json": dict(public, tags=tags) if tags else public,
        "private_json": private,
    }


def _address(node, row, gateway):
    id, rule, description, tags = row
    point = node.points[id]
    keys = {"unit": point.unit}
    if tags:
        keys["tags"] = tags
    for key in point.config:
        if key in gateway[5]:
            keys["has_" + key] = point.config[key] is not None
        elif point.config[key] is not None:
            keys[key] = point.config[key]
    address = _value(node, point)
    address["alias"] = None
    address["name"] = point.name
    address["description"] = description
    address["log"] = rule
    address["json"] = keys
    address["gateway_id"] = point.device
    return address


def _value(node, point, reason=None):
    ok = point.status == "ok"
    tried = None if point.status == "init" else point.ticks
    return {
        "id": point.id,
        "value": point.value,
        "value_string": point.text,
        "value_date": _date(node.clock, tried if ok else point.good),
        "status": reason or point.status,
        "status_date": _date(node.clock, tried),
    }


def _date(clock, ticks):
    if ticks is None or not clock.trusted:
        return None
    return clock.mono_at(ticks) + clock.offset_ms


METHODS = {
    "getGateways": (get_gateways, "filter: any = ?", READ),
    "getGateway": (get_gateway, "gateway: any", READ),
    "getAddresses": (get_addresses, "filter: any = ?", READ),
    "getAddressesByGateway": (get_addresses_by_gateway, "gateway: any\nfilter: any = ?", READ),
    "getAddress": (get_address, "address: any", READ),
    "getLastValue": (get_last_value, "address: any", READ),
    "readValue": (read_value, "address: any", READ),
    "writeValue": (write_value, "address: any\nvalue: any", WRITE),
    "insertGateway": (insert_gateway, "gateway: any", WRITE),
    "updateGateway": (update_gateway, "gateway: any\nchanges: any", WRITE),
    "deleteGateway": (delete_gateway, "gateway: any", WRITE),
    "startGateway": (start_gateway, "gateway: any", WRITE),
    "stopGateway": (stop_gateway, "gateway: any", WRITE),
    "insertAddress": (insert_address, "address: any", WRITE),
    "updateAddress": (update_address, "address: any\nchanges: any", WRITE),
    "deleteAddress": (delete_address, "address: any", WRITE),
}
