"""The forms in which a request names a point."""

from core_kit import refused

from fieldpost.api.address import find, find_all
from fieldpost.errors import ApiError
from fieldpost.point import Point


class Device:
    """What ``find`` looks at."""

    def __init__(self, id, points):
        self.id = id
        self.points = points


class Node:
    """Two devices; both have a point ``dat``, one of them one that is named ``7``."""

    def __init__(self):
        one = [Point(7, "ahu-1", "dat"), Point(8, "ahu-1", "sat")]
        two = [Point(9, "ahu-2", "dat"), Point(10, "ahu-2", "7")]
        self.devices = {"ahu-1": Device("ahu-1", one), "ahu-2": Device("ahu-2", two)}
        self.points = {point.id: point for point in one + two}


def test_every_form_names_its_point():
    node = Node()
    for address, id in (
        (7, 7),
        ("sat", 8),
        ("ahu-2/dat", 9),
        ("ahu-2\u00acdat", 9),
        ({"gateway": "ahu-1", "name": "dat"}, 7),
        ("7", 10),
    ):
        assert find(node, address).id == id, address


def test_anything_else_is_an_invalid_address():
    node = Node()
    for address in (
        11,
        True,
        7.0,
        None,
        "",
        "/",
        "dat",
        "ahu-1",
        "ahu-1/",
        "/dat",
        "ahu-3/dat",
        "ahu-1/dat/x",
        [7],
        {},
        {"name": "sat"},
        {"gateway": "ahu-1"},
        {"gateway": None, "name": "sat"},
        {"gateway": ["ahu-1"], "name": "sat"},
        {"gateway": "ahu-1", "name": ["sat"]},
        {"gateway": "ahu-1", "name": "dat", "id": 7},
    ):
        assert refused(ApiError, find, node, address) == "invalid address", address


def test_several_addresses_or_one():
    node = Node()
    assert [point.id for point in find_all(node, [9, "sat"])] == [9, 8]
    assert [point.id for point in find_all(node, 9)] == [9]
    assert find_all(node, []) == []
    assert refused(ApiError, find_all, node, [9, "dat"]) == "invalid address"
