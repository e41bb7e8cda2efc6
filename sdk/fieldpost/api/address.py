"""The forms in which a request names a point; shared by every module of the API.

========================================== ====================================================
form                                       names
========================================== ====================================================
``12``                                     the point with this id
``"dat"``                                  the point of this name, if only one device has it
``"ahu-1¬dat"`` (U+00AC), ``"ahu-1/dat"``  the point of this name of one gateway (device)
``{"gateway": "ahu-1", "name": "dat"}``    the same
========================================== ====================================================
"""

from ..errors import ApiError


def find(node, address):
    """The ``Point`` of ``node`` that ``address`` names. Raises ApiError("invalid address")."""
    found = None
    if isinstance(address, int) and not isinstance(address, bool):
        found = node.points.get(address)
    elif isinstance(address, str):
        gateway, separator, name = address.replace("\u00ac", "/").partition("/")
        found = (
            _named(node, (gateway,), name) if separator else _named(node, node.devices, address)
        )
    elif isinstance(address, dict) and len(address) == 2:
        found = _named(node, (address.get("gateway"),), address.get("name"))
    if found is None:
        raise ApiError("invalid address")
    return found


def find_all(node, addresses):
    """The points of a list of addresses, or of a single one. Raises like ``find``."""
    if not isinstance(addresses, list):
        addresses = [addresses]
    return [find(node, address) for address in addresses]


def gateway_id(node, gateway):
    """The id of a gateway of this node. Raises ApiError("invalid value")."""
    if not isinstance(gateway, str) or gateway not in node.devices:
        raise ApiError("invalid value")
    return gateway


def _named(node, gateways, name):
    """The point of this name, None unless exactly one of the gateways has it."""
    found = [
        point
        for gateway in gateways
        if isinstance(gateway, str) and gateway in node.devices
        for point in node.devices[gateway].points
        if point.name == name
    ]
    return found[0] if len(found) == 1 else None
