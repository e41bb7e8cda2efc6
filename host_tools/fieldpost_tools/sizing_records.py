"""How often a point is recorded, and how many bytes that takes: the basis of ``sizing``.

Rates follow from the acquisition rules themselves, sizes from the SDK's own record writer. What a
configuration cannot say is assumed: how often values change, and (where a driver does not know
better) that they are spread evenly over what the point can hold.

Changes are taken to be independent of each other, ``c`` per ms on average: the value of a read
differs from the one before with the probability ``1 - exp(-c * interval)``, which makes the time
to the next change geometrically distributed. A rule's ``min`` delays it, ``max`` ends it.
"""

import json
import math
import struct
from dataclasses import dataclass

from fieldpost import acquisition, record
from fieldpost.config import select
from fieldpost.drivers import modbus_pdu
from fieldpost.point import Point

HOUR_MS = 3_600_000
#: Wall-clock terms are counted from a Monday on, over a year or so many moments.
_MONDAY_MS = 1_704_067_200_000
_YEAR_MS = 366 * 24 * HOUR_MS
_MOMENTS = 20_000
#: Values of a point that are looked at.
_SAMPLES = 64
_FLOAT_DIGITS = 7
_INT_BITS = {"h": 16, "H": 16, "i": 32, "I": 32, "q": 64, "Q": 64}
_HOST = {"load": 0.37, "temp": 41.3, "upti": 1_000_000, "heap": 60_000}


@dataclass(frozen=True)
class Source:
    """One point in one subscription.

    ``burst`` counts the requests of the device before the one that reads it; ``reads_per_hour``
    are those of the device, of which the share ``recorded`` makes a record. ``timed`` is the text
    of a rule with wall-clock terms, which make ``timed_per_hour`` more. ``size`` is that of a
    record which directly follows another one, ``json_bytes`` of its value as JSON text.
    """

    id: int
    device: str
    burst: int
    reads_per_hour: float
    recorded: float
    timed: str
    timed_per_hour: float
    size: float
    json_bytes: float

    @property
    def per_hour(self):
        """Records an hour."""
        return self.reads_per_hour * self.recorded + self.timed_per_hour


def sources(config, subscription, changes_per_hour, float_bits):
    """The ``Source`` of every point of a subscription that is ever recorded.

    ``config`` is a validated configuration, ``subscription`` a row of it. Raises ConfigError.
    """
    places = {point["id"]: (row, point) for row in config["devices"] for point in row["points"]}
    bursts = _bursts(config["devices"])
    found = []
    for id, text, own in select(subscription, config["devices"], subscription["id"]):
        device, point = places[id]
        rule = acquisition.compile(text, own)
        if not device["enabled"] or not (rule.terms or rule.timed):
            continue
        reads = HOUR_MS / device["interval"]
        gap = gap_ms(rule, device["interval"], changes_per_hour)
        made = samples(device, point, float_bits)
        found.append(
            Source(
                id,
                device["id"],
                bursts.get(id, 0),
                reads,
                device["interval"] / gap if gap else 0.0,
                text.replace("adr.log", own) if rule.timed else "",
                timed_per_hour(rule),
                _mean(_size(id, value) for value in made),
                _mean(len(record_json(value, float_bits)) for value in made),
            )
        )
    return found


def timed_per_hour(rule):
    """Records an hour that a rule's wall-clock terms make: counted with ``Rule.next_due``."""
    if not rule.timed:
        return 0.0
    if len(rule.timed) == 1 and isinstance(rule.timed[0], int):
        return HOUR_MS / rule.timed[0]
    count, now = 0, _MONDAY_MS
    while count < _MOMENTS and now < _MONDAY_MS + _YEAR_MS:
        now = rule.next_due(now)
        count += 1
    return count * HOUR_MS / (now - _MONDAY_MS)


def gap_ms(rule, interval_ms, changes_per_hour):
    """Mean ms between two records that reads (or the time since one) make; None for none.

    A value is taken to move a little all the time, so ``maxdiff`` acts as ``max``.
    """
    if not rule.terms:
        return None
    every = [after for delta, after in rule.terms if delta == 0]
    change = [after for delta, after in rule.terms if delta is None or delta > 0]
    forced = [after for delta, after in rule.terms if delta == -1 or (delta is None and after)]
    still = 0.0 if every else math.exp(-changes_per_hour * interval_ms / HOUR_MS)
    least = min(every or change or forced)
    wait = _until_change(least, interval_ms, still)
    return least + _until_change(min(forced, default=math.inf), interval_ms, still) - wait


def _until_change(limit_ms, interval_ms, still):
    """Mean ms until the first read that differs, or ``limit_ms`` if that is sooner."""
    if limit_ms == math.inf:
        return math.inf if still == 1 else interval_ms / (1 - still)
    reads, rest = divmod(limit_ms, interval_ms)
    if still == 1:
        return limit_ms
    return interval_ms * (1 - still**reads) / (1 - still) + rest * still**reads


def moments_per_hour(found):
    """How often an hour at least one of the sources makes a record, of those read together."""
    return groups_per_hour(found, lambda source: (source.device, source.burst))


def groups_per_hour(found, key):
    """How often an hour records are made at a time, where sources of one ``key`` are read at once.

    Those of wall-clock terms come at one time for all points.
    """
    none = {}
    for source in found:
        group = key(source), source.reads_per_hour
        none[group] = none.get(group, 1) * max(1 - source.recorded, 0)
    timed = {source.timed for source in found if source.timed}
    moments = timed_per_hour(acquisition.compile(" or ".join(timed))) if timed else 0
    return moments + sum(reads * (1 - share) for (_, reads), share in none.items())


def varint_bytes(value):
    """Length of a number as varint."""
    return max(1, -(-int(value).bit_length() // 7))


def record_json(value, float_bits):
    """JSON text of a value as a node with such floats writes it."""
    if isinstance(value, float) and float_bits == 32:
        value = float(f"{value:.{_FLOAT_DIGITS}g}")
    return json.dumps(value)


def samples(device, point, float_bits):
    """Values that a point may have, as a node with floats of ``float_bits`` has them."""
    make = {"modbus": _modbus, "virtual": _virtual, "host": _host}.get(device["driver"], _any)
    found = make(device, point)
    if float_bits == 32:
        found = [_single(value) for value in found]
    return found


def _single(value):
    if not isinstance(value, float):
        return value
    return struct.unpack("<f", struct.pack("<f", value))[0]


def _size(id, value):
    buf = bytearray(record.NUMBER_BYTES)
    end = record.write(buf, 0, len(buf), id, 0, value)
    if end < 0:
        buf = bytearray(-end)
        end = record.write(buf, 0, len(buf), id, 0, value)
    return end


def _mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


def _spread(low, high):
    # The golden ratio's multiples: even, and no round numbers among them.
    return [low + (high - low) * (i * 0.6180339887498949 % 1) for i in range(1, _SAMPLES + 1)]


def _bursts(devices):
    """``{point id: how many requests come before the one that reads it}``.

    Counted among the devices of one interval, which are read in the same moment.
    """
    found, begun = {}, set()
    for row in devices:
        if row["enabled"] and row["driver"] == "modbus":
            fields = [_field(row, point) for point in row["points"]]
            for at, block in enumerate(modbus_pdu.plan(fields, row["max_gap"])):
                later = at + (row["interval"] in begun)
                found.update({field[5].id: later for field in block.fields})
        begun.add(row["interval"])
    return found


def _field(device, row):
    return modbus_pdu.place(Point(row["id"], device["id"], row["name"], "", row), device)


def _modbus(device, row):
    """Through the driver's own decoding of every part of what the registers can hold."""
    field = _field(device, row)
    key, _, form, order = field[:4]
    if form is None:
        return [True]
    low, high = 0.0, 100.0
    bits = _INT_BITS.get(form[1])
    if bits:
        low = -(1 << bits - 1) if form[1].islower() else 0
        high = low + (1 << bits) - 1
    ends = [row[limit] for limit in ("min", "max") if row[limit] is not None]
    if len(ends) == 2 and row["scale"]:
        low, high = sorted((end - row["offset"]) / row["scale"] for end in ends)
    found = []
    for raw in _spread(low, high):
        data = struct.pack(form, int(raw) if bits else raw)
        pdu = bytearray(2 + len(data))
        for i, byte in enumerate(data):
            pdu[2 + (i ^ order)] = byte
        found.append(modbus_pdu.decode(field, pdu, key))
    return found


def _virtual(device, row):
    kind = row["kind"]
    value = 0 if row["value"] is None else row["value"]
    if kind == "constant":
        return [value]
    if kind == "toggle":
        return [True]
    if kind == "counter":
        day = 24 * HOUR_MS // device["interval"]
        return [value + row["step"] * (day * i // _SAMPLES) for i in range(_SAMPLES)]
    low, high = {
        "ramp": (row["from"], row["to"]),
        "walk": (row["min"], row["max"]),
        "sine": (value - row["amplitude"], value + row["amplitude"]),
    }[kind]
    decimals = row["decimals"]
    return [round(x, decimals) if decimals else round(x) for x in _spread(low, high)]


def _host(_device, row):
    return [_HOST.get(row["source"][:4], 1 << 31)]


def _any(_device, _row):
    return [round(value, 2) for value in _spread(0, 100)]
