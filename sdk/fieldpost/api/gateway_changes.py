"""Changes of gateways and addresses, which last; loaded with the first of them."""

from .. import staging
from ..errors import ApiError
from .address import find, gateway_id

#: Fields whose own keys are those of the configuration.
_PARTS = ("json", "private_json")
#: Fields that say how things are, not how they are to be.
_GATEWAY_STATE = ("internal", "cluster", "state")
_ADDRESS_STATE = ("alias", "value", "value_string", "value_date", "status", "status_date")


async def insert_gateway(node, args):
    """See ``gateways``."""
    row = _gateway_row(args["gateway"])
    if not isinstance(row.get("id"), str):
        raise ApiError("invalid value")

    def edit(config):
        config["devices"] = (config.get("devices") or []) + [row]

    await staging.change(node, edit)
    return row["id"]


async def update_gateway(node, args):
    """See ``gateways``."""
    id = gateway_id(node, args["gateway"])
    changes = _gateway_row(args["changes"])
    if changes.pop("id", id) != id:
        raise ApiError("invalid value")
    await staging.change(node, lambda config: staging.merge(_device(config, id), changes))
    return id


async def delete_gateway(node, args):
    """See ``gateways``."""
    id = gateway_id(node, args["gateway"])
    await staging.change(node, lambda config: config["devices"].remove(_device(config, id)))
    return True


async def start_gateway(node, args):
    """See ``gateways``."""
    return await _enable(node, args["gateway"], True)


async def stop_gateway(node, args):
    """See ``gateways``."""
    return await _enable(node, args["gateway"], False)


async def insert_address(node, args):
    """See ``gateways``."""
    row = _address_row(args["address"])
    gateway = gateway_id(node, row.pop("gateway_id", None))

    def edit(config):
        device = _device(config, gateway)
        device["points"] = (device.get("points") or []) + [row]

    await staging.change(node, edit)
    return row["id"]


async def update_address(node, args):
    """See ``gateways``."""
    point = find(node, args["address"])
    changes = _address_row(args["changes"])
    if changes.pop("id", point.id) != point.id:
        raise ApiError("invalid value")
    if changes.pop("gateway_id", point.device) != point.device:
        raise ApiError("invalid value")
    await staging.change(node, lambda config: staging.merge(_point(config, point), changes))
    return point.id


async def delete_address(node, args):
    """See ``gateways``."""
    point = find(node, args["address"])

    def edit(config):
        _device(config, point.device)["points"].remove(_point(config, point))

    await staging.change(node, edit)
    return True


async def _enable(node, gateway, enabled):
    id = gateway_id(node, gateway)
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
