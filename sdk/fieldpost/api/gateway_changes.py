"""Changes of gateways and addresses, which last: the second half of the module ``gateways``."""

from .. import staging
from ..errors import ApiError
from .address import find

#: Fields of the objects that say how things are, not how they are to be.
_GATEWAY_STATE = ("internal", "cluster", "state")
_PARTS = ("json", "private_json")
_ADDRESS_STATE = ("alias", "value", "value_string", "value_date", "status", "status_date")


def known_gateway(node, gateway):
    """The id of a gateway of this node. Raises ApiError("invalid value")."""
    if not isinstance(gateway, str) or gateway not in node.devices:
        raise ApiError("invalid value")
    return gateway


async def insert_gateway(node, args):
    """Add a gateway: an object with ``id`` (or ``name``), ``driver`` and, as in a gateway, its
    other fields; the keys of its driver stand in ``json``, secrets in ``private_json``.

    ``{"gateway": {"id": "ahu-2", "driver": "modbus", "json": {"host": "10.0.0.7", "interval":
    1000}}}``. It is polled at once, unless ``active`` is false. Returns its ``id``. Errors:
    ``invalid value`` for what is no such object, or what the configuration does not allow.
    """
    row = _gateway_row(args["gateway"])
    if not isinstance(row.get("id"), str):
        raise ApiError("invalid value")

    def edit(config):
        config["devices"] = (config.get("devices") or []) + [row]

    await staging.change(node, edit)
    return row["id"]


async def update_gateway(node, args):
    """Change fields of a gateway; those not mentioned stay, null sets one to its default.

    ``{"gateway": "ahu-1", "changes": {"description": "roof", "json": {"interval": 500}}}``. Its
    device starts anew, unless only ``description`` or ``tags`` change. Returns its ``id``, which
    cannot change. Errors as of ``insertGateway``.
    """
    id = known_gateway(node, args["gateway"])
    changes = _gateway_row(args["changes"])
    if changes.pop("id", id) != id:
        raise ApiError("invalid value")
    await staging.change(node, lambda config: staging.merge(_device(config, id), changes))
    return id


async def delete_gateway(node, args):
    """Remove a gateway and its addresses. Returns true. Errors: ``invalid value`` without such a
    gateway; what the configuration does not allow: a subscription may name one of its addresses.
    """
    id = known_gateway(node, args["gateway"])
    await staging.change(node, lambda config: config["devices"].remove(_device(config, id)))
    return True


async def start_gateway(node, args):
    """Poll a gateway from now on, also after a restart. Returns true. Error: ``invalid value``."""
    return await _enable(node, args["gateway"], True)


async def stop_gateway(node, args):
    """Do not poll a gateway from now on, also after a restart; its ``state`` is ``stopped`` and
    its addresses have no value. Returns true. Error: ``invalid value``.
    """
    return await _enable(node, args["gateway"], False)


async def insert_address(node, args):
    """Add an address: an object with ``gateway_id``, ``name`` and, as in an address, its other
    fields; the unit and the keys of the driver stand in ``json``.

    ``{"address": {"gateway_id": "ahu-1", "name": "dat", "log": "on_cov 0.5", "json": {"table":
    "holding", "register": 0}}}``. Returns its numeric ``id``: the given one, else one that was
    never used before. Errors: ``invalid value`` for what is no such object, or what the
    configuration does not allow.
    """
    row = _address_row(args["address"])
    gateway = known_gateway(node, row.pop("gateway_id", None))

    def edit(config):
        device = _device(config, gateway)
        device["points"] = (device.get("points") or []) + [row]

    await staging.change(node, edit)
    return row["id"]


async def update_address(node, args):
    """Change fields of an address; those not mentioned stay, null sets one to its default.

    ``{"address": "ahu-1/dat", "changes": {"log": "60000", "json": {"scale": 0.1}}}``. Its device
    starts anew, unless only ``description`` or ``tags`` change. Returns its ``id``; that and the
    gateway cannot change, the ``name`` can. Errors: ``invalid address``, and as of
    ``insertAddress``.
    """
    point = find(node, args["address"])
    changes = _address_row(args["changes"])
    if changes.pop("id", point.id) != point.id:
        raise ApiError("invalid value")
    if changes.pop("gateway_id", point.device) != point.device:
        raise ApiError("invalid value")
    await staging.change(node, lambda config: staging.merge(_point(config, point), changes))
    return point.id


async def delete_address(node, args):
    """Remove an address; its id is not used again. Returns true. Errors: ``invalid address``; what
    the configuration does not allow: a subscription may name it.
    """
    point = find(node, args["address"])

    def edit(config):
        _device(config, point.device)["points"].remove(_point(config, point))

    await staging.change(node, edit)
    return True


async def _enable(node, gateway, enabled):
    id = known_gateway(node, gateway)
    if node.devices[id].enabled != enabled:

        def edit(config):
            _device(config, id)["enabled"] = enabled

        await staging.change(node, edit)
    return True


def _device(config, id):
    return staging.find(config.get("devices"), "id", id)


def _point(config, point):
    return staging.find(_device(config, point.device).get("points"), "id", point.id)


def _gateway_row(given):
    """The row of the configuration that a gateway object stands for."""
    row = _row(given, _GATEWAY_STATE)
    if "active" in row:
        row["enabled"] = row.pop("active")
    name = row.pop("name", None)
    if row.setdefault("id", name) is None:
        row.pop("id")
    if "points" in row or name not in (None, row.get("id")):
        raise ApiError("invalid value")
    return row


def _address_row(given):
    """The row of the configuration that an address object stands for, with ``gateway_id``."""
    row = _row(given, _ADDRESS_STATE)
    if "gateway" in row:
        row.setdefault("gateway_id", row.pop("gateway"))
    id = row.get("id", 1)
    if id is None:
        row.pop("id")
    elif not isinstance(id, int) or isinstance(id, bool):
        raise ApiError("invalid value")
    return row


def _row(given, state):
    if not isinstance(given, dict):
        raise ApiError("invalid value")
    row = {key: given[key] for key in given if key not in state + _PARTS}
    for part in _PARTS:
        keys = given.get(part) or {}
        if not isinstance(keys, dict):
            raise ApiError("invalid value")
        for key in keys:
            # As they are shown.
            if not key.startswith("has_"):
                row[key] = keys[key]
    return row
