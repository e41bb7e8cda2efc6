"""Follows a running node through its API: what it is, its points' values, its counters."""

from typing import Any, NamedTuple

from fieldpost_tools.api.errors import ApiCallError

#: Addresses asked for in one request: a node takes requests of ``api.max_request`` bytes only.
_CHUNK = 200


class Reading(NamedTuple):
    """A point as it was when it was asked for; ``value_date`` is Unix ms, or None."""

    id: int
    device: str
    point: str
    unit: str
    value: Any
    value_string: str | None
    status: str
    value_date: int | None


class Snapshot(NamedTuple):
    """``info`` is the value of ``system.getInfo``; ``points`` are in the configuration's order."""

    info: dict
    points: list[Reading]

    @property
    def counters(self):
        """The node's counters since its start, by name."""
        return self.info["counters"]


class Monitor:
    """Reads a node by ``client``, an ``api.Client``; needs no more than the permission to read.

    The names of its points are asked for again when its configuration or boot is another one.
    """

    def __init__(self, client):
        self._client = client
        self._known = None  # boot and revision that the names are of
        self._names = []

    def read(self):
        """A ``Snapshot``. Raises ApiError."""
        info = self._client.call("system.getInfo")
        known = info["boot"], info["revision"]
        if known != self._known:
            self._names = list(self._client.stream("gateways.getAddresses"))
            self._known = known
        return Snapshot(info, list(self._readings()))

    def _readings(self):
        for at in range(0, len(self._names), _CHUNK):
            names = self._names[at : at + _CHUNK]
            ids = [name["id"] for name in names]
            try:
                values = list(self._client.stream("gateways.getLastValue", address=ids))
            except ApiCallError:
                self._known = None  # the configuration may have changed just now
                raise
            yield from map(_reading, names, values)


def _reading(name, value):
    names = name["gateway_id"], name["name"], name["json"].get("unit", "")
    return Reading(
        value["id"],
        *names,
        value["value"],
        value["value_string"],
        value["status"],
        value["value_date"],
    )
