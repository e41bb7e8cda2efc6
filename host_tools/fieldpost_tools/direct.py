"""Reads nodes' own logs through their API, over the serial line or MQTT, into a store.

Nothing is confirmed to the node and nothing removed there: it is for a node that has no broker,
or for a look from outside. Records have the same key as those that a collector gets, so both may
fill one store.
"""

import base64
import binascii

from fieldpost_tools.errors import FlushError, StoreError
from fieldpost_tools.flush import Flush, Points, decode_chunks


class DirectCollector:
    """Reads one node by an ``api.Client`` into an open store.

    Attributes: ``node`` (its name), ``records`` (new ones), ``duplicates``, ``skipped`` (gone from
    the log before they were read, since this began).
    """

    MAX_BYTES = 2048

    def __init__(self, client, store):
        self._client = client
        self._store = store
        self._places = {}
        self.node = client.call("system.getInfo")["node"]
        self.records = self.duplicates = self.skipped = 0

    def names(self):
        """Store the names of the node's points."""
        devices = {}
        for address in self._client.stream("gateways.getAddresses"):
            row = address["id"], address["name"], _unit(address)
            devices.setdefault(address["gateway_id"], []).append(row)
        drivers = {one["id"]: one["driver"] for one in self._client.stream("gateways.getGateways")}
        points = [
            Points(self.node, device, drivers.get(device, ""), rows)
            for device, rows in devices.items()
        ]
        self._store.write(points=points)

    def step(self):
        """Read what is new of every subscription; how many records that were.

        Raises ApiError (see ``api.errors``), FlushError, StoreError.
        """
        found = 0
        for subscription in self._client.call("loggers.getSubscriptions"):
            found += self._drain(subscription["id"])
        return found

    def _drain(self, name):
        found = 0
        while True:
            count = self._fetch(name)
            found += count
            if not count:
                return found

    def _fetch(self, name):
        index = self._places.get(name, 0)
        part = self._client.call(
            "loggers.fetch", subscription=name, index=index, maxBytes=self.MAX_BYTES
        )
        if part["next"] < index:
            # Of another life: a log in RAM began again.
            self._places[name] = 0
            return self._fetch(name)
        try:
            payload = base64.b64decode(part["chunks"], validate=True)
        except (binascii.Error, TypeError) as error:
            raise FlushError(f"{self.node}: {name}: {error}") from None
        chunks = decode_chunks(payload)
        known = name in self._places
        skipped = part["skipped"] if known else 0
        if chunks:
            self._write(Flush(self.node, name, 0, skipped, chunks))
        self.skipped += skipped
        self._places[name] = part["index"]
        return part["count"]

    def _write(self, flush):
        written = self._store.write([flush])
        if written.conflicts:
            raise StoreError(
                f"{self.node}: stream {flush.chunks[0].stream} holds other records already"
            )
        self.records += written.records
        self.duplicates += written.duplicates


def _unit(address):
    return (address.get("json") or {}).get("unit") or ""
