"""Works out what a node needs before it is built: memory, flash, flash life and traffic.

``plan`` takes a configuration, a board and a few assumptions, and follows each record on its way:
how often it is made (``sizing_records``), how many of them a frame of the ring and a segment on
flash take, when the log goes over to flash and how often it writes there, and what goes over the
link (``sizing_link``). ``docs/sizing.md`` has the formulas in words.
"""

import math
from dataclasses import dataclass, field

from fieldpost import config as node_config
from fieldpost.errors import ConfigError
from fieldpost.record import HEADER_BYTES, NUMBER_BYTES
from fieldpost.ring import MAX_AGE
from fieldpost.segment import SEGMENT_BYTES
from fieldpost_tools import boards, sizing_link, sizing_records
from fieldpost_tools.errors import InputError
from fieldpost_tools.sizing_records import HOUR_MS

BLOCK_BYTES = 4096
#: Times that a block of NOR flash may be erased, at least.
ENDURANCE = 100_000
#: Measured on littlefs: blocks that it and the folders of one log take, those of each further
#: log; blocks for the names of segments, and erases, for each block of a segment written.
VOLUME_BLOCKS, LOG_BLOCKS = 14, 4
NAME_BLOCKS, ERASES = 0.055, 1.09
#: The node looks after its logs so often.
TEND_MS = 1000
#: Dating a frame's first record from the log's base takes up to a 4-byte varint.
_FIRST_MS_BYTES = 4
#: Flash that lasts less is warned of.
SHORT_YEARS = 5
#: Share of the heap that buffers may take beside the node itself.
_HEAP_SHARE = 0.5
_DAY_HOURS, _YEAR_DAYS = 24, 365.25


@dataclass(frozen=True)
class Board:
    """What is planned for: ``flash_bytes`` of the file system (None: no limit, no wear),
    ``heap_bytes``, and ``float_bits``, 32 or 64."""

    id: str
    name: str
    flash_bytes: int | None
    heap_bytes: int
    float_bits: int


@dataclass(frozen=True)
class Assumptions:
    """What no configuration says: changes an hour of each point, how long the longest outage
    is, bytes of TCP/IP headers a packet."""

    changes_per_hour: float = 60.0
    outage_hours: float = 8.0
    packet_bytes: int = 40


@dataclass
class LogPlan:
    """One subscription. Hours are None where there is no end; ``flash_hours`` is 0 without flash.

    ``holds_hours`` is for how long nothing is lost without a collector, ``limit`` names what ends
    it. ``need_ring_bytes`` and ``need_flash_bytes`` are what the outage takes, in RAM or on flash.
    """

    subscription: str
    points: int
    records_per_hour: float
    record_bytes: float
    frame_records: int
    segment_records: int
    ring_bytes: int
    ram_hours: float | None
    flash_hours: float | None
    holds_hours: float | None
    limit: str
    need_ring_bytes: int
    need_flash_bytes: int
    writes_per_day: float
    fits: bool


@dataclass
class Plan:
    """The result. ``flash_years`` (None: for ever) is with one such outage a day; ``mqtt_bytes``
    are those of both directions a day, ``link_bytes`` with TCP/IP headers. ``advice`` are
    sentences that name what to change; with an empty list all is well."""

    node: str
    board: Board
    assumptions: Assumptions
    logs: list
    traffic: list
    mqtt_bytes_per_day: float
    link_bytes_per_day: float
    erases_per_day: float
    flash_years: float | None
    buffer_bytes: int
    advice: list = field(default_factory=list)

    @property
    def fits(self):
        """Whether every log survives the outage."""
        return all(log.fits for log in self.logs)


def load_board(id, flash_bytes=None, heap_bytes=None):
    """The ``Board`` of a board or variant that ``boards.load`` knows, with other sizes where
    given. Raises InputError."""
    known = boards.load(id)
    return Board(
        id,
        known.name,
        known.flash_bytes if flash_bytes is None else flash_bytes,
        known.heap_bytes if heap_bytes is None else heap_bytes,
        known.float_bits,
    )


def plan(config, board, assumptions=None):
    """The ``Plan`` of a node's configuration (a dict) on a board. Raises InputError."""
    assumptions = assumptions or Assumptions()
    changes = assumptions.changes_per_hour
    try:
        config = node_config.validate(config)
        found = [
            sizing_records.sources(config, row, changes, board.float_bits)
            for row in config["subscriptions"]
        ]
    except ConfigError as error:
        raise InputError(error.path, error.value, error.allowed) from error
    shapes = [
        _Shape(row, one) for row, one in zip(config["subscriptions"], found, strict=True) if one
    ]
    volume = _Volume(shapes)
    for shape in shapes:
        shape.volume_hours = volume.hours(board.flash_bytes, shape)
    logs = [shape.plan(assumptions.outage_hours) for shape in shapes]
    made = sizing_link.traffic(
        config,
        [(one.row, one.found, one.pace, one.record_bytes, one.frame_records) for one in shapes],
        changes,
        board.float_bits,
    )
    result = _result(config, board, assumptions, shapes, logs, made)
    result.advice = _advice(result, shapes, volume)
    return result


class _Shape:
    """A subscription while it is planned."""

    def __init__(self, row, found):
        self.row = row
        self.found = found
        self.store = row["store"]
        self.per_hour = sum(source.per_hour for source in found)
        self.record_bytes = self._record_bytes()
        self.frame_records = self._frame_records()
        self.frames = row["ring_bytes"] // row["frame_bytes"]
        # The fullest frame had room for one more.
        used = row["frame_bytes"] - NUMBER_BYTES + min(self.record_bytes, NUMBER_BYTES)
        each = max(1, int((self.store["segment"] - SEGMENT_BYTES) // used))
        self.segment_records = min(each, self.frames - 1) * self.frame_records
        self.segment_hours = self.segment_records / self.per_hour
        self.segment_blocks = -(-self.store["segment"] // BLOCK_BYTES)
        self.pace = sizing_link.pace(row["flush"], found, self.record_bytes)
        #: Hours until the flash is full; 0: it is not used; None: never.
        self.volume_hours = 0.0

    @property
    def spills(self):
        """Whether an outage is ever stored on flash."""
        store = self.store
        return store["disk"] and bool(
            store["durable"] or store["onRamOverflow"] or store["onEntries"]
        )

    @property
    def ram_hours(self):
        """How long the ring lasts: one frame may be taken by records that were delivered."""
        return (self.frames - 1) * self.frame_records / self.per_hour

    def _record_bytes(self):
        """Mean size: a point's own, and the time since the record before."""
        moments = sizing_records.moments_per_hour(self.found)
        size = sum(source.per_hour * source.size for source in self.found) / self.per_hour
        apart = sizing_records.varint_bytes(HOUR_MS / moments) - 1
        return size + apart * min(moments / self.per_hour, 1)

    def _frame_records(self):
        """A record is written where the longest one would fit."""
        room = self.row["frame_bytes"] - HEADER_BYTES - _FIRST_MS_BYTES
        return max(1, int((room - NUMBER_BYTES) // self.record_bytes) + 1)

    def flash_limits(self):
        """``(hours, what sets it)`` of everything that bounds what is kept on flash."""
        store = self.store
        limits = [(self.volume_hours, "the flash")]
        if store["maxBytes"]:
            segments = store["maxBytes"] // (self.segment_blocks * BLOCK_BYTES)
            limits.append((segments * self.segment_hours, "store.maxBytes"))
        if store["maxEntries"]:
            limits.append((store["maxEntries"] / self.per_hour, "store.maxEntries"))
        if store["maxDuration"]:
            limits.append((store["maxDuration"] / HOUR_MS, "store.maxDuration"))
        return [limit for limit in limits if limit[0] is not None]

    def holds(self):
        """``(hours or None, what sets it)`` until a record is lost."""
        found = self.ram_hours, "ring_bytes"
        if self.spills:
            found = max(found, min(self.flash_limits(), default=(math.inf, "")))
        if self.row["overflow"] == MAX_AGE:
            found = min(found, (self.row["max_age"] / HOUR_MS, "max_age"))
        return found

    def late_writes(self, span_hours):
        """Writes an hour because of maxLatency, when nothing waits any more after each span."""
        latency = -(-self.store["maxLatency"] // TEND_MS) * TEND_MS
        late = span_hours * HOUR_MS // latency
        if not (late and self.store["durable"]):
            return 0.0
        return min(sizing_records.moments_per_hour(self.found), late / span_hours)

    def writes_per_day(self, outage_hours):
        """Segments written on a day with such an outage."""
        store = self.store
        if not self.spills:
            return 0.0
        begins = 0.75 * self.ram_hours
        if store["durable"]:
            begins = 0.0
        elif store["onEntries"]:
            begins = min(begins, store["onEntries"] / self.per_hour)
        hours = min(outage_hours, _DAY_HOURS)
        # With each full segment, nearly everything is stored.
        rate = self.late_writes(self.segment_hours) + 1 / self.segment_hours
        writes = hours * rate if hours > begins else 0.0
        return writes + (_DAY_HOURS - hours) * self._quiet_writes()

    def _quiet_writes(self):
        """Writes an hour without an outage: where batches wait so long that a durable log is
        late."""
        delay = self.pace.delay_ms / HOUR_MS
        full = 1 / self.segment_hours if delay > self.segment_hours else 0.0
        return self.late_writes(min(delay, self.segment_hours)) + full * self.store["durable"]

    def plan(self, outage_hours):
        """The finished ``LogPlan``."""
        records = self.per_hour * outage_hours
        hours, limit = self.holds()
        flash_hours = min(self.flash_limits(), default=(None,))[0] if self.spills else 0.0
        frames = math.ceil(records / self.frame_records) + 1
        segments = math.ceil(records / self.segment_records)
        return LogPlan(
            self.row["id"],
            len(self.found),
            self.per_hour,
            self.record_bytes,
            self.frame_records,
            self.segment_records,
            self.row["ring_bytes"],
            self.ram_hours,
            flash_hours,
            None if hours == math.inf else hours,
            limit,
            frames * self.row["frame_bytes"],
            segments * self.segment_blocks * BLOCK_BYTES,
            self.writes_per_day(outage_hours),
            hours >= outage_hours,
        )


class _Volume:
    """The file system that the logs share, in blocks."""

    def __init__(self, shapes):
        spilling = [shape for shape in shapes if shape.spills]
        #: What they write in an hour of an outage, names included.
        self.per_hour = sum(
            (shape.segment_blocks + NAME_BLOCKS) / shape.segment_hours for shape in spilling
        )
        reserve = max((shape.store["reserve"] for shape in spilling), default=0)
        self.taken = VOLUME_BLOCKS + LOG_BLOCKS * len(spilling)
        self.taken += -(-reserve // BLOCK_BYTES)

    def hours(self, flash_bytes, shape):
        """How long one of so many bytes lasts a log; None: no limit."""
        if flash_bytes is None or not self.per_hour:
            return None
        blocks = flash_bytes // BLOCK_BYTES - self.taken
        # When it is full, one segment more waits in RAM.
        return blocks / self.per_hour + shape.segment_hours if blocks > 0 else 0.0

    def need_bytes(self, hours):
        """The size that lasts for so long."""
        return (self.taken + math.ceil(self.per_hour * hours)) * BLOCK_BYTES


def _result(config, board, assumptions, shapes, logs, made):
    erases = ERASES * sum(
        log.writes_per_day * shape.segment_blocks for log, shape in zip(logs, shapes, strict=True)
    )
    years = None
    if board.flash_bytes is not None and erases:
        blocks = board.flash_bytes // BLOCK_BYTES
        years = ENDURANCE * blocks / erases / _YEAR_DAYS
    packet = assumptions.packet_bytes
    packet += sizing_link.TLS_BYTES if any(link["tls"] for link in config["mqtt"]) else 0
    mqtt = sum(one.up + one.down for one in made)
    return Plan(
        config["node"],
        board,
        assumptions,
        logs,
        made,
        mqtt,
        mqtt + packet * sum(one.packets for one in made),
        erases,
        years,
        _buffer_bytes(config),
    )


def _buffer_bytes(config):
    """Rings, the buffer of flush messages, and the segment that is read back."""
    rows = config["subscriptions"]
    flush = max(max(row["flush"]["maxBytes"], row["frame_bytes"] + 128) for row in rows)
    back = sum(row["store"]["segment"] for row in rows if row["store"]["disk"])
    return sum(row["ring_bytes"] for row in rows) + flush + back


def _advice(result, shapes, volume):
    heap = result.board.heap_bytes
    said = [
        _remedy(shape, log, result, volume)
        for shape, log in zip(shapes, result.logs, strict=True)
        if not log.fits
    ]
    if result.buffer_bytes > heap * _HEAP_SHARE:
        said.append(
            f"buffers take {result.buffer_bytes // 1024} KiB of a heap of {heap // 1024} KiB: "
            "make ring_bytes smaller, or take a board with more memory"
        )
    if result.flash_years is not None and result.flash_years < SHORT_YEARS:
        said.append(
            f"the flash may be worn out after {result.flash_years:.1f} years: raise "
            "store.maxLatency, or take a larger flash"
        )
    return said


def _remedy(shape, log, result, volume):
    """What to change so that a log survives the outage."""
    hours = result.assumptions.outage_hours
    ways = []
    ring = result.buffer_bytes - shape.row["ring_bytes"] + log.need_ring_bytes
    if ring <= result.board.heap_bytes * _HEAP_SHARE:
        ways.append(f"set ring_bytes to {log.need_ring_bytes}")
    if log.limit == "the flash" or (shape.spills and log.limit == "ring_bytes"):
        need = -(-volume.need_bytes(hours) // 1024)
        ways.append(f"give the logs a file system of {need} KiB")
    elif log.limit == "ring_bytes":
        key = "onRamOverflow" if shape.store["disk"] else "disk"
        ways.append(f"let it use the flash (store.{key}: true)")
    else:
        ways.insert(0, f"raise {log.limit}")
    if log.holds_hours:
        ways.append(f"record {hours / log.holds_hours:.1f} times less often")
    return f"{log.subscription} loses records, {log.limit} is too small: {', or '.join(ways)}"
